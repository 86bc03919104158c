"""How far *Propagate* follows objects, as it is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.tracking.propagation import frames_reached

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.prompts import PromptSet
    from napari_sam2.workbench.choices import Choices


@dataclass(slots=True)
class Reach:
    """How far *Propagate* follows each object, remembered until prompts, locks, direction or range are others."""

    _seen: tuple[object, ...] = ()
    _frames: Mapping[int, range] | None = None

    def read(
        self, prompts: PromptSet, num_frames: int, locked: frozenset[int], choices: Choices
    ) -> Mapping[int, range]:
        """Return the frames by object, without objects that are locked: the same mapping until something changes."""
        chosen = num_frames, locked, choices.direction, choices.start, choices.stop
        if self._frames is None or self._seen[0] is not prompts or self._seen[1:] != chosen:
            self._seen = (prompts, *chosen)
            reached = frames_reached(
                prompts, num_frames, direction=choices.direction, start=choices.start, stop=choices.stop
            )
            self._frames = {one: frames for one, frames in reached.items() if one not in locked}
        return self._frames
