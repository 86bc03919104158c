"""The one thread that owns the model: numbered requests, answers as they come, cancel between two of them. No Qt."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """One item of a request's answer."""

    number: int
    item: T


@dataclass(frozen=True, slots=True)
class Finished:
    """A request has come to its end.

    Attributes
    ----------
    number : int
        Which request.
    is_cancelled : bool
        Whether it was stopped before it had said all.
    """

    number: int
    is_cancelled: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A request has raised an error. The thread lives on."""

    number: int
    error: Exception


@dataclass(frozen=True, slots=True)
class _Request(Generic[T]):
    number: int
    job: Callable[[], Iterable[T]]
    is_cancelled: threading.Event


class InferenceWorker(Generic[T]):
    """Run requests one after the other on a thread of its own.

    Parameters
    ----------
    deliver : callable
        Called on the worker's thread with every `Answer`, and with `Finished` or `Failed` at the end of each request.
        It should hand them on and return at once.
    prepare : callable, optional
        Called once on the worker's thread before the first request, for settings that belong to a thread. If it raises,
        that request has failed, and the next one tries again.

    Notes
    -----
    Numbers grow. A receiver that remembers the number of the newest request it cares for can drop stale answers.
    """

    def __init__(
        self, deliver: Callable[[Answer[T] | Finished | Failed], None], prepare: Callable[[], None] | None = None
    ) -> None:
        self._deliver = deliver
        self._prepare = prepare
        self._requests: queue.SimpleQueue[_Request[T] | None] = queue.SimpleQueue()
        self._unfinished: dict[int, _Request[T]] = {}
        self._lock = threading.Lock()
        self._last_number = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="napari-sam2 inference", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, job: Callable[[], Iterable[T]]) -> int:
        """Queue a request and return its number.

        Parameters
        ----------
        job : callable
            Called on the worker's thread; what it returns or yields is the answer, item by item.

        Raises
        ------
        RuntimeError
            If the worker is closed.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("The inference worker is closed. Make a new one.")
            self._last_number += 1
            request = _Request(self._last_number, job, threading.Event())
            self._unfinished[request.number] = request
            self._requests.put(request)
            return request.number

    def cancel(self, number: int | None = None) -> None:
        """Stop a request, or all of them, before the next item. What has finished already is left alone."""
        with self._lock:
            for request in list(self._unfinished.values()):
                if number in (None, request.number):
                    request.is_cancelled.set()

    def close(self, timeout_s: float | None = None) -> None:
        """Cancel everything and wait for the thread to end, which takes as long as the item in hand."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._requests.put(None)
        self.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            ending = self._answer(request)
            with self._lock:
                del self._unfinished[request.number]
            # Nothing of a finished request, nor what its error refers to, may live on while the thread waits.
            del request
            self._deliver(ending)
            del ending

    def _answer(self, request: _Request[T]) -> Finished | Failed:
        try:
            if request.is_cancelled.is_set():
                return Finished(request.number, is_cancelled=True)
            if self._prepare is not None:
                self._prepare()
                self._prepare = None
            for item in request.job():
                self._deliver(Answer(request.number, item))
                if request.is_cancelled.is_set():
                    return Finished(request.number, is_cancelled=True)
        except Exception as error:  # noqa: BLE001  the boundary of the thread: whoever asked is told
            return Failed(request.number, error)
        return Finished(request.number, is_cancelled=False)
