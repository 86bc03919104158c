"""TIFF as a lazy array with axes and pixel size: ImageJ hyperstacks, OME-TIFF and plain files."""

from __future__ import annotations

import math
import re
from threading import Lock
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import tifffile

from napari_sam2.errors import ImageFileError
from napari_sam2.file_arrays import LazyFrames, MappedFile, PixelSize, StoredArray, reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike

_MICROMETRE = "\N{MICRO SIGN}m"
_UNITS = dict.fromkeys(
    ("um", "micron", "microns", "micrometer", "micrometre", "\N{GREEK SMALL LETTER MU}m"), _MICROMETRE
) | {"sec": "s", "second": "s", "seconds": "s", "inch": "in"}


def open_tiff(path: Path) -> StoredArray:
    """Open a TIFF without reading its pixels, except for one frame to see that it can be decoded.

    Raises
    ------
    ImageFileError
        If the file is missing, damaged, incomplete, compressed in an unknown way, or holds several images.
    """
    with reading(path), tifffile.TiffFile(path) as tif:
        _refuse_lost_pages(path, tif)
        if len(tif.series) != 1:
            shapes = ", ".join(str(series.shape) for series in tif.series)
            raise ImageFileError(
                f"{path} holds {len(tif.series)} images ({shapes}). Save the one you mean as a file of its own."
            )
        series = tif.series[0]
        return StoredArray(_array(path, tif, series), series.axes, _pixel_size(tif), is_ome=bool(tif.is_ome))


def _refuse_lost_pages(path: Path, tif: tifffile.TiffFile) -> None:
    # tifffile logs a broken chain of pages and goes on with those before it: a cut file would be a shorter stack.
    where = tif.pages.next_page_offset
    if where is None:
        return
    tif.filehandle.seek(where)
    ends = tif.filehandle.read(tif.tiff.offsetsize) == bytes(tif.tiff.offsetsize)
    declared = sum(math.prod(metadata["shape"]) for metadata in tif.shaped_metadata or ())
    if not ends or declared > sum(series.size for series in tif.series):
        raise ImageFileError(
            f"{path} is incomplete: it holds {len(tif.pages)} pages, and more are missing. Copy or export it again."
        )


def _array(path: Path, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> ArrayLike:
    shape = tuple(series.shape)
    pages = [_complete(path, page) for page in series.pages]
    if series.dataoffset is not None:
        offset, dtype = series.dataoffset, np.dtype(series.dtype).newbyteorder(tif.byteorder)
        return MappedFile(path, lambda: np.memmap(path, dtype, "r", offset, shape))
    if len(pages) == 1:
        return _whole(path, series.asarray(), shape)
    page_shape = tuple(pages[0].shape)
    leading = shape[: len(shape) - len(page_shape)]
    if leading + page_shape != shape or math.prod(leading) != len(pages):
        raise ImageFileError(
            f"{path}: {len(pages)} pages of shape {page_shape} do not make up the stack of shape {shape} that the file "
            "claims to hold. Save it again, for example with Fiji."
        )
    # Pages that cannot be decoded are noticed now, and not in the middle of the work.
    _whole(path, pages[0].asarray(), page_shape)
    lock = Lock()

    def read(number: int) -> NDArray[np.generic]:
        page = pages[number]
        with lock, reading(path):
            page.parent.filehandle.open()
            try:
                return _whole(path, page.asarray(), page_shape)
            finally:
                page.parent.filehandle.close()

    return LazyFrames(read, leading, page_shape, np.dtype(series.dtype))


def _whole(path: Path, pixels: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    # tifffile gives what it finds of a page whose header contradicts itself.
    if pixels.shape != shape:
        raise ImageFileError(f"{path} is damaged: pixels of shape {shape} are missing. Copy or export it again.")
    return pixels


def _complete(
    path: Path, page: tifffile.TiffPage | tifffile.TiffFrame | None
) -> tifffile.TiffPage | tifffile.TiffFrame:
    if page is None:
        raise ImageFileError(
            f"{path} refers to planes that are missing, perhaps in another file. Export it as one file."
        )
    ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    if max(ends, default=0) > page.parent.filehandle.size:
        raise ImageFileError(f"{path} is incomplete: it ends inside page {page.index}. Copy or export it again.")
    return page


def _pixel_size(tif: tifffile.TiffFile) -> dict[str, PixelSize]:
    if tif.is_ome and tif.ome_metadata:
        return _ome_pixel_size(tif.ome_metadata)
    metadata = tif.imagej_metadata or {}
    resolution_unit = tif.pages.first.tags.get("ResolutionUnit")
    unit = metadata.get("unit") or {2: "inch", 3: "cm"}.get(resolution_unit.value if resolution_unit else 1)
    return _known(
        {
            "X": (_distance(tif, "XResolution"), unit),
            "Y": (_distance(tif, "YResolution"), unit),
            "Z": (metadata.get("spacing"), unit),
            "T": (metadata.get("finterval"), "s"),
        }
    )


def _ome_pixel_size(xml: str) -> dict[str, PixelSize]:
    pixels = next((element for element in ET.fromstring(xml).iter() if element.tag.endswith("}Pixels")), None)
    given = {} if pixels is None else pixels.attrib
    names = {axis: (f"PhysicalSize{axis}", _MICROMETRE) for axis in "XYZ"} | {"T": ("TimeIncrement", "s")}
    return _known({axis: (given.get(name), given.get(f"{name}Unit", unit)) for axis, (name, unit) in names.items()})


def _known(sizes: Mapping[str, tuple[object, object]]) -> dict[str, PixelSize]:
    known = {}
    for axis, (size, unit) in sizes.items():
        try:
            number = abs(float(str(size)))
        except ValueError:
            continue
        name = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), str(unit or ""))  # as ImageJ writes
        name = _UNITS.get(name, name)
        if number > 0 and math.isfinite(number) and name not in ("", "pixel", "pixels"):
            known[axis] = PixelSize(number, name)
    return known


def _distance(tif: tifffile.TiffFile, name: str) -> float | None:
    tag = tif.pages.first.tags.get(name)
    pixels, units = tag.value if tag else (0, 0)
    return units / pixels if pixels else None
