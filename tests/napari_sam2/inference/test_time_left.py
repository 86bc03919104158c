"""How long work still takes, and how that is said."""

import pytest

from napari_sam2.inference.time_left import KEPT_MARKS, Pace, left_words, progress_words


class Clock:
    """Shows the time that a test says it is."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def after(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(clock)


def test_the_rest_takes_as_long_as_what_is_done_has_taken(pace, clock):
    pace.note(0, 60)
    clock.after(4)
    assert pace.note(12, 60) == pytest.approx(16)
    clock.after(4)
    assert pace.note(18, 60) == pytest.approx(8 / 18 * 42)


def test_nothing_is_said_before_enough_is_known_or_when_all_is_done(pace, clock):
    assert pace.note(0, 60) is None
    clock.after(30)
    assert pace.note(1, 60) is None  # the first frame may be slow
    clock.after(30)
    assert pace.note(2, 60) == pytest.approx(58 * 30)
    assert pace.note(60, 60) is None
    assert pace.note(0, 60) is None
    clock.after(1)
    assert pace.note(30, 60) is None  # too fast to be worth a word


def test_nothing_is_said_as_long_as_the_whole_is_not_known(pace, clock):
    pace.note(0, 0)
    clock.after(10)
    assert pace.note(5, 0) is None


def test_other_work_has_a_pace_of_its_own(pace, clock):
    pace.note(0, 10)
    clock.after(1000)
    pace.note(0, 10)
    clock.after(5)
    assert pace.note(5, 10) == pytest.approx(5)


def test_what_was_long_ago_does_not_count(pace, clock):
    for done in range(10):
        pace.note(done, 1000)
        clock.after(100)
    for done in range(10, 10 + KEPT_MARKS):
        pace.note(done, 1000)
        clock.after(1)
    assert pace.note(10 + KEPT_MARKS, 1000) == pytest.approx(1000 - 10 - KEPT_MARKS)


def test_thousands_of_reports_in_a_second_are_few_marks(pace, clock):
    pace.note(0, 10**6)
    for done in range(1, 20_001):
        clock.after(0.001)
        left = pace.note(done, 10**6)
    assert left == pytest.approx(980, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.2, "a few seconds left"),
        (7, "a few seconds left"),
        (8, "about 10 s left"),
        (21, "about 20 s left"),
        (27, "about 25 s left"),
        (33, "about 30 s left"),
        (54, "about 50 s left"),
        (56, "about 1 min left"),
        (100, "about 2 min left"),
        (9.4 * 60, "about 9 min left"),
        (13 * 60, "about 15 min left"),
        (52 * 60, "about 50 min left"),
        (55 * 60, "about 1 h left"),
        (80 * 60, "about 1.5 h left"),
        (26.3 * 3600, "about 26 h left"),
    ],
)
def test_a_time_is_said_as_coarsely_as_it_is_known(seconds, words):
    assert left_words(seconds) == words


def test_words_do_not_grow_while_time_goes_by():
    order = dict.fromkeys(left_words(seconds) for seconds in range(100_000))
    assert [left_words(seconds) for seconds in range(100_000)] == sorted(
        (left_words(seconds) for seconds in range(100_000)), key=list(order).index
    )


def test_progress_is_said_with_the_time_that_is_left_if_it_is_known():
    assert progress_words(12, 60, "frames", 19.0) == "12 of 60 frames, about 20 s left"
    assert progress_words(12, 60, "frames", None) == "12 of 60 frames"
