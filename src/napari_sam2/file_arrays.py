"""Arrays that stay in their file: shape and dtype are known, pixels are read when they are asked for.

Files are not kept open or mapped. A mapping counts as memory of the process for every page it ever touched, so memory
would grow with the stack; here each read opens the file, copies one frame and lets go.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_sam2.errors import ImageFileError, NapariSam2Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike

Key = tuple[int | slice, ...]

# What tifffile, Pillow and numpy raise on damaged files, as found by cutting and corrupting them.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Distance between two neighbours along an axis.

    Attributes
    ----------
    size : float
        The distance, above 0.
    unit : str
        For example "µm" or "s".
    """

    size: float
    unit: str


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


class MappedFile:
    """An uncompressed array in a file, mapped only while a part of it is copied.

    Parameters
    ----------
    path : Path
        The file, for messages.
    open_map : callable
        Maps the whole array.

    Raises
    ------
    ImageFileError
        If the file cannot be mapped.
    """

    __slots__ = ("_open_map", "_path", "dtype", "shape")

    def __init__(self, path: Path, open_map: Callable[[], NDArray[np.generic]]) -> None:
        self._path = path
        self._open_map = open_map
        with reading(path):
            mapped = open_map()
        self.shape: tuple[int, ...] = mapped.shape
        self.dtype: np.dtype[np.generic] = mapped.dtype

    def __getitem__(self, key: Key, /) -> NDArray[np.generic]:
        with reading(self._path):
            return np.array(self._open_map()[key])


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


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a file raises while it is read into a sentence.

    Raises
    ------
    ImageFileError
        In place of any error that a missing, forbidden or damaged file causes.
    """
    try:
        yield
    except NapariSam2Error:
        raise
    except FileNotFoundError as error:
        raise ImageFileError(f"There is no file {path}. Check its name and folder.") from error
    except PermissionError as error:
        raise ImageFileError(f"{path} may not be read: permission is denied. Change its permissions.") from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{path} is larger than its format is read here. Save it as TIFF.") from error
    except _DAMAGE as error:
        if "imagecodecs" in str(error):
            raise ImageFileError(
                f"{path} is compressed in a way that needs the package imagecodecs ({error}). "
                "Install it (pip install imagecodecs), or save the file without compression."
            ) from error
        raise ImageFileError(
            f"{path} cannot be read ({str(error) or type(error).__name__}). It may be damaged or incomplete: "
            "copy or export it again."
        ) from error
