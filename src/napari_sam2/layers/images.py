"""Image layers as frames that a model can see: one layer, or several as its colours, under one intensity mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import FrameError
from napari_sam2.files.images.arrays import JoinedChannels
from napari_sam2.frames import FrameStack
from napari_sam2.layers.places import is_aligned, lies_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Image
    from napari.layers.base import Layer

    from napari_sam2.frames import ArrayLike, ContrastLimits
    from napari_sam2.layers.grid import LayerGrid


def frames_of(image: Image, grid: LayerGrid, *, contrast_limits: ContrastLimits | None = None) -> FrameStack:
    """Read an image layer as frames, lazily, under one intensity mapping.

    Parameters
    ----------
    image : napari.layers.Image
        The layer.
    grid : LayerGrid
        How it is read; see `grid_of`.
    contrast_limits : (float, float), optional
        Values that become black and white. None means those the layer has now: later changes of the layer do not reach
        the frames. 8-bit RGB is left as it is.

    Raises
    ------
    FrameError
        If the values are no intensities, or the data of the layer no longer has the shape of the grid.
    """
    array = grid.view(_array(image, grid), colours=image.rgb)
    if contrast_limits is None and not (image.rgb and np.dtype(array.dtype) == np.uint8):
        contrast_limits = tuple(image.contrast_limits)
    return FrameStack(array, contrast_limits=contrast_limits, rgb=image.rgb, single_image=grid.frame_axis is None)


def frames_of_channels(
    channels: Sequence[Image], grid: LayerGrid, *, contrast_limits: ContrastLimits | None = None
) -> FrameStack:
    """Read two or three image layers as one stack of coloured frames: the first is red, then green, then blue.

    Parameters
    ----------
    channels : sequence of napari.layers.Image
        Layers of one shape at one place, without colours of their own. The grid is that of the first.
    grid, contrast_limits
        As in `frames_of`, with one pair of limits per channel.

    Raises
    ------
    FrameError
        If there are not two or three layers, or they do not lie on each other pixel by pixel.
    """
    if len(channels) not in (2, 3):
        raise FrameError(f"{len(channels)} channels were given. Choose two or three; a single one is read on its own.")
    first = channels[0]
    for image in channels:
        if image.rgb or not is_aligned(image, tuple(_array(image, grid).shape), first, grid):
            raise FrameError(
                f"Image {image.name!r} does not lie on {first.name!r} pixel by pixel as a channel of it. "
                "Choose layers of one shape, scale and position, none of them RGB."
            )
    joined = JoinedChannels([grid.view(_array(image, grid)) for image in channels])
    if contrast_limits is None:
        contrast_limits = tuple(tuple(image.contrast_limits) for image in channels)
    return FrameStack(joined, contrast_limits=contrast_limits, channel_axis=0, single_image=grid.frame_axis is None)


def channel_names(images: Sequence[Image]) -> tuple[str, ...]:
    """Return a name for each channel of the frames of some images: none for a single one, else no name twice."""
    if len(images) == 1:
        return ("red", "green", "blue") if images[0].rgb else ("",)
    names = [image.name for image in images]
    return tuple(name if names.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(names))


def channels_for(image: Image, grid: LayerGrid, layers: Iterable[Layer]) -> tuple[Image, ...]:
    """Choose from layers those that may be a colour of what the model sees: images that lie on this one, none RGB."""
    from napari.layers import Image as ImageLayer

    greys = (layer for layer in layers if isinstance(layer, ImageLayer) and not layer.rgb)
    return tuple(layer for layer in greys if layer == image or lies_on(layer, image, grid))


def _array(image: Image, grid: LayerGrid) -> ArrayLike:
    levels = len(image.level_shapes) if image.multiscale else 1
    array: ArrayLike = image.data if not image.multiscale else image.data[min(grid.level, levels - 1)]
    shape = tuple(array.shape)[: image.ndim]
    if shape != grid.shape:
        raise FrameError(
            f"The data of image {image.name!r} has shape {shape}, and {grid.shape} is expected. "
            "If it was replaced, start anew with the new data."
        )
    return array
