"""What a TIFF claims about its pages, held against what the file can hold, before tifffile acts on it."""

from __future__ import annotations

import json
import lzma
import math
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
from tifffile import COMPRESSION

from napari_sam2.errors import ImageFileError
from napari_sam2.files.sources import LARGEST_FRAME, source_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.files.sources import SourceFile

    Page = tifffile.TiffPage | tifffile.TiffFrame

# How many bytes one stored byte can become at best. Deflate: 258 bytes of 2 bits. LZW: chains of 3837 bytes of 12 bits.
# PackBits: 128 bytes of 2. JPEG: blocks of 64 samples of a bit or more, with colours stored at a quarter.
_RATIOS: dict[int, float] = {
    COMPRESSION.NONE: 1.0,
    COMPRESSION.LZW: 2560.0,
    COMPRESSION.PACKBITS: 64.0,
    COMPRESSION.JPEG: 2048.0,
    COMPRESSION.OJPEG: 2048.0,
    COMPRESSION.DEFLATE: 1032.0,
    COMPRESSION.ADOBE_DEFLATE: 1032.0,
}
_DEFLATE: tuple[int, ...] = (COMPRESSION.DEFLATE, COMPRESSION.ADOBE_DEFLATE)

_SMALL = 2**26
"""Bytes that a strip or tile may become without being looked at first."""

_LEAST_PAGE = 16
"""Bytes that even an empty page takes in a TIFF."""


def check_metadata(source: SourceFile, tif: tifffile.TiffFile) -> None:
    """Refuse metadata that claim more planes than the file has room for, or name files elsewhere.

    tifffile makes a list of all planes that the metadata claim, and opens the files that they name.

    Raises
    ------
    ImageFileError
        If it is so.
    ValueError, TypeError
        If numbers are none.
    """
    if tif.pages.first.is_shaped:
        _check_shaped_series(source, tif.pages)
    if tif.is_ome and tif.ome_metadata:
        _check_ome(source, ET.fromstring(tif.ome_metadata), tif.pages.first.size)
    if tif.is_ndtiff:
        raise ImageFileError(
            f"{source.path} is part of an NDTiff data set, which is not read. Save it as TIFF, for example with Fiji."
        )
    if tif.is_mmstack:
        _check_micromanager(source, tif.micromanager_metadata or {})


