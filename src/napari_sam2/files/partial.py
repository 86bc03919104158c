"""Files on their way to their final name: each is made by one process alone, and nothing finished in them is lost.

While it is written, the partial file of `labels.tif` is called `labels.tif.partial.HOST-PROCESS-TIME.tif`: the name
tells whose it is, on network shares and under Windows, too, where files cannot be locked reliably. Nobody else chooses
that name, and the file is made only where there is none, so no link that was put there is followed. Work that ends
early with something finished is given the plain name `labels.tif.partial.tif`, or `labels.tif.partial-2.tif` if that
is taken.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import re
import shutil
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from napari_sam2.errors import ImageFileError, NapariSam2Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

_CLOCK_SLACK_S = 2.0
"""The start of a process is known to a hundredth of a second, and clocks are set while it runs."""

_ATTEMPTS, _STEP_BACK_S = 10, 0.05
"""How often a process that met another steps back, and for how long at most. Making a file takes under 1 ms."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that makes a file.

    Attributes
    ----------
    host : str
        Name of its machine, of letters, digits and dots.
    process : int
        Its number there.
    created_ns : int
        When it made the file, in nanoseconds since 1970.
    """

    host: str
    process: int
    created_ns: int

    @property
    def is_running(self) -> bool:
        """Whether it may still write the file. Of a process on another machine nobody here can know: it may."""
        if self.host != this_host():
            return True
        try:
            started_s = psutil.Process(self.process).create_time()
        except psutil.Error:
            return False
        # A process that began after the file was made has been given the number of one that ended.
        return bool(started_s <= self.created_ns / 1e9 + _CLOCK_SLACK_S)


def this_host() -> str:
    """Return the name of this machine, of letters, digits and dots."""
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:32]


def claim(path: Path, suffix: str, *, is_folder: bool = False, overwrite: bool = False) -> Path:
    """Make an empty partial file that is this process's own, and return it.

    Parameters
    ----------
    path : Path
        The file to become.
    suffix : str
        How the name of the partial file ends, with the dot.
    is_folder : bool
        Whether it is a folder.
    overwrite : bool
        Whether that may be done while another process is writing the same file.

    Raises
    ------
    ImageFileError
        If another process is writing it, the name is too long, or the disk refuses.
    """
    for _ in range(_ATTEMPTS):
        partial = _own_partial(path, suffix)
        with writing(path):
            if is_folder:
                partial.mkdir()
            else:
                partial.touch(exist_ok=False)
        if overwrite or not _being_written(path, suffix, but=partial):
            return partial
        # Of processes that begin at the same moment each sees the other: all step back, and try again one by one.
        remove(partial)
        time.sleep(random.uniform(0, _STEP_BACK_S))
        check_not_being_written(path, suffix)
    raise ImageFileError(f"Several processes want to write {path} at once. Choose another name, or start them in turn.")


def check_not_being_written(path: Path, suffix: str) -> None:
    """Refuse a file to become that another process, or another part of this one, is writing.

    Raises
    ------
    ImageFileError
        If it is being written, or its name is too long to write it.
    """
    for partial, owner in _being_written(path, suffix):
        raise ImageFileError(
            f"{path} is being written by process {owner.process} on {owner.host} ({partial.name}). Choose another "
            "name, wait until it has ended, or allow overwriting."
        )


def tidy(path: Path, suffix: str, holds_work: Callable[[Path], bool]) -> None:
    """Remove partial files of processes that died before anything was finished, and warn of the others.

    Parameters
    ----------
    path, suffix
        As in `claim`.
    holds_work : callable
        Whether a partial file, or folder, holds anything of use.
    """
    for partial, owner in _partials(path, suffix):
        if owner is not None and owner.is_running:
            continue
        if owner is None or holds_work(partial):
            logger.warning("%s is left of an earlier run with what was finished; it stays as it is.", partial)
        else:
            remove(partial)


def keep(partial: Path, path: Path, suffix: str) -> Path:
    """Rename a partial file that ends early to the first plain name that is free, and return that.

    Where the system refuses that, the file stays under the name it has, which is returned.
    """
    kept = partial
    try:
        kept = _reserved(partial, path, suffix)
        if partial.is_dir():
            kept.rmdir()  # not every system renames a folder to one that is there
            return partial.rename(kept)
        return partial.replace(kept)
    except OSError as error:
        logger.warning("%s keeps its name (%s).", partial, error)
        if kept != partial:
            remove(kept)  # it is empty
        return partial


def _reserved(partial: Path, path: Path, suffix: str) -> Path:
    """Make an empty file or folder under the first plain name: renaming would replace one without a word."""
    numbers = itertools.count(1)
    while True:
        number = next(numbers)
        kept = path.with_name(f"{path.name}.partial{'' if number == 1 else f'-{number}'}{suffix}")
        with suppress(FileExistsError):
            if partial.is_dir():
                kept.mkdir()
            else:
                kept.touch(exist_ok=False)
            return kept


def remove(partial: Path) -> None:
    """Remove a partial file or folder, as far as that is possible: it stops nobody if it stays."""
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        try:
            partial.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s could not be removed (%s).", partial, error)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the system while a file is made into a sentence.

    Raises
    ------
    ImageFileError
        In place of an error of the disk, or of a name that the system does not take.
    """
    try:
        yield
    except NapariSam2Error:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a zero in it, or with letters it cannot encode
        raise ImageFileError(
            f"{path} cannot be written ({error}). Choose another name or folder, or free space."
        ) from error


def _own_partial(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.partial.{this_host()}-{os.getpid()}-{time.time_ns():x}{suffix}")


def _being_written(path: Path, suffix: str, *, but: Path | None = None) -> list[tuple[Path, Owner]]:
    return [
        (partial, owner)
        for partial, owner in _partials(path, suffix)
        if owner is not None and owner.is_running and partial != but
    ]


def _partials(path: Path, suffix: str) -> list[tuple[Path, Owner | None]]:
    """Return the partial files of a file to become; an owner belongs to those that did not get a plain name."""
    name, end = re.escape(path.name), re.escape(suffix)
    pattern = re.compile(rf"{name}\.partial(-\d+|\.([A-Za-z0-9._]+)-(\d{{1,10}})-([0-9a-f]{{1,16}}))?{end}")
    with writing(path):
        with suppress(FileNotFoundError):
            os.lstat(_own_partial(path, suffix))  # a name too long for the system shows here
        found = [(entry, match) for entry in sorted(path.parent.iterdir()) if (match := pattern.fullmatch(entry.name))]
    return [(entry, Owner(match[2], int(match[3]), int(match[4], 16)) if match[2] else None) for entry, match in found]
