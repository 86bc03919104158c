"""Arrays that stay in their file: shape and dtype are known, pixels are read when they are asked for.

Files are not kept open or mapped. A mapping counts as memory of the process for every page it ever touched, so memory
would grow with the stack; and a file that is cut while it is mapped ends the process. Here each read opens the file,
copies one frame and lets go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import ImageFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from io import RawIOBase

    from numpy.typing import NDArray

    from napari_sam2.files.pixel_sizes import PixelSize
    from napari_sam2.files.sources import SourceFile
    from napari_sam2.frames import ArrayLike

Key = tuple[int | slice, ...]

_PIECE = 2**24
"""Bytes that are read at once where an array is not asked for row by row."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """An array as its file lays it out.

    Attributes
    ----------
    array : ArrayLike
        The pixels.
    axes : str
        One letter per axis, as in TIFF: T, Z, C, Y, X, S (red, green, blue); any other is an axis of unknown meaning.
    pixel_size : mapping of str to PixelSize
        By axis letter, as far as the file knows.
    is_ome : bool
        Whether the file is an OME-TIFF.
    """

    array: ArrayLike
    axes: str
    pixel_size: Mapping[str, PixelSize] = field(default_factory=dict)
    is_ome: bool = False


class LazyFrames:
    """Equally shaped pieces of one or several files as one array.

    Parameters
    ----------
    read : callable
        Gives piece number i, counted in row-major order of `leading`.
    leading : tuple of int
        How the pieces are arranged.
    frame_shape : tuple of int
        Shape of each piece.
    dtype : dtype
        Type of its pixels.
    """

    __slots__ = ("_numbers", "_read", "dtype", "shape")

    def __init__(
        self,
        read: Callable[[int], NDArray[np.generic]],
        leading: tuple[int, ...],
        frame_shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
    ) -> None:
        self._read = read
        self._numbers = np.arange(np.prod(leading, dtype=int)).reshape(leading)
        self.shape = leading + frame_shape
        self.dtype = dtype

    def __getitem__(self, key: Key, /) -> NDArray[np.generic]:
        depth = self._numbers.ndim
        numbers = self._numbers[key[:depth]]
        frames = np.stack([self._read(int(number))[key[depth:]] for number in np.ravel(numbers)])
        return frames.reshape(np.shape(numbers) + frames.shape[1:])


class UncompressedFile:
    """An array as it lies in a file, read as far as it is asked for.

    Parameters
    ----------
    source : SourceFile
        The file.
    offset : int
        The byte at which the array begins.
    shape : tuple of int
        Its shape.
    dtype : dtype
        Type of its pixels, with their byte order.
    columns_first : bool
        Whether the first index runs fastest (Fortran order).

    Raises
    ------
    ImageFileError
        If the file is too short for the array.
    """

    __slots__ = ("_columns_first", "_offset", "_source", "dtype", "shape")

    def __init__(
        self,
        source: SourceFile,
        offset: int,
        shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        *,
        columns_first: bool = False,
    ) -> None:
        needed = math.prod(shape) * dtype.itemsize
        if offset + needed > source.size:
            raise ImageFileError(
                f"{source.path} cannot be read: pixels of shape {shape} and type {dtype} take {needed:,} bytes, and it "
                f"holds {max(source.size - offset, 0):,}. It may be incomplete: copy or export it again."
            )
        self._source = source
        self._offset = offset
        self._columns_first = columns_first
        self.shape = shape
        self.dtype = dtype

    def __getitem__(self, key: Key, /) -> NDArray[np.generic]:
        whole = (*key, *(slice(None),) * (len(self.shape) - len(key)))
        with self._source.reading(), self._source.path.open("rb", buffering=0) as file:
            if self._columns_first:
                return self._taken(file, self._offset, self.shape[::-1], whole[::-1]).T
            return self._taken(file, self._offset, self.shape, whole)

    def _taken(self, file: RawIOBase, start: int, shape: tuple[int, ...], key: Key) -> NDArray[np.generic]:
        """Read a part of an array of some shape that begins at a byte."""
        if not shape:
            return self._read(file, start, ())
        row_bytes = math.prod(shape[1:]) * self.dtype.itemsize
        first, rest = key[0], key[1:]
        if not isinstance(first, slice):
            return self._taken(file, start + range(shape[0])[first] * row_bytes, shape[1:], rest)
        rows = range(shape[0])[first]
        whole_rows = all(part == slice(None) for part in rest)
        together = len(rows) if whole_rows and abs(rows.step) == 1 else _PIECE // max(1, row_bytes * abs(rows.step))
        if together <= 1:
            parts = [self._taken(file, start + row * row_bytes, shape[1:], rest)[np.newaxis] for row in rows]
        else:
            parts = []
            for begin in range(0, len(rows), together):
                some = rows[begin : begin + together]
                low = min(some[0], some[-1])
                span = self._read(file, start + low * row_bytes, (abs(some[-1] - some[0]) + 1, *shape[1:]))
                parts.append(span[(slice(None, None, some.step), *rest)])
        if not parts:
            return np.empty((0, *shape[1:]), self.dtype)[(slice(None), *rest)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, dtype=self.dtype)

    def _read(self, file: RawIOBase, start: int, shape: tuple[int, ...]) -> NDArray[np.generic]:
        pixels = np.empty(shape, self.dtype)
        left = memoryview(pixels.reshape(-1).view(np.uint8).data)
        file.seek(start)
        while left:
            count = file.readinto(left)
            if not count:
                raise ImageFileError(f"{self._source.path} ended while it was read. Open it again.")
            left = left[count:]
        return pixels


class AxesView:
    """Another array with some axes fixed at one position and the others reordered.

    Parameters
    ----------
    source : ArrayLike
        The array.
    fixed : mapping of int to int
        Position along each axis that is taken out.
    order : tuple of int
        The axes that stay, in their new order.
    """

    __slots__ = ("_fixed", "_order", "_source", "dtype", "shape")

    def __init__(self, source: ArrayLike, fixed: Mapping[int, int], order: tuple[int, ...]) -> None:
        self._source = source
        self._fixed = dict(fixed)
        self._order = order
        self.shape: tuple[int, ...] = tuple(source.shape[axis] for axis in order)
        self.dtype = source.dtype

    def __getitem__(self, key: Key | int | slice, /) -> NDArray[np.generic]:
        given = key if isinstance(key, tuple) else (key,)
        wanted: dict[int, int | slice] = dict(zip(self._order, given, strict=False))
        everything = slice(None)
        part = np.asarray(
            self._source[
                tuple(self._fixed.get(axis, wanted.get(axis, everything)) for axis in range(len(self._source.shape)))
            ]
        )
        left = [axis for axis in self._order if isinstance(wanted.get(axis, everything), slice)]
        return part.transpose([sorted(left).index(axis) for axis in left])

    def __array__(self, dtype: np.dtype[np.generic] | None = None, *, copy: bool | None = None) -> NDArray[np.generic]:
        """Read everything into memory."""
        return np.array(self[()], dtype=dtype)


class JoinedChannels:
    """Equally shaped arrays along a new first axis, of which all positions are read at once.

    Parameters
    ----------
    channels : sequence of ArrayLike
        The arrays, at least one. Their types may differ: the joined one holds the values of all.
    """

    __slots__ = ("_channels", "dtype", "shape")

    def __init__(self, channels: Sequence[ArrayLike]) -> None:
        self._channels = tuple(channels)
        self.shape: tuple[int, ...] = (len(self._channels), *self._channels[0].shape)
        self.dtype: np.dtype[np.generic] = np.result_type(*(channel.dtype for channel in self._channels))

    def __getitem__(self, key: Key, /) -> NDArray[np.generic]:
        return np.stack([np.asarray(channel[key[1:]]) for channel in self._channels])
