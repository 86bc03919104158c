"""Write label images frame by frame, so that no crash and no full disk leaves a broken file under the final name."""

from __future__ import annotations

import math
import operator
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np
import tifffile

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.files.atomic import check_replaceable
from napari_sam2.files.partial import check_not_being_written, claim, keep, remove, tidy, writing
from napari_sam2.files.pixel_sizes import imagej_calibration, ome_metadata
from napari_sam2.files.sources import reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import numpy.typing as npt
    from numpy.typing import NDArray

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.files.pixel_sizes import PixelSize

LABEL_SUFFIXES = (".tif", ".tiff")

PARTIAL_SUFFIX = ".tif"
"""How the name of an unfinished label image ends."""

_PIECE_BYTES = 2**24

LARGEST_IMAGEJ = 2**32 - 2**26
"""Bytes beyond which a file is written as OME-TIFF, with 64-bit offsets; leaves room for the page headers."""


class LabelWriter:
    """A label image on disk, written and read frame by frame in any order.

    The file is made in full size at once, as `partial_path`, all background: from then on it is a readable TIFF at
    every moment and the disk has room for it. `close` gives it its name. As a context manager it closes at the end;
    left by an exception, it keeps the partial file if a frame was written to it. What earlier runs have left stays.

    Axes and pixel size are those of the source. The file is an ImageJ TIFF, or an OME-TIFF if the source is one, if
    its name ends in `.ome.tif`, or if ImageJ's format cannot hold it (32-bit labels, 4 GB).

    Parameters
    ----------
    path : path
        The file to become, `.tif` or `.tiff`.
    shape : tuple of int
        (N, Y, X), or (Y, X) for a single image, which is frame 0.
    dtype : dtype
        uint8, uint16 or uint32.
    source : ImageFile, optional
        The image the labels are for. None means that it is no file.
    axes : str, optional
        "TYX", "ZYX" or "YX". None means those of the source; without one, TYX or YX.
    pixel_size : mapping of str to PixelSize, optional
        By letter of `axes`, as far as known. None means that of the source.
    overwrite : bool
        Whether an existing file may be replaced, and one that another run is writing now.

    Attributes
    ----------
    path, partial_path : Path
        The file to become, and where it lives until `close`; see `partial_files`.
    shape : tuple of int
        As given.
    dtype : dtype
        As given.

    Raises
    ------
    ImageFileError
        If the file exists, is being written, is the source itself, has a suffix that is not written, does not fit on
        the disk, or cannot be made there.
    OptionError
        If the shape, the dtype or the axes are not those of a label image, or do not fit the source.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        source: ImageFile | None = None,
        axes: str | None = None,
        pixel_size: Mapping[str, PixelSize] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = check_label_path(path, source=source, overwrite=overwrite)
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        axes = checked_axes(self.shape, self.dtype, source, axes)
        if pixel_size is None:
            pixel_size = {} if source is None else source.pixel_size
        is_ome = source is not None and source.is_ome
        self._overwrite = overwrite
        self._stored_dtype = self.dtype.newbyteorder("<")
        self._frame_bytes = math.prod(self.shape[-2:]) * self.dtype.itemsize
        size = self._frame_bytes * len(self)
        _check_space(self.path.parent, size + 2**20 + 2**10 * len(self))
        self._written = False
        tidy(self.path, PARTIAL_SUFFIX, _holds_labels)
        self.partial_path = claim(self.path, PARTIAL_SUFFIX, overwrite=overwrite)
        with writing(self.path), ExitStack() as undo:
            undo.callback(remove, self.partial_path)
            self._file = undo.enter_context(self.partial_path.open("r+b"))
            is_ome = is_ome or self.path.name.lower().endswith((".ome.tif", ".ome.tiff"))
            self._offset = _allocate(self._file, self.shape, self._stored_dtype, size, axes, pixel_size, is_ome=is_ome)
            undo.pop_all()  # all went well

    def __len__(self) -> int:
        return self.shape[0] if len(self.shape) == 3 else 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        if self._file.closed:
            return
        self._file.close()
        if self._written:
            self.partial_path = keep(self.partial_path, self.path, PARTIAL_SUFFIX)
        else:
            remove(self.partial_path)

    def write(self, frame: int, labels: NDArray[np.integer]) -> None:
        """Store the labels of one frame.

        Parameters
        ----------
        frame : int
            The frame, from 0.
        labels : ndarray of int, shape (Y, X)
            Values from 0 to the largest of the dtype.

        Raises
        ------
        FrameError
            If there is no such frame, or the labels have another shape.
        OptionError
            If the labels are not integers, or a value does not fit the dtype.
        ImageFileError
            If the disk refuses, or the file was closed.
        """
        start = self._start(frame)
        check_plane(labels, self.shape, self.dtype)
        try:
            self._file.seek(start)
            self._file.write(np.asarray(labels, self._stored_dtype).tobytes())
            self._file.flush()
        except OSError as error:
            raise ImageFileError(f"Frame {frame} could not be written to {self.partial_path} ({error}).") from error
        self._written = True

    def read(self, frame: int) -> NDArray[np.unsignedinteger]:
        """Give the labels of one frame as they are stored, shape (Y, X); all 0 before they are written.

        Raises
        ------
        FrameError
            If there is no such frame.
        ImageFileError
            If the file cannot be read, or was closed.
        """
        start = self._start(frame)
        try:
            self._file.seek(start)
            stored = self._file.read(self._frame_bytes)
        except OSError as error:
            raise ImageFileError(f"Frame {frame} could not be read from {self.partial_path} ({error}).") from error
        return np.frombuffer(stored, self._stored_dtype).reshape(self.shape[-2:]).astype(self.dtype)

    def close(self) -> None:
        """Finish the file and give it its final name, in one step; does nothing the second time.

        Raises
        ------
        ImageFileError
            If the disk refuses, or a file of that name has appeared; the partial file stays.
        """
        if self._file.closed:
            return
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            check_replaceable(self.path, overwrite=self._overwrite)
            self.partial_path.replace(self.path)
        except ImageFileError as error:
            self.partial_path = keep(self.partial_path, self.path, PARTIAL_SUFFIX)
            raise ImageFileError(f"{error} The labels are complete in {self.partial_path}.") from None
        except OSError as error:
            raise ImageFileError(f"{self.path} could not be finished ({error}). See {self.partial_path}.") from error

    def _start(self, frame: int) -> int:
        """Give the byte at which a frame begins."""
        if self._file.closed:
            raise ImageFileError(f"{self.path} is closed. Open another writer.")
        return self._offset + checked_frame(frame, len(self)) * self._frame_bytes


def check_label_path(path: str | os.PathLike[str], *, source: ImageFile | None = None, overwrite: bool = False) -> Path:
    """Return a path that a `LabelWriter` may write; nothing is made yet.

    Parameters
    ----------
    path, source, overwrite
        As in `LabelWriter`.

    Raises
    ------
    ImageFileError
        If the file exists, is the source itself, has a suffix that is not written, or its folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in LABEL_SUFFIXES:
        raise ImageFileError(f"{path}: TIFF has the suffix .tif or .tiff. Use a name that ends in .tif.")
    check_not_source(path, source)
    check_replaceable(path, overwrite=overwrite)
    if not overwrite:
        check_not_being_written(path, PARTIAL_SUFFIX)
    return path


