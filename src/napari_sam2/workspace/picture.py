"""The Labels layers of results: `current_object` shows the masks that are held, `committed_objects` what is settled.

The masks are the truth and `current_object` is their picture. A frame of the picture is drawn when its masks change, or
when somebody looks at it where only what is to be shown has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.errors import OptionError
from napari_sam2.layers.label_edits import check_writable, commit, delete_object, merge_objects, read_frame, write_frame
from napari_sam2.layers.label_layers import new_labels_layer, object_colour, set_features, widen
from napari_sam2.layers.planes import MergedLabels
from napari_sam2.prompts import Target
from napari_sam2.results import compose, feature_table, score_table
from napari_sam2.sessions.steps import WorkLog
from napari_sam2.workspace.held import HeldMasks, Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.layers.label_edits import LabelPatch
    from napari_sam2.results import ObjectScore
    from napari_sam2.sessions.steps import Step
    from napari_sam2.workspace.held import HeldMask, Snapshot

CURRENT_NAME, COMMITTED_NAME = "current_object", "committed_objects"


class ResultLayers:
    """Masks in layers.

    Parameters
    ----------
    image : napari.layers.Image
        The image; the layers lie on it.
    grid : LayerGrid
        How it is read.
    current_frame : callable
        Gives the frame that the viewer shows.

    Attributes
    ----------
    current : napari.layers.Labels
        The picture of the masks.
    committed : napari.layers.Labels
        What objects are committed into: `own`, or a layer of the user's own.
    own : napari.layers.Labels
        The layer that was made to commit into.
    held : HeldMasks
        The masks that are not committed. Changed through `set_masks` alone.
    log : WorkLog
        How the committed labels came about.
    committed_scores : mapping of Target to ObjectScore
        How sure the masks were that were committed last, by object and frame.
    """

    masks_changed = Signal(int)
    """The masks that are held of a frame have changed, or which of them are shown."""

    committed_changed = Signal(frozenset)
    """Frames of the committed labels have changed, or are just being changed."""

    def __init__(self, image: Image, grid: LayerGrid, current_frame: Callable[[], int]) -> None:
        self.image, self.grid, self._current_frame = image, grid, current_frame
        self.current = new_labels_layer(image, grid, name=CURRENT_NAME)
        self.committed = self.own = new_labels_layer(image, grid, name=COMMITTED_NAME)
        self.held = HeldMasks(grid.num_frames)
        self.log = WorkLog()
        self._shown = Shown()
        self._stale: set[int] = set()
        self._read: dict[int, NDArray[np.integer]] = {}
        self._committed_frames: dict[int, set[int]] = {}
        self._unindexed: set[int] = set()
        self.committed_scores: Mapping[Target, ObjectScore] = {}

    # The picture -----------------------------------------------------------------------------------------------------

    def set_masks(self, frame: int, masks: Mapping[int, HeldMask]) -> None:
        """Let these be the masks of a frame."""
        self.make_room(masks)
        strokes = self._strokes(frame) if frame == self._current_frame() else None
        self.held.set(frame, masks)
        is_changed = self._draw(frame, strokes)
        self.masks_changed.emit(frame)
        if is_changed and frame == self._current_frame():
            _refresh(self.current)

    def make_room(self, object_ids: Iterable[int]) -> None:
        """Let the picture hold objects, however large their numbers are."""
        if widen(self.current, self.grid, max(object_ids, default=0)):
            self._read.clear()

    @property
    def shown(self) -> Shown:
        """Which masks are to be seen."""
        return self._shown

    def show(self, shown: Shown) -> None:
        """Let these masks be seen; `redraw` draws them."""
        if shown != self._shown:
            self._shown = shown
            self._stale.update(self.held.frames)

    def redraw(self, frames: Iterable[int] | None = None) -> None:
        """Draw frames, or all of them, as far as they are not as they should be."""
        stale = self._stale & set(self._stale if frames is None else frames)
        drawn = [self._draw(frame) for frame in sorted(stale)]
        if any(drawn):
            _refresh(self.current)

    def refresh(self) -> None:
        """Let the viewer show what is in all layers now, whoever has changed it."""
        for layer in {self.current, self.committed, self.own}:
            _refresh(layer)

    def composed(self, frame: int) -> NDArray[np.unsignedinteger]:
        """Labels of a frame as its masks make them: what the picture shows unless somebody paints."""
        masks = self.held.shown_on(frame, self._shown)
        return compose(masks, self.grid.height, self.grid.width, self.current.data.dtype)

    def painted(self, frame: int) -> dict[int, NDArray[np.bool_]]:
        """Masks of those objects of a frame that somebody has painted or erased since it was drawn; (Y, X) each."""
        found, expected = read_frame(self.current, self.grid, frame), self.composed(frame)
        is_touched = found != expected
        ids = np.unique(np.concatenate((found[is_touched], expected[is_touched])))
        return {int(object_id): found == object_id for object_id in ids if object_id}

    def set_features(self, names: Mapping[int, str]) -> None:
        """Show the table of objects on the picture: on hover, and in napari's features table."""
        set_features(self.current, self.held.features(), names)

    def set_names(self, names: Mapping[int, str]) -> None:
        """Show names on both layers; not on a committed one of the user's own, whose table is hers."""
        self.set_features(names)
        if self.committed == self.own:
            table = self.committed.features
            table = table if "index" in table else table.assign(index=[])
            set_features(self.committed, table[table["index"] != 0].drop(columns="name", errors="ignore"), names)

    def colour_of(self, object_id: int) -> tuple[float, float, float, float]:
        """Colour of an object: red, green, blue and alpha in [0, 1]."""
        return object_colour(self.current, object_id)

    def accept_strokes(self, frame: int) -> None:
        """Take note that what is painted on a frame by now was read: it need not stay in the picture."""
        self._read[frame] = read_frame(self.current, self.grid, frame).copy()

    def _strokes(self, frame: int) -> tuple[NDArray[np.bool_], NDArray[np.integer]] | None:
        """Where somebody has painted on a frame and nobody has read it, and what: the brush may still be down."""
        check_writable(self.current, self.grid.shape)
        if frame in self._stale:
            return None
        found, known = read_frame(self.current, self.grid, frame), self._read.get(frame)
        is_painted = found != (self.composed(frame) if known is None else known)
        return (is_painted, found[is_painted]) if is_painted.any() else None

    def _draw(self, frame: int, strokes: tuple[NDArray[np.bool_], NDArray[np.integer]] | None = None) -> bool:
        self._stale.discard(frame)
        self._read.pop(frame, None)
        plane: NDArray[np.integer] = self.composed(frame)
        if strokes is not None:
            is_painted, values = strokes
            plane[is_painted] = values
        return write_frame(self.current, self.grid, frame, plane) is not None

    # What is settled -------------------------------------------------------------------------------------------------

    @property
    def committed_ids(self) -> tuple[int, ...]:
        """Objects in the committed labels, ascending."""
        return tuple(sorted(i for i, frames in self._indexed().items() if frames))

    def use_target(self, layer: Labels) -> None:
        """Let objects be committed into a layer; what is in it already counts as made by hand."""
        self.committed = layer
        self.log = WorkLog()
        self._committed_frames = {}
        self.touch(range(self.grid.num_frames))

    def take_over(self, log: WorkLog) -> None:
        """Let this be how the committed labels came about, which hold what it says already."""
        self.log = log
        self._note_change(range(self.grid.num_frames))

    def touch(self, frames: Iterable[int]) -> None:
        """Take note that frames of the committed labels were changed, or are going to be, other than by a commit."""
        touched = set(frames)
        self.log.touch(touched)
        self._note_change(touched)

    def withdraw(self, step: Step, frames: Iterable[int]) -> None:
        """Take note that a step is being undone."""
        self._note_change(frames)
        if not self.log.withdraw(step):
            self.log.touch(frames)

    def settle_log(self) -> None:
        """Write what was changed by hand into the log; it is certain from then on."""
        frames = self.log.touched
        if frames:
            self.committed_scores = {t: s for t, s in self.committed_scores.items() if t.frame not in frames}
        self.log.settle(lambda frame: read_frame(self.committed, self.grid, frame))

    def make_room_to_commit(self, object_ids: Iterable[int]) -> str:
        """Let the committed labels hold objects; return what had to be done to a layer of the user's own for it.

        Raises
        ------
        OptionError
            If the layer is the user's own, has a narrower type, and its data is no array in memory.
        """
        layer, highest = self.committed, max(object_ids, default=0)
        before = np.dtype(layer.data.dtype)
        if highest <= np.iinfo(before).max:
            return ""
        if layer != self.own and not isinstance(layer.data, np.ndarray):
            raise OptionError(
                f"Object {highest} does not fit Labels layer {layer.name!r}, whose array holds numbers up to "
                f"{np.iinfo(before).max} ({before}) and stays as it is. Commit into {self.own.name!r} instead: choose "
                "it under Layers in the panel."
            )
        widen(layer, self.grid, highest)
        if layer == self.own:
            return ""
        return (
            f"Labels layer {layer.name!r} is of type {layer.data.dtype} now, because object {highest} did not fit "
            f"{before}. Its labels are the same."
        )

    def hold_committed(self, frame: int, plane: NDArray[np.integer]) -> None:
        """Let these be the committed labels of a frame, as they were written down before. Errors as in `commit`."""
        self.make_room_to_commit([int(plane.max(initial=0))])
        write_frame(self.committed, self.grid, frame, plane)

    def commit(self, policy: CommitPolicy, locked: frozenset[int]) -> list[LabelPatch]:
        """Move what is shown into the committed labels; the masks stay held until somebody lets them go.

        Raises
        ------
        NapariSam2Error
            If a layer cannot be written. Nothing has changed then.
        """
        self.redraw()
        patches = commit(
            self.current,
            self.committed,
            self.grid,
            self.held.frames,
            policy,
            confidences=confidences_by_frame(self.committed_scores.values(), self.held.snapshot()),
            locked=locked,
        )
        self._note_change(patch.frame for patch in patches if patch.layer is self.committed)
        return patches

    def set_committed_scores(self, scores: Mapping[Target, ObjectScore], names: Mapping[int, str]) -> None:
        """Let these be the scores of what is committed; they are shown on the layer unless it is the user's own."""
        self.committed_scores = scores
        if self.committed == self.own:
            set_features(self.committed, feature_table(score_table(scores.values())), names)

    def all_scores(self) -> pd.DataFrame:
        """Table of scores of the committed masks and of those that are shown, which count where there are both."""
        scores = dict(self.committed_scores)
        for masks in self.held.snapshot().values():
            scores |= {Target(i, h.score.frame): h.score for i, h in masks.items() if self._shown.includes(h)}
        return score_table(scores.values())

    def merged(self, policy: CommitPolicy, locked: frozenset[int]) -> MergedLabels:
        """All objects in one array: what is written when work is exported."""
        self.redraw()
        confidences = confidences_by_frame(self.committed_scores.values(), self.held.snapshot())
        return MergedLabels(self.committed.data, self.current.data, self.grid, confidences, policy, locked)

    def delete(self, object_id: int) -> list[LabelPatch]:
        """Take an object out of the committed labels. Errors as in `commit`."""
        frames = sorted(self._indexed().get(object_id, ()))
        patches = delete_object(self.committed, self.grid, object_id, frames)
        self._note_change(patch.frame for patch in patches)
        return patches

    def merge(self, into: int, other: int) -> list[LabelPatch]:
        """Make one committed object part of another. Errors as in `commit`."""
        frames = sorted(self._indexed().get(other, ()))
        self.make_room_to_commit([into])
        patches = merge_objects(self.committed, self.grid, into, other, frames)
        self._note_change(patch.frame for patch in patches)
        return patches

    def _note_change(self, frames: Iterable[int]) -> None:
        changed = frozenset(frames)
        self._unindexed |= changed
        if changed:
            self.committed_changed.emit(changed)

    def _indexed(self) -> Mapping[int, set[int]]:
        """Frames of each committed object; those that were changed since are looked at again."""
        for frame in sorted(self._unindexed):
            found = _labels_on(read_frame(self.committed, self.grid, frame))
            for object_id, on_frames in self._committed_frames.items():
                if object_id not in found:
                    on_frames.discard(frame)
            for object_id in found:
                self._committed_frames.setdefault(object_id, set()).add(frame)
        self._unindexed.clear()
        return self._committed_frames


def _refresh(layer: Labels) -> None:
    layer.refresh(extent=False, thumbnail=False, highlight=False)


def _labels_on(plane: NDArray[np.integer]) -> set[int]:
    """Labels in a plane, but for the background. Objects are runs of equal numbers, so few pixels need be compared."""
    pixels = plane.reshape(-1)
    first = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    return {*pixels[:1].tolist(), *np.unique(pixels[first]).tolist()} - {0}


def confidences_by_frame(committed: Iterable[ObjectScore], held: Snapshot) -> dict[int, dict[int, float]]:
    """Confidence by frame and object, of masks that are held before those that were committed."""
    confidences: dict[int, dict[int, float]] = {}
    for score in committed:
        confidences.setdefault(score.frame, {})[score.object_id] = score.confidence
    for frame, masks in held.items():
        confidences.setdefault(frame, {}).update({i: one.score.confidence for i, one in masks.items()})
    return confidences
