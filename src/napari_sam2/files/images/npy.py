"""NPY as a lazy array: the header is checked against the file before any pixel is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.arrays import StoredArray, UncompressedFile
from napari_sam2.files.sources import check_kind, reading, source_file

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


def open_npy(path: Path) -> StoredArray:
    """Open an NPY file without reading its pixels; axes of unknown meaning are question marks.

    Raises
    ------
    ImageFileError
        If the file is missing, damaged or incomplete, or holds something else than numbers.
    """
    source = source_file(path)
    check_kind(source, "NPY")
    with source.reading(), path.open("rb") as file:
        shape, columns_first, dtype = _header(path, file)
        offset = file.tell()
    if dtype.kind not in "biufc":
        raise ImageFileError(
            f"{path} cannot be read: it holds {dtype}, and pixels are numbers. Save the array of numbers alone."
        )
    if any(length < 0 for length in shape):
        raise ImageFileError(f"{path} cannot be read: its shape is {shape}. It may be damaged: save it again.")
    array = UncompressedFile(source, offset, shape, dtype, columns_first=columns_first)
    return StoredArray(array, _guessed_axes(shape))


def _header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    with reading(path):
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, columns_first, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            # Version 3 is for the names of structured values alone.
            raise ImageFileError(
                f"{path} cannot be read: its NPY version is {version[0]}.{version[1]}. Save the array of numbers alone."
            )
    return tuple(int(length) for length in shape), bool(columns_first), dtype


def _guessed_axes(shape: tuple[int, ...]) -> str:
    if len(shape) in (3, 4) and shape[-1] in (1, 3, 4):
        return "TYXS"[4 - len(shape) :]
    return ("?" * len(shape) + "YX")[-len(shape) :] if len(shape) >= 2 else "?" * len(shape)
