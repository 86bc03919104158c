"""What the file of a layer tells about its axes: napari opens many files without it, so it is asked where it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.errors import NapariSam2Error
from napari_sam2.files.images.reading import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Image, Labels

    from napari_sam2.files.images.reading import ImageFile

FILE = "napari-sam2 file"
"""Entry in the metadata of a layer of results: the file of the image that it is of, where there is one."""


def file_of(layer: Image | Labels) -> str | None:
    """Path of the file that a layer comes from, or that the image comes from which it is a result of."""
    path: object = layer.metadata.get(FILE, layer.source.path)
    return path if isinstance(path, str) else None


def described(path: str | Path, shape: tuple[int, ...]) -> ImageFile | None:
    """Read what a file tells about the axes of a layer; None if it cannot be read any more, or has another shape.

    Parameters
    ----------
    path : path
        The file, or the folder.
    shape : tuple of int
        Shape of the layer without colours, and without axes of length one beside frames, rows and columns.
    """
    for channel in (None, 0):  # the axes of all channels are the same
        try:
            file = read_image(path, channel=channel, unknown_axis="T")
        except NapariSam2Error:
            continue
        if file.label_shape == shape:
            return file
    return None


def axes_to_say(path: str | Path, shape: tuple[int, ...], axes: str) -> str | None:
    """Return the axes that have to be given when a file is read again as it is shown; None if it has them itself.

    Parameters
    ----------
    path, shape
        As in `described`.
    axes : str
        What the axes of `shape` are.
    """
    if described(path, shape) is not None:
        return None
    try:
        file = read_image(path, axes=axes)
    except NapariSam2Error:
        return None  # it is no file of ours, or not there: whoever replays the session is told
    return axes if file.label_shape == shape else None
