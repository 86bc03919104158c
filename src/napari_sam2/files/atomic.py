"""Files that appear complete or not at all, and never in the place of an input."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.errors import ImageFileError, OptionError
from napari_sam2.files.partial import claim, remove, tidy, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def check_replaceable(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return a path that may be written.

    Raises
    ------
    ImageFileError
        If its folder does not exist or may not be written into, it is a folder itself, or it exists and may not be
        overwritten.
    """
    path = Path(path)
    check_folder_of(path)
    with writing(path):
        if path.is_dir():
            raise ImageFileError(f"{path} is a folder. Choose another name.")
        if (path.exists() or path.is_symlink()) and not overwrite:
            raise ImageFileError(f"{path} exists already. Choose another name, or allow overwriting.")
    return path


def check_folder_of(path: Path) -> None:
    """Refuse a path in whose folder nothing can be made.

    Raises
    ------
    ImageFileError
        If the folder does not exist, or may not be written into.
    """
    with writing(path):
        if not path.parent.is_dir():
            raise ImageFileError(f"There is no folder {path.parent} to write {path.name} into. Make it first.")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ImageFileError(f"{path.parent} may not be written into. Choose another folder for {path.name}.")


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, overwrite: bool = False, is_whole: Callable[[Path], bool] = lambda _: False
) -> Iterator[Path]:
    """Yield a path to write to, beside the final one, which it replaces in one step when all went well.

    Parameters
    ----------
    path : path
        The file to become.
    overwrite : bool
        Whether an existing file may be replaced.
    is_whole : callable
        Whether a file that a killed process left beside it is a complete one, which is kept; others are removed.

    Raises
    ------
    ImageFileError
        If the path may not be written, or the disk refuses; nothing is left behind then.
    """
    path = check_replaceable(path, overwrite=overwrite)
    tidy(path, path.suffix, is_whole)
    partial = claim(path, path.suffix, overwrite=True)
    try:
        with writing(path):
            yield partial
            check_replaceable(path, overwrite=overwrite)  # somebody may have put a file there meanwhile
            partial.replace(path)
    except BaseException:
        remove(partial)
        raise


def check_apart(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    """Refuse outputs that are an input, or each other, under any spelling or link.

    Parameters
    ----------
    outputs, inputs : mapping of str to Path
        By what they are called in a message, such as "--output" or "the image". Inputs may be folders.

    Raises
    ------
    OptionError
        If an output is an input, a part of an input that is a folder, or another output, or if an input lies in an
        output, which replaces it as a whole.
    ImageFileError
        If the system does not take the name of an output.
    """
    # What is not there is no output, and is told where it is read; so are names that the system does not take.
    found = {name: path for name, path in inputs.items() if os.path.exists(path)}
    for option, path in outputs.items():
        with writing(path):
            _check_output_apart(option, path, outputs, found)


def _check_output_apart(option: str, path: Path, outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    for name, other in (*inputs.items(), *((name, other) for name, other in outputs.items() if name != option)):
        if _is_same(path, other):
            raise OptionError(f"{path} is {name} and {option} at once, and would be lost. Choose another name.")
        if _is_in(other, path):
            raise OptionError(f"{other} is {name} and lies in {path}, the {option}. Choose another name.")
    for name, folder in inputs.items():
        if path.exists() and _is_in(path, folder):
            raise OptionError(f"{path} is a part of {folder}, {name}, and would be lost. Choose another name.")


def _is_in(path: Path, folder: Path) -> bool:
    return any(_is_same(folder, parent) for parent in Path(os.path.realpath(path)).parents)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        # One of them is not there yet. Some systems take names that differ in case for the same.
        are_new = not (one.exists() or other.exists())
        return are_new and os.path.realpath(one).casefold() == os.path.realpath(other).casefold()
