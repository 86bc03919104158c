"""One stack in the hands of a model, and the prompts that the model knows. Holds no masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.prompt_checks import check_prompts, prompts_inside
from napari_sam2.prompts import PromptSet, Target
from napari_sam2.results import FrameResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.prompts import Prompt
    from sam2_model.memory_bank import Direction


class TrackedStack:
    """A stack on which a model answers prompts and follows objects, told only what is different.

    Parameters
    ----------
    predictor : Predictor
        The model.
    frames : FrameStack
        The stack.
    """

    def __init__(self, predictor: Predictor, frames: FrameStack) -> None:
        self.frames = frames
        self._tracker = predictor.open(frames)
        self._known: dict[Target, tuple[Prompt, ...]] = {}
        self._reported: dict[int, set[tuple[int, Direction]]] = {}
        self._heads: dict[int, dict[Direction, int]] = {}

    @property
    def prompts(self) -> PromptSet:
        """The prompts that the model knows."""
        return PromptSet([prompt for given in self._known.values() for prompt in given])

    def apply(self, prompts: PromptSet, *, look: Callable[[int], None] | None = None) -> Iterator[FrameResult]:
        """Replace the prompts that the model knows; only what is different is answered.

        Parameters
        ----------
        prompts : PromptSet
            All prompts there are now.
        look : callable, optional
            Called with a frame before it is looked at for the first time, which takes much longer than an answer.

        Yields
        ------
        FrameResult
            One per frame with new or changed prompts, in order of frames, with the masks of the objects concerned.
            Closing the generator stops between frames; the rest is not yet known to the model.

        Raises
        ------
        PromptError
            If the prompts cannot be answered on this stack. Nothing has changed then.
        """
        if prompts.prompts:  # an empty set is passed on, too: it removes what the model knows
            check_prompts(prompts, len(self.frames), self.frames.height, self.frames.width)
        asked = prompts_inside(prompts, self.frames.height, self.frames.width)
        changed = sorted(prompts.changed_since(self.prompts), key=lambda target: (target.frame, target.object_id))
        by_frame: dict[int, dict[int, tuple[Prompt, ...]]] = {}
        for target in changed:
            self._reported.pop(target.object_id, None)
            self._heads.pop(target.object_id, None)
            if target in prompts:
                by_frame.setdefault(target.frame, {})[target.object_id] = asked[target]
            else:
                self._tracker.forget(target.object_id, target.frame)
                del self._known[target]
        for frame, given in by_frame.items():
            if look is not None and not self._tracker.has_seen(frame):
                look(frame)
            masks = self._tracker.prompt(frame, given)
            self._known |= {Target(object_id, frame): prompts[Target(object_id, frame)] for object_id in given}
            yield FrameResult(frame, masks)

    def follow(
        self, frame: int, object_ids: Sequence[int], direction: Direction, *, is_reported: bool = True
    ) -> FrameResult:
        """Follow objects to a frame next to the last one visited, and return their masks there.

        Parameters
        ----------
        frame : int
            The frame.
        object_ids : sequence of int
            The objects.
        direction : Direction
            Which way they are followed.
        is_reported : bool
            Whether the caller keeps the result, so that `remaining_visits` leaves it out.
        """
        result = FrameResult(frame, self._tracker.follow(frame, object_ids, direction))
        for object_id in object_ids:
            self._heads.setdefault(object_id, {})[direction] = frame
            if is_reported:
                self._reported.setdefault(object_id, set()).add((frame, direction))
        return result

    def head(self, object_id: int, direction: Direction) -> int | None:
        """Return the frame to which an object was followed last this way; None if not since its prompts changed."""
        return self._heads.get(object_id, {}).get(direction)

    def is_reported(self, object_id: int, frame: int, direction: Direction) -> bool:
        """Return whether following an object to a frame was reported since its prompts last changed."""
        return (frame, direction) in self._reported.get(object_id, ())