def checked_page(source: SourceFile, page: Page | None) -> Page:
    """Return a page whose pixels the file has room for.

    Parameters
    ----------
    source : SourceFile
        The file that refers to the page.
    page : TiffPage or TiffFrame or None
        The page, also of another file in the same folder.

    Raises
    ------
    ImageFileError
        If it is missing, incomplete, or claims more pixels than it can hold.
    """
    if page is None:
        raise ImageFileError(
            f"{source.path} refers to planes that are missing, perhaps in another file. Export it as one file."
        )
    if page.parent.filehandle.dirname != os.path.abspath(source.path.parent):
        raise ImageFileError(f"{source.path} refers to planes in another folder. Export it as one file.")
    ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    if max(ends, default=0) > page.parent.filehandle.size:
        raise ImageFileError(f"{source.path} is incomplete: it ends inside page {page.index}. Copy or export it again.")
    key = keyframe_of(page)
    if key.is_contiguous:
        source.check_claim(key.nbytes, page.parent.filehandle.size - page.dataoffsets[0], 1.0)
        return page
    bits = min(key.bitspersample) if isinstance(key.bitspersample, tuple) else key.bitspersample
    pixels = math.prod(key.shaped)
    source.check_claim(pixels * bits // 8, sum(page.databytecounts), _RATIOS.get(key.compression))
    if key.compression != COMPRESSION.NONE:
        source.check_claim(pixels * (key.dtype.itemsize if key.dtype else 1), source.size, None)
    return page


def keyframe_of(page: Page) -> tifffile.TiffPage:
    """Return the page that describes how a page is stored.

    Raises
    ------
    ValueError
        If there is none.
    """
    if page.keyframe is None:
        raise ValueError(f"page {page.index} does not say how it is stored")
    return page.keyframe


def check_segments(source: SourceFile, page: Page) -> None:
    """Refuse strips or tiles that unpack to more than the page needs; only those are looked at that could.

    Raises
    ------
    ImageFileError
        If it is so.
    """
    key = keyframe_of(page)
    ratio = _RATIOS.get(key.compression)
    if key.compression not in (*_DEFLATE, COMPRESSION.LZMA):
        return
    most = min(max(4 * key.nbytes, _SMALL), LARGEST_FRAME)
    with Path(page.parent.filehandle.path).open("rb") as file:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if ratio is not None and count * ratio <= most:
                continue
            file.seek(offset)
            unpack = lzma.LZMADecompressor() if ratio is None else zlib.decompressobj()
            if _unpacks_to_more(unpack, file.read(count), most):
                raise ImageFileError(
                    f"{source.path} is damaged: a piece of page {page.index} unpacks to more than the page holds. "
                    "Copy or export it again."
                )


def _unpacks_to_more(unpack: lzma.LZMADecompressor | zlib._Decompress, data: bytes, most: int) -> bool:
    total = 0
    while not unpack.eof:
        piece = unpack.decompress(data, 2**20)
        data = b"" if isinstance(unpack, lzma.LZMADecompressor) else unpack.unconsumed_tail
        total += len(piece)
        if total > most:
            return True
        if not piece:
            return False  # cut short: tifffile tells
    return False


def _check_shaped_series(source: SourceFile, pages: tifffile.TiffPages) -> None:
    """Look at the pages on which tifffile lets a series begin; the others have no shape of their own."""
    number, seen = 0, set[int]()
    while number < len(pages):
        page = pages[number]
        shape, truncated = _checked_shape(source, page, seen)
        number += 1 if truncated else max(1, math.prod(shape) // max(1, math.prod(page.shape)))


def _checked_shape(source: SourceFile, page: Page, seen: set[int]) -> tuple[list[int], bool]:
    """Return the shape of the series as a page gives it, and whether the pages after the first are left out."""
    if page.offset in seen or not isinstance(page, tifffile.TiffPage):
        raise ImageFileError(f"{source.path} is damaged: its pages form a circle. Copy or export it again.")
    seen.add(page.offset)
    for smaller in page.pages or ():
        _checked_shape(source, smaller, seen)
    text = page.shaped_description
    if text is None or text.startswith("shape="):
        return list(page.shape), False
    metadata = json.loads(text)
    shape = metadata["shape"]
    if not isinstance(shape, list) or any(type(length) is not int or length < 0 for length in shape):
        raise ImageFileError(f"{source.path} is damaged: its shape is {str(shape)[:80]}. Copy or export it again.")
    return shape, bool(metadata.get("truncated"))


def _check_ome(source: SourceFile, root: ET.Element, page_size: int) -> None:
    most = source.size // _LEAST_PAGE
    for element in root.iter():
        kind, given = element.tag.rpartition("}")[2], element.attrib
        planes = 0.0
        if kind == "Pixels":
            lengths = [int(given[f"Size{axis}"]) for axis in "XYZCT"]
            planes = math.prod(lengths) if min(lengths) >= 0 else math.inf
            planes = max(planes // max(page_size, 1), math.prod(lengths[2:]))
        elif kind == "TiffData":
            planes = max(int(given.get(name, 0)) for name in ("IFD", "NumPlanes", "PlaneCount"))
        elif kind == "Channel":
            planes = int(given.get("SamplesPerPixel", 1))
        elif kind.startswith("ModuloAlong") and "Start" in given:
            span = float(given["End"]) - float(given["Start"])
            planes = abs(span / float(given.get("Step", 1)))
        elif kind == "UUID" and "FileName" in given:
            _check_sibling(source, given["FileName"])
        if not planes <= most:
            raise ImageFileError(
                f"{source.path} is damaged or incomplete: its metadata claim more planes than it has room for. "
                "Copy or export it again, as one file."
            )


def _check_sibling(source: SourceFile, name: str) -> None:
    """Refuse a file that the metadata name, if it is not beside this one, or could not be read twice."""
    if name != Path(name).name or name == ".." or "\\" in name:
        raise ImageFileError(f"{source.path} refers to planes in another folder ({name[:80]}). Export it as one file.")
    sibling = source.path.parent / name
    if sibling.exists():
        source_file(sibling)


def _check_micromanager(source: SourceFile, metadata: Mapping[str, object]) -> None:
    summary, index = metadata.get("Summary"), metadata.get("IndexMap")
    summary = summary if isinstance(summary, dict) else {}
    counts = [max(1, int(summary.get(name, 1))) for name in ("Channels", "Slices", "Frames", "Positions")]
    if isinstance(index, np.ndarray) and index.size:
        counts = [max(count, int(last) + 1) for count, last in zip(counts, index.max(axis=0)[:4], strict=True)]
    if math.prod(counts) > source.size // _LEAST_PAGE:
        raise ImageFileError(
            f"{source.path} is damaged or incomplete: its metadata claim more planes than it has room for. "
            "Copy or export it again, as one file."
        )
