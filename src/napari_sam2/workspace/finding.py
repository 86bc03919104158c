"""What a model finds by itself in a frame: searched part by part, shown, chosen from, and made objects of.

Proposals belong to one frame of one image and to one model. They are no objects: nothing of them is saved, committed or
followed until somebody adds them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.errors import OptionError
from napari_sam2.inference.background import Failed, Reported, Returned
from napari_sam2.inference.time_left import Pace
from napari_sam2.layers.preview import Preview
from napari_sam2.layers.prompt_sources import UserMask
from napari_sam2.prompts import MaskPrompt, Target
from napari_sam2.proposals import ProposalFilter, ProposalSet
from napari_sam2.workspace.edits import edit_of_user_masks
from napari_sam2.workspace.history import Edit
from napari_sam2.workspace.sentences import error_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam2.inference.background import Event, JobInParts
    from napari_sam2.inference.predictor import FoundPart, Search, ShownObject
    from napari_sam2.layers.prompt_sources import PromptSources
    from napari_sam2.proposals import Proposal
    from napari_sam2.workspace.asking import Asker
    from napari_sam2.workspace.committed import Committed
    from napari_sam2.workspace.picture import Picture

MANY = 2000
"""Objects from which on it is asked once more whether they shall be added: a table of so many is nobody's aim."""

NOTHING = (
    "Nothing was found here. Zoom in and search what is in view, correct the contrast, or take another model; or click "
    "the objects."
)
NOTHING_NEW = "Nothing new was found: there are objects already on all that the model sees here."
LOST = "What was found was found by another model, or in another contrast, and is dropped. Find again."


