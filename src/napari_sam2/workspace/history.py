"""Undo and redo of our own steps, bounded in bytes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Change(Protocol):
    """Something that was done and can be taken back, any number of times."""

    @property
    def num_bytes(self) -> int:
        """Memory it takes to remember; always the same number."""

    def undo(self) -> object:
        """Take it back."""

    def redo(self) -> object:
        """Do it again."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """A `Change` made of two functions.

    Attributes
    ----------
    undo, redo : callable
        Take it back, and do it (again).
    num_bytes : int
        Memory it takes to remember, about.
    """

    undo: Callable[[], object]
    redo: Callable[[], object]
    num_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    name: str
    changes: tuple[Change, ...]
    num_bytes: int


class History:
    """Steps in the order they were made, each a name and the changes it consists of.

    Parameters
    ----------
    max_bytes : int
        Memory for all steps together, those that can be redone included. The oldest are forgotten to stay below it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._done: deque[_Step] = deque()
        self._undone: list[_Step] = []

    @property
    def num_bytes(self) -> int:
        """Memory in use."""
        return sum(step.num_bytes for step in (*self._done, *self._undone))

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to make again."""
        return bool(self._undone)

    def record(self, name: str, changes: Iterable[Change]) -> None:
        """Remember a step that has just been made. What had been undone before it can no longer be redone.

        A step that is larger than all the memory is not kept, and nothing before it: it could not be undone in order.

        Parameters
        ----------
        name : str
            What the user did, for a menu or a message.
        changes : iterable of Change
            In the order in which they were made. Without any, nothing has happened and nothing is recorded.
        """
        made = tuple(changes)
        if not made:
            return
        self._undone.clear()
        self._done.append(_Step(name, made, sum(change.num_bytes for change in made)))
        total = self.num_bytes
        while total > self._max_bytes:
            total -= self._done.popleft().num_bytes

    def withdraw(self, change: Change) -> None:
        """Forget the newest step if it is this change alone: it has turned out to change nothing."""
        if self._done and self._done[-1].changes == (change,):
            self._done.pop()

    def undo(self) -> str | None:
        """Take the last step back.

        Returns
        -------
        str or None
            Name of the step; None if there is none. If a change raises, the step stays the next one to undo.
        """
        if not self._done:
            return None
        step = self._done[-1]
        for change in reversed(step.changes):
            change.undo()
        self._undone.append(self._done.pop())
        return step.name

    def redo(self) -> str | None:
        """Make the step again that was taken back last.

        Returns
        -------
        str or None
            Name of the step; None if there is none. If a change raises, the step stays the next one to redo.
        """
        if not self._undone:
            return None
        step = self._undone[-1]
        for change in step.changes:
            change.redo()
        self._done.append(self._undone.pop())
        return step.name
