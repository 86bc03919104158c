"""Jobs in the background: items as they come, cancelled between two of them, on threads that outlive every failure."""

import gc
import queue
import threading
import weakref

import pytest

from napari_sam2.inference.background import (
    BackgroundJob,
    Cancelled,
    Failed,
    JobInParts,
    JobThread,
    Reported,
    Returned,
)

PATIENCE_S = 20.0  # a limit for broken code; nothing waits for it


class Inbox:
    """What jobs have told, in order, handed over on the thread of the test."""

    def __init__(self):
        self.posted = queue.Queue()
        self.told = []
        self.threads = set()

    def job(self, work, name=""):
        return BackgroundJob(work, lambda event: self.told.append((name, event)), self.post)

    def post(self, function):
        self.threads.add(threading.current_thread())
        self.posted.put(function)

    def take(self):
        self.posted.get(timeout=PATIENCE_S)()
        return self.told[-1][1]

    def until_ended(self, name=""):
        """All that is told up to the end of a job."""
        while not any(one == name and not isinstance(event, Reported) for one, event in self.told):
            self.take()
        return [event for one, event in self.told if one == name]

    def hand_over(self):
        while not self.posted.empty():
            self.posted.get()()


class Gate:
    """Work that tells when it has begun, and goes on when it may."""

    def __init__(self, items=(1, 2, 3)):
        self.items = items
        self.has_begun = threading.Event()
        self.may_go = threading.Event()
        self.is_tidy = False

    def __call__(self, report):
        try:
            for item in self.items:
                self.has_begun.set()
                assert self.may_go.wait(PATIENCE_S)
                report(item)
            return "done"
        finally:
            self.is_tidy = True

    def wait(self):
        assert self.has_begun.wait(PATIENCE_S)


def reporting(*items):
    return lambda report: [report(item) for item in items] and None


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def thread():
    thread = JobThread()
    yield thread
    thread.close(PATIENCE_S)


def test_a_job_reports_and_returns_on_the_thread_of_whoever_started_it(inbox):
    gate = Gate((1, 2))
    gate.may_go.set()
    inbox.job(gate).start()
    assert inbox.until_ended() == [Reported(1), Reported(2), Returned("done")]
    assert threading.current_thread() not in inbox.threads


def test_what_a_job_raises_is_told(inbox):
    error = OSError("no room")

    def work(report):
        report(1)
        raise error

    inbox.job(work).start()
    assert inbox.until_ended() == [Reported(1), Failed(error)]


def test_a_cancelled_job_ends_after_the_item_in_hand_which_still_arrives(inbox):
    gate = Gate()
    job = inbox.job(gate).start()
    gate.wait()
    job.cancel()
    gate.may_go.set()
    assert inbox.until_ended() == [Reported(1), Cancelled()]
    assert gate.is_tidy


def test_of_a_dropped_job_nothing_is_told_not_even_what_was_on_its_way(inbox):
    gate = Gate()
    job = inbox.job(gate).start()
    gate.may_go.set()
    first = inbox.posted.get(timeout=PATIENCE_S)
    job.drop()
    first()
    inbox.posted.get(timeout=PATIENCE_S)()
    assert inbox.told == []


def test_a_result_that_was_on_its_way_when_its_job_was_dropped_is_not_told(inbox):
    job = inbox.job(lambda report: "late")
    job.run()
    job.drop()
    inbox.hand_over()
    assert inbox.told == []


def test_jobs_run_one_after_the_other_on_one_thread_of_their_own(thread, inbox):
    threads = []
    for name in "abcde":
        thread.submit(inbox.job(lambda report: threads.append(threading.current_thread()), name))
    inbox.until_ended("e")
    assert set(threads) == inbox.threads
    assert len(inbox.threads) == 1
    assert [name for name, _ in inbox.told] == list("abcde")


def test_items_are_told_while_the_job_goes_on(thread, inbox):
    gate = Gate()

    def work(report):
        report(0)
        gate(report)

    thread.submit(inbox.job(work))
    assert inbox.take() == Reported(0)
    assert not gate.is_tidy
    gate.may_go.set()
    assert len(inbox.until_ended()) == 5


def test_a_job_cancelled_before_its_turn_never_begins(thread, inbox):
    gates = {name: Gate() for name in "abc"}
    jobs = {name: inbox.job(gate, name) for name, gate in gates.items()}
    for job in jobs.values():
        thread.submit(job)
    gates["a"].wait()
    jobs["b"].cancel()
    for gate in gates.values():
        gate.may_go.set()
    assert len(inbox.until_ended("c")) == 4
    assert not gates["b"].has_begun.is_set()
    assert inbox.until_ended("b") == [Cancelled()]


def test_cancelling_what_has_ended_changes_nothing(thread, inbox):
    job = inbox.job(reporting("a"))
    thread.submit(job)
    ended = inbox.until_ended()
    job.cancel()
    inbox.hand_over()
    assert inbox.until_ended() == ended == [Reported("a"), Returned(None)]


def test_a_failure_is_told_once_and_the_thread_lives_on(thread, inbox):
    thread.submit(inbox.job(lambda report: 1 / 0, "broken"))
    thread.submit(inbox.job(reporting("a"), "after"))
    assert inbox.until_ended("after") == [Reported("a"), Returned(None)]
    (news,) = inbox.until_ended("broken")
    assert isinstance(news.error, ZeroDivisionError)


