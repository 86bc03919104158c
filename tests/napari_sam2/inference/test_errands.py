"""Jobs on threads of their own, handed over when the test says so."""

import queue
import threading

import pytest

from napari_sam2.inference.errands import BackgroundJob, Broken, Progressed, Returned


class Sender:
    """Sends errands and keeps what it is told."""

    def __init__(self):
        self.posted, self.told = queue.Queue(), []

    def send(self, job):
        return BackgroundJob(job, self.told.append, self.posted.put)

    def hand_over(self):
        while not self.posted.empty():
            self.posted.get()()


@pytest.fixture
def sender():
    return Sender()


def test_it_reports_and_returns_on_the_thread_of_the_sender(sender):
    def job(report):
        report(1, 2)
        report(2, 2)
        return "here"

    sender.send(job).join()
    assert sender.told == []
    sender.hand_over()
    assert sender.told == [Progressed(1, 2), Progressed(2, 2), Returned("here")]


def test_it_runs_on_a_thread_of_its_own(sender):
    sender.send(lambda report: threading.current_thread()).join()
    sender.hand_over()
    assert sender.told[0].result is not threading.current_thread()


def test_what_it_raises_is_told(sender):
    def job(report):
        raise OSError("no room")

    sender.send(job).join()
    sender.hand_over()
    (broken,) = sender.told
    assert isinstance(broken, Broken)
    assert str(broken.error) == "no room"


def test_a_cancelled_errand_stops_at_its_next_report_and_tidies_up(sender):
    reached, go_on, done = threading.Event(), threading.Event(), []

    def job(report):
        try:
            report(1, 3)
            reached.set()
            assert go_on.wait(20)
            report(2, 3)
            done.append("too far")
        finally:
            done.append("tidy")

    errand = sender.send(job)
    assert reached.wait(20)
    errand.cancel()
    go_on.set()
    errand.join()
    sender.hand_over()
    assert done == ["tidy"]
    assert sender.told == []  # not even of the report that was on its way


def test_a_result_that_was_on_its_way_when_it_was_cancelled_is_dropped(sender):
    errand = sender.send(lambda report: "late")
    errand.join()
    errand.cancel()
    sender.hand_over()
    assert sender.told == []
