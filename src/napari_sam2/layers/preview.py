"""The Labels layer `found_objects`: what a model has found by itself, as long as nobody has made objects of it.

Objects are drawn in bright colours. What is only proposed has none: an edge of black and white dashes, as selections
have everywhere, which is seen on dark and bright images alike, and a pale inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.layers.label_layers import new_labels_layer, refresh_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.proposals import Proposal

PREVIEW_NAME = "found_objects"

_INSIDE, _WHITE, _BLACK = 1, 2, 3
_COLOURS: dict[int | None, NDArray[np.float32]] = {
    None: np.zeros(4, np.float32),
    0: np.zeros(4, np.float32),
    _INSIDE: np.array((1, 1, 1, 0.15), np.float32),
    _WHITE: np.array((1, 1, 1, 1), np.float32),
    _BLACK: np.array((0, 0, 0, 1), np.float32),
}

DASH_PX = 3
"""Length of the dashes of an edge, in pixels of the image."""


class Preview:
    """Draws proposals over the image, and takes them away. Only what differs is drawn anew.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer. The layer is in it from the first time on that there is something to show.
    image : napari.layers.Image
        The image.
    grid : LayerGrid
        How it is read.
    """

    def __init__(self, viewer: ViewerModel, image: Image, grid: LayerGrid) -> None:
        self._viewer, self._image, self._grid = viewer, image, grid
        self._frame = 0
        self._drawn: dict[int, Proposal] = {}  # by identity: what is kept mostly stays the same object
        self.layer: Labels | None = None

    def show(self, frame: int, proposals: Iterable[Proposal]) -> None:
        """Show proposals on a frame, and no others."""
        if frame != self._frame:
            self.clear()
        wanted = {id(one): one for one in proposals}
        gone = [one for number, one in self._drawn.items() if number not in wanted]
        new = [one for number, one in wanted.items() if number not in self._drawn]
        self._frame, self._drawn = frame, wanted
        if not gone and not new:
            return
        if self.layer is None:
            self.layer = self._new_layer()
        plane = self._grid.plane(self.layer.data, frame)  # a view, unless the frames are on disk
        for one in gone:
            plane[one.window][one.mask] = 0
        for one in new:
            _draw(plane, one)
        if not isinstance(self.layer.data, np.ndarray):
            self.layer.data[self._grid.key(frame)] = self._grid.oriented(plane)
        refresh_pixels(self.layer)

    def clear(self) -> None:
        """Show nothing. The layer stays: to take one out of the viewer takes napari a second at times."""
        self.show(self._frame, ())

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        layer, self.layer, self._drawn = self.layer, None, {}
        if layer is not None and layer in self._viewer.layers:
            active = self._viewer.layers.selection.active
            self._viewer.layers.remove(layer)
            if active is not layer:
                self._viewer.layers.selection.active = active

    def _new_layer(self) -> Labels:
        from napari.utils.colormaps import DirectLabelColormap

        layer = new_labels_layer(self._image, self._grid, name=PREVIEW_NAME, dtype=np.uint8)
        layer.colormap = DirectLabelColormap(color_dict=_COLOURS)
        layer.opacity = 1.0
        layer.editable = False
        layers, active = self._viewer.layers, self._viewer.layers.selection.active
        layers.insert(layers.index(self._image) + 1, layer)  # below the objects and their prompts
        layers.selection.active = active
        return layer


def _draw(plane: NDArray[np.integer], proposal: Proposal) -> None:
    """Draw a proposal into the labels of a frame."""
    mask = proposal.mask
    inside = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.bool_)
    inside[1:-1, 1:-1] = mask
    inside = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    y, x = np.nonzero(mask & ~inside)
    window = plane[proposal.window]
    window[mask] = _INSIDE
    is_white = (y + x + sum(proposal.corner)) // DASH_PX % 2 == 0
    window[y, x] = np.where(is_white, _WHITE, _BLACK)
