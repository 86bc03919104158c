"""Which layers may serve an image: as a channel of it, or to commit into; and which resolution level is read of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import OptionError
from napari_sam2.layers.grid import grid_of, is_aligned
from napari_sam2.layers.label_edits import check_writable, read_frame

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from napari.layers import Image, Labels
    from napari.layers.base import Layer

    from napari_sam2.layers.grid import LayerGrid

MAX_SIDE = 2048
"""Longest side of a frame of a multiscale image, in pixels, on the level that is read unless another one is chosen.

Models look at 1024 pixels at most: finer levels show them no more, but every frame is read and every mask written in
full. Twice as many keep the outlines as exact as the model knows them.
"""


def default_grid(image: Image, order: Sequence[int] | None = None) -> LayerGrid:
    """Read the axes of an image as `grid_of`, on the finest level that has no side beyond `MAX_SIDE`, or the coarsest.

    An image without levels is read as it is, however large.

    Raises
    ------
    FrameError
        As in `grid_of`.
    """
    levels = len(image.level_shapes) if image.multiscale else 1
    grids = [grid_of(image, order, level=level) for level in range(levels)]
    return next((grid for grid in grids if max(grid.height, grid.width) <= MAX_SIDE), grids[-1])


def lies_on(layer: Image | Labels, image: Image, grid: LayerGrid) -> bool:
    """Whether all of a layer lies on an image pixel by pixel, on the level that is read of it."""
    array = layer.data[min(grid.level, len(layer.data) - 1)] if layer.multiscale else layer.data
    shape = tuple(array.shape)[: layer.ndim]
    return len(shape) == len(grid.shape) and is_aligned(layer, shape, image, grid)


def channels_for(image: Image, grid: LayerGrid, layers: Iterable[Layer]) -> tuple[Image, ...]:
    """Choose from layers those that may be a colour of what the model sees: images that lie on this one, none RGB."""
    from napari.layers import Image as ImageLayer

    greys = (layer for layer in layers if isinstance(layer, ImageLayer) and not layer.rgb)
    return tuple(layer for layer in greys if layer == image or lies_on(layer, image, grid))


def targets_for(image: Image, grid: LayerGrid, layers: Iterable[Layer]) -> tuple[Labels, ...]:
    """Choose from layers those that objects may be committed into: Labels that lie on an image, with one level."""
    from napari.layers import Labels as LabelsLayer

    labels = (layer for layer in layers if isinstance(layer, LabelsLayer) and not layer.multiscale)
    return tuple(layer for layer in labels if lies_on(layer, image, grid))


def check_target(layer: Labels, image: Image, grid: LayerGrid) -> None:
    """Refuse a layer that objects of an image cannot be committed into.

    Raises
    ------
    OptionError
        If it does not lie on the image pixel by pixel.
    FrameError
        If its data cannot be written.
    """
    if layer.multiscale or not lies_on(layer, image, grid):
        shape = layer.level_shapes[0].tolist() if layer.multiscale else list(layer.data.shape)
        raise OptionError(
            f"Labels layer {layer.name!r} of shape {tuple(shape)} cannot take the objects of {image.name!r} of shape "
            f"{grid.shape}. Choose one that lies on it pixel by pixel."
        )
    check_writable(layer, grid.shape)


def shared_id(layer: Labels, grid: LayerGrid, object_ids: Collection[int]) -> int | None:
    """Find an object that a Labels layer of the grid's shape has pixels of, among some; None if it has none of them."""
    wanted = np.array(sorted(object_ids), np.int64)
    for frame in range(grid.num_frames) if wanted.size else ():
        plane = read_frame(layer, grid, frame)
        found = plane[np.isin(plane, wanted)]
        if found.size:
            return int(found[0])
    return None
