"""One stack, the prompts last seen, and what the model has made of them. Holds what is expensive, never what was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.prompts import PromptSet
from napari_sam2.results import FrameResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_sam2.frames import FrameStack
    from napari_sam2.predictor import Direction, Predictor


class Session:
    """Keep a model in step with the prompts on one stack.

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
        self._prompts = PromptSet()

    @property
    def prompts(self) -> PromptSet:
        """The snapshot that the model knows."""
        return self._prompts

    def apply(self, prompts: PromptSet) -> Iterator[FrameResult]:
        """Tell the model what is different in a new snapshot, and only that.

        Parameters
        ----------
        prompts : PromptSet
            All prompts there are now.

        Yields
        ------
        FrameResult
            One per frame with new or changed prompts, in order of frames, with the masks of the objects concerned.
            Closing the generator stops between frames; the rest stays to be applied.

        Raises
        ------
        PromptError
            If the prompts cannot be answered on this stack. Nothing has changed then.
        """
        prompts.check(len(self.frames), self.frames.height, self.frames.width)
        changed = sorted(prompts.changed_since(self._prompts), key=lambda target: (target.frame, target.object_id))
        for target in changed:
            if target not in prompts:
                self._tracker.forget(target.object_id, target.frame)
                self._prompts = PromptSet(p for p in self._prompts.prompts if p.target != target)
        for frame in sorted({target.frame for target in changed if target in prompts}):
            spoken = {t.object_id: prompts[t] for t in changed if t.frame == frame and t in prompts}
            masks = self._tracker.prompt(frame, spoken)
            known = (p for p in self._prompts.prompts if p.frame != frame or p.object_id not in spoken)
            self._prompts = PromptSet([*known, *(p for given in spoken.values() for p in given)])
            yield FrameResult(frame, masks)
        self._prompts = prompts

    def follow(self, frame: int, object_ids: Sequence[int], direction: Direction) -> FrameResult:
        """Follow objects to a frame, next to the last one visited."""
        return FrameResult(frame, self._tracker.follow(frame, object_ids, direction))
