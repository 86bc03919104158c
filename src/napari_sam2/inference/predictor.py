"""The seam to the model: above it there are data pixels and numpy alone.

`sam2.py` puts SAM 2 here; a remote model, or the disc-drawing one of the tests, would be one more file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.prompts import Prompt
    from napari_sam2.results import ObjectMask
    from sam2_model.config import Framing
    from sam2_model.memory_bank import Direction


class Tracker(Protocol):
    """One stack in the hands of a model, with what it needs to answer prompts and follow objects."""

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Replace the prompts of some objects on a frame, and return their masks, in the same order."""
        ...

    def has_seen(self, frame: int) -> bool:
        """Whether a frame needs no looking at, because what was seen of it is still known."""
        ...

    def forget(self, object_id: int, frame: int) -> None:
        """Remove the prompts of an object on a frame."""
        ...

    def follow(self, frame: int, object_ids: Sequence[int], direction: Direction) -> tuple[ObjectMask, ...]:
        """Follow objects to a frame next to the last one visited, and return their masks; prompted ones keep theirs."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """A model that answers prompts. The tests of everything above run on one that draws discs."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def sha256(self) -> str:
        """Checksum of its weights."""
        ...

    @property
    def source(self) -> str:
        """Registry name or path by which it can be loaded again."""
        ...

    @property
    def framing(self) -> Framing:
        """How frames become working images; noted with what it computes."""
        ...

    @property
    def drops_islands(self) -> bool:
        """Whether masks that answer clicks lose the islands that no click touches; noted with what it computes."""
        ...

    def working_size(self, height: int, width: int) -> int:
        """Longer side in pixels of the image to which a frame of this size is resized."""
        ...

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """Pixels that it sees for each of a frame of this size, along its rows and columns."""
        ...

    def segment(self, image: NDArray[np.uint8], prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Return the masks of prompted objects on one image, (Y, X, 3) uint8."""
        ...

    def open(self, frames: FrameStack) -> Tracker:
        """Return a tracker for a stack."""
        ...