def check_not_source(path: Path, source: ImageFile | None) -> None:
    """Refuse an output that is the source itself, or would become one of its frames.

    Raises
    ------
    ImageFileError
        If it is so.
    """
    if source is None:
        return
    given, taken = path.resolve(), source.path.resolve()
    if given == taken or (path.exists() and path.samefile(source.path)):
        raise ImageFileError(f"{path} is the image itself, which would be lost. Choose another name.")
    if taken == given.parent and taken.is_dir():
        raise ImageFileError(
            f"{path} lies among the frames of the stack and would become one of them. Choose another folder."
        )


def checked_axes(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], source: ImageFile | None, axes: str | None
) -> str:
    """Return the axes of a label image.

    Parameters
    ----------
    shape, dtype, source, axes
        As in `LabelWriter`.

    Raises
    ------
    OptionError
        If they are not those of a label image, or contradict each other.
    """
    if dtype not in (np.uint8, np.uint16, np.uint32):
        raise OptionError(f"Labels of dtype {dtype} are not written. Use uint8, uint16 or uint32.")
    if len(shape) not in (2, 3) or 0 in shape:
        raise OptionError(f"Labels of shape {shape} are not written. Use (N, Y, X) or (Y, X), with pixels.")
    if axes is None:
        axes = "TYX"[-len(shape) :] if source is None else source.label_axes
    if axes not in ("TYX", "ZYX", "YX") or len(axes) != len(shape):
        raise OptionError(f"Axes {axes!r} do not fit labels of shape {shape}. Use TYX or ZYX for a stack, else YX.")
    if source is not None and shape != source.label_shape:
        raise OptionError(f"Labels of shape {shape} do not fit {source.path} ({axes}, {source.label_shape}).")
    return axes


