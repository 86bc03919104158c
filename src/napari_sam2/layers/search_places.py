"""Where a model looks for objects, as the user says it: by shapes, by what is in view, by points and labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import OptionError
from napari_sam2.labels.pieces import innermost
from napari_sam2.labels.prompts import masks_of_frame
from napari_sam2.layers.labels_reader import plane_on
from napari_sam2.layers.reading import prompts_of_points, prompts_of_shapes
from napari_sam2.prompts import BoxPrompt, MaskPrompt

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Points, Shapes
    from numpy.typing import NDArray

    from napari_sam2.layers.grid import LayerGrid

Window = tuple[slice, slice]


def window_in_view(image: Image, grid: LayerGrid) -> Window:
    """Return rows and columns of an image that are on the canvas.

    Raises
    ------
    OptionError
        If there are none.
    """
    corners = np.array(image.corner_pixels, np.float64)
    if image.multiscale:  # counted in pixels of the level that is drawn
        factors = np.ones(image.ndim)
        factors[: len(image.downsample_factors[image.data_level])] = image.downsample_factors[image.data_level]
        corners = (corners + 0.5) * factors - 0.5
    (_, top, left), (_, bottom, right) = np.floor(grid.to_frames(corners) + 0.5).astype(int).tolist()
    rows = slice(max(top, 0), min(bottom + 1, grid.height))
    columns = slice(max(left, 0), min(right + 1, grid.width))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        raise OptionError("Nothing of the image is in view. Move it back, or look on the whole frame.")
    return rows, columns


def region_of(shapes: Shapes, image: Image, grid: LayerGrid, frame: int) -> NDArray[np.bool_]:
    """Return where the closed shapes of a layer are on a frame, (Y, X); an ellipse counts as the box round it.

    Raises
    ------
    OptionError
        If there is none.
    PromptError
        If the layer makes no sense on this image.
    """
    region = np.zeros((grid.height, grid.width), np.bool_)
    for prompt in prompts_of_shapes(shapes, image, grid, current_frame=frame, outside={}):
        if prompt.frame != frame:
            continue
        match prompt:
            case MaskPrompt(corner=(y, x), extent=(height, width)):
                region[y : y + height, x : x + width] |= prompt.crop
            case BoxPrompt():
                rows = slice(math.ceil(prompt.y_min), math.floor(prompt.y_max) + 1)
                region[rows, math.ceil(prompt.x_min) : math.floor(prompt.x_max) + 1] = True
    if not region.any():
        raise OptionError(
            f"Layer {shapes.name!r} has no closed shape on this frame. Draw a rectangle or a polygon round what is to "
            "be searched, or look on the whole frame."
        )
    return region


def seeds_of(layer: Points | Labels, image: Image, grid: LayerGrid, frame: int) -> tuple[tuple[float, float], ...]:
    """Return rows and columns of what a layer marks on a frame: each point, and the innermost pixel of each label.

    Raises
    ------
    OptionError
        If there is nothing.
    PromptError
        If the layer makes no sense on this image, or is of labels that do not lie on it pixel by pixel.
    """
    from napari.layers import Points

    if isinstance(layer, Points):
        points = prompts_of_points(layer, image, grid, current_frame=frame, outside={})
        seeds = tuple((one.y, one.x) for one in points if one.frame == frame and one.positive)
    else:
        masks = masks_of_frame(plane_on(layer, image, grid, frame), frame)
        seeds = tuple(innermost(mask) for mask in masks)
    if not seeds:
        raise OptionError(f"Layer {layer.name!r} marks nothing on this frame. Mark objects there, or take no seeds.")
    return seeds
