"""JSON of files from anywhere: no key twice, no number beyond all bounds, no more than fits."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from napari_sam2.errors import ImageFileError
from napari_sam2.files.sources import reading, source_file

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_DOCUMENT = 2**27
"""Bytes of a document of JSON that is read; as objects in memory it takes up to twenty times as much."""

_MOST_DIGITS = 30


def parse_json(content: bytes) -> object:
    """Return the value of a JSON document.

    Python's own reader keeps the last of two equal keys, so that two programs could read two things in one file.

    Parameters
    ----------
    content : bytes
        UTF-8, with or without a byte order mark.

    Raises
    ------
    ValueError
        If it is not JSON, names a key twice, holds a number that is not finite or of more than 30 digits, or is nested
        too deeply. The message names the fault in a few words.
    """
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_once,
            parse_int=_whole_number,
            parse_float=_finite_number,
            parse_constant=_finite_number,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8, from byte {error.start} on") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


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


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = set()
        for name, _ in pairs:
            if name in names:
                raise ValueError(f"the key {name[:80]!r} occurs twice")
            names.add(name)
    return fields


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it holds the number {text[:80]}, which is not finite")
    return number
