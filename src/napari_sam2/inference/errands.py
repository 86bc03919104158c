"""Work of seconds or minutes that neither the viewer nor the model should wait for: a download, a check. No Qt.

Each errand has a thread of its own, which ends with it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far an errand has come, in units of its own."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Returned(Generic[T]):
    """An errand has done what it was sent for."""

    result: T


@dataclass(frozen=True, slots=True)
class Broken:
    """An errand has raised an error."""

    error: Exception


class _CancelledError(Exception):
    """Raised where a job reports, to end it."""


class BackgroundJob(Generic[T]):
    """Run one job on a thread of its own, from now on.

    Parameters
    ----------
    job : callable
        Called with a function to report (done, total) to, which raises when the errand has been cancelled; the job
        lets that pass, after tidying up. Its result is the errand's.
    tell : callable
        Called with `Progressed` for each report, and with `Returned` or `Broken` at the end; with nothing any more once
        the errand is cancelled, not even with what was on its way.
    post : callable
        Called on the errand's thread with a function that is to be called on the thread of whoever sent the errand.
    """

    def __init__(
        self,
        job: Callable[[Callable[[int, int], None]], T],
        tell: Callable[[Progressed | Returned[T] | Broken], None],
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self._job = job
        self._tell = tell
        self._post = post
        self._is_cancelled = threading.Event()
        # A daemon: a hub that does not answer must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="napari-sam2 errand", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop at the next report, and say no more."""
        self._is_cancelled.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._say(Returned(self._job(self._report)))
        except _CancelledError:
            pass
        except Exception as error:  # noqa: BLE001  the boundary of the thread: whoever sent it is told
            self._say(Broken(error))

    def _report(self, done: int, total: int) -> None:
        if self._is_cancelled.is_set():
            raise _CancelledError
        self._say(Progressed(done, total))

    def _say(self, event: Progressed | Returned[T] | Broken) -> None:
        if not self._is_cancelled.is_set():
            self._post(lambda: self._deliver(event))

    def _deliver(self, event: Progressed | Returned[T] | Broken) -> None:
        if not self._is_cancelled.is_set():
            self._tell(event)
