"""TIFF as a lazy array with axes and pixel size: ImageJ hyperstacks, OME-TIFF and plain files."""

from __future__ import annotations

import math
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.arrays import AxesView, LazyFrames, StoredArray, UncompressedFile
from napari_sam2.files.images.tiff_pages import check_metadata, check_segments, checked_page, keyframe_of
from napari_sam2.files.pixel_sizes import MICROMETRE, PixelSize, measured
from napari_sam2.files.sources import check_kind, source_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_sam2.files.images.tiff_pages import Page
    from napari_sam2.files.sources import SourceFile
    from napari_sam2.frames import ArrayLike

_GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
_OTHER_COLOURS: dict[int, str] = {
    PHOTOMETRIC.SEPARATED: "CMYK",
    PHOTOMETRIC.CIELAB: "Lab",
    PHOTOMETRIC.ICCLAB: "Lab",
    PHOTOMETRIC.ITULAB: "Lab",
    PHOTOMETRIC.LOGLUV: "LogLuv",
}

# tifffile turns the colours of JPEG alone into red, green and blue.
_MAKES_RGB: tuple[int, ...] = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.ALT_JPEG, COMPRESSION.JPEG_LOSSY)


def open_tiff(path: Path) -> StoredArray:
    """Open a TIFF without reading its pixels, except for one frame to see that it can be decoded.

    Raises
    ------
    ImageFileError
        If the file is missing, damaged, incomplete, compressed in an unknown way, holds several images, or is no TIFF.
    """
    source = source_file(path)
    check_kind(source, "TIFF")
    with source.reading(), tifffile.TiffFile(path) as tif:
        _refuse_lost_pages(path, tif)
        check_metadata(source, tif)
        _refuse_lost_pixels(path, tif)
        if len(tif.series) != 1:
            shapes = ", ".join(str(series.shape) for series in tif.series)
            raise ImageFileError(
                f"{path} holds {len(tif.series)} images ({shapes}). Save the one you mean as a file of its own."
            )
        series = tif.series[0]
        array, axes = _without_alpha(path, series.keyframe, _array(source, tif, series), series.axes)
        return StoredArray(array, axes, _pixel_size(tif), is_ome=bool(tif.is_ome))


def open_tiff_frame(path: Path) -> StoredArray:
    """Open a TIFF of one page as a frame of a stack that many files make up; its pixels are read later.

    Raises
    ------
    ImageFileError
        If the file is missing, damaged, incomplete, no TIFF, or has more pages than one.
    """
    source = source_file(path)
    check_kind(source, "TIFF")
    with source.reading(), tifffile.TiffFile(path) as tif:
        if len(tif.pages) != 1:
            raise ImageFileError(f"{path} holds {len(tif.pages)} pages. Open it as a file, not by its folder.")
        page = checked_page(source, tif.pages.first)
        shape, axes, dtype = tuple(page.shape), page.axes, page.dtype
        pixel_size, is_ome = _pixel_size(tif), bool(tif.is_ome)

        def read(_: int) -> NDArray[np.generic]:
            with source.reading(), tifffile.TiffFile(path) as again:
                return _decoded(source, again.pages.first, shape)

        array, axes = _without_alpha(path, keyframe_of(page), LazyFrames(read, (), shape, np.dtype(dtype)), axes)
    if axes.startswith("S"):
        array, axes = AxesView(array, {}, (1, 2, 0)), "YXS"
    return StoredArray(array, axes, pixel_size, is_ome=is_ome)


def _refuse_lost_pages(path: Path, tif: tifffile.TiffFile) -> None:
    # tifffile logs a broken chain of pages and goes on with those before it: a cut file would be a shorter stack.
    where = tif.pages.next_page_offset
    if where is None:
        return
    tif.filehandle.seek(where)
    if not len(tif.pages) or tif.filehandle.read(tif.tiff.offsetsize) != bytes(tif.tiff.offsetsize):
        raise ImageFileError(
            f"{path} is incomplete: it holds {len(tif.pages)} pages, and more are missing. Copy or export it again."
        )


def _refuse_lost_pixels(path: Path, tif: tifffile.TiffFile) -> None:
    declared = sum(math.prod(metadata["shape"]) for metadata in tif.shaped_metadata or ())
    held = sum(series.size for series in tif.series)
    if declared > held:
        raise ImageFileError(
            f"{path} is incomplete: it holds {held:,} pixels of the {declared:,} that it claims to have. Copy or "
            "export it again."
        )


