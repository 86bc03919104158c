"""How large prompts are on the screen, whatever the zoom, and which boxes step back because they are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.layers.places import in_frames
from napari_sam2.layers.reading import OBJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.layers.prompt_layers import PromptLayers

POINT_PX = 10
"""Diameter of a point on the screen."""

EDGE_PX, ANSWERED_EDGE_PX = 2.0, 1.0
"""Width on the screen of the edge of a shape, and of one that is answered."""

ANSWERED_ALPHA = 0.5
"""How much is seen of the edge of a shape that is answered."""


class PromptLooks:
    """Sizes the prompts of our two layers. What is as it should be is left alone.

    Parameters
    ----------
    own : PromptLayers
        The layers.
    image : napari.layers.Image
        The image they lie on.
    grid : LayerGrid
        How it is read.
    pixel : callable
        Returns the side of a pixel of the image, in pixels of the screen.
    is_answered : callable
        Tells whether an object, the first number, has a mask on a frame, the second.
    """

    def __init__(
        self,
        own: PromptLayers,
        image: Image,
        grid: LayerGrid,
        *,
        pixel: Callable[[], float],
        is_answered: Callable[[int, int], bool],
    ) -> None:
        self._own, self._image, self._grid = own, image, grid
        self._pixel, self._is_answered = pixel, is_answered

    def fit(self) -> None:
        """Size the points, and those to come, and the shapes to come."""
        points, shapes, pixel = self._own.points, self._own.shapes, self._pixel()
        # What is selected would be given the current values, and has its own.
        if not points.selected_data:
            points.current_size = POINT_PX / pixel
        if not shapes.selected_data:
            shapes.current_edge_width = EDGE_PX / pixel
        points.size = POINT_PX / pixel

    def show_answered(self) -> None:
        """Draw the edges of shapes; thin and half transparent where there is an answer, but for the chosen object."""
        shapes = self._own.shapes
        if not len(shapes.data):
            return
        steps_back = self._answered()
        widths = np.where(steps_back, ANSWERED_EDGE_PX, EDGE_PX) / self._pixel()
        if not np.allclose(shapes.edge_width, widths, rtol=1e-3):
            shapes.edge_width = widths.tolist()
            shapes.refresh(extent=False, thumbnail=False, highlight=False)  # napari does not by itself
        colours = np.array(shapes.edge_color)
        alphas = np.where(steps_back, ANSWERED_ALPHA, 1.0)
        if not np.allclose(colours[:, 3], alphas):
            colours[:, 3] = alphas
            shapes.edge_color = colours

    def _answered(self) -> NDArray[np.bool_]:
        """Which shapes have an answer, and are not of the object that is chosen."""
        shapes = self._own.shapes
        corners = np.array([one[0] for one in shapes.data])
        frames = in_frames(corners, shapes, self._image, self._grid)[:, 0].round()
        ids = shapes.features[OBJECT_ID].to_numpy(int)
        return np.array(
            [
                object_id != self._own.object_id and self._is_answered(int(object_id), int(frame))
                for object_id, frame in zip(ids, np.nan_to_num(frames, nan=-1), strict=True)
            ],
            np.bool_,
        )
