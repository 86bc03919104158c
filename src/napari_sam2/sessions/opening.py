"""Sessions on disk, opened to be read."""

from __future__ import annotations

import stat
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.errors import ImageFileError, SessionError
from napari_sam2.files.limits import read_limited
from napari_sam2.sessions.arrays import DAMAGE, check_members

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def opened(path: Path) -> Iterator[Path | zipfile.Path]:
    """Yield the top of a session, a folder or a zip; whatever goes wrong inside becomes a sentence that names it.

    Raises
    ------
    ImageFileError
        If the session is missing or cannot be read.
    SessionError
        If it is none, incomplete or damaged.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise ImageFileError(
            f"There is no session {path}, or it is out of reach. Check its name and folder."
        ) from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # whoever opens a pipe waits until somebody writes to it
        raise ImageFileError(f"{path} is no session, but a pipe or device. Give a file or a folder.")
    try:
        if stat.S_ISDIR(mode):
            yield path
            return
        with zipfile.ZipFile(path) as archive:
            check_members(archive)
            yield zipfile.Path(archive)
    except ImageFileError:
        raise
    except SessionError as error:
        raise SessionError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise SessionError(
            f"{path} is no session, or incomplete: it lacks {Path(str(error.filename or error)).name}."
        ) from error
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read ({error}). Check that you may read it.") from error
    except DAMAGE as error:
        raise SessionError(f"{path} is no session, or damaged ({error}). Use another copy of the file.") from error


def content_of(place: Path | zipfile.Path, most: int) -> bytes:
    """Return the bytes of a part of a session, of which there are at most so many.

    Raises
    ------
    FileNotFoundError
        If there is no such part.
    SessionError, ImageFileError
        If it is larger, or cannot be read.
    """
    if isinstance(place, Path):
        if not place.exists():
            raise FileNotFoundError(place)
        return read_limited(place, most)
    with place.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise SessionError(f"{place.name} is larger than {most:,} bytes. Use another copy of the file.")
    return content
