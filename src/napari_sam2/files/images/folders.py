"""A folder of TIFF, PNG or JPEG files as a stack, one frame a file."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.arrays import LazyFrames, StoredArray
from napari_sam2.files.images.pictures import open_picture
from napari_sam2.files.images.tiff import open_tiff_frame
from napari_sam2.files.sources import reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.files.pixel_sizes import PixelSize

logger = logging.getLogger(__name__)

TIFF_SUFFIXES = (".tif", ".tiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")

# c0, ch00, channel_1, and w1 or w1GFP as MetaMorph writes it; a part of its own in the name.
_CHANNEL = re.compile(r"(?<![a-z0-9])(?:(?:channel|chan|ch|c)[_-]?\d+|w\d[^_]*?)(?=$|[_\-. ])", re.IGNORECASE)


def open_folder(folder: Path, *, palette: str = "colours") -> StoredArray:
    """Open the pictures of a folder as a stack in natural order; pixels are read later.

    Parameters
    ----------
    folder : Path
        It may hold other files, too.
    palette : {"colours", "numbers"}
        As in `open_picture`.

    Raises
    ------
    ImageFileError
        If it holds no pictures, some differ from the others, their names are those of several channels, or one cannot
        be read.
    """
    with reading(folder):
        inside = sorted(folder.iterdir(), key=lambda path: _natural_order(path.name))
        paths = [path for path in inside if _is_frame(path)]
        folders = [path.name for path in inside if path.is_dir()]
    if not paths:
        cure = f", and folders ({', '.join(folders[:3])}). Choose one" if folders else ". Choose the folder"
        raise ImageFileError(f"{folder} holds no TIFF, PNG or JPEG files{cure} with the frames.")
    _refuse_channels(folder, [path.name for path in paths])
    frames = [_open_frame(path, palette) for path in paths]
    form = _form(frames[0])
    for path, frame in zip(paths, frames, strict=True):
        if _form(frame) != form:
            raise ImageFileError(
                f"{path} ({_form(frame)}) and {paths[0]} ({form}) differ, and all frames of a stack must be alike. "
                "Remove or convert the odd ones."
            )
    first = frames[0].array
    first[()]  # frames that cannot be decoded are noticed now, and not in the middle of the work

    def read(number: int) -> NDArray[np.generic]:
        return np.asarray(frames[number].array[()])

    stack = LazyFrames(read, (len(paths),), tuple(first.shape), first.dtype)
    return StoredArray(stack, f"T{frames[0].axes}", _common_pixel_size(paths, frames))


def _is_frame(path: Path) -> bool:
    return (
        path.suffix.lower() in TIFF_SUFFIXES + PICTURE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )


def _natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a sort key under which frame 9 comes before frame 10."""
    # Every second piece is a number. Digits that are no decimal ones, or too many to be a number, are text.
    pieces = re.split(r"([0-9]{1,999})", name)
    return [(int(piece), "") if index % 2 else (0, piece.casefold()) for index, piece in enumerate(pieces)], name


def _open_frame(path: Path, palette: str) -> StoredArray:
    if path.suffix.lower() in TIFF_SUFFIXES:
        return open_tiff_frame(path)
    return open_picture(path, palette=palette)


def _form(frame: StoredArray) -> str:
    """Return what must be the same in all files of a folder."""
    lengths = " x ".join(str(length) for length in frame.array.shape)
    return f"{lengths} along {frame.axes}, {np.dtype(frame.array.dtype)}"


def _refuse_channels(folder: Path, names: Sequence[str]) -> None:
    """Refuse names that differ in a channel: each frame is there once for each channel, and there are several."""
    for position in range(3):
        channels: dict[str, set[str]] = defaultdict(set)
        for name in names:
            found = list(_CHANNEL.finditer(name))
            if len(found) <= position:
                break
            part = found[position]
            channels[part[0]].add(f"{name[: part.start()]}*{name[part.end() :]}")
        else:
            rests = list(channels.values())
            if len(rests) > 1 and all(rest == rests[0] for rest in rests) and len(rests[0]) > 1:
                raise ImageFileError(
                    f"{folder} holds each frame in {len(rests)} channels by the names of its files "
                    f"({', '.join(list(channels)[:3])}), which would follow each other as frames. Move the files of "
                    "each channel into a folder of its own, or save them as one TIFF with channels."
                )


def _common_pixel_size(paths: Sequence[Path], frames: Sequence[StoredArray]) -> dict[str, PixelSize]:
    """Return the pixel sizes in which all frames agree."""
    common = {}
    for axis in "TZYX":
        sizes = [frame.pixel_size.get(axis) for frame in frames]
        odd = next((path for path, size in zip(paths, sizes, strict=True) if size != sizes[0]), None)
        if odd is not None:
            logger.warning("%s and %s differ in the pixel size along %s, which is left out.", paths[0], odd, axis)
        elif sizes[0] is not None:
            common[axis] = sizes[0]
    return common
