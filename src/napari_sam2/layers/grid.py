"""How the data of an image layer is read as frames of rows and columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_sam2.errors import FrameError, OptionError
from napari_sam2.files.images.arrays import AxesView

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam2.files.images.arrays import Key
    from napari_sam2.frames import ArrayLike

Scalar = TypeVar("Scalar", bound=np.generic)

MAX_SIDE = 2048
"""Longest side of a frame of a multiscale image, in pixels, on the level that is read unless another one is chosen.

Models look at 1024 pixels at most: finer levels show them no more, but every frame is read and every mask written in
full. Twice as many keep the outlines as exact as the model knows them.
"""


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
    axes : tuple of int
        Data axes in the order frame (where there is one), row, column.
    num_frames, height, width : int
        Number of frames, 1 for a single image, and of the rows and columns of each.
    is_turned : bool
        Whether columns come before rows in the data.
    """

    shape: tuple[int, ...]
    frame_axis: int | None
    row_axis: int
    column_axis: int
    level: int
    downsampling: tuple[float, ...]
    axes: tuple[int, ...] = field(init=False)
    num_frames: int = field(init=False)
    height: int = field(init=False)
    width: int = field(init=False)
    is_turned: bool = field(init=False)

    def __post_init__(self) -> None:
        plane = (self.row_axis, self.column_axis)
        found = {
            "axes": plane if self.frame_axis is None else (self.frame_axis, *plane),
            "num_frames": 1 if self.frame_axis is None else self.shape[self.frame_axis],
            "height": self.shape[self.row_axis],
            "width": self.shape[self.column_axis],
            "is_turned": self.row_axis > self.column_axis,
        }
        for name, value in found.items():  # not again for each frame and object
            object.__setattr__(self, name, value)

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

    def plane(self, labels: ArrayLike, frame: int) -> NDArray[np.integer]:
        """Read one frame of a label array of this shape, (Y, X); a view where the array allows it."""
        plane: NDArray[np.integer] = np.asarray(labels[self.key(frame)])
        return plane.T if self.is_turned else plane

    def view(self, array: ArrayLike, *, colours: bool = False) -> ArrayLike:
        """View an array of this shape as frames, rows and columns, and then its colours, if it has any."""
        order = (*self.axes, len(self.shape)) if colours else self.axes
        is_view = self.spare_axes or order != tuple(range(len(order)))
        return AxesView(array, dict.fromkeys(self.spare_axes, 0), order) if is_view else array

    def oriented(self, plane: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn a plane from the order of the data to rows and columns, or back: a view."""
        return plane.T if self.is_turned else plane

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
