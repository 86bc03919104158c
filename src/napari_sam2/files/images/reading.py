"""Read an image or a stack from a file or a folder, lazily, with its axes and pixel size."""

from __future__ import annotations

import logging
import stat
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.files.images.arrays import AxesView
from napari_sam2.files.images.folders import PICTURE_SUFFIXES, TIFF_SUFFIXES, open_folder
from napari_sam2.files.images.npy import open_npy
from napari_sam2.files.images.pictures import open_picture
from napari_sam2.files.images.tiff import open_tiff
from napari_sam2.files.sources import reading
from napari_sam2.frames import FrameStack

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_sam2.files.images.arrays import StoredArray
    from napari_sam2.files.pixel_sizes import PixelSize
    from napari_sam2.frames import ArrayLike

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".npy", *PICTURE_SUFFIXES)
"""What can be read; a folder of TIFF, PNG or JPEG files is a stack."""

_UNKNOWN = "?QI"
"""Letters of axes of unknown meaning; the last two are those of tifffile."""

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

    def frames(self, *, contrast_limits: npt.ArrayLike | None = None) -> FrameStack:
        """Return the file as a model sees it, under an intensity mapping; a single image is a stack of one frame.

        Raises
        ------
        FrameError, OptionError
            As in `FrameStack`.
        """
        return FrameStack(
            self.array,
            contrast_limits=contrast_limits,
            channel_axis=self.channel_axis,
            rgb=self.axes.endswith("S"),
            single_image=not self.has_frames,
        )


def read_image(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    channel: int | None = None,
    unknown_axis: str | None = None,
) -> ImageFile:
    """Open an image, a stack or a folder of frames; pixels are read later.

    Parameters
    ----------
    path : path
        TIFF, NPY, PNG or JPEG, or a folder of TIFF, PNG or JPEG files, which are frames in natural order.
    axes : str, optional
        One letter per axis of the file, out of T, Z, C, Y, X, S. None takes those of the file; an axis of unknown
        meaning then counts as T, unless it is 3 long and could be channels.
    channel : int, optional
        The one channel to take, from 0. None takes them all, of which there may be three at most.
    unknown_axis : str, optional
        The letter of an axis of unknown meaning, where more is known of it than what the file gives.

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
        If `axes` or `channel` do not fit the file, it has more than three channels and none is chosen, or it does not
        say whether its three planes are frames or channels.
    """
    path = Path(path)
    stored = _open(path, "colours")
    letters = stored.axes if axes is None else _checked_axes(axes, stored, path)
    return _arranged(path, stored, letters, channel, unknown_axis)


def read_label_image(path: str | os.PathLike[str], *, axes: str | None = None) -> ImageFile:
    """Open a label image, a stack of them or a folder of label frames; values are read later.

    As `read_image`, except that a picture with a palette gives the numbers stored in it, which are its labels, and not
    the colours in which they are shown; and that an axis of unknown meaning is one of frames, since labels have no
    channels.

    Parameters
    ----------
    path : path
        As in `read_image`.
    axes : str, optional
        As in `read_image`.

    Returns
    -------
    ImageFile
        Frames first, then rows and columns. A file with channels or colours is given as it is, and so are values that
        are no whole numbers: the caller decides whether these can be labels.

    Raises
    ------
    ImageFileError, FrameError, OptionError
        As in `read_image`.
    """
    path = Path(path)
    stored = _open(path, "numbers")
    letters = stored.axes if axes is None else _checked_axes(axes, stored, path)
    if axes is None and letters == "SYX":
        letters = "TYX"  # tifffile writes a stack of three label images as the planes of a colour image
    return _arranged(path, stored, letters, None, "T")


def _open(path: Path, palette: str) -> StoredArray:
    suffix = path.suffix.lower()
    if suffix in _CURES:
        raise ImageFileError(f"{path}: {suffix} files are not read. {_CURES[suffix]}.")
    with reading(path):
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    if is_folder:
        return open_folder(path, palette=palette)
    if suffix in TIFF_SUFFIXES:
        return open_tiff(path)
    if suffix in PICTURE_SUFFIXES:
        picture = open_picture(path, palette=palette)
        # A single image is read now: it stays what it is, and a damaged one is refused.
        return replace(picture, array=np.asarray(picture.array[()]))
    if suffix == ".npy":
        return open_npy(path)
    raise ImageFileError(f"{path}: files of this kind are not read. Use one of: {', '.join(IMAGE_SUFFIXES)}.")


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


def _arranged(
    path: Path, stored: StoredArray, letters: str, channel: int | None, unknown_axis: str | None
) -> ImageFile:
    """Return the file with the channel chosen, without axes of length 1, and with the others in order."""
    shape = tuple(stored.array.shape)
    if 0 in shape or len(shape) < 2:
        raise FrameError(f"{path} has the shape {shape}, which is no image. Save at least rows and columns of pixels.")
    letters = _letters_known(path, shape, letters, unknown_axis)
    position = {letter: axis for axis, letter in enumerate(letters) if letter in "CYXS"}
    fixed: dict[int, int] = {}
    if channel is not None:
        _choose_channel(path, channel, shape, position, fixed)
    for letter in "CS":
        if letter in position and shape[position[letter]] == 1:
            fixed[position.pop(letter)] = 0
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


def _letters_known(path: Path, shape: tuple[int, ...], letters: str, unknown_axis: str | None) -> str:
    """Return the letters of axes with unknown ones named; refuse one that may be colours, which would become frames."""
    unknown = [axis for axis, letter in enumerate(letters) if letter in _UNKNOWN and shape[axis] > 1]
    if not unknown:
        return letters
    axis = unknown[0]
    if unknown_axis is not None:
        return letters if unknown_axis in letters else f"{letters[:axis]}{unknown_axis}{letters[axis + 1 :]}"
    others = [length for place, length in enumerate(shape) if letters[place] not in "YX" and place != axis]
    if set(letters) & set("CS") or max(others, default=1) > 1 or shape[axis] not in (2, 3):
        return letters
    if shape[axis] == 2:
        logger.warning("%s does not say what its 2 planes are: they are taken for frames.", path)
        return letters
    asked = {letter: _named(letters, axis, letter) for letter in "TZC"}
    raise OptionError(
        f"{path} has the shape {shape}, and does not say whether its 3 planes are frames or channels. Say so with "
        f"axes: --axes {asked['T']} for time points ({asked['Z']} for slices), --axes {asked['C']} for channels."
    )


def _named(letters: str, axis: int, letter: str) -> str:
    """Return letters with one axis named, and unknown ones of length 1 named by what is left."""
    left = [other for other in "TZCS" if other != letter and other not in letters]
    return "".join(
        letter if place == axis else known if known not in _UNKNOWN or not left else left.pop(0)
        for place, known in enumerate(letters)
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
