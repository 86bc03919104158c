"""The image of a session: as a value, and as an object of JSON, written and read."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from napari_sam2.files.json_fields import FieldError, Fields, brief
from napari_sam2.files.mask_runs import LARGEST_MASK

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_STACK = 10**6
"""Frames of an image beyond which their number is taken for a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUsed:
    """The image that was worked on, and how it was read as frames.

    Attributes
    ----------
    name : str
        What the user knows it by.
    shape : tuple of int
        Length of each axis of its data, without channels and colours, on the level that was read.
    dtype : str
        Name of the type of its values.
    path : Path, optional
        The file or folder; None if it came from elsewhere.
    axes : str, optional
        Meaning of the axes of the file, where the file itself does not give it.
    channels : tuple of int
        Channels of the file that the model sees now; all there are when empty.
    is_rgb : bool
        Whether there is a last axis of red, green and blue.
    order : tuple of int, optional
        Axes of `shape` that are frames (where there are any), rows and columns. None means their own order.
    level : int
        Resolution level of a multiscale image, 0 the finest.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    path: Path | None = None
    axes: str | None = None
    channels: tuple[int, ...] = ()
    is_rgb: bool = False
    order: tuple[int, ...] | None = None
    level: int = 0

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Number of frames, 1 for a single image, and the rows and columns of each."""
        frames, rows, columns = (1, *(self.shape[axis] for axis in self.order or range(len(self.shape))))[-3:]
        return frames, rows, columns


def image_entry(image: ImageUsed, folder: Path) -> dict[str, object]:
    """Return an image as an object of JSON; the path of one in the folder of the document starts there."""
    path = image.path
    if path is not None and path.is_absolute() and path.is_relative_to(folder.absolute()):
        path = path.relative_to(folder.absolute())
    return without_unknown(asdict(image) | {"path": None if path is None else path.as_posix()})


def without_unknown(entry: dict[str, object]) -> dict[str, object]:
    """Return an object of JSON without the fields that are None."""
    return {name: value for name, value in entry.items() if value is not None}


def image_from_entry(entry: object, folder: Path) -> ImageUsed:
    """Return the image that an object of JSON describes, in a document in some folder.

    Raises
    ------
    FieldError
        If a part is missing, misspelt or wrong.
    """
    fields = Fields(entry, ("name", "shape", "dtype"), ("path", "axes", "channels", "is_rgb", "order", "level"))
    shape = fields.wholes("shape", least=1)
    order = fields.wholes("order", least=0) if "order" in fields else None
    if len(shape) not in (2, 3) or (order is not None and sorted(order) != list(range(len(shape)))):
        raise FieldError(
            f'"shape" is {brief(shape)} and "order" {brief(order)}. Write two or three lengths, and in "order" the '
            "number of each of these axes once."
        )
    image = ImageUsed(
        name=fields.text("name"),
        shape=shape,
        dtype=fields.text("dtype"),
        path=folder.absolute() / place_in(fields, "path") if "path" in fields else None,
        axes=fields.text("axes") if "axes" in fields else None,
        channels=fields.wholes("channels", least=0),
        is_rgb=fields.flag("is_rgb"),
        order=order,
        level=fields.whole("level", least=0) if "level" in fields else 0,
    )
    frames, rows, columns = image.frame_shape
    if frames > LONGEST_STACK or rows * columns > LARGEST_MASK:
        raise FieldError(
            f'"shape" is {brief(shape)}, and images have up to {LONGEST_STACK:,} frames of {LARGEST_MASK:,} pixels. '
            "Use another copy of the session."
        )
    return image


def place_in(fields: Fields, name: str) -> str:
    """Return a field as text that can be the name of a file, or of a model.

    Raises
    ------
    FieldError
        If it is none.
    """
    value = fields.text(name)
    try:
        is_name = b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise FieldError(f'"{name}" is {brief(value)}, which no file can be called. Use another copy of the session.')
    return value
