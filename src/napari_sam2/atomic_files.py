"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.errors import ImageFileError

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_replaceable(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return a path that may be written.

    Raises
    ------
    ImageFileError
        If its folder does not exist, it is a folder itself, or it exists and may not be overwritten.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ImageFileError(f"There is no folder {path.parent} to write {path.name} into. Make it first.")
    if path.is_dir():
        raise ImageFileError(f"{path} is a folder. Choose another name.")
    if path.exists() and not overwrite:
        raise ImageFileError(f"{path} exists already. Choose another name, or allow overwriting.")
    return path


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a path to write to, beside the final one, which it replaces in one step when all went well.

    Raises
    ------
    ImageFileError
        If the path may not be written, or the disk refuses; nothing is left behind then.
    """
    path = check_replaceable(path, overwrite=overwrite)
    partial = path.with_name(f"{path.stem}.partial.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written ({error}). Choose another folder, or free space.") from error
    finally:
        partial.unlink(missing_ok=True)
