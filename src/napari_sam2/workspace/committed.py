"""The committed labels: the layer that holds them, how they came about, and how sure their masks were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.errors import OptionError
from napari_sam2.layers.label_edits import commit, delete_object, merge_objects, write_frame
from napari_sam2.layers.label_layers import new_labels_layer, set_features, widen
from napari_sam2.layers.planes import MergedLabels
from napari_sam2.prompts import Target
from napari_sam2.results import feature_table, score_table
from napari_sam2.sessions.steps import WorkLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.layers.label_edits import LabelPatch
    from napari_sam2.results import ObjectScore
    from napari_sam2.sessions.steps import Step
    from napari_sam2.workspace.picture import Picture

COMMITTED_NAME = "committed_objects"


class Committed:
    """The labels that objects are committed into.

    Parameters
    ----------
    image : napari.layers.Image
        The image; the layer lies on it.
    grid : LayerGrid
        How it is read.

    Attributes
    ----------
    layer : napari.layers.Labels
        What objects are committed into: `made`, or a layer of the user's own.
    made : napari.layers.Labels
        The layer that was made to commit into.
    log : WorkLog
        How the labels came about.
    scores : mapping of Target to ObjectScore
        How sure the masks were that were committed last, by object and frame.
    """

    changed = Signal(frozenset)
    """Frames have changed, or are just being changed."""

    def __init__(self, image: Image, grid: LayerGrid) -> None:
        self.grid = grid
        self.layer = self.made = new_labels_layer(image, grid, name=COMMITTED_NAME)
        self.log = WorkLog()
        self.scores: Mapping[Target, ObjectScore] = {}
        self._frames_of: dict[int, set[int]] = {}
        self._unindexed: set[int] = set()

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects in the committed labels, ascending."""
        return tuple(sorted(i for i, frames in self._indexed().items() if frames))

    # Changes that come from elsewhere --------------------------------------------------------------------------------

    def use_layer(self, layer: Labels) -> None:
        """Commit into another layer from now on; what is in it already counts as made by hand."""
        self.layer = layer
        self.log = WorkLog()
        self._frames_of = {}
        self.touch(range(self.grid.num_frames))

    def adopt(self, log: WorkLog) -> None:
        """Adopt the log of labels that are already in the layer."""
        self.log = log
        self._note_change(range(self.grid.num_frames))

    def touch(self, frames: Iterable[int]) -> None:
        """Record that frames were changed, or are going to be, other than by a commit."""
        touched = set(frames)
        self.log.touch(touched)
        self._note_change(touched)

    def withdraw(self, step: Step, frames: Iterable[int]) -> None:
        """Take a step that is being undone out of the log, or let its frames count as made by hand."""
        self._note_change(frames)
        if not self.log.withdraw(step):
            self.log.touch(frames)

    def write_log(self) -> None:
        """Write what was changed by hand into the log; it is certain from then on."""
        frames = self.log.touched
        if frames:
            self.scores = {t: s for t, s in self.scores.items() if t.frame not in frames}
        self.log.record_touched(lambda frame: self.grid.plane(self.layer.data, frame))

    def load(self, frame: int, plane: NDArray[np.integer]) -> None:
        """Replace the labels of a frame by those of a session. Errors as in `commit`."""
        self.make_room([int(plane.max(initial=0))])
        write_frame(self.layer, self.grid, frame, plane)

    def make_room(self, object_ids: Iterable[int]) -> str:
        """Give the layer a type that holds these objects; return what had to be done to a layer of the user's for it.

        Raises
        ------
        OptionError
            If the layer is the user's own, has a narrower type, and its data is no array in memory.
        """
        layer, highest = self.layer, max(object_ids, default=0)
        before = np.dtype(layer.data.dtype)
        if highest <= np.iinfo(before).max:
            return ""
        if layer != self.made and not isinstance(layer.data, np.ndarray):
            raise OptionError(
                f"Object {highest} does not fit Labels layer {layer.name!r}, whose array holds numbers up to "
                f"{np.iinfo(before).max} ({before}) and stays as it is. Commit into {self.made.name!r} instead: choose "
                "it under Layers in the panel."
            )
        widen(layer, self.grid, highest)
        if layer == self.made:
            return ""
        return (
            f"Labels layer {layer.name!r} is of type {layer.data.dtype} now, because object {highest} did not fit "
            f"{before}. Its labels are the same."
        )

    # Our own changes -------------------------------------------------------------------------------------------------

    def commit(self, picture: Picture, policy: CommitPolicy, locked: frozenset[int]) -> list[LabelPatch]:
        """Move what is shown into the labels; the masks stay held until somebody lets them go.

        Raises
        ------
        NapariSam2Error
            If a layer cannot be written. Nothing has changed then.
        """
        picture.redraw()
        confidences = self._confidences(picture)
        patches = commit(
            picture.layer, self.layer, self.grid, picture.held.frames, policy, confidences=confidences, locked=locked
        )
        self._note_change(patch.frame for patch in patches if patch.layer is self.layer)
        return patches

    def delete(self, object_id: int) -> list[LabelPatch]:
        """Delete the pixels of an object. Errors as in `commit`."""
        frames = sorted(self._indexed().get(object_id, ()))
        patches = delete_object(self.layer, self.grid, object_id, frames)
        self._note_change(patch.frame for patch in patches)
        return patches

    def merge(self, into: int, other: int) -> list[LabelPatch]:
        """Make the pixels of one object pixels of another. Errors as in `commit`."""
        frames = sorted(self._indexed().get(other, ()))
        self.make_room([into])
        patches = merge_objects(self.layer, self.grid, into, other, frames)
        self._note_change(patch.frame for patch in patches)
        return patches

    def set_scores(self, scores: Mapping[Target, ObjectScore], names: Mapping[int, str]) -> None:
        """Replace the scores, and show them on the layer unless it is the user's own."""
        self.scores = scores
        if self.layer == self.made:
            set_features(self.layer, feature_table(score_table(scores.values())), names)

    def show_names(self, names: Mapping[int, str]) -> None:
        """Show names in the table of the layer unless it is the user's own."""
        if self.layer == self.made:
            table = self.layer.features
            table = table if "index" in table else table.assign(index=[])
            set_features(self.layer, table[table["index"] != 0].drop(columns="name", errors="ignore"), names)

    # Together with the masks that are shown --------------------------------------------------------------------------

    def all_scores(self, picture: Picture) -> pd.DataFrame:
        """Return the scores of committed masks and of those that are shown, which count where there are both."""
        scores = dict(self.scores)
        for masks in picture.held.snapshot().values():
            scores |= {Target(i, h.score.frame): h.score for i, h in masks.items() if picture.shown.includes(h)}
        return score_table(scores.values())

    def merged_with(self, picture: Picture, policy: CommitPolicy, locked: frozenset[int]) -> MergedLabels:
        """Return all objects in one array: what is written when work is exported."""
        picture.redraw()
        confidences = self._confidences(picture)
        return MergedLabels(self.layer.data, picture.layer.data, self.grid, confidences, policy, locked)

    def _confidences(self, picture: Picture) -> dict[int, dict[int, float]]:
        """Confidence by frame and object, of masks that are held before those that were committed."""
        confidences: dict[int, dict[int, float]] = {}
        for score in self.scores.values():
            confidences.setdefault(score.frame, {})[score.object_id] = score.confidence
        for frame, masks in picture.held.snapshot().items():
            confidences.setdefault(frame, {}).update({i: one.score.confidence for i, one in masks.items()})
        return confidences

    # Which object is where -------------------------------------------------------------------------------------------

    def _note_change(self, frames: Iterable[int]) -> None:
        changed = frozenset(frames)
        self._unindexed |= changed
        if changed:
            self.changed.emit(changed)

    def _indexed(self) -> Mapping[int, set[int]]:
        """Frames of each object; those that were changed since are searched again."""
        for frame in sorted(self._unindexed):
            found = _labels_on(self.grid.plane(self.layer.data, frame))
            for object_id, on_frames in self._frames_of.items():
                if object_id not in found:
                    on_frames.discard(frame)
            for object_id in found:
                self._frames_of.setdefault(object_id, set()).add(frame)
        self._unindexed.clear()
        return self._frames_of


def _labels_on(plane: NDArray[np.integer]) -> set[int]:
    """Labels in a plane, but for the background. Objects are runs of equal numbers, so few pixels need be compared."""
    pixels = plane.reshape(-1)
    first = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    return {*pixels[:1].tolist(), *np.unique(pixels[first]).tolist()} - {0}
