"""The inference thread: numbered answers, cancel between two of them, and a thread that outlives every failure."""

import gc
import queue
import threading
import weakref

import pytest

from napari_sam2.inference.background import Answer, Failed, Finished, InferenceWorker

PATIENCE_S = 20.0  # a limit for broken code; nothing waits for it


class Inbox:
    """What a worker has delivered, in order, and on which thread."""

    def __init__(self):
        self.news = queue.Queue()
        self.threads = set()

    def __call__(self, news):
        self.threads.add(threading.current_thread())
        self.news.put(news)

    def take(self):
        return self.news.get(timeout=PATIENCE_S)

    def until_ended(self, number):
        """Everything up to the end of a request."""
        taken = [self.take()]
        while not (isinstance(taken[-1], Finished | Failed) and taken[-1].number == number):
            taken.append(self.take())
        return taken


class Gate:
    """A job that says when it has begun, and goes on when it may."""

    def __init__(self, items=(1, 2, 3)):
        self.items = items
        self.has_begun = threading.Event()
        self.may_go = threading.Event()
        self.is_closed = threading.Event()

    def __call__(self):
        try:
            for item in self.items:
                self.has_begun.set()
                assert self.may_go.wait(PATIENCE_S)
                yield item
        finally:
            self.is_closed.set()

    def wait(self):
        assert self.has_begun.wait(PATIENCE_S)


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def worker(inbox):
    with InferenceWorker(inbox) as worker:
        yield worker


def test_answers_carry_the_number_of_their_request(worker, inbox):
    assert worker.submit(lambda: "ab") == 1
    assert worker.submit(lambda: iter("c")) == 2
    assert inbox.until_ended(2) == [
        Answer(1, "a"),
        Answer(1, "b"),
        Finished(1, is_cancelled=False),
        Answer(2, "c"),
        Finished(2, is_cancelled=False),
    ]


def test_requests_run_one_after_the_other_on_one_thread_of_their_own(worker, inbox):
    threads = []
    for _ in range(5):
        last = worker.submit(lambda: [threads.append(threading.current_thread())])
    inbox.until_ended(last)
    assert set(threads) == inbox.threads
    assert len(inbox.threads) == 1
    assert threading.current_thread() not in inbox.threads


def test_answers_are_delivered_while_the_request_goes_on(worker, inbox):
    gate = Gate()
    number = worker.submit(lambda: (item for items in ([0], gate()) for item in items))
    assert inbox.take() == Answer(number, 0)
    assert not gate.is_closed.is_set()
    gate.may_go.set()
    assert len(inbox.until_ended(number)) == 4


def test_a_cancelled_request_stops_before_its_next_item(worker, inbox):
    gate = Gate()
    number = worker.submit(gate)
    gate.wait()
    worker.cancel(number)
    gate.may_go.set()
    assert inbox.until_ended(number) == [Answer(number, 1), Finished(number, is_cancelled=True)]
    assert gate.is_closed.is_set()


def test_a_request_cancelled_before_its_turn_never_begins(worker, inbox):
    first, second, third = Gate(), Gate(), Gate()
    numbers = [worker.submit(gate) for gate in (first, second, third)]
    first.wait()
    worker.cancel(numbers[1])
    for gate in (first, second, third):
        gate.may_go.set()
    news = inbox.until_ended(numbers[2])
    assert not second.has_begun.is_set()
    assert [one for one in news if one.number == numbers[1]] == [Finished(numbers[1], is_cancelled=True)]
    assert [one.item for one in news if isinstance(one, Answer)] == [1, 2, 3, 1, 2, 3]


def test_everything_can_be_cancelled_at_once_and_new_requests_run(worker, inbox):
    gates = [Gate() for _ in range(3)]
    numbers = [worker.submit(gate) for gate in gates]
    gates[0].wait()
    worker.cancel()
    gates[0].may_go.set()
    new = worker.submit(lambda: "x")
    news = inbox.until_ended(new)
    assert [one for one in news if isinstance(one, Finished)] == [
        *(Finished(number, is_cancelled=True) for number in numbers),
        Finished(new, is_cancelled=False),
    ]
    assert news[-2] == Answer(new, "x")


def test_cancelling_what_has_finished_changes_nothing(worker, inbox):
    number = worker.submit(lambda: "a")
    inbox.until_ended(number)
    worker.cancel(number)
    worker.cancel(99)
    assert inbox.until_ended(worker.submit(lambda: "b"))[-1].is_cancelled is False


