"""What is done in a workspace, as changes that can be undone: to masks, to what is said, to what is settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.layers.prompt_layers import PromptEdit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_sam2.layers.prompt_sources import PromptSources, UserMask
    from napari_sam2.prompts import Prompt, Target
    from napari_sam2.results import ObjectScore
    from napari_sam2.sessions.steps import Step
    from napari_sam2.workspace.held import HeldMask
    from napari_sam2.workspace.objects import ObjectList, ObjectNotes
    from napari_sam2.workspace.picture import ResultLayers


@dataclass(frozen=True, slots=True, eq=False)
class MaskEdit:
    """The masks of one frame before and after an edit; a `history.Change`."""

    results: ResultLayers
    frame: int
    before: Mapping[int, HeldMask]
    after: Mapping[int, HeldMask]

    @property
    def num_bytes(self) -> int:
        """Memory taken by the masks that differ."""
        return sum(
            masks[i].mask.logits.nbytes
            for masks, others in ((self.before, self.after), (self.after, self.before))
            for i in masks
            if others.get(i) is not masks[i]
        )

    def undo(self) -> None:
        """Put the masks back that the edit replaced; those of other objects stay as they are."""
        self._replace(self.after, self.before)

    def redo(self) -> None:
        """Put the masks of the edit back; those of other objects stay as they are."""
        self._replace(self.before, self.after)

    def _replace(self, old: Mapping[int, HeldMask], new: Mapping[int, HeldMask]) -> None:
        differ = {i for i in old.keys() | new.keys() if old.get(i) is not new.get(i)}
        others = {i: one for i, one in self.results.held.on(self.frame).items() if i not in differ}
        self.results.set_masks(self.frame, {**others, **{i: new[i] for i in differ if i in new}})


@dataclass(frozen=True, slots=True, eq=False)
class UserMaskEdit:
    """Masks painted or approved in one go; a `history.Change`."""

    sources: PromptSources
    before: Mapping[Target, UserMask]
    after: Mapping[Target, UserMask]

    @property
    def num_bytes(self) -> int:
        """Memory taken by the masks that differ."""
        return sum(len(one.mask.bits) for target, one in self.after.items() if self.before.get(target) is not one)

    def undo(self) -> None:
        """Take the masks back."""
        self.sources.user_masks = self.before

    def redo(self) -> None:
        """Say the masks again."""
        self.sources.user_masks = self.after


@dataclass(frozen=True, slots=True, eq=False)
class SettledEdit:
    """Prompts in layers of the user's own that are not heeded any more; a `history.Change`."""

    sources: PromptSources
    before: frozenset[Prompt]
    after: frozenset[Prompt]

    @property
    def num_bytes(self) -> int:
        """Memory taken, about; the prompts themselves are kept by others."""
        return 64 * len(self.after - self.before)

    def undo(self) -> None:
        """Heed them again."""
        self.sources.settled = self.before

    def redo(self) -> None:
        """Heed them no more."""
        self.sources.settled = self.after


@dataclass(frozen=True, slots=True, eq=False)
class NotesEdit:
    """What was settled about objects, before and after; a `history.Change`. What was settled since then stays."""

    objects: ObjectList
    before: ObjectNotes
    after: ObjectNotes

    @property
    def num_bytes(self) -> int:
        """Memory taken, about."""
        return 64 * (len(self.before.names) + len(self.after.names))

    def undo(self) -> None:
        """Settle what was settled before."""
        self.objects.settle(self.objects.notes.edited(self.after, self.before))

    def redo(self) -> None:
        """Settle it again."""
        self.objects.settle(self.objects.notes.edited(self.before, self.after))


@dataclass(frozen=True, slots=True, eq=False)
class CommittedEdit:
    """Committed labels that patches have changed, for the log; a `history.Change` that comes after the patches.

    Attributes
    ----------
    results : ResultLayers
        Where they are.
    frames : tuple of int
        The frames that the patches change.
    step : Step
        What the log says of it.
    before, after : mapping of Target to ObjectScore
        Scores of committed masks.
    """

    results: ResultLayers
    frames: tuple[int, ...]
    step: Step
    before: Mapping[Target, ObjectScore]
    after: Mapping[Target, ObjectScore]

    @property
    def num_bytes(self) -> int:
        """Memory taken, about; what the step refers to is kept by others."""
        return 8 * len(self.frames) + 200 * abs(len(self.after) - len(self.before))

    def undo(self) -> None:
        """Take the step out of the log if it is the last one; else what is left was made by hand."""
        self.results.withdraw(self.step, self.frames)
        self.results.committed_scores = self.before

    def redo(self) -> None:
        """Let what comes back count as made by hand: somebody may have painted there in between."""
        self.results.touch(self.frames)
        self.results.committed_scores = self.after


def unsaying(sources: PromptSources, is_over: Callable[[int], bool]) -> tuple[SettledEdit, UserMaskEdit, PromptEdit]:
    """Return the changes that take back all that is said of some objects; to be made by `redo`."""
    settled = sources.settled.union(prompt for prompt in sources.said_by_others if is_over(prompt.object_id))
    user_masks = {target: one for target, one in sources.user_masks.items() if not is_over(target.object_id)}
    drawn = sources.state()
    left = sources.own.without(drawn, lambda object_id: not is_over(object_id))
    return (
        SettledEdit(sources, sources.settled, settled),
        UserMaskEdit(sources, sources.user_masks, user_masks),
        PromptEdit(sources.own, drawn, left),
    )
