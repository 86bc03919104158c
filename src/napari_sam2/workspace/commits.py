"""Objects are settled: committed, merged, deleted, named; or what was said of them is taken back.

The committed labels and their log are changed here, because that can fail. What follows from it for masks, prompts and
names is handed over as changes that are still to be made, so that one step to undo holds all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.errors import NapariSam2Error, OptionError
from napari_sam2.layers.serving import check_target, shared_id
from napari_sam2.prompts import Target, listed
from napari_sam2.sessions.steps import Commit, Renumbering
from napari_sam2.workspace.edits import CommittedEdit, MaskEdit, NotesEdit, unsaying
from napari_sam2.workspace.held import sources_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari.layers import Labels

    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.layers.label_edits import LabelPatch
    from napari_sam2.layers.prompt_sources import PromptSources
    from napari_sam2.prompts import PromptSet
    from napari_sam2.results import ObjectScore
    from napari_sam2.sessions.steps import Step
    from napari_sam2.workspace.history import Change
    from napari_sam2.workspace.objects import ObjectList
    from napari_sam2.workspace.picture import ResultLayers


@dataclass(frozen=True, slots=True, eq=False)
class Settlement:
    """A step that settles objects, as far as it is made.

    Attributes
    ----------
    name : str
        What the user did.
    made : tuple of Change
        What has been changed.
    left : tuple of Change
        What is to be changed yet, by `finish`.
    remark : str
        What there is to say of it; empty if nothing.
    """

    name: str
    made: tuple[Change, ...] = ()
    left: tuple[Change, ...] = ()
    remark: str = ""

    def finish(self) -> None:
        """Make the changes that are left."""
        for change in self.left:
            change.redo()


class Settling:
    """Steps that settle objects. `said` is what the model was asked last, in each of them.

    Parameters
    ----------
    sources : PromptSources
        Where prompts come from; they go when their object is settled.
    results : ResultLayers
        Masks, and the committed labels.
    objects : ObjectList
        Names of objects, and which are hidden and locked.
    """

    def __init__(self, sources: PromptSources, results: ResultLayers, objects: ObjectList) -> None:
        self._sources, self._results, self._objects = sources, results, objects

    # Into the committed labels ---------------------------------------------------------------------------------------

    def commit(self, said: PromptSet, policy: CommitPolicy) -> Settlement:
        """Commit all masks that are shown and not locked, and take back prompts of objects of which nothing is left.

        Raises
        ------
        OptionError
            If there is no such mask.
        NapariSam2Error
            If a layer cannot be written. Nothing has changed then.
        """
        results, locked, shown = self._results, self._objects.notes.locked, self._results.shown
        masks = results.held.snapshot()
        edits: list[MaskEdit] = []
        scores = dict(results.committed_scores)
        kept = set(locked)
        for frame in results.held.frames:
            left = {i: one for i, one in masks[frame].items() if i in locked or not shown.includes(one)}
            kept.update(left)
            if len(left) < len(masks[frame]):
                edits.append(MaskEdit(results, frame, masks[frame], left))
                scores |= {Target(i, frame): one.score for i, one in masks[frame].items() if i not in left}
        if not edits:
            raise OptionError(
                "There is nothing to commit: all masks are hidden or locked. Show or unlock their objects first."
                if masks
                else "There is nothing to commit yet. Click an object, drag a box or paint a mask first."
            )
        results.settle_log()
        remark = results.make_room_to_commit({i for edit in edits for i in edit.before if i not in edit.after})
        step = Commit(sources_of(masks, said, shown), policy, tuple(sorted(locked)))
        patches = results.commit(policy, locked)
        # What has no mask was not answered yet, or could not be: what is said of it stays.
        gone = set(results.held.object_ids) - kept
        taken_back = unsaying(self._sources, gone.__contains__)
        made: tuple[Change, ...] = (*patches, self._recorded(step, patches, scores))
        return Settlement("commit", made, (*edits, *taken_back), remark)

    def check_target(self, layer: Labels, said: PromptSet) -> None:
        """Refuse a layer that objects cannot be committed into.

        Raises
        ------
        OptionError
            If it does not lie on the image pixel by pixel, serves something else, or has an object with the number of
            one that is in work.
        FrameError
            If its data cannot be written.
        """
        results, sources = self._results, self._sources
        check_target(layer, results.image, results.grid)
        if layer == results.current or layer in sources.others:
            use = "shows what is not committed" if layer == results.current else "is read for prompts"
            raise OptionError(f"Labels layer {layer.name!r} {use}. Choose another one to commit into.")
        # Whoever numbers prompts herself means the objects that have these numbers; ours are numbered by us.
        theirs = {prompt.object_id for prompt in sources.said_by_others}
        shared = shared_id(layer, results.grid, {*said.object_ids, *results.held.object_ids} - theirs)
        if shared is not None:
            raise OptionError(
                f"Labels layer {layer.name!r} has an object {shared} already, and so has the work in hand: they would "
                "become one. Commit that first, or clear its prompts."
            )

    # Whole objects ---------------------------------------------------------------------------------------------------

    def rename(self, object_id: int, name: str) -> Settlement | None:
        """Give an object a name, or take it away with an empty one; None if it has that name."""
        before = self._objects.notes
        self._objects.rename(object_id, name)
        after = self._objects.notes
        return None if after == before else Settlement("renaming", (NotesEdit(self._objects, before, after),))

    def clear(self, object_id: int) -> Settlement:
        """Take back all that is said of an object.

        Raises
        ------
        OptionError
            If it is locked.
        """
        self._objects.notes.refuse_locked([object_id])
        return Settlement("clearing of prompts", left=unsaying(self._sources, lambda one: one == object_id))

    def delete(self, said: PromptSet, object_ids: Collection[int]) -> Settlement | None:
        """Drop all there is of objects: prompts, masks, committed pixels, names; None if there is nothing.

        Raises
        ------
        OptionError
            If one of them is locked.
        NapariSam2Error
            If a layer cannot be written. Nothing has changed then.
        """
        stay = sorted({prompt.object_id for prompt in self._sources.said_by_others}.intersection(object_ids))
        layers = ", ".join(repr(layer.name) for layer in self._sources.others_about(stay))
        remark = (
            f"Object {listed(stay)} is deleted; its prompts in {layers} are yours and stay there. They are not read "
            "any more unless you change them."
        )
        return self._remove("deletion", said, [Renumbering(one, 0) for one in object_ids], remark if stay else "")

    def merge(self, said: PromptSet, into: int, others: Collection[int]) -> Settlement | None:
        """Make committed pixels of objects pixels of another, and drop their names; None if there are none.

        Raises
        ------
        OptionError
            If one of them is locked, or not committed: each mask is what the model makes of the prompts of one object.
        NapariSam2Error
            If a layer cannot be written. Nothing has changed then.
        """
        given = [one for one in others if one != into]
        uncommitted = sorted({*self._results.held.object_ids, *said.object_ids}.intersection(given))
        if uncommitted:
            raise OptionError(f"Object {listed(uncommitted)} is not committed yet. Commit it (C), then merge it.")
        return self._remove("merging", said, [Renumbering(one, into) for one in given])

    def _remove(self, name: str, said: PromptSet, steps: Sequence[Renumbering], remark: str = "") -> Settlement | None:
        """Take objects away, or make their committed pixels another's; None if there is nothing of them."""
        results, notes = self._results, self._objects.notes
        gone, held = {step.old for step in steps}, results.held
        known = {*said.object_ids, *held.object_ids, *results.committed_ids, *notes.names, *notes.hidden}
        if not gone & known:
            return None
        notes.refuse_locked(gone.union(step.new for step in steps))
        results.settle_log()
        made = self._renumbered(steps)
        edits: list[MaskEdit] = []
        for frame in held.frames:
            before = held.on(frame)
            after = {i: one for i, one in before.items() if i not in gone}
            if len(after) < len(before):
                edits.append(MaskEdit(results, frame, before, after))
        taken_back = unsaying(self._sources, gone.__contains__)
        forgotten = NotesEdit(self._objects, notes, notes.without(*gone))
        return Settlement(name, tuple(made), (*edits, *taken_back, forgotten), remark)

    def _renumbered(self, steps: Sequence[Renumbering]) -> list[Change]:
        """Make steps in the committed labels, all or none; nothing of objects that are not there."""
        results = self._results
        made: list[Change] = []
        try:
            for step in steps:
                patches = results.merge(step.new, step.old) if step.new else results.delete(step.old)
                if patches:
                    scores = {t: one for t, one in results.committed_scores.items() if t.object_id != step.old}
                    made += [*patches, self._recorded(step, patches, scores)]
        except NapariSam2Error:
            for change in reversed(made):
                change.undo()
            raise
        return made

    def _recorded(
        self, step: Step, patches: Sequence[LabelPatch], scores: Mapping[Target, ObjectScore]
    ) -> CommittedEdit:
        """Write a step that was made into the log, and the scores that hold from now on."""
        results = self._results
        frames = tuple(sorted({patch.frame for patch in patches if patch.layer is results.committed}))
        before = results.committed_scores
        results.log.record(step)
        results.set_committed_scores(scores, self._objects.notes.names)
        return CommittedEdit(results, frames, step, before, scores)
