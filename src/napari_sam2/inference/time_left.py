"""How long work that is going on will still take: told from how fast it went until now, in words for people."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT_MARKS = 40
"""Newest marks that the speed is taken from: passes through a stack are not all equally fast."""

MARK_S = 0.5
"""Time between two marks; a download reports more often."""

LEAST_S, LEAST_STEPS = 2.0, 2
"""What must have passed, in seconds and in steps, before anything is said: the first step is often the slowest."""


class Pace:
    """How fast one piece of work goes.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque(maxlen=KEPT_MARKS)

    def note(self, done: int, total: int) -> float | None:
        """Note how much is done, and return how long the rest takes. With 0 other work begins.

        Parameters
        ----------
        done, total : int
            Steps that are done, and all there are; 0 if that is not known yet.

        Returns
        -------
        float or None
            Seconds; None before enough is known, and when all is done.
        """
        now, marks = self._clock(), self._marks
        if not done:
            marks.clear()
        if len(marks) > 1 and now - marks[-2][0] < MARK_S:
            marks.pop()
        marks.append((now, done))
        (start, first), steps = marks[0], done - marks[0][1]
        if now - start < LEAST_S or steps < LEAST_STEPS or done >= total:
            return None
        return (total - done) * (now - start) / (done - first)


def progress_words(done: int, total: int, what: str, seconds: float | None) -> str:
    """Return how far work is, for people: "12 of 60 frames, about 20 s left".

    Parameters
    ----------
    done, total : int
        Steps that are done, and all there are.
    what : str
        What the steps are, in the plural.
    seconds : float or None
        Time that is left; None if that is not known.
    """
    return ", ".join(filter(None, (f"{done} of {total} {what}", left_words(seconds))))


def left_words(seconds: float | None) -> str:
    """Return a time that is left for people, as coarse as it is certain; empty if it is not known."""
    if seconds is None:
        return ""
    if seconds < 7.5:
        return "a few seconds left"
    if seconds < 55:
        return f"about {_rounded(seconds, 5 if seconds < 27.5 else 10)} s left"
    minutes = seconds / 60
    if minutes < 52.5:
        return f"about {max(_rounded(minutes, 1 if minutes < 10 else 5), 1)} min left"
    hours = minutes / 60
    return f"about {_rounded(2 * hours, 1) / 2 if hours < 10 else _rounded(hours, 1):g} h left"


def _rounded(value: float, unit: int) -> int:
    return unit * int(value / unit + 0.5)
