"""Fields of documents of JSON: what they must be, and how a message shows and places a mistake.

Mistakes are `FieldError`s. Whoever reads a kind of document turns them into the error of that kind.
"""

from __future__ import annotations

import math
import re
import reprlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

from napari_sam2.errors import PromptError, SessionError
from sam2_model.config import Framing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_sam2.frames import ContrastLimits

_Value = TypeVar("_Value")


class FieldError(ValueError):
    """A part of a document is missing, misspelt or wrong; the message tells what to write."""


class Fields(dict[str, Any]):
    """An object of JSON that has all its fields and none that is not known; each method reads one of them.

    Parameters
    ----------
    entry : object
        What the document holds.
    required, optional : tuple of str
        Names of the fields, at least one.

    Raises
    ------
    FieldError
        If it is no object, lacks a field or has one that is not known. By the methods, if a field is of another kind.
    """

    def __init__(self, entry: object, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
        names = required + optional
        if not isinstance(entry, dict):
            raise FieldError(f'this is {brief(entry)}. Write {{"{names[0]}": ..., ...}}.')
        for name in required:
            if name not in entry:
                raise FieldError(f'"{name}" is missing. Add it.')
        # A misspelt optional field would otherwise change the result without a word.
        for name in entry:
            if name not in names:
                raise FieldError(f'"{brief(name)[1:-1]}" is not a field here. Use {", ".join(names)}.')
        super().__init__(entry)

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self[name]
        if not isinstance(value, str) or not value:
            raise FieldError(f'"{name}" is {brief(value)}. Use text.')
        return value

    def digest(self, name: str) -> str:
        """Return a SHA-256, 64 hexadecimal digits."""
        digest = self.text(name)
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise FieldError(f'"{name}" is {brief(digest)}. Use 64 hexadecimal digits.')
        return digest

    def whole(self, name: str, *, least: int, most: int | None = None) -> int:
        """Return a whole number in a range, both ends included."""
        value = self[name]
        if not is_whole(value) or value < least or (most is not None and value > most):
            until = "" if most is None else f" to {most}"
            raise FieldError(f'"{name}" is {brief(value)}. Use a whole number from {least}{until}.')
        return value

    def wholes(self, name: str, *, least: int) -> tuple[int, ...]:
        """Return a list of whole numbers; empty if it is not there."""
        values = self.get(name, [])
        if not isinstance(values, list) or not all(is_whole(value) and value >= least for value in values):
            raise FieldError(f'"{name}" is {brief(values)}. Write a list of whole numbers from {least}.')
        return tuple(values)

    def share(self, name: str, default: float) -> float:
        """Return a number in [0, 1]."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise FieldError(f'"{name}" is {brief(value)}. Use a number from 0 to 1.')
        return float(value)

    def number(self, name: str) -> float:
        """Return a finite number."""
        number = _finite(self[name])
        if number is None:
            raise FieldError(f'"{name}" is {brief(self[name])}. Use a finite number.')
        return number

    def flag(self, name: str) -> bool:
        """Return true or false; false if it is not there."""
        value = self.get(name, False)
        if not isinstance(value, bool):
            raise FieldError(f'"{name}" is {brief(value)}. Use true or false.')
        return value

    def choice(self, name: str, choices: Mapping[str, _Value]) -> _Value:
        """Return what one of several words stands for."""
        value = self[name]
        if not isinstance(value, str) or value not in choices:
            raise FieldError(f'"{name}" is {brief(value)}. Use one of: {", ".join(choices)}.')
        return choices[value]

    def framing(self) -> Framing:
        """Return how frames became working images; as at the time when files did not say, if it is not there."""
        if "framing" not in self:
            return Framing.SQUARE
        return self.choice("framing", {framing.value: framing for framing in Framing})

    def limits(self, name: str) -> ContrastLimits | None:
        """Return contrast limits; None if they are not there."""
        return checked_limits(self[name]) if name in self else None

    def each(self, name: str, parse: Callable[[object], _Value]) -> tuple[_Value, ...]:
        """Return the parsed entries of a list; none if it is not there."""
        given = self.get(name, [])
        if not isinstance(given, list):
            raise FieldError(f'"{name}" is {brief(given)}. Write a list, [...].')
        parsed = []
        for number, one in enumerate(given):
            with within(f"{name} {number}"):
                parsed.append(parse(one))
        return tuple(parsed)

    def by_number(self, name: str, numbers: range, parse: Callable[[object], _Value]) -> dict[int, _Value]:
        """Return the parsed values of a table whose keys are numbers; none if it is not there."""
        table = self.get(name, {})
        if not isinstance(table, dict):
            raise FieldError(f'"{name}" is {brief(table)}. Write {{"3": ...}}.')
        parsed = {}
        for key, value in table.items():
            if not re.fullmatch(r"0|[1-9][0-9]{0,9}", key) or int(key) not in numbers:
                raise FieldError(
                    f'"{name}" has the key {brief(key)}. Write a number from {numbers.start} to {numbers.stop - 1} '
                    "before each colon."
                )
            with within(f"{name} {key}"):
                parsed[int(key)] = parse(value)
        return parsed


@contextmanager
def within(place: str) -> Iterator[None]:
    """Put the place of a mistake before its message.

    Raises
    ------
    FieldError
        In place of one without the place, or of a value that refused what it was made of.
    """
    try:
        yield
    except (FieldError, PromptError, SessionError) as error:
        raise FieldError(f"{place}: {error}") from error


def check_version(document: Mapping[str, object], latest: int, kind: str) -> None:
    """Refuse a document of a version that this program does not read; the message calls it by its kind.

    Raises
    ------
    FieldError
        If it is so.
    """
    version = document.get("version")
    if not is_whole(version) or version < 1:
        raise FieldError(f'"version" is {brief(version)}. Use {latest}.')
    if version > latest:
        raise FieldError(f"{kind} has version {version}, and this program reads up to {latest}. Update napari-sam2.")


def checked_limits(limits: object) -> ContrastLimits:
    """Return contrast limits as they were read from JSON.

    Raises
    ------
    FieldError
        If they are not a pair of numbers, low first, or several of them.
    """
    pairs = limits if isinstance(limits, list | tuple) else ()
    several = bool(pairs) and all(isinstance(pair, list | tuple) for pair in pairs)
    checked = tuple(_checked_pair(pair, limits) for pair in (pairs if several else (pairs,)))
    return checked if several else checked[0]


def _checked_pair(pair: list[object] | tuple[object, ...], limits: object) -> tuple[float, float]:
    numbers = [number for value in pair if (number := _finite(value)) is not None]
    if len(pair) != 2 or len(numbers) != 2 or numbers[0] >= numbers[1]:
        raise FieldError(
            f"contrast_limits are {brief(limits)}. Use [low, high], low first, or such a pair per channel."
        )
    return numbers[0], numbers[1]


def _finite(value: object) -> float | None:
    """Return a number as a float; None if it is none, or beyond what a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    try:
        number = float(value)
    except (OverflowError, TypeError):  # too many digits; complex
        return None
    return number if math.isfinite(number) else None


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value read from JSON is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def brief(value: object) -> str:
    """Return the beginning of a value, for a message."""
    # Of a list, the first entries only are looked at: it may be long.
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    try:
        text = short.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of many digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
