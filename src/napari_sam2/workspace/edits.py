"""What is done in a workspace, as edits that can be undone: of masks, of prompts, of notes, of committed labels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_sam2.workspace.history import Edit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_sam2.layers.prompt_layers import LayersState
    from napari_sam2.layers.prompt_sources import PromptSources, UserMask
    from napari_sam2.prompts import Prompt, Target
    from napari_sam2.results import ObjectScore
    from napari_sam2.sessions.steps import Step
    from napari_sam2.workspace.committed import Committed
    from napari_sam2.workspace.held import Snapshot
    from napari_sam2.workspace.objects import ObjectList, ObjectNotes
    from napari_sam2.workspace.picture import Picture


def edit_of_masks(picture: Picture, before: Snapshot, after: Snapshot) -> Edit:
    """Return the edit that makes masks `after` of masks `before`, on the frames of both; other objects' masks stay."""
    differ: dict[int, set[int]] = {}
    num_bytes = 0
    for frame, masks in before.items():
        left = after.get(frame, {})
        differ[frame] = {i for i in masks.keys() | left.keys() if masks.get(i) is not left.get(i)}
        num_bytes += sum(one[i].mask.logits.nbytes for one in (masks, left) for i in differ[frame] if i in one)

    def put(masks: Snapshot) -> None:
        picture.exchange(
            {
                frame: (ids, {i: one for i, one in masks.get(frame, {}).items() if i in ids})
                for frame, ids in differ.items()
            }
        )

    return Edit(partial(put, before), partial(put, after), num_bytes)


def edit_of_user_masks(sources: PromptSources, after: Mapping[Target, UserMask]) -> Edit:
    """Return the edit that replaces the masks that were painted or approved."""
    before = sources.user_masks
    num_bytes = sum(len(one.mask.bits) for target, one in after.items() if before.get(target) is not one)
    return _replacing(sources, "user_masks", before, after, num_bytes)


def edit_of_retired(sources: PromptSources, after: frozenset[Prompt]) -> Edit:
    """Return the edit that replaces the prompts in layers of the user's own that are not used any more."""
    before = sources.retired
    return _replacing(sources, "retired", before, after, 64 * len(after - before))


def edit_of_drawn(sources: PromptSources, before: LayersState, after: LayersState) -> Edit:
    """Return the edit that makes `after` of what our prompt layers hold."""
    own = sources.own
    return Edit(partial(own.restore, before), partial(own.restore, after), before.num_bytes + after.num_bytes)


def edit_of_notes(objects: ObjectList, before: ObjectNotes, after: ObjectNotes) -> Edit:
    """Return the edit that makes `after` of the notes `before`; what was noted since then stays."""
    return Edit(
        lambda: objects.replace(objects.notes.edited(after, before)),
        lambda: objects.replace(objects.notes.edited(before, after)),
        64 * (len(before.names) + len(after.names)),
    )


def edit_of_committed(
    committed: Committed,
    frames: tuple[int, ...],
    step: Step,
    before: Mapping[Target, ObjectScore],
    after: Mapping[Target, ObjectScore],
) -> Edit:
    """Return the edit of log and scores that comes after the patches of a step.

    Undone, it takes the step out of the log if it is the last one; else what is left was made by hand. Made again, what
    comes back counts as made by hand: somebody may have painted there in between.
    """

    def undo() -> None:
        committed.withdraw(step, frames)
        committed.scores = before

    def redo() -> None:
        committed.touch(frames)
        committed.scores = after

    return Edit(undo, redo, 8 * len(frames) + 200 * abs(len(after) - len(before)))


def edits_without_prompts(sources: PromptSources, is_gone: Callable[[int], bool]) -> tuple[Edit, ...]:
    """Return the edits that take back all prompts of some objects; to be made by `redo`."""
    retired = sources.retired.union(prompt for prompt in sources.prompts_of_others if is_gone(prompt.object_id))
    user_masks = {target: one for target, one in sources.user_masks.items() if not is_gone(target.object_id)}
    drawn = sources.own.state()
    left = sources.own.without(drawn, lambda object_id: not is_gone(object_id))
    return (
        edit_of_retired(sources, retired),
        edit_of_user_masks(sources, user_masks),
        edit_of_drawn(sources, drawn, left),
    )


def _replacing(owner: object, name: str, before: object, after: object, num_bytes: int) -> Edit:
    return Edit(partial(setattr, owner, name, before), partial(setattr, owner, name, after), num_bytes)