class Finder:
    """Searches one image, and keeps what was found until it is added, or dropped.

    Parameters
    ----------
    viewer : ViewerModel
        Where proposals are shown.
    image : napari.layers.Image
        The image.
    asker : Asker
        Has the model.
    picture : Picture
        Has the masks that are held: what they cover is not proposed.
    committed : Committed
        Has the committed labels: the same.

    Attributes
    ----------
    frame : int or None
        The frame that was searched last, as long as there is anything of it.
    chosen : ProposalFilter
        What is asked of proposals. Changed through `choose` alone.
    kept : tuple of Proposal
        Proposals that would be added now, the best first.
    done, total : int
        Parts of the frame that were searched, and all.
    seconds_left : float or None
        How long the search takes yet; None if that is not known.
    is_asked : bool
        Whether it is asked once more if so many objects shall be added.
    remark : str
        Why there is nothing, in a sentence; empty if there is something, or nobody has asked.
    """

    changed = Signal()
    """There is something else to show of a search or of proposals."""

    def __init__(self, viewer: ViewerModel, image: Image, asker: Asker, picture: Picture, committed: Committed) -> None:
        self._asker, self._picture, self._committed = asker, picture, committed
        self.preview = Preview(viewer, image, picture.grid)
        self.chosen = ProposalFilter()
        self._job: JobInParts[FoundPart] | None = None
        self._region: NDArray[np.bool_] | None = None
        self._pace = Pace()
        self._forget()

    def _forget(self) -> None:
        self.frame: int | None = None
        self.kept: tuple[Proposal, ...] = ()
        self.done = self.total = 0
        self.seconds_left: float | None = None
        self.remark = ""
        self._found: tuple[Proposal, ...] = ()
        self._set = self._set_of(())
        self._cover: NDArray[np.bool_] | None = None
        self.is_asked = False

    def _set_of(self, found: Sequence[Proposal]) -> ProposalSet:
        return ProposalSet(found, self._picture.grid.height, self._picture.grid.width)

    @property
    def is_searching(self) -> bool:
        """Whether a search is on its way."""
        return self._job is not None

    @property
    def num_found(self) -> int:
        """Proposals there are, kept or not."""
        return len(self._found)

    # The search ------------------------------------------------------------------------------------------------------

    def search(
        self,
        frame: int,
        search: Search,
        region: NDArray[np.bool_] | None = None,
        examples: Sequence[ShownObject] = (),
    ) -> None:
        """Let the model find objects in a frame. What was found before is dropped.

        Parameters
        ----------
        frame : int
            The frame.
        search : Search
            Where and from what.
        region : ndarray of bool, shape (Y, X), optional
            Proposals with their seeds elsewhere are dropped.
        examples : sequence of ShownObject
            What objects are compared with.
        """
        if self.is_searching:
            return
        self._drop()
        self.frame, self._region = frame, region
        self._pace = Pace()
        if self._asker.status.message:
            self._asker.tell("")
        self._job = self._asker.queue.search(frame, search, self._receive, self._on_lost, examples=examples)
        self.changed.emit()

    def cancel(self) -> None:
        """Stop after the part in hand; what was found stays."""
        if self._job is not None:
            self._job.cancel()

    def _receive(self, event: Event[FoundPart, None]) -> None:
        if isinstance(event, Reported):
            part = event.item
            more = tuple(one for one in part.proposals if self._is_wanted(one))
            self._found += more
            self._set = self._set.extended(more)
            self.done, self.total = part.done, part.total
            self.seconds_left = self._pace.note(part.done, part.total)
            self._choose_anew()
            return
        self._job = None
        if not self._may_be_kept():
            remark = NOTHING_NEW if self._found else NOTHING
            self._drop()
            self.remark = remark if isinstance(event, Returned) else ""
        self.changed.emit()
        if isinstance(event, Failed):
            self._asker.complain(error_sentence(event.error))

    def _may_be_kept(self) -> bool:
        """Whether anything is kept, or would be if the user asked for more."""
        if self.kept or self.frame is None:
            return bool(self.kept)
        most = replace(self.chosen, least_score=0.0, least_likeness=0.0)
        return bool(self._set.kept(most, self._covered(self.frame)))

    def _is_wanted(self, proposal: Proposal) -> bool:
        """Whether a proposal is of the region: its seed is, so that no object is cut off at the border."""
        if self._region is None:
            return True
        height, width = self._region.shape
        y, x = round(proposal.seed[0]), round(proposal.seed[1])
        return bool(self._region[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])

    def _on_lost(self) -> None:
        had_any = self.frame is not None
        self._drop()
        self.remark = LOST if had_any else ""
        self.changed.emit()

    # What is kept ----------------------------------------------------------------------------------------------------

    def choose(self, chosen: ProposalFilter) -> None:
        """Ask something else of the proposals; nothing is searched anew."""
        if chosen != self.chosen:
            self.chosen = chosen
            if self.frame is not None:
                self._choose_anew()

    def on_masks(self, frame: int) -> None:
        """Take into account that masks of a frame have changed, or committed labels."""
        if frame == self.frame:
            self._cover = None
            self._choose_anew()

    def forget_remark(self) -> None:
        """Forget why there was nothing: the user has gone on."""
        if self.remark:
            self.remark = ""
            self.changed.emit()

    def _choose_anew(self) -> None:
        assert self.frame is not None
        self.is_asked = False
        self.kept = self._set.kept(self.chosen, self._covered(self.frame)) if self._found else ()
        self.preview.show(self.frame, self.kept)
        self.changed.emit()

    def _covered(self, frame: int) -> NDArray[np.bool_]:
        """Where there are objects on a frame, hidden ones included, (Y, X)."""
        if self._cover is None:
            grid = self._picture.grid
            self._cover = grid.plane(self._committed.layer.data, frame) != 0
            for held in self._picture.held.on(frame).values():
                (y, x), (height, width) = held.mask.corner, held.mask.logits.shape
                self._cover[y : y + height, x : x + width] |= held.mask.logits > 0
        return self._cover

    def end(self) -> None:
        """End the search. What is shown stays as it is: the viewer may be closing."""
        self._job = None
        self._asker.queue.leave_search()

    def discard(self) -> None:
        """Drop what was found, and end the search."""
        if self.frame is not None:
            self._drop()
            self.changed.emit()

    def leave(self) -> None:
        """Drop what was found, and take its layer out of the viewer."""
        self.preview.remove()
        self.discard()

    def _drop(self) -> None:
        self.end()
        self.preview.clear()
        self._forget()

    # Objects of it ---------------------------------------------------------------------------------------------------

    def confirm(self) -> bool:
        """Return whether what is kept may be added: of very many objects not before somebody has asked for it twice."""
        is_confirmed = len(self.kept) <= MANY or self.is_asked
        self.is_asked = not is_confirmed
        return is_confirmed

    def edits_of_adding(self, sources: PromptSources, object_ids: Sequence[int]) -> tuple[Edit, Edit]:
        """Return the edits that make objects with these ids of what is kept; to be made by `redo`.

        The second takes the proposals away. Undone, they are there again to be chosen from: searching took long.

        Raises
        ------
        OptionError
            If nothing is kept.
        """
        frame, shape = self.frame, (self._picture.grid.height, self._picture.grid.width)
        if frame is None or not self.kept:
            raise OptionError("There is nothing found that could be added. Find objects first (F).")
        masks = {}
        for object_id, one in zip(object_ids, self.kept, strict=True):
            mask = MaskPrompt(object_id, frame, one.mask, corner=one.corner, shape=shape, found=one.scores)
            masks[Target(object_id, frame)] = UserMask(mask, ())
        found = self._found
        num_bytes = sum(one.mask.nbytes for one in found)
        taking = Edit(partial(self._put_back, frame, found), self.discard, num_bytes)
        return edit_of_user_masks(sources, {**sources.user_masks, **masks}), taking

    def _put_back(self, frame: int, found: tuple[Proposal, ...]) -> None:
        self._drop()
        self._asker.queue.keep_found(self._on_lost)
        self.frame, self._found, self._set = frame, found, self._set_of(found)
        self._choose_anew()