def _array(source: SourceFile, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> ArrayLike:
    shape = tuple(series.shape)
    if series.dataoffset is not None:
        dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
        return UncompressedFile(source, series.dataoffset, shape, dtype)
    pages = [checked_page(source, page) for page in series.pages]
    page_shape = tuple(pages[0].shape)
    # Pages that cannot be decoded are noticed now, and not in the middle of the work.
    first = _decoded(source, pages[0], page_shape)
    if len(pages) == 1 and math.prod(shape) == first.size:
        return first.reshape(shape)
    leading = shape[: len(shape) - len(page_shape)]
    if leading + page_shape != shape or math.prod(leading) != len(pages):
        raise ImageFileError(
            f"{source.path}: {len(pages)} pages of shape {page_shape} do not make up the stack of shape {shape} that "
            "the file claims to hold. Save it again, for example with Fiji."
        )
    files = {page.parent.filehandle.path: source for page in pages}
    files |= {name: source_file(Path(name)) for name in files if Path(name).name != source.path.name}
    lock = Lock()

    def read(number: int) -> NDArray[np.generic]:
        page = pages[number]
        with lock, files[page.parent.filehandle.path].reading():
            page.parent.filehandle.open()
            try:
                return _decoded(source, page, page_shape)
            finally:
                page.parent.filehandle.close()

    return LazyFrames(read, leading, page_shape, np.dtype(series.dtype))


def _decoded(source: SourceFile, page: Page, shape: tuple[int, ...]) -> NDArray[np.generic]:
    check_segments(source, page)
    pixels = page.asarray()
    # tifffile gives what it finds of a page whose header contradicts itself.
    if pixels.shape != shape:
        raise ImageFileError(f"{source.path} is damaged: pixels of shape {shape} are missing. Copy or export it again.")
    return pixels


def _without_alpha(path: Path, page: tifffile.TiffPage, array: ArrayLike, axes: str) -> tuple[ArrayLike, str]:
    """Return an array and its axes without the alpha beside grey; samples that are no colours become channels."""
    if "S" not in axes:
        return array, axes
    name = _OTHER_COLOURS.get(page.photometric)
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in _MAKES_RGB:
        name = "YCbCr"
    if name is not None:
        raise ImageFileError(f"{path} holds {name} colours, which are not read. Save it as RGB or grey.")
    samples = axes.index("S")
    # Three samples that call themselves grey are colours to every viewer, and here.
    if page.photometric not in _GREY or "C" in axes or array.shape[samples] == 3:
        return array, axes
    if array.shape[samples] == 2 and page.extrasamples and page.extrasamples[0] in _ALPHA:
        others = tuple(axis for axis in range(len(axes)) if axis != samples)
        return AxesView(array, {samples: 0}, others), axes.replace("S", "")
    return array, axes.replace("S", "C")


def _pixel_size(tif: tifffile.TiffFile) -> dict[str, PixelSize]:
    if tif.is_ome and tif.ome_metadata:
        return _ome_pixel_size(tif.ome_metadata)
    metadata = tif.imagej_metadata or {}
    resolution_unit = tif.pages.first.tags.get("ResolutionUnit")
    unit = metadata.get("unit") or {2: "inch", 3: "cm"}.get(resolution_unit.value if resolution_unit else 1)
    return _known(
        {
            "X": (_distance(tif, "XResolution"), unit),
            "Y": (_distance(tif, "YResolution"), metadata.get("yunit") or unit),
            "Z": (metadata.get("spacing"), metadata.get("zunit") or unit),
            "T": (metadata.get("finterval"), metadata.get("tunit") or "s"),
        }
    )


def _ome_pixel_size(xml: str) -> dict[str, PixelSize]:
    pixels = next((element for element in ET.fromstring(xml).iter() if element.tag.endswith("}Pixels")), None)
    given = {} if pixels is None else pixels.attrib
    names = {axis: (f"PhysicalSize{axis}", MICROMETRE) for axis in "XYZ"} | {"T": ("TimeIncrement", "s")}
    return _known({axis: (given.get(name), given.get(f"{name}Unit", unit)) for axis, (name, unit) in names.items()})


def _known(sizes: Mapping[str, tuple[object, object]]) -> dict[str, PixelSize]:
    found = {axis: measured(axis, size, unit) for axis, (size, unit) in sizes.items()}
    return {axis: size for axis, size in found.items() if size is not None}


def _distance(tif: tifffile.TiffFile, name: str) -> float | None:
    tag = tif.pages.first.tags.get(name)
    pixels, units = tag.value if tag else (0, 0)
    return units / pixels if pixels else None
