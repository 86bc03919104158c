"""Documents of JSON from anywhere, of which no more is read than fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.errors import ImageFileError
from napari_sam2.files.sources import reading, source_file

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_DOCUMENT = 2**27
"""Bytes of a document of JSON that is read; as objects in memory it takes up to twenty times as much."""


def read_limited(path: Path, most: int = LARGEST_DOCUMENT) -> bytes:
    """Return the bytes of a file, of which there must be no more than so many; those of a document if not given.

    Raises
    ------
    ImageFileError
        If it is missing, no file, may not be read, or is larger.
    """
    with reading(path):
        source_file(path)  # refuses what is none
        with path.open("rb") as file:
            content = file.read(most + 1)
    if len(content) > most:
        raise ImageFileError(f"{path} is larger than the {most:,} bytes that are read of such a file. Make it smaller.")
    return content