def checked_frame(frame: int, num_frames: int) -> int:
    """Return the index of a frame.

    Raises
    ------
    FrameError
        If there is no such frame.
    """
    index = operator.index(frame)
    if not 0 <= index < num_frames:
        raise FrameError(f"There is no frame {index}: the labels have {num_frames}, numbered from 0.")
    return index


def check_plane(labels: NDArray[np.generic], shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    """Refuse labels of one frame that do not fit a label image of this shape and dtype.

    Raises
    ------
    FrameError
        If they have another shape.
    OptionError
        If they are not integers, or a value does not fit the dtype.
    """
    if labels.shape != shape[-2:]:
        raise FrameError(f"Labels of shape {labels.shape} do not fit frames of shape {shape[-2:]}.")
    largest = np.iinfo(np.dtype(dtype)).max
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > largest:
        raise OptionError(
            f"Labels of dtype {labels.dtype} from {labels.min()} to {labels.max()} do not fit into {dtype}. "
            f"Use integers from 0 to {largest}, or a wider dtype."
        )


def _holds_labels(partial: Path) -> bool:
    """Whether a label image that was not finished can be read, and shows an object."""
    try:
        with reading(partial), tifffile.TiffFile(partial) as tif:
            pixels = tif.series[0]
            offset, left = pixels.dataoffset, pixels.nbytes
    except ImageFileError:  # it was cut off
        return False
    if offset is None:
        return False
    with partial.open("rb") as file:
        file.seek(offset)
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            if any(piece):
                return True
            left -= len(piece)
    return False


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ImageFileError(
            f"The labels need {needed / 1e6:,.0f} MB and {folder} has {free / 1e6:,.0f} MB left. "
            "Free space, or choose another disk."
        )


def _allocate(
    file: BinaryIO,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    size: int,
    axes: str,
    pixel_size: Mapping[str, PixelSize],
    *,
    is_ome: bool,
) -> int:
    """Make a TIFF whose pixels are all 0 and stored in one piece; give the byte at which they begin."""
    is_ome = is_ome or dtype.itemsize > 2 or size > LARGEST_IMAGEJ
    calibration = None if is_ome else imagej_calibration(pixel_size)
    pixels = tifffile.imwrite(
        file,
        data=None,
        shape=shape,
        dtype=dtype,
        byteorder="<",
        bigtiff=size > LARGEST_IMAGEJ,
        ome=is_ome,
        imagej=not is_ome,
        photometric="minisblack",
        resolution=None if calibration is None else calibration.resolution,
        metadata={"axes": axes} | (ome_metadata(pixel_size) if calibration is None else calibration.metadata),
        returnoffset=True,
    )
    if pixels is None:
        raise OSError("the TIFF could not be laid out in one piece")
    if hasattr(os, "posix_fallocate"):
        # A sparse file would promise space that another program can take before the last frame is written.
        file.flush()
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return pixels[0]
