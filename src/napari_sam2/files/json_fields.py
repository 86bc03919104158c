"""Values of documents of JSON: what they must be, and how a message shows them."""

from __future__ import annotations

import math
import reprlib
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from napari_sam2.errors import PromptError

if TYPE_CHECKING:
    from napari_sam2.frames import ContrastLimits


def check_fields(entry: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Refuse an object of JSON that lacks a field or has one that is not known.

    Raises
    ------
    PromptError
        If it is so.
    """
    for name in required:
        if name not in entry:
            raise PromptError(f'"{name}" is missing. Add it.')
    # A misspelt optional field would otherwise change the result without a word.
    for name in entry:
        if name not in required + optional:
            raise PromptError(f'"{brief(name)[1:-1]}" is not a field here. Use {", ".join(required + optional)}.')


def checked_limits(limits: object) -> ContrastLimits:
    """Return contrast limits read from JSON.

    Raises
    ------
    PromptError
        If they are not a pair of numbers, low first, or several of them.
    """
    pairs = limits if isinstance(limits, list | tuple) else ()
    several = bool(pairs) and all(isinstance(pair, list | tuple) for pair in pairs)
    checked = tuple(_checked_pair(pair, limits) for pair in (pairs if several else (pairs,)))
    return checked if several else checked[0]


def _checked_pair(pair: list[object] | tuple[object, ...], limits: object) -> tuple[float, float]:
    numbers = [number for value in pair if (number := _finite(value)) is not None]
    if len(pair) != 2 or len(numbers) != 2 or numbers[0] >= numbers[1]:
        raise PromptError(
            f"contrast_limits are {brief(limits)}. Use [low, high], low first, or such a pair per channel."
        )
    return numbers[0], numbers[1]


def _finite(value: object) -> float | None:
    """Give a number as a float; None if it is none, or beyond what a float holds."""
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
    """Give the beginning of a value, for a message."""
    # Of a list, the first entries only are looked at: it may be long.
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    try:
        text = short.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of many digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
