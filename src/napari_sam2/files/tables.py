"""Tables as CSV files, complete or not at all."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from napari_sam2.errors import ImageFileError
from napari_sam2.files.atomic import replacing
from napari_sam2.files.partial import claim, keep, remove, writing

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def write_table(path: Path, table: pd.DataFrame, *, overwrite: bool = False) -> None:
    """Write a table.

    Raises
    ------
    ImageFileError
        If the file exists and may not be overwritten, or cannot be written.
    """
    with replacing(path, overwrite=overwrite) as partial:
        _write_csv(partial, table)


def keep_table(path: Path, table: pd.DataFrame) -> Path | None:
    """Write a table of unfinished work beside its final place, and return where it is; None if the disk refuses."""
    with suppress(ImageFileError):  # what stopped the work is what the user needs to know
        partial = claim(path, path.suffix, overwrite=True)
        try:
            with writing(path):
                _write_csv(partial, table)
        except ImageFileError:
            remove(partial)
            raise
        return keep(partial, path, path.suffix)
    return None


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    # Names may hold letters that no encoding has, as file names do on Linux.
    table.to_csv(path, index=False, encoding="utf-8", errors="backslashreplace")
