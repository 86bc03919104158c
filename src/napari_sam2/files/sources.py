"""Files that are read from: what they must be before they are opened, and that they stay as they were."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from tokenize import TokenError
from typing import TYPE_CHECKING

from PIL import Image

from napari_sam2.errors import ImageFileError, NapariSam2Error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST_FRAME = 2**30
"""Bytes that one compressed frame may take when it is unpacked; what is stored without compression may be larger."""

# What tifffile, Pillow and numpy raise on damaged files, as found by cutting and corrupting them.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    TokenError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_BEGINNINGS = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "NPY": (b"\x93NUMPY",),
    "EPS": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "PDF": (b"%PDF",),
    "GIF": (b"GIF8",),
    "BMP": (b"BM",),
    "WebP": (b"RIFF",),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "HDF5": (b"\x89HDF",),
    "ZIP": (b"PK\x03\x04",),
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was when it was opened.

    Attributes
    ----------
    path : Path
        Where it is.
    size : int
        Its bytes.
    modified_ns : int
        When it was last changed.
    inode : int
        Which file of that name it is; 0 on systems without a reliable number.
    """

    path: Path
    size: int
    modified_ns: int
    inode: int

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read from the file inside: afterwards, and before, it must still be the one that was opened.

        Raises
        ------
        ImageFileError
            If it is not, or cannot be read, as in `reading`.
        """
        self._check_unchanged()
        try:
            with reading(self.path):
                yield
        except ImageFileError:
            # What is wrong with a file that was replaced meanwhile is not worth telling.
            self._check_unchanged()
            raise
        self._check_unchanged()

    def check_claim(self, claimed: int, held: int, ratio: float | None) -> None:
        """Refuse a frame that claims more pixels than it can hold, before memory is taken for them.

        Parameters
        ----------
        claimed : int
            Bytes of the frame without compression.
        held : int
            Bytes that are stored of it.
        ratio : float or None
            How much the compression can save at best; 1 if there is none, None if there is no bound.

        Raises
        ------
        ImageFileError
            If it claims more, or is compressed and claims more than `LARGEST_FRAME`.
        """
        if ratio is not None and claimed > held * ratio:
            raise ImageFileError(
                f"{self.path} is damaged or incomplete: {held:,} bytes cannot hold the {claimed:,} bytes of pixels "
                "that a frame claims to have. Copy or export it again."
            )
        if claimed > LARGEST_FRAME and ratio != 1:
            raise ImageFileError(
                f"{self.path} has a compressed frame of {claimed:,} bytes, and up to {LARGEST_FRAME:,} are unpacked. "
                "Save it as TIFF without compression, or cut out a part."
            )

    def _check_unchanged(self) -> None:
        if source_file(self.path) != self:
            raise ImageFileError(
                f"{self.path} has changed since it was opened. Let no program write to it meanwhile, and open it again."
            )


def source_file(path: Path) -> SourceFile:
    """Return a file as it is now.

    Raises
    ------
    ImageFileError
        If it is missing, out of reach, or no file that can be read twice, such as a pipe or a device.
    """
    with reading(path):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            # Whoever opens a pipe waits until somebody writes to it.
            raise ImageFileError(f"{path} is no file, but a folder, pipe or device. Save what it holds as a file.")
        # Windows makes up such numbers on many network drives.
        inode = found.st_ino if os.name == "posix" else 0
        return SourceFile(path, found.st_size, found.st_mtime_ns, inode)


def check_kind(source: SourceFile, kind: str) -> None:
    """Refuse a file that begins otherwise than files of a kind do, whatever its name.

    Parameters
    ----------
    source : SourceFile
        The file.
    kind : str
        "PNG", "JPEG", "TIFF" or "NPY".

    Raises
    ------
    ImageFileError
        If it is so, or the file is empty.
    """
    if source.size == 0:
        raise ImageFileError(f"{source.path} is empty (0 bytes). Copy or export it again.")
    with source.reading(), source.path.open("rb") as file:
        begins = file.read(16)
    if begins.startswith(_BEGINNINGS[kind]):
        return
    other = next((name for name, marks in _BEGINNINGS.items() if begins.startswith(marks)), None)
    if other is None:
        raise ImageFileError(
            f"{source.path} cannot be read: it is no {kind} file, or its beginning is damaged. Copy or export it again."
        )
    raise ImageFileError(
        f"{source.path} cannot be read: its name is that of a {kind} file, and it holds {other}. Give it the right "
        f"name, or save it as {kind}."
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors that a file causes while it is read into a sentence.

    Raises
    ------
    ImageFileError
        In place of any error that a missing, forbidden or damaged file causes.
    """
    try:
        yield
    except NapariSam2Error:
        raise
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ImageFileError(f"{path} is a link to something that is missing. Mend or remove it.") from error
        raise ImageFileError(f"There is no file {path}. Check its name and folder.") from error
    except PermissionError as error:
        raise ImageFileError(f"{path} may not be read: permission is denied. Change its permissions.") from error
    except MemoryError as error:
        raise ImageFileError(
            f"{path} needs more memory than there is. It may be damaged; if not, cut it into smaller pieces."
        ) from error
    except (ImportError, *_DAMAGE) as error:
        # tifffile knows some compressions from the standard library of later versions of Python.
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            raise ImageFileError(
                f"{path} is compressed in a way that needs another package ({_shortened(error)}). Install it, pip "
                'install "napari-sam2[codecs]", or save the file without compression.'
            ) from error
        raise ImageFileError(
            f"{path} cannot be read ({_shortened(error)}). It may be damaged or incomplete: copy or export it again."
        ) from error


def _shortened(error: Exception) -> str:
    # Some libraries quote the header that they did not understand, however long.
    text = str(error) or type(error).__name__
    if isinstance(error, LookupError):
        text = f"{type(error).__name__}: {text}"  # its text alone is a number or a name
    return text if len(text) <= 200 else f"{text[:200]}..."