def test_a_receiver_can_tell_stale_answers_by_their_number(worker, inbox):
    old, new = Gate("old"), Gate("new")
    worker.submit(old)
    old.wait()
    newest = worker.submit(new)
    old.may_go.set()
    new.may_go.set()
    news = inbox.until_ended(newest)
    assert "".join(one.item for one in news if isinstance(one, Answer) and one.number == newest) == "new"
    assert {one.number for one in news} == {newest - 1, newest}


def test_a_failure_is_delivered_once_and_the_thread_lives_on(worker, inbox):
    error = ValueError("no such frame")

    def fail():
        yield 1
        raise error

    number = worker.submit(fail)
    assert inbox.until_ended(number) == [Answer(number, 1), Failed(number, error)]
    after = worker.submit(lambda: "a")
    assert inbox.until_ended(after) == [Answer(after, "a"), Finished(after, is_cancelled=False)]


def test_a_failure_before_the_first_item_is_delivered_as_well(worker, inbox):
    number = worker.submit(lambda: 1 / 0)
    (news,) = inbox.until_ended(number)
    assert isinstance(news.error, ZeroDivisionError)


def test_thread_settings_are_made_once_on_the_thread_before_the_first_request(inbox):
    order = []
    with InferenceWorker(inbox, lambda: order.append(threading.current_thread())) as worker:
        for _ in range(2):
            last = worker.submit(lambda: [order.append("request")])
        inbox.until_ended(last)
    assert order == [inbox.threads.pop(), "request", "request"]


def test_settings_that_fail_are_told_to_whoever_asks_and_tried_again(inbox):
    errors = [RuntimeError("no device")]

    def prepare():
        if errors:
            raise errors.pop()

    with InferenceWorker(inbox, prepare) as worker:
        (news,) = inbox.until_ended(worker.submit(lambda: "a"))
        assert str(news.error) == "no device"
        assert len(inbox.until_ended(worker.submit(lambda: "a"))) == 2


def test_closing_while_busy_ends_after_the_item_in_hand(inbox):
    worker = InferenceWorker(inbox)
    busy, waiting = Gate(), Gate()
    numbers = [worker.submit(busy), worker.submit(waiting)]
    busy.wait()
    worker.close(timeout_s=0)
    assert worker._thread.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(list)
    busy.may_go.set()
    worker.close()
    assert not worker._thread.is_alive()
    assert not waiting.has_begun.is_set()
    news = [inbox.take() for _ in range(3)]
    assert news == [Answer(numbers[0], 1), *(Finished(number, is_cancelled=True) for number in numbers)]


def test_closing_from_its_own_thread_does_not_wait_for_itself(inbox):
    def deliver(news):
        inbox(news)
        worker.close()

    worker = InferenceWorker(deliver)
    number = worker.submit(lambda: "ab")
    assert inbox.until_ended(number) == [Answer(number, "a"), Finished(number, is_cancelled=True)]
    worker._thread.join(PATIENCE_S)
    assert not worker._thread.is_alive()


def test_closing_twice_is_closing_once(worker):
    worker.close()
    worker.close()
    with pytest.raises(RuntimeError, match="Make a new one"):
        worker.submit(list)


class Heavy:
    """Something whose memory matters."""


class WatchedQueue:
    """A queue that says when somebody waits at it."""

    def __init__(self):
        self.inner = queue.Queue()
        self.put = self.inner.put
        self.is_waited_at = threading.Event()

    def get(self):
        self.is_waited_at.set()
        return self.inner.get()


@pytest.mark.parametrize("fails", [False, True], ids=["answered", "failed"])
def test_nothing_of_a_request_is_kept_alive_while_the_thread_waits_for_the_next(monkeypatch, fails):
    held = []
    watched = WatchedQueue()
    monkeypatch.setattr(queue, "SimpleQueue", lambda: watched)

    def job_of(heavy):
        def job():
            item = Heavy()
            held.extend((weakref.ref(heavy), weakref.ref(item)))
            yield item
            if fails:
                raise ValueError(heavy)

        return job

    with InferenceWorker(lambda news: None) as worker:
        assert watched.is_waited_at.wait(PATIENCE_S)
        watched.is_waited_at.clear()
        worker.submit(job_of(Heavy()))
        assert watched.is_waited_at.wait(PATIENCE_S)
        gc.collect()
        assert [reference() for reference in held] == [None, None]
