"""Read an image or a stack from a file or a folder, lazily, with its axes and pixel size."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from PIL import Image

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.file_arrays import AxesView, LazyFrames, MappedFile, PixelSize, StoredArray, reading
from napari_sam2.tiff_files import open_tiff

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike

TIFF_SUFFIXES = (".tif", ".tiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".npy", *PICTURE_SUFFIXES)
"""What can be read; a folder of TIFF, PNG or JPEG files is a stack."""

_TO_TIFF = "Open it in Fiji (File > Import > Bio-Formats) and save it as OME-TIFF"
_TO_FRAMES = "Export its frames as a folder of PNG files, or as TIFF"
_CURES = (
    dict.fromkeys((".nd2", ".czi", ".lif", ".lsm", ".oib", ".oif", ".ims", ".vsi", ".dv"), _TO_TIFF)
    | dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".gif"), _TO_FRAMES)
    | dict.fromkeys((".zarr", ".n5", ".h5", ".hdf5"), "Save it as TIFF or NPY; zarr comes later")
    | {".npz": "Save the array you mean with numpy.save, as .npy"}
)


@dataclass(frozen=True, slots=True, eq=False)
class ImageFile:
    """An image or a stack in a file.

    Attributes
    ----------
    path : Path
        The file or the folder.
    array : ArrayLike
        The pixels, read when they are asked for; `numpy.asarray` reads all.
    axes : str
        One letter per axis: T or Z for frames (first, absent for a single image), C for channels, Y, X, and S (last)
        for red, green, blue. "TYX", "ZYX", "YX", "YXS" and "TCYX" are examples.
    pixel_size : mapping of str to PixelSize
        By letter of `axes`, as far as the file knows.
    is_ome : bool
        Whether the file is an OME-TIFF.
    """

    path: Path
    array: ArrayLike
    axes: str
    pixel_size: Mapping[str, PixelSize]
    is_ome: bool = False

    @property
    def has_frames(self) -> bool:
        """Whether it is a stack, and not a single image."""
        return self.axes[0] in "TZ"

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels; None if there is none, or red, green, blue."""
        return self.axes.index("C") if "C" in self.axes else None

    @property
    def label_axes(self) -> str:
        """Axes of a label image for it: the same without channels and colours."""
        return self.axes.replace("C", "").replace("S", "")

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of a label image for it."""
        lengths = dict(zip(self.axes, self.array.shape, strict=True))
        return tuple(lengths[axis] for axis in self.label_axes)


def read_image(path: str | os.PathLike[str], *, axes: str | None = None, channel: int | None = None) -> ImageFile:
    """Open an image, a stack or a folder of frames; pixels are read later.

    Parameters
    ----------
    path : path
        TIFF, NPY, PNG or JPEG, or a folder of TIFF, PNG or JPEG files, which are frames in natural order.
    axes : str, optional
        One letter per axis of the file, out of T, Z, C, Y, X, S. None takes what the file says; an axis of unknown
        meaning then counts as T.
    channel : int, optional
        The one channel to take, from 0. None takes them all, of which there may be three at most.

    Returns
    -------
    ImageFile
        Frames first, then channels, rows, columns and colours.

    Raises
    ------
    ImageFileError
        If the file is missing, unreadable, damaged, or of a kind that is not read.
    FrameError
        If it has no pixels, or more than one axis of frames.
    OptionError
        If `axes` or `channel` do not fit the file, or it has more than three channels and none is chosen.
    """
    path = Path(path)
    stored = _open(path)
    letters = stored.axes if axes is None else _checked_axes(axes, stored, path)
    return _arranged(path, stored, letters, channel)


def _open(path: Path) -> StoredArray:
    suffix = path.suffix.lower()
    if suffix in _CURES:
        raise ImageFileError(f"{path}: {suffix} files are not read. {_CURES[suffix]}.")
    if path.is_dir():
        return _open_folder(path)
    if not path.exists():
        raise ImageFileError(f"There is no file {path}. Check its name and folder.")
    if suffix not in IMAGE_SUFFIXES:
        raise ImageFileError(f"{path}: files of this kind are not read. Use one of: {', '.join(IMAGE_SUFFIXES)}.")
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path} is empty (0 bytes). Copy or export it again.")
    if suffix in TIFF_SUFFIXES:
        return open_tiff(path)
    if suffix == ".npy":
        array = MappedFile(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False))
        return StoredArray(array, _guessed_axes(array.shape))
    picture = _read_picture(path)
    return StoredArray(picture, "YXS"[: picture.ndim])


def _guessed_axes(shape: tuple[int, ...]) -> str:
    if len(shape) in (3, 4) and shape[-1] in (3, 4):
        return "TYXS"[4 - len(shape) :]
    # A question mark is an axis of unknown meaning.
    return ("?" * len(shape) + "YX")[-len(shape) :] if len(shape) >= 2 else "?" * len(shape)


def _read_picture(path: Path) -> NDArray[np.generic]:
    with reading(path), Image.open(path) as picture:
        # Palettes, CMYK and alpha beside grey are ways to store colour or grey, not further channels.
        plain = {"P": "RGB", "PA": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "LA": "L", "La": "L"}.get(picture.mode)
        return np.asarray(picture.convert(plain) if plain else picture)


def _open_folder(folder: Path) -> StoredArray:
    with reading(folder):
        names = sorted((path.name for path in folder.iterdir() if _is_frame(path)), key=_natural_order)
    if not names:
        raise ImageFileError(f"{folder} holds no TIFF, PNG or JPEG files. Choose the folder with the frames.")
    paths = [folder / name for name in names]
    form = _form(paths[0])
    for path in paths[1:]:
        if _form(path) != form:
            raise ImageFileError(
                f"{path} ({_form(path)}) and {paths[0]} ({form}) differ, and all frames of a stack must be alike. "
                "Remove or convert the odd ones."
            )
    first = _read_frame(paths[0])

    def read(number: int) -> NDArray[np.generic]:
        frame = _read_frame(paths[number])
        if frame.shape != first_shape:
            raise ImageFileError(f"{paths[number]} has changed since the folder was opened. Open the folder again.")
        return frame

    first_shape, dtype = first.shape, first.dtype
    return StoredArray(LazyFrames(read, (len(paths),), first_shape, dtype), "TYXS"[: 1 + len(first_shape)])


def _is_frame(path: Path) -> bool:
    return path.suffix.lower() in TIFF_SUFFIXES + PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key under which frame 9 comes before frame 10."""
    pieces = re.split(r"(\d+)", name)  # every second piece is a number
    return [(int(piece), "") if index % 2 else (0, piece.casefold()) for index, piece in enumerate(pieces)], name