def test_closing_while_busy_ends_after_the_item_in_hand(inbox):
    thread = JobThread()
    busy, waiting = Gate(), Gate()
    jobs = [inbox.job(busy, "busy"), inbox.job(waiting, "waiting")]
    for job in jobs:
        thread.submit(job)
    busy.wait()
    for job in jobs:
        job.cancel()
    thread.close(timeout_s=0)
    assert thread._thread.is_alive()
    with pytest.raises(RuntimeError, match="Make a new one"):
        thread.submit(inbox.job(busy))
    busy.may_go.set()
    thread.close()
    assert not thread._thread.is_alive()
    assert not waiting.has_begun.is_set()
    inbox.hand_over()
    assert inbox.told == [("busy", Reported(1)), ("busy", Cancelled()), ("waiting", Cancelled())]


def test_closing_from_its_own_thread_does_not_wait_for_itself():
    thread = JobThread()
    thread.submit(BackgroundJob(lambda report: thread.close(), lambda event: None, lambda function: function()))
    thread._thread.join(PATIENCE_S)
    assert not thread._thread.is_alive()


class Heavy:
    """Something whose memory matters."""


class WatchedQueue:
    """A queue that tells when somebody waits at it."""

    def __init__(self):
        self.inner = queue.Queue()
        self.put = self.inner.put
        self.is_waited_at = threading.Event()

    def get(self):
        self.is_waited_at.set()
        return self.inner.get()


@pytest.mark.parametrize("fails", [False, True], ids=["returned", "failed"])
def test_nothing_of_a_job_is_kept_alive_while_the_thread_waits_for_the_next(monkeypatch, fails):
    held = []
    watched = WatchedQueue()
    monkeypatch.setattr(queue, "SimpleQueue", lambda: watched)

    def work_of(heavy):
        def work(report):
            item = Heavy()
            held.extend((weakref.ref(heavy), weakref.ref(item)))
            report(item)
            if fails:
                raise ValueError(heavy)

        return work

    thread = JobThread()
    assert watched.is_waited_at.wait(PATIENCE_S)
    watched.is_waited_at.clear()
    thread.submit(BackgroundJob(work_of(Heavy()), lambda event: None, lambda function: None))
    assert watched.is_waited_at.wait(PATIENCE_S)
    gc.collect()
    assert [reference() for reference in held] == [None, None]
    thread.close()


# Work in parts -------------------------------------------------------------------------------------------------------


class Parts:
    """Three parts that tell on which thread they are made, and when they are closed."""

    def __init__(self):
        self.threads, self.is_closed = set(), threading.Event()

    def __call__(self):
        try:
            for part in (1, 2, 3):
                self.threads.add(threading.current_thread())
                yield part
        finally:
            self.threads.add(threading.current_thread())
            self.is_closed.set()


def in_parts(inbox, thread, parts):
    return JobInParts(parts, thread.submit, inbox.post, lambda event: inbox.told.append(("", event)))


def until_told(inbox, count):
    while len(inbox.told) < count:
        inbox.posted.get(timeout=PATIENCE_S)()


def test_other_jobs_are_done_between_two_parts():
    inbox, thread = Inbox(), JobThread()
    parts = Parts()
    in_parts(inbox, thread, parts)
    thread.submit(inbox.job(lambda report: "between", "other"))
    until_told(inbox, 5)
    names = [name for name, _ in inbox.told]
    assert names.index("other") == 1
    assert [event for name, event in inbox.told if not name] == [*map(Reported, (1, 2, 3)), Returned(None)]
    assert len(parts.threads) == 1
    thread.close(PATIENCE_S)


def test_work_in_parts_is_cancelled_after_the_part_in_hand():
    inbox, thread, parts = Inbox(), JobThread(), Parts()
    job = in_parts(inbox, thread, parts)
    until_told(inbox, 1)
    job.cancel()
    while not isinstance(inbox.told[-1][1], Cancelled):
        inbox.take()
    told = [event for _, event in inbox.told]
    assert told[:-1] in ([Reported(1)], [Reported(1), Reported(2)])
    assert parts.is_closed.wait(PATIENCE_S)
    assert len(parts.threads) == 1
    thread.close(PATIENCE_S)


def test_of_work_in_parts_that_is_dropped_nothing_is_told_any_more():
    inbox, thread, parts = Inbox(), JobThread(), Parts()
    job = in_parts(inbox, thread, parts)
    until_told(inbox, 1)
    job.drop()
    assert parts.is_closed.wait(PATIENCE_S)
    thread.close(PATIENCE_S)
    inbox.hand_over()
    assert [event for _, event in inbox.told] == [Reported(1)]


def test_a_part_that_fails_ends_the_work():
    def broken():
        yield 1
        raise ValueError("no more")

    inbox, thread = Inbox(), JobThread()
    in_parts(inbox, thread, broken)
    until_told(inbox, 2)
    assert inbox.told[0] == ("", Reported(1))
    assert isinstance(inbox.told[1][1], Failed)
    thread.close(PATIENCE_S)
