"""PNG and JPEG as arrays; no other format is tried, whatever a file holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.arrays import LazyFrames, StoredArray
from napari_sam2.files.sources import check_kind, source_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.files.sources import SourceFile

# Palettes, CMYK and alpha beside grey are ways to store colour or grey, not further channels.
_PLAIN = {"P": "RGB", "PA": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "LA": "L", "La": "L"}

_FORMS = {
    "1": ((), np.bool_),
    "L": ((), np.uint8),
    "P": ((), np.uint8),
    "I;16": ((), np.uint16),
    "I": ((), np.int32),
    "RGB": ((3,), np.uint8),
    "RGBA": ((4,), np.uint8),
}

_BEST_RATIO = {"PNG": 1032.0, "JPEG": 2048.0}
"""How many bytes one stored byte can become; see `tiff_pages`."""


def open_picture(path: Path, *, palette: str = "colours") -> StoredArray:
    """Open a PNG or JPEG, by its suffix, without reading its pixels.

    Parameters
    ----------
    path : Path
        The file.
    palette : {"colours", "numbers"}
        What a picture with a palette gives: the colours that it shows, or the numbers that are stored.

    Raises
    ------
    ImageFileError
        If the file is missing, damaged, of another format, or larger than it can be.
    """
    source = source_file(path)
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    check_kind(source, kind)
    with source.reading(), _opened(source) as picture:
        plain = picture.mode if picture.mode == "P" and palette == "numbers" else _PLAIN.get(picture.mode, picture.mode)
        if plain not in _FORMS:
            raise ImageFileError(f"{path} holds pixels of kind {plain}, which are not read. Save it as grey or RGB.")
        colours, dtype = _FORMS[plain]
        shape = (picture.height, picture.width, *colours)
        bits = 1 if picture.mode in ("1", "P") else 8
        pixels = picture.height * picture.width
        source.check_claim(pixels * bits // 8, source.size, _BEST_RATIO[kind])
        source.check_claim(pixels * max(1, *colours, np.dtype(dtype).itemsize), source.size, None)

    def read(_: int) -> NDArray[np.generic]:
        with source.reading(), _opened(source) as picture:
            return np.asarray(picture if picture.mode == plain else picture.convert(plain))

    return StoredArray(LazyFrames(read, (), shape, np.dtype(dtype)), "YXS"[: len(shape)])


def _opened(source: SourceFile) -> PngImageFile | JpegImageFile:
    # Image.open looks for a format among dozens, some of which start other programs, and warns of large pictures.
    opens = PngImageFile if source.path.suffix.lower() == ".png" else JpegImageFile
    return opens(source.path)
