"""An Image layer as frames: which axis is which, where other layers lie on it, its pixels under one mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_sam2.errors import FrameError, OptionError
from napari_sam2.files.images.arrays import AxesView, JoinedChannels
from napari_sam2.frames import FrameStack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import pint
    from napari.layers import Image, Labels
    from napari.layers.base import Layer
    from numpy.typing import NDArray

    from napari_sam2.files.images.arrays import Key
    from napari_sam2.frames import ArrayLike, ContrastLimits

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class LayerGrid:
    """How the data of a layer is read as frames of rows and columns.

    Attributes
    ----------
    shape : tuple of int
        Length of each data axis, without colours, on the resolution level that is read. Axes beside frames, rows and
        columns have length one.
    frame_axis : int or None
        Data axis along which frames follow each other; None for a single image.
    row_axis, column_axis : int
        Data axes of a frame.
    level : int
        Resolution level of a multiscale image, 0 the finest.
    downsampling : tuple of float
        Pixels of level 0 per pixel of this level, for each data axis.
    """

    shape: tuple[int, ...]
    frame_axis: int | None
    row_axis: int
    column_axis: int
    level: int
    downsampling: tuple[float, ...]

    @property
    def axes(self) -> tuple[int, ...]:
        """Data axes in the order frame (where there is one), row, column."""
        plane = (self.row_axis, self.column_axis)
        return plane if self.frame_axis is None else (self.frame_axis, *plane)

    @property
    def num_frames(self) -> int:
        """Number of frames; 1 for a single image."""
        return 1 if self.frame_axis is None else self.shape[self.frame_axis]

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return self.shape[self.row_axis]

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return self.shape[self.column_axis]

    @property
    def spare_axes(self) -> tuple[int, ...]:
        """Data axes of length one that are neither frames, rows nor columns, ascending."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.axes)

    @property
    def plain_shape(self) -> tuple[int, ...]:
        """Shape without spare axes, in the order of the data: that of a file of the same image."""
        return tuple(self.shape[axis] for axis in sorted(self.axes))

    @property
    def plain_order(self) -> tuple[int, ...]:
        """Which axes of `plain_shape` are frames (where there are any), rows and columns."""
        kept = sorted(self.axes)
        return tuple(kept.index(axis) for axis in self.axes)

    def key(self, frame: int) -> Key:
        """Index of one frame in an array of this shape; its rows and columns come in the order of the data."""
        plane = (self.row_axis, self.column_axis)
        return tuple(
            slice(None) if axis in plane else frame if axis == self.frame_axis else 0 for axis in range(len(self.shape))
        )

    def view(self, array: ArrayLike, *, colours: bool = False) -> ArrayLike:
        """View an array of this shape as frames, rows and columns, and then its colours, if it has any."""
        order = (*self.axes, len(self.shape)) if colours else self.axes
        is_view = self.spare_axes or order != tuple(range(len(order)))
        return AxesView(array, dict.fromkeys(self.spare_axes, 0), order) if is_view else array

    def oriented(self, plane: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn a plane from the order of the data to rows and columns, or back: a view."""
        return plane.T if self.row_axis > self.column_axis else plane

    def to_frames(self, data: npt.ArrayLike) -> NDArray[np.float64]:
        """Turn data coordinates of the layer, (N, D), into frame, y and x, (N, 3). The frame is not rounded.

        Pixel centres lie at integers on every level: pixel i of a coarse level covers i * d - 0.5 to (i + 1) * d - 0.5.
        """
        level = (np.asarray(data, np.float64) + 0.5) / self.downsampling - 0.5
        frames = np.zeros((len(level), 3))
        frames[:, 3 - len(self.axes) :] = level[:, list(self.axes)]
        return frames

    def to_data(self, frames: npt.ArrayLike) -> NDArray[np.float64]:
        """Turn frame, y and x, (N, 3), into data coordinates of the layer, (N, D)."""
        given = np.asarray(frames, np.float64)
        level = np.zeros((len(given), len(self.shape)))
        level[:, list(self.axes)] = given[:, 3 - len(self.axes) :]
        return (level + 0.5) * self.downsampling - 0.5

    def holds(self, data: npt.ArrayLike) -> NDArray[np.bool_]:
        """Whether data coordinates, (N, D), lie at the one position of each spare axis, (N,)."""
        beside = np.asarray(data, np.float64)[:, list(self.spare_axes)]
        return np.asarray((np.abs(beside) <= 0.5).all(axis=1))  # NaN compares as false


def grid_of(image: Image, order: Sequence[int] | None = None, *, level: int = 0) -> LayerGrid:
    """Read the axes of an image from how it is shown: the last two on the canvas are rows and columns.

    Of the others, the one that is longer than one is that of the frames. Axes of length one beside it say nothing, and
    may be anywhere: readers of OME-Zarr and Bio-Formats give five axes whatever the file has.

    Parameters
    ----------
    image : napari.layers.Image
        The layer.
    order : sequence of int, optional
        Order of the viewer's axes, as `viewer.dims.order` has it; it may have more axes than the image. None means the
        order of the data.
    level : int
        Resolution level of a multiscale image to read, 0 the finest.

    Raises
    ------
    FrameError
        If the image has more than one axis beside those shown that is longer than one.
    OptionError
        If there is no such level.
    """
    shapes = np.atleast_2d(image.level_shapes if image.multiscale else image.data.shape)[:, : image.ndim].tolist()
    if not 0 <= level < len(shapes):
        raise OptionError(f"Image {image.name!r} has no level {level}. Use 0 to {len(shapes) - 1}; 0 is the finest.")
    # Axes are counted from the last one: a viewer with more of them shows the image in all positions of the first.
    surplus = 0 if order is None else len(order) - image.ndim
    shown = [axis - surplus for axis in order or range(image.ndim) if axis >= surplus]
    shown = [*range(-surplus), *shown]
    beside = shown[:-2]
    long = [axis for axis in beside if shapes[0][axis] != 1]
    if len(long) > 1:
        where = " and ".join(f"{shapes[0][axis]} along axis {axis}" for axis in long)
        raise FrameError(
            f"Image {image.name!r} of shape {tuple(shapes[0])} has {image.ndim} axes, and more than one of frames "
            f"beside rows and columns: {where}. Only one can be followed. Take one position along the others: "
            "right-click the layer > Split Stack, or slice its array."
        )
    return LayerGrid(
        shape=tuple(shapes[level]),
        frame_axis=(*long, *beside, None)[0],
        row_axis=shown[-2],
        column_axis=shown[-1],
        level=level,
        downsampling=tuple(fine / coarse for fine, coarse in zip(shapes[0], shapes[level], strict=True)),
    )


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


def place_in(
    image: Image, grid: LayerGrid, point: Sequence[float], units: Sequence[pint.Unit] | None = None
) -> tuple[float, float, float]:
    """Frame, y and x in an image of a point of the world; not rounded, and maybe outside.

    Parameters
    ----------
    image, grid
        As in `frames_of`.
    point : sequence of float
        World coordinates, for example `viewer.dims.point`.
    units : sequence of pint.Unit, optional
        Units of the point, for example `viewer.layers.units`. None means those of the image.
    """
    world = np.array(point, np.float64)
    if units is not None:
        common = min(len(world), image.ndim)
        world[-common:] *= _unit_factors(units[-common:], image.units[-common:])
    frame, y, x = grid.to_frames([image.world_to_data(world)])[0].tolist()
    return frame, y, x


def frame_at(image: Image, grid: LayerGrid, point: Sequence[float], units: Sequence[pint.Unit] | None = None) -> int:
    """Frame of an image at a point of the world, or the nearest one; parameters as of `place_in`."""
    frame, _, _ = place_in(image, grid, point, units)
    return int(np.clip(np.floor(frame + 0.5), 0, grid.num_frames - 1))


def point_of(
    image: Image, grid: LayerGrid, frame: int, units: Sequence[pint.Unit] | None = None
) -> NDArray[np.float64]:
    """World coordinates of the first pixel of a frame, for each axis of the image; parameters as of `place_in`."""
    world = np.array(image.data_to_world(grid.to_data([(frame, 0, 0)])[0]), np.float64)
    if units is not None:
        common = min(len(units), image.ndim)
        world[-common:] /= _unit_factors(units[-common:], image.units[-common:])
    return world


def in_frames(
    coordinates: npt.ArrayLike, layer: Layer, image: Image, grid: LayerGrid, *, current_frame: int = 0
) -> NDArray[np.float64]:
    """Find coordinates of one layer in the frames of another, through scale, rotation, units and all.

    Parameters
    ----------
    coordinates : array-like
        Data coordinates of `layer`, shape (N, d).
    layer : napari.layers.Layer
        Where they stand. A layer with fewer axes than the image has its last ones; without that of the frames, it is
        shown on every frame.
    image : napari.layers.Image
        Where they are wanted.
    grid : LayerGrid
        How the image is read.
    current_frame : int
        The frame on which the coordinates of a layer stand that is shown on every frame.

    Returns
    -------
    ndarray
        Frame, y and x, shape (N, 3), float64; not rounded. The frame is NaN where the coordinates lie beside the image
        along an axis of length one, on which it has a single position.

    Raises
    ------
    FrameError
        If the layer has fewer axes than the image, and lacks rows or columns.
    """
    missing = max(0, image.ndim - layer.ndim)
    if missing > min(grid.row_axis, grid.column_axis):
        raise FrameError(
            f"Layer {layer.name!r} has {layer.ndim} axes, and image {image.name!r} is shown in another order of its "
            f"{image.ndim}: which frame is meant cannot be told. Use a layer with {image.ndim} axes."
        )
    world = _affine(layer.data_to_world, layer.ndim)(np.asarray(coordinates, np.float64))[:, -image.ndim :]
    world *= _unit_factors(layer.units[-world.shape[1] :], image.units[-world.shape[1] :])
    if missing:
        here = image.data_to_world(grid.to_data([(current_frame, 0, 0)])[0])[:missing]
        world = np.hstack((np.tile(here, (len(world), 1)), world))
    data = _affine(image.world_to_data, image.ndim)(world)
    frames = grid.to_frames(data)
    if _is_on_every_frame(missing, grid):
        frames[:, 0] = current_frame
    frames[~grid.holds(data), 0] = np.nan
    return frames


def _is_on_every_frame(missing: int, grid: LayerGrid) -> bool:
    """Whether a layer that lacks so many of the first axes lacks that of the frames."""
    return grid.frame_axis is not None and grid.frame_axis < missing


def is_aligned(
    layer: Image | Labels, shape: tuple[int, ...], image: Image, grid: LayerGrid, *, current_frame: int = 0
) -> bool:
    """Whether an array of another layer lies on the frames of an image pixel by pixel.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        The other layer.
    shape : tuple of int
        Of its array, on the level of the grid if it has several; with the axes of the image, or the last of them, or
        further ones of length one before them.
    image, grid, current_frame
        As in `in_frames`.
    """
    more = max(0, len(shape) - len(grid.shape))
    missing = max(0, len(grid.shape) - len(shape))
    if any(length != 1 for length in shape[:more]) or shape[more:] != grid.shape[missing:]:
        return False
    if missing > min(grid.row_axis, grid.column_axis):
        return False
    lengths = np.array(shape[more:])
    # An affine map is known by its values at the origin and at the end of each axis; spare axes have the origin only.
    ends = np.diag(np.maximum(lengths - 1, 1))[[axis - missing for axis in sorted(grid.axes) if axis >= missing]]
    corners = np.vstack((np.zeros(len(lengths)), ends))
    on_grid = np.hstack((np.zeros((len(corners), missing)), corners))
    expected = np.zeros((len(corners), 3))
    expected[:, 3 - len(grid.axes) :] = on_grid[:, list(grid.axes)]
    if _is_on_every_frame(missing, grid):
        expected[:, 0] = current_frame
    if layer.multiscale:
        corners = (corners + 0.5) * grid.downsampling[missing:] - 0.5
    corners = np.hstack((np.zeros((len(corners), more)), corners))
    found = in_frames(corners, layer, image, grid, current_frame=current_frame)
    return bool(np.allclose(found, expected, rtol=0, atol=0.1))


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


def _affine(
    transform: Callable[[NDArray[np.float64]], npt.ArrayLike], ndim: int
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Make a transform of one point into one of many: napari takes them one by one."""
    origin = np.asarray(transform(np.zeros(ndim)))
    matrix = np.array([transform(unit) for unit in np.eye(ndim)]) - origin
    return lambda points: np.asarray(points @ matrix + origin)


def _unit_factors(given: Sequence[pint.Unit], wanted: Sequence[pint.Unit]) -> NDArray[np.float64]:
    """Factor per axis from one unit to another; as in napari, 1 for all if those of one axis have nothing in common."""
    pairs = tuple(zip(given, wanted, strict=True))
    if tuple(given) == tuple(wanted) or any(one.dimensionality != other.dimensionality for one, other in pairs):
        return np.ones(len(pairs))
    return np.array([(1 * one).to(other).magnitude for one, other in pairs])
