"""The Labels layer `current_object`, which shows the masks that are not committed.

The masks are the truth and the layer is their picture. A frame of the picture is drawn when its masks change, or, where
only what is to be shown has changed, when somebody looks at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.labels.composing import compose
from napari_sam2.layers.label_edits import check_writable, write_frame
from napari_sam2.layers.label_layers import new_labels_layer, refresh_pixels, set_features, widen
from napari_sam2.workspace.held import HeldMasks, Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam2.labels.composing import Composed
    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.workspace.held import HeldMask

CURRENT_NAME = "current_object"


class Picture:
    """Held masks, and the layer that shows them.

    Parameters
    ----------
    image : napari.layers.Image
        The image; the layer lies on it.
    grid : LayerGrid
        How it is read.
    current_frame : callable
        Returns the frame that the viewer shows.

    Attributes
    ----------
    layer : napari.layers.Labels
        The picture of the masks.
    held : HeldMasks
        The masks that are not committed. Changed through `set_masks` alone.
    shown : Shown
        Which of them are shown. Changed through `show` alone.
    drops_specks : bool
        Whether specks that remain beside other objects are dropped (see `compose`); work of before they were keeps
        them. Set before there are masks.
    """

    masks_changed = Signal(int)
    """The masks that are held of a frame have changed."""

    def __init__(self, image: Image, grid: LayerGrid, current_frame: Callable[[], int]) -> None:
        self.grid, self._current_frame = grid, current_frame
        self.layer = new_labels_layer(image, grid, name=CURRENT_NAME)
        self.held = HeldMasks(grid.num_frames)
        self.shown = Shown()
        self.drops_specks = True
        self._stale: set[int] = set()
        self._read: dict[int, NDArray[np.integer]] = {}

    def set_masks(self, frame: int, masks: Mapping[int, HeldMask]) -> None:
        """Replace the masks of a frame, and draw them under strokes of a brush that may still be down."""
        self.make_room(masks)
        if self._put(frame, masks, is_seen=frame == self._current_frame()):
            refresh_pixels(self.layer)

    def _put(self, frame: int, masks: Mapping[int, HeldMask], *, is_seen: bool) -> bool:
        """Hold and draw the masks of a frame; return whether that changes what is seen."""
        strokes = self._strokes(frame) if is_seen else None
        self.held.set(frame, masks)
        is_changed = self._draw(frame, strokes)
        self.masks_changed.emit(frame)
        return is_changed and is_seen

    def exchange(self, masks: Mapping[int, tuple[Collection[int], Mapping[int, HeldMask]]]) -> None:
        """Replace masks of some objects by others: by frame, the ids of the objects, and their masks from now on."""
        seen = self._current_frame()
        self.make_room(i for _, new in masks.values() for i in new)
        is_changed = False
        for frame, (ids, new) in masks.items():
            others = {i: one for i, one in self.held.on(frame).items() if i not in ids}
            is_changed |= self._put(frame, {**others, **new}, is_seen=frame == seen)
        if is_changed:
            refresh_pixels(self.layer)

    def make_room(self, object_ids: Iterable[int]) -> None:
        """Give the layer a type that holds these objects."""
        if widen(self.layer, self.grid, max(object_ids, default=0)):
            self._read.clear()

    def show(self, shown: Shown) -> None:
        """Change which masks are shown; `redraw` draws them."""
        if shown != self.shown:
            self.shown = shown
            self._stale.update(self.held.frames)

    def redraw(self, frames: Iterable[int] | None = None) -> None:
        """Draw those of some frames, or of all, that are out of date."""
        stale = self._stale & set(self._stale if frames is None else frames)
        drawn = [self._draw(frame) for frame in sorted(stale)]
        if any(drawn):
            refresh_pixels(self.layer)

    def composed(self, frame: int) -> NDArray[np.unsignedinteger]:
        """Return the labels of a frame as its masks make them: what the layer shows unless somebody paints."""
        return self._composed(frame).labels

    def _composed(self, frame: int) -> Composed:
        held = self.held.on(frame)
        return compose(
            self.held.shown_on(frame, self.shown),
            self.grid.height,
            self.grid.width,
            self.layer.data.dtype,
            prompts_of=lambda object_id: (one for one in held[object_id].prompts if one.frame == frame),
            drops_specks=self.drops_specks,
        )

    def painted(self, frame: int) -> dict[int, NDArray[np.bool_]]:
        """Return the masks of objects that somebody has painted or erased on a frame since it was drawn; (Y, X)."""
        found, expected = self.grid.plane(self.layer.data, frame), self.composed(frame)
        is_touched = found != expected
        ids = np.unique(np.concatenate((found[is_touched], expected[is_touched])))
        return {int(object_id): found == object_id for object_id in ids if object_id}

    def accept_strokes(self, frame: int) -> None:
        """Mark what is painted on a frame by now as read: it need not stay in the picture."""
        self._read[frame] = self.grid.plane(self.layer.data, frame).copy()

    def show_table(self, names: Mapping[int, str]) -> None:
        """Show the table of objects on the layer: on hover, and in napari's features table."""
        set_features(self.layer, self.held.features(), names)

    def _strokes(self, frame: int) -> tuple[NDArray[np.bool_], NDArray[np.integer]] | None:
        """Where somebody has painted on a frame and nobody has read it, and what."""
        check_writable(self.layer, self.grid.shape)
        if frame in self._stale:
            return None
        found, known = self.grid.plane(self.layer.data, frame), self._read.get(frame)
        is_painted = found != (self.composed(frame) if known is None else known)
        return (is_painted, found[is_painted]) if is_painted.any() else None

    def _draw(self, frame: int, strokes: tuple[NDArray[np.bool_], NDArray[np.integer]] | None = None) -> bool:
        self._stale.discard(frame)
        self._read.pop(frame, None)
        composed = self._composed(frame)
        self.held.count(frame, composed.area_px)
        plane: NDArray[np.integer] = composed.labels
        if strokes is not None:
            is_painted, values = strokes
            plane[is_painted] = values
        return write_frame(self.layer, self.grid, frame, plane) is not None
