"""Where points of the world and of other layers lie in the frames of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import pint
    from napari.layers import Image, Labels
    from napari.layers.base import Layer
    from numpy.typing import NDArray

    from napari_sam2.layers.grid import LayerGrid


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


def pixel_side(image: Image, grid: LayerGrid, units: Sequence[pint.Unit] | None = None) -> float:
    """Side of a pixel of the finest level in the world, the mean of height and width; parameters as of `place_in`."""
    steps = np.eye(image.ndim)[[grid.row_axis, grid.column_axis]]
    world = _affine(image.data_to_world, image.ndim)(np.vstack((np.zeros(image.ndim), steps)))
    if units is not None:
        common = min(len(units), image.ndim)
        world[:, -common:] /= _unit_factors(units[-common:], image.units[-common:])
    sides = np.linalg.norm(world[1:] - world[0], axis=1)
    return float(np.sqrt(sides.prod()))


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


def lies_on(layer: Image | Labels, image: Image, grid: LayerGrid) -> bool:
    """Whether all of a layer lies on an image pixel by pixel, on the level that is read of it."""
    array = layer.data[min(grid.level, len(layer.data) - 1)] if layer.multiscale else layer.data
    shape = tuple(array.shape)[: layer.ndim]
    return len(shape) == len(grid.shape) and is_aligned(layer, shape, image, grid)


def placement(image: Image) -> dict[str, object]:
    """Return what puts another layer with the axes of an image where that image lies."""
    return {name: getattr(image, name) for name in ("scale", "translate", "rotate", "shear", "affine", "units")}


def _is_on_every_frame(missing: int, grid: LayerGrid) -> bool:
    """Whether a layer that lacks so many of the first axes lacks that of the frames."""
    return grid.frame_axis is not None and grid.frame_axis < missing


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
