"""How masks and prompts of one image are drawn at the zoom of the canvas. No Qt.

A filled mask hides the edge that is to be judged, an outline is lost where pixels are smaller than those of the screen:
masks are outlined where the user has zoomed in, unless something else is chosen. Prompts keep their size on the screen.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from napari_sam2.layers.places import pixel_side
from napari_sam2.layers.prompt_looks import PromptLooks
from napari_sam2.workspace.outlines import Outlines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.layers.prompt_layers import PromptLayers


class MaskLook(Enum):
    """How masks are drawn."""

    AUTO = "auto"
    FILL = "fill"
    OUTLINE = "outline"
    BOTH = "both"


OUTLINE_PX = 1.5
"""Width of an outline on the screen, if pixels are smaller than that; else it is one pixel of the image wide."""

OUTLINED_FROM, FILLED_BELOW = 1.1, 0.9
"""Side of a pixel on the screen from which masks are outlined, and below which they are filled again."""

MOST_OUTLINED = 2**22
"""Pixels of a frame up to which masks are outlined by themselves: napari computes outlines of a whole frame whenever it
is drawn, which takes 40 ms for 1024 x 1024 pixels."""

STEP = math.log(1.15)
"""Change of the zoom, as a logarithm, from which on prompts are sized anew: each of many boxes is drawn again."""


class Display:
    """Follows the camera of a viewer.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    image : napari.layers.Image
        The image in work.
    grid : LayerGrid
        How it is read.
    own : PromptLayers
        The layers of prompts.
    masks : sequence of napari.layers.Labels
        The layers of masks that were made for the work.
    is_answered : callable
        Tells whether an object, the first number, has a mask on a frame, the second.

    Attributes
    ----------
    look : MaskLook
        How masks are drawn. Changed through `use` alone.
    outlines : Outlines
        The outlines over filled masks, where both are drawn.
    prompts : PromptLooks
        Sizes the prompts.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        grid: LayerGrid,
        own: PromptLayers,
        masks: Sequence[Labels],
        *,
        is_answered: Callable[[int, int], bool],
    ) -> None:
        self._viewer, self._image, self._grid = viewer, image, grid
        self._masks = masks
        self.prompts = PromptLooks(own, image, grid, pixel=self.pixel, is_answered=is_answered)
        self.outlines = Outlines(viewer, masks)
        self._contours = [layer.contour for layer in masks]
        self._fitted = math.nan
        self._is_outlined = False
        self.look = MaskLook.AUTO

    def _signals(self) -> Iterator[tuple[object, Callable[..., object]]]:
        # The camera of the viewer itself is deprecated since napari 0.9, and the scene is not there before.
        camera = getattr(self._viewer, "scene", self._viewer).camera
        yield camera.events.zoom, self._on_zoom
        yield self._viewer.dims.events.ndisplay, self._on_zoom

    def open(self) -> None:
        """Begin to follow the camera."""
        for signal, listener in self._signals():
            signal.connect(listener)  # type: ignore[attr-defined]
        self._fitted = math.nan
        self._on_zoom()

    def close(self) -> None:
        """Follow it no more. What is drawn stays as it is."""
        for signal, listener in self._signals():
            signal.disconnect(listener)  # type: ignore[attr-defined]

    def use(self, look: MaskLook) -> None:
        """Draw masks in another way; also those in layers of which somebody has set the contour by hand."""
        if look is not self.look:
            self.look = look
            self._contours = [layer.contour for layer in self._masks]
            self._draw_masks()

    def pixel(self) -> float:
        """Side of a pixel of the image, in pixels of the screen."""
        camera = getattr(self._viewer, "scene", self._viewer).camera
        return float(camera.zoom) * pixel_side(self._image, self._grid, self._viewer.layers.units)

    def _on_zoom(self) -> None:
        self._draw_masks()
        pixel = self.pixel()
        if not abs(math.log(pixel / self._fitted)) <= STEP:  # also at first, when that is not a number
            self._fitted = pixel
            self.prompts.fit()
            self.prompts.show_answered()

    def _draw_masks(self) -> None:
        width = self._outline_width()
        if self.look is MaskLook.BOTH and width:
            self.outlines.show(width)
            width = 0
        else:
            self.outlines.hide()
        for number, layer in enumerate(self._masks):
            # Whoever sets the contour among the layer's own controls wants it so.
            if layer.contour == self._contours[number] != width:
                layer.contour = self._contours[number] = width

    def _outline_width(self) -> int:
        """Width of outlines, in pixels of the mask; 0 for filled masks."""
        side = self.pixel() * math.sqrt(math.prod(self._grid.downsampling[axis] for axis in self._grid.axes[-2:]))
        if self.look is MaskLook.AUTO:
            self._is_outlined = side >= (FILLED_BELOW if self._is_outlined else OUTLINED_FROM)
            is_outlined = self._is_outlined and self._grid.height * self._grid.width <= MOST_OUTLINED
        else:
            is_outlined = self.look in (MaskLook.OUTLINE, MaskLook.BOTH)
        # napari draws no outlines in three dimensions, and says so each time.
        if not is_outlined or self._viewer.dims.ndisplay == 3:
            return 0
        return max(1, round(OUTLINE_PX / side))
