"""Jobs on background threads: on one of their own, or one after the other on the thread that owns the model. No Qt.

A job tells how it goes by events, which a `post` function brings to the thread of whoever started it.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reported(Generic[S]):
    """A job has reported an item: a result, or how far it has come."""

    item: S


@dataclass(frozen=True, slots=True)
class Returned(Generic[T]):
    """A job has come to its end."""

    result: T


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A job was cancelled before its end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A job has raised an error."""

    error: Exception


Event = Reported[S] | Returned[T] | Cancelled | Failed


class _CancelledError(Exception):
    """Raised where a job reports, to end it."""


class BackgroundJob(Generic[S, T]):
    """One piece of work for a background thread.

    Parameters
    ----------
    work : callable
        Called on the background thread with a function to report items to. That function raises once the job has been
        cancelled; the work lets this pass, after tidying up.
    tell : callable
        Called with `Reported` for each item, then once with `Returned`, `Cancelled` or `Failed`.
    post : callable
        Called on the background thread with a function that is to be called on the thread of whoever started the job.
    """

    def __init__(
        self,
        work: Callable[[Callable[[S], None]], T],
        tell: Callable[[Event[S, T]], None],
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self._work: Callable[[Callable[[S], None]], T] | None = work
        self._tell, self._post = tell, post
        self._is_cancelled = self._is_dropped = False

    def start(self) -> Self:
        """Run on a thread of its own, from now on."""
        # A daemon: a hub that does not answer must not keep the program from ending.
        threading.Thread(target=self.run, name="napari-sam2 job", daemon=True).start()
        return self

    def cancel(self) -> None:
        """Stop after the item in hand. What has been reported, and that item, still arrive."""
        self._is_cancelled = True

    def drop(self) -> None:
        """Stop after the item in hand, and tell nothing any more, not even what is on its way."""
        self._is_cancelled = self._is_dropped = True

    def run(self) -> None:
        """Do the work in this thread."""
        ending: Event[S, T]
        work, self._work = self._work, None
        try:
            if self._is_cancelled or work is None:
                raise _CancelledError
            ending = Returned(work(self._report))
        except _CancelledError:
            ending = Cancelled()
        except Exception as error:  # noqa: BLE001  the boundary of the thread: whoever started it is told
            ending = Failed(error)
        # The model, and what an error refers to, shall not live on while the thread waits.
        del work
        self._post(lambda: self._deliver(ending))

    def _report(self, item: S) -> None:
        self._post(lambda: self._deliver(Reported(item)))
        if self._is_cancelled:
            raise _CancelledError

    def _deliver(self, event: Event[S, T]) -> None:
        if not self._is_dropped:
            self._tell(event)


class JobInParts(Generic[S]):
    """A piece of work of which each part is a job: others are done between two. Begins at once.

    Parameters
    ----------
    begin : callable
        Returns the parts; they are made one by one where jobs are done.
    submit : callable
        Has a job done, after those that wait, as `JobThread.submit`.
    post : callable
        As of `BackgroundJob`.
    tell : callable
        Called with `Reported` for each part, then once with `Returned`, `Cancelled` or `Failed`.
    """

    def __init__(
        self,
        begin: Callable[[], Iterator[S]],
        submit: Callable[[BackgroundJob[None, S | None]], None],
        post: Callable[[Callable[[], None]], None],
        tell: Callable[[Event[S, None]], None],
    ) -> None:
        self._begin, self._submit, self._post, self._tell = begin, submit, post, tell
        self._parts: Iterator[S] | None = None
        self._is_cancelled = self._is_over = False
        self._go_on()

    def cancel(self) -> None:
        """Stop after the part in hand, which still arrives."""
        self._is_cancelled = True

    def drop(self) -> None:
        """Stop after the part in hand, and tell nothing any more."""
        if not self._is_over:
            self._is_cancelled = self._is_over = True
            self._go_on()  # the parts end where they were made

    def _go_on(self) -> None:
        self._submit(BackgroundJob(self._next_part, self._receive, self._post))

    def _next_part(self, report: object) -> S | None:
        if self._is_cancelled:
            self._parts = None
            return None
        if self._parts is None:
            self._parts = self._begin()
        return next(self._parts, None)

    def _receive(self, event: Event[None, S | None]) -> None:
        if self._is_over:
            return
        match event:
            case Returned(result) if result is not None:
                self._tell(Reported(result))
                if not self._is_over:
                    self._go_on()
            case Failed() as failed:
                self._end(failed)
            case _:
                self._end(Cancelled() if self._is_cancelled else Returned(None))

    def _end(self, event: Event[S, None]) -> None:
        self._is_over = True
        self._tell(event)


class JobThread:
    """One thread that runs jobs in turn."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[BackgroundJob[object, object] | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="napari-sam2 inference", daemon=True)
        self._thread.start()

    def submit(self, job: BackgroundJob[S, T]) -> None:
        """Run a job when those before it have ended.

        Raises
        ------
        RuntimeError
            If the thread is closed.
        """
        if self._is_closed:
            raise RuntimeError("The thread of the model is closed. Make a new one.")
        self._jobs.put(job)  # type: ignore[arg-type]

    def close(self, timeout_s: float | None = None) -> None:
        """End the thread after the jobs it has, which are best cancelled before, and wait for it; for ever if None."""
        self._is_closed = True
        self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job
