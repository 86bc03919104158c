"""Actions on whole objects: commit, merge, delete, name them, or take their prompts back.

The committed labels and their log are changed here, because that can fail. What follows from it for masks, prompts and
names is returned as edits that are still to be made, so that one step to undo holds all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.errors import NapariSam2Error, OptionError
from napari_sam2.layers.label_layers import check_target, shared_id
from napari_sam2.prompt_checks import listed
from napari_sam2.prompts import Target
from napari_sam2.sessions.steps import Commit, Renumbering
from napari_sam2.workspace.edits import edit_of_committed, edit_of_masks, edit_of_notes, edits_without_prompts
from napari_sam2.workspace.held import sources_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari.layers import Image, Labels

    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.layers.label_edits import LabelPatch
    from napari_sam2.layers.prompt_sources import PromptSources
    from napari_sam2.prompts import PromptSet
    from napari_sam2.results import ObjectScore
    from napari_sam2.sessions.steps import Step
    from napari_sam2.workspace.committed import Committed
    from napari_sam2.workspace.history import Change, Edit
    from napari_sam2.workspace.objects import ObjectList
    from napari_sam2.workspace.picture import Picture


@dataclass(frozen=True, slots=True, eq=False)
class ObjectAction:
    """An action on objects, as far as it is done.

    Attributes
    ----------
    name : str
        What the user did.
    made : tuple of Change
        What has been changed.
    left : tuple of Edit
        What is to be changed yet, by `finish`.
    remark : str
        A sentence for the user; empty if there is nothing to tell.
    """

    name: str
    made: tuple[Change, ...] = ()
    left: tuple[Edit, ...] = ()
    remark: str = ""

    def finish(self) -> None:
        """Make the edits that are left."""
        for edit in self.left:
            edit.redo()


class ObjectActions:
    """Actions on whole objects. `prompts` are those that the model was asked about last, in each of them.

    Parameters
    ----------
    sources : PromptSources
        Where prompts come from; they go with their object.
    picture : Picture
        The masks that are held.
    committed : Committed
        The committed labels.
    objects : ObjectList
        Names of objects, and which are hidden and locked.
    """

    def __init__(self, sources: PromptSources, picture: Picture, committed: Committed, objects: ObjectList) -> None:
        self._sources, self._picture, self._committed, self._objects = sources, picture, committed, objects

    # Into the committed labels ---------------------------------------------------------------------------------------

    def commit(self, prompts: PromptSet, policy: CommitPolicy) -> ObjectAction:
        """Commit all masks that are shown and not locked, and take back prompts of objects of which nothing is left.

        Raises
        ------
        OptionError
            If there is no such mask.
        NapariSam2Error
            If a layer cannot be written. Nothing has changed then.
        """
        picture, committed, locked = self._picture, self._committed, self._objects.notes.locked
        before, left = picture.held.parted(picture.shown, locked)
        masks = picture.held.snapshot()
        if not before:
            raise OptionError(
                "There is nothing to commit: all masks are hidden or locked. Show or unlock their objects first."
                if masks
                else "There is nothing to commit yet. Click an object, drag a box or paint a mask first."
            )
        moved = {i for frame, all_masks in before.items() for i in all_masks.keys() - left[frame].keys()}
        scores = dict(committed.scores)
        for frame, all_masks in before.items():
            scores |= {Target(i, frame): one.score for i, one in all_masks.items() if i not in left[frame]}
        committed.write_log()
        remark = committed.make_room(moved)
        sources = sources_of(masks, prompts, picture.shown)
        step = Commit(sources, policy, tuple(sorted(locked)), drops_specks=picture.drops_specks)
        patches = committed.commit(picture, policy, locked)
        # What has no mask was not answered yet, or could not be: its prompts stay.
        kept = {i for frame, all_masks in masks.items() for i in left.get(frame, all_masks)}
        gone = moved - kept - locked
        taken_back = edits_without_prompts(self._sources, gone.__contains__)
        made: tuple[Change, ...] = (*patches, self._recorded(step, patches, scores))
        return ObjectAction("commit", made, (edit_of_masks(picture, before, left), *taken_back), remark)

    def check_target(self, layer: Labels, image: Image, prompts: PromptSet) -> None:
        """Refuse a layer that objects cannot be committed into.

        Raises
        ------
        OptionError
            If it does not lie on the image pixel by pixel, serves something else, or has an object with the number of
            one that is in work.
        FrameError
            If its data cannot be written.
        """
        picture, sources = self._picture, self._sources
        check_target(layer, image, picture.grid)
        if layer == picture.layer or layer in sources.others:
            use = "shows what is not committed" if layer == picture.layer else "is read for prompts"
            raise OptionError(f"Labels layer {layer.name!r} {use}. Choose another one to commit into.")
        # Ids from the user's own layers are meant; ids that we assigned may clash.
        theirs = {prompt.object_id for prompt in sources.prompts_of_others}
        shared = shared_id(layer, picture.grid, {*prompts.object_ids, *picture.held.object_ids} - theirs)
        if shared is not None:
            raise OptionError(
                f"Labels layer {layer.name!r} has an object {shared} already, and so has the work in hand: they would "
                "become one. Commit that first, or clear its prompts."
            )

    # Whole objects ---------------------------------------------------------------------------------------------------

    def rename(self, object_id: int, name: str) -> ObjectAction | None:
        """Give an object a name, or take it away with an empty one; None if it has that name."""
        before = self._objects.notes
        self._objects.rename(object_id, name)
        after = self._objects.notes
        return None if after == before else ObjectAction("renaming", (edit_of_notes(self._objects, before, after),))

    def clear(self, object_id: int) -> ObjectAction:
        """Take back all prompts of an object.

        Raises
        ------
        OptionError
            If it is locked.
        """
        self._objects.notes.refuse_locked([object_id])
        return ObjectAction(
            "clearing of prompts", left=edits_without_prompts(self._sources, lambda one: one == object_id)
        )

    def delete(self, prompts: PromptSet, object_ids: Collection[int]) -> ObjectAction | None:
        """Drop all there is of objects: prompts, masks, committed pixels, names; None if there is nothing.

        Raises
        ------
        OptionError
            If one of them is locked.
        NapariSam2Error
            If a layer cannot be written. Nothing has changed then.
        """
        stay = sorted({prompt.object_id for prompt in self._sources.prompts_of_others}.intersection(object_ids))
        layers = ", ".join(repr(layer.name) for layer in self._sources.others_with(stay))
        remark = (
            f"Object {listed(stay)} is deleted; its prompts in {layers} are yours and stay there. They are not read "
            "any more unless you change them."
        )
        return self._remove("deletion", prompts, [Renumbering(one, 0) for one in object_ids], remark if stay else "")

    def merge(self, prompts: PromptSet, into: int, others: Collection[int]) -> ObjectAction | None:
        """Make committed pixels of objects pixels of another, and drop their names; None if there are none.

        Raises
        ------
        OptionError
            If one of them is locked, or not committed: each mask is what the model makes of the prompts of one object.
        NapariSam2Error
            If a layer cannot be written. Nothing has changed then.
        """
        given = [one for one in others if one != into]
        uncommitted = sorted({*self._picture.held.object_ids, *prompts.object_ids}.intersection(given))
        if uncommitted:
            raise OptionError(f"Object {listed(uncommitted)} is not committed yet. Commit it (C), then merge it.")
        return self._remove("merging", prompts, [Renumbering(one, into) for one in given])

    def _remove(
        self, name: str, prompts: PromptSet, steps: Sequence[Renumbering], remark: str = ""
    ) -> ObjectAction | None:
        """Take objects away, or make their committed pixels another's; None if there is nothing of them."""
        committed, notes = self._committed, self._objects.notes
        gone, held = {step.old for step in steps}, self._picture.held
        known = {*prompts.object_ids, *held.object_ids, *committed.object_ids, *notes.names, *notes.hidden}
        if not gone & known:
            return None
        notes.refuse_locked(gone.union(step.new for step in steps))
        committed.write_log()
        made = self._renumbered(steps)
        masks = {frame: one for frame, one in held.snapshot().items() if gone & one.keys()}
        left = {frame: {i: mask for i, mask in one.items() if i not in gone} for frame, one in masks.items()}
        dropped = (edit_of_masks(self._picture, masks, left),) if masks else ()
        taken_back = edits_without_prompts(self._sources, gone.__contains__)
        forgotten = edit_of_notes(self._objects, notes, notes.without(*gone))
        return ObjectAction(name, tuple(made), (*dropped, *taken_back, forgotten), remark)

    def _renumbered(self, steps: Sequence[Renumbering]) -> list[Change]:
        """Make steps in the committed labels, all or none; nothing of objects that are not there."""
        committed = self._committed
        made: list[Change] = []
        try:
            for step in steps:
                patches = committed.merge(step.new, step.old) if step.new else committed.delete(step.old)
                if patches:
                    scores = {t: one for t, one in committed.scores.items() if t.object_id != step.old}
                    made += [*patches, self._recorded(step, patches, scores)]
        except NapariSam2Error:
            for change in reversed(made):
                change.undo()
            raise
        return made

    def _recorded(self, step: Step, patches: Sequence[LabelPatch], scores: Mapping[Target, ObjectScore]) -> Edit:
        """Write a step that was made into the log, and the scores that hold from now on."""
        committed = self._committed
        frames = tuple(sorted({patch.frame for patch in patches if patch.layer is committed.layer}))
        before = committed.scores
        committed.log.record(step)
        committed.set_scores(scores, self._objects.notes.names)
        return edit_of_committed(committed, frames, step, before, scores)