def _form(path: Path) -> str:
    """Describe what must be the same in all files of a folder, read from the header alone."""
    with reading(path):
        if path.suffix.lower() not in TIFF_SUFFIXES:
            with Image.open(path) as picture:
                return f"{picture.height} x {picture.width} pixels, {picture.mode}"
        with tifffile.TiffFile(path) as tif:
            if len(tif.pages) != 1:
                raise ImageFileError(f"{path} holds {len(tif.pages)} pages. Open it as a file, not by its folder.")
            height, width = tif.pages.first.imagelength, tif.pages.first.imagewidth
            return f"{height} x {width} pixels, {tif.pages.first.samplesperpixel} x {tif.pages.first.dtype}"


def _read_frame(path: Path) -> NDArray[np.generic]:
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return _read_picture(path)
    with reading(path), tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        image = page.asarray()
        return np.moveaxis(image, 0, -1) if page.axes == "SYX" else image


def _checked_axes(axes: str, stored: StoredArray, path: Path) -> str:
    letters, shape = axes.upper(), tuple(stored.array.shape)
    once = max(Counter(letters).values(), default=0) == 1
    if not once or set(letters) - set("TZCYXS") or not {"Y", "X"} <= set(letters):
        raise OptionError(
            f"Axes are {axes!r}. Use each of T, Z, C, Y, X, S at most once, with Y and X; for example TYX."
        )
    if len(letters) != len(shape):
        raise OptionError(
            f"Axes {axes!r} name {len(letters)} axes, and {path} has the shape {shape}. Name each one once."
        )
    return letters


def _arranged(path: Path, stored: StoredArray, letters: str, channel: int | None) -> ImageFile:
    """Choose the channel, take out axes of length 1, and bring the others into order."""
    shape = tuple(stored.array.shape)
    if 0 in shape or len(shape) < 2:
        raise FrameError(f"{path} has the shape {shape}, which is no image. Save at least rows and columns of pixels.")
    position = {letter: axis for axis, letter in enumerate(letters) if letter in "CYXS"}
    fixed: dict[int, int] = {}
    if channel is not None:
        _choose_channel(path, channel, shape, position, fixed)
    if "C" in position and shape[position["C"]] == 1:
        fixed[position.pop("C")] = 0
    _check_colours(path, shape, position)
    others = [axis for axis, letter in enumerate(letters) if letter not in "CYXS"]
    long = [axis for axis in others if shape[axis] > 1]
    if len(long) > 1:
        what = " and ".join(f"{shape[axis]} along {letters[axis]}" for axis in long)
        raise FrameError(
            f"{path} has more than one axis of frames: {what}. Only one can be followed: save a single time point or "
            "slice series as its own file, or say with axes which one holds channels (C)."
        )
    frames = long or others[:1]
    fixed |= dict.fromkeys(set(others) - set(frames), 0)
    order = (*frames, *(position[letter] for letter in "CYXS" if letter in position))
    named = [letters[axis] if letters[axis] in "TZCYXS" else "T" for axis in order]
    return ImageFile(
        path=path,
        array=AxesView(stored.array, fixed, order),
        axes="".join(named),
        pixel_size={axis: stored.pixel_size[axis] for axis in named if axis in stored.pixel_size},
        is_ome=stored.is_ome,
    )


def _choose_channel(
    path: Path, channel: int, shape: tuple[int, ...], position: dict[str, int], fixed: dict[int, int]
) -> None:
    """Move the channel axis, or else the colours, from `position` to `fixed`."""
    axis = next((position.pop(letter) for letter in "CS" if letter in position), None)
    count = 1 if axis is None else shape[axis]
    if not 0 <= channel < count:
        raise OptionError(f"There is no channel {channel} in {path}: it has {count}, numbered from 0.")
    if axis is not None:
        fixed[axis] = channel


def _check_colours(path: Path, shape: tuple[int, ...], position: dict[str, int]) -> None:
    if "S" in position and shape[position["S"]] not in (3, 4):
        # Samples that are not red, green, blue (and alpha) are channels.
        samples = position.pop("S")
        if "C" in position:
            raise OptionError(
                f"{path} has {shape[position['C']]} channels of {shape[samples]} samples. Choose a channel."
            )
        position["C"] = samples
    if "C" not in position:
        return
    count = shape[position["C"]]
    if count > 3 or "S" in position:
        colours = "colour " if "S" in position else ""
        raise OptionError(
            f"{path} has {count} {colours}channels, and a frame shows up to three. Choose one of 0 to {count - 1} with "
            "channel, or say with axes that they are frames (T or Z)."
        )
