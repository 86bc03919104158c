"""The committed labels: the layer that holds them, how they came about, and how sure their masks were."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.errors import OptionError
from napari_sam2.labels.values import areas_of
from napari_sam2.layers.label_edits import commit, delete_object, merge_objects, write_frame
from napari_sam2.layers.label_layers import new_labels_layer, set_features, widen
from napari_sam2.layers.planes import MergedLabels
from napari_sam2.results import feature_table, mean_where_any, score_table
from napari_sam2.sessions.steps import WorkLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.layers.label_edits import LabelPatch
    from napari_sam2.prompts import Target
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
        self._areas: dict[int, dict[int, int]] = {}
        self._uncounted: set[int] = set()

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects in the committed labels, ascending."""
        return tuple(sorted(i for i, areas in self._counted().items() if areas))

    # Changes that come from elsewhere --------------------------------------------------------------------------------

    def use_layer(self, layer: Labels) -> None:
        """Commit into another layer from now on; what is in it already counts as made by hand."""
        self.layer = layer
        self.log = WorkLog()
        self._areas = {}
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
        frames = sorted(self._counted().get(object_id, ()))
        patches = delete_object(self.layer, self.grid, object_id, frames)
        self._note_change(patch.frame for patch in patches)
        return patches

    def merge(self, into: int, other: int) -> list[LabelPatch]:
        """Make the pixels of one object pixels of another. Errors as in `commit`."""
        frames = sorted(self._counted().get(other, ()))
        self.make_room([into])
        patches = merge_objects(self.layer, self.grid, into, other, frames)
        self._note_change(patch.frame for patch in patches)
        return patches

    def set_scores(self, scores: Mapping[Target, ObjectScore], names: Mapping[int, str]) -> None:
        """Replace the scores, and show them on the layer unless it is the user's own."""
        self.scores = scores
        if self.layer == self.made:
            self._show(feature_table(score_table(scores.values())), names)

    def show_table(self, names: Mapping[int, str]) -> None:
        """Show names, and the areas of now, in the table of the layer unless it is the user's own."""
        if self.layer == self.made:
            table = self.layer.features
            table = table if "index" in table else table.assign(index=[])
            self._show(table[table["index"] != 0].drop(columns="name", errors="ignore"), names)

    def _show(self, table: pd.DataFrame, names: Mapping[int, str]) -> None:
        if "mean_area_in_labels_px" in table:
            # What is in the labels, whatever the masks were: somebody may have painted.
            areas = self._counted()
            means = [mean_where_any(np.array([*areas.get(int(i), {}).values()], np.int64)) for i in table["index"]]
            table = table.assign(mean_area_in_labels_px=means)
        set_features(self.layer, table, names)

    # Together with the masks that are shown --------------------------------------------------------------------------

    def all_scores(self, picture: Picture) -> pd.DataFrame:
        """Return the scores of committed masks and of those that are shown, which count where there are both.

        Areas in labels are those in the layer that each is in; where all are put together, they are counted anew.
        """
        areas = self._counted()
        scores = {
            (t.object_id, t.frame): replace(one, area_in_labels_px=areas.get(t.object_id, {}).get(t.frame, 0))
            for t, one in self.scores.items()
        }
        scores |= {(one.object_id, one.frame): one for one in picture.held.iter_scores(picture.shown)}
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

    # How much of which object is where -------------------------------------------------------------------------------

    def _note_change(self, frames: Iterable[int]) -> None:
        changed = frozenset(frames)
        self._uncounted |= changed
        if changed:
            self.changed.emit(changed)

    def _counted(self) -> Mapping[int, Mapping[int, int]]:
        """Pixels by object and frame; frames that were changed since are counted again."""
        for frame in sorted(self._uncounted):
            found = areas_of(self.grid.plane(self.layer.data, frame))
            for object_id, by_frame in self._areas.items():
                if object_id not in found:
                    by_frame.pop(frame, None)
            for object_id, area_px in found.items():
                self._areas.setdefault(object_id, {})[frame] = area_px
        self._uncounted.clear()
        return self._areas
