"""Label images as TIFF: one piece of pixels in a file of full size, so that no full disk stops the work midway."""

from __future__ import annotations

import math
import os
import shutil
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import tifffile

from napari_sam2.errors import ImageFileError
from napari_sam2.files.label_writer import LabelFileWriter
from napari_sam2.files.pixel_sizes import imagej_calibration, ome_metadata
from napari_sam2.files.sources import reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.files.pixel_sizes import PixelSize

LABEL_SUFFIXES = (".tif", ".tiff")

_PIECE_BYTES = 2**24

LARGEST_IMAGEJ = 2**32 - 2**26
"""Bytes beyond which a file is written as OME-TIFF, with 64-bit offsets; leaves room for the page headers."""


class TiffLabelWriter(LabelFileWriter):
    """A label image as TIFF; see `LabelFileWriter`.

    The file has its full size at once, so the disk has room for it. It is an ImageJ TIFF, or an OME-TIFF if the source
    is one, if its name ends in `.ome.tif`, or if ImageJ's format cannot hold it (32-bit labels, 4 GB).
    """

    _suffix = ".tif"

    @staticmethod
    def _check_format(path: Path) -> None:
        if path.suffix.lower() not in LABEL_SUFFIXES:
            raise ImageFileError(f"{path}: TIFF has the suffix .tif or .tiff. Use a name that ends in .tif.")

    @staticmethod
    def _holds_labels(partial: Path) -> bool:
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

    def _make(self, axes: str, pixel_size: Mapping[str, PixelSize], *, is_ome: bool) -> None:
        self._stored_dtype = self.dtype.newbyteorder("<")
        self._frame_bytes = math.prod(self.shape[-2:]) * self.dtype.itemsize
        size = self._frame_bytes * len(self)
        _check_space(self.path.parent, size + 2**20 + 2**10 * len(self))
        is_ome = is_ome or self.path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        self._file = self.partial_path.open("r+b")
        try:
            self._offset = _allocate(
                self._file,
                self.shape,
                self._stored_dtype,
                axes,
                pixel_size,
                is_ome=is_ome or self.dtype.itemsize > 2 or size > LARGEST_IMAGEJ,
                is_large=size > LARGEST_IMAGEJ,
            )
        except BaseException:
            self._file.close()
            raise

    def _store(self, frame: int, labels: NDArray[np.integer]) -> None:
        try:
            self._file.seek(self._offset + frame * self._frame_bytes)
            self._file.write(np.asarray(labels, self._stored_dtype).tobytes())
            self._file.flush()
        except OSError as error:
            raise ImageFileError(f"Frame {frame} could not be written to {self.partial_path} ({error}).") from error

    def _release(self) -> None:
        self._file.close()

    def _replace(self) -> None:
        with self._file:
            os.fsync(self._file.fileno())
        self.partial_path.replace(self.path)


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
    axes: str,
    pixel_size: Mapping[str, PixelSize],
    *,
    is_ome: bool,
    is_large: bool,
) -> int:
    """Make a TIFF whose pixels are all 0 and stored in one piece; return the byte at which they begin."""
    calibration = None if is_ome else imagej_calibration(pixel_size)
    pixels = tifffile.imwrite(
        file,
        data=None,
        shape=shape,
        dtype=dtype,
        byteorder="<",
        bigtiff=is_large,
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
