"""What is read of real work for the table of sentences."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from napari_sam2.inference.time_left import Pace
from napari_sam2.workbench.advice import Doing, Facts, Unclear
from napari_sam2.workbench.choices import ClickMode
from napari_sam2.workbench.duplicates import Duplicate
from napari_sam2.workbench.facts import FactsReader
from napari_sam2.workbench.tools import Tool
from tests.napari_sam2.bench import FRAMES, Bench, Room
from tests.napari_sam2.fake_predictor import FakePredictor

ALL = tuple(range(FRAMES))


class Reading(Room):
    """A workbench that doubts hardly anything, and what is read of it."""

    def __init__(self, *names, shape=(FRAMES, 24, 30)):
        self.may_load = threading.Event()
        self.may_load.set()
        super().__init__(*names, shape=shape)
        self.reader = FactsReader()
        self.set_choices(threshold=0.1)

    def load(self, source):
        assert self.may_load.wait(20)
        return super().load(source)

    def click(self, *place):
        self.points.add([place])
        self.settle()

    def facts(self):
        return self.reader.read(self.bench, self.work)


@pytest.fixture
def room():
    room = Reading("stack")
    yield room
    room.close()


@pytest.fixture
def picture():
    room = Reading("picture", shape=(24, 30))
    yield room
    room.close()


def follow(room):
    room.propagate()
    room.settle()


# Before and after ----------------------------------------------------------------------------------------------------


def test_before_the_first_click_nothing_is_begun(room, picture):
    nothing = Facts(model="nano", committed_into="committed_objects")
    assert room.facts() == replace(nothing, is_stack=True, image="stack")
    assert picture.facts() == replace(nothing, image="picture")


def test_the_mode_of_clicks_is_the_chosen_one(room):
    room.set_choices(click_mode=ClickMode.REFINE)
    assert room.facts().mode is ClickMode.REFINE


@pytest.mark.parametrize(
    ("shape", "labels", "may_be"),
    [
        ((3, 24, 30), None, True),
        ((1, 3, 24, 30), None, True),
        ((3, 24, 30), ("t", "y", "x"), False),
        ((4, 24, 30), None, False),
        ((24, 30), None, False),
    ],
)
def test_three_planes_may_be_channels_unless_something_tells(shape, labels, may_be):
    room = Reading()
    image = room.viewer.add_image(np.zeros(shape, np.uint8), axis_labels=labels)
    room.hand_over()
    room.choose_image(image)
    assert room.facts().may_be_channels is may_be
    room.close()


def test_objects_that_are_committed_are_counted_until_the_next_begins(room):
    room.click(2, 6, 6)
    room.new_object()
    room.click(2, 16, 20)
    room.commit()
    room.settle()
    facts = room.facts()
    assert (facts.is_begun, facts.num_committed, facts.committed_into) == (False, 2, "committed_objects")
    room.click(2, 6, 25)
    assert room.facts().is_begun


# One mask ------------------------------------------------------------------------------------------------------------


def test_a_doubtful_mask_from_clicks_alone_is_unclear(picture):
    picture.click(10, 12)
    assert picture.facts().unclear is None
    picture.set_choices(threshold=0.99)
    confidence = picture.confidence(1, 0)
    assert picture.facts().unclear == Unclear(1, confidence)
    picture.click(10, 14)
    assert picture.facts().unclear == Unclear(1, picture.confidence(1, 0), clicks=2)


def test_it_is_of_the_current_object_on_the_frame_that_is_shown(room):
    room.set_choices(threshold=0.99)
    room.show(2)
    room.click(2, 10, 12)
    assert room.facts().unclear.object_id == 1
    room.show(3)
    assert room.facts().unclear is None
    room.show(2)
    room.new_object()
    assert room.facts().unclear is None


def test_what_is_the_users_own_is_not_unclear(room):
    room.set_choices(threshold=0.99)
    room.show(2)
    room.click(2, 10, 12)
    room.approve()
    room.settle()
    assert room.facts().unclear is None


def test_a_box_alone_may_be_unclear_and_with_a_click_is_not(room):
    room.set_choices(threshold=0.99)
    room.show(2)
    room.shapes.add([[(2, 4, 15), (2, 4, 25), (2, 9, 25), (2, 9, 15)]], shape_type="rectangle")
    room.settle()
    assert room.facts().unclear == Unclear(1, room.confidence(1, 2), clicks=0)
    room.points.add([(2, 6, 20)])
    room.settle()
    assert room.facts().unclear is None


def test_a_click_that_finds_nothing_is_unclear_whatever_the_threshold(picture):
    picture.set_choices(threshold=0.0)
    picture.click(10, 12)
    picture.take(Tool.POINT_OFF)
    picture.click(10, 12)
    assert picture.area(1, 0) == 0
    assert picture.facts().unclear == Unclear(1, None, clicks=2)


def test_two_objects_on_one_cell_are_told(room):
    room.click(2, 10, 12)
    room.new_object()
    room.click(2, 10, 12)
    assert room.facts().duplicates == (Duplicate(1, 2, (2,)),)
    room.propagate()
    room.settle()
    assert room.facts().duplicates == (Duplicate(1, 2, ALL),)
    room.hide(2)
    assert room.facts().duplicates == ()


# Masks of a stack ----------------------------------------------------------------------------------------------------


def test_after_following_nothing_is_left_to_follow_until_something_is_said(room):
    room.click(2, 6, 6)
    facts = room.facts()
    assert (facts.is_followed, facts.outdated, facts.unfollowed) == (False, (), (1,))
    follow(room)
    facts = room.facts()
    assert (facts.is_followed, facts.outdated, facts.unfollowed, facts.num_doubtful) == (True, (), (), 0)
    room.new_object()
    room.click(2, 16, 20)
    assert room.facts().unfollowed == (2,)
    room.choose(1)
    room.click(4, 6, 8)
    assert room.facts().outdated == (1,)
    follow(room)
    facts = room.facts()
    assert (facts.is_followed, facts.outdated, facts.unfollowed) == (True, (), ())


def test_what_propagate_does_not_reach_is_not_said_to_be_followed_by_it(room):
    room.set_choices(start=2, stop=3)
    room.click(2, 6, 6)
    follow(room)
    assert room.facts().unfollowed == ()
    room.set_choices(start=0, stop=3)
    assert room.facts().unfollowed == (1,)
    room.lock(1)
    assert room.facts().unfollowed == ()


def test_doubtful_masks_are_counted_by_the_chosen_threshold(room):
    room.click(2, 6, 6)
    follow(room)
    room.show(0)
    room.set_choices(threshold=0.99)
    assert room.facts().num_doubtful == FRAMES
    room.show(2)
    room.approve()
    room.settle()
    assert room.facts().num_doubtful == FRAMES - 1


def test_what_takes_time_is_read_once_until_something_changes(room, monkeypatch):
    room.click(2, 6, 6)
    follow(room)
    facts, asked = room.facts(), []
    doubts = room.work.doubts
    monkeypatch.setattr(room.work, "doubts", lambda threshold: asked.append(threshold) or doubts(threshold))
    room.show(4)
    assert room.facts() == facts
    assert asked == []
    room.click(4, 6, 8)
    room.facts()
    assert asked == [0.1]


def test_of_an_image_nothing_is_followed(picture):
    picture.click(10, 12)
    facts = picture.facts()
    assert (facts.is_followed, facts.outdated, facts.unfollowed) == (False, (), ())


# Images --------------------------------------------------------------------------------------------------------------


def test_an_image_that_is_added_or_selected_is_offered_and_can_be_used(room):
    room.click(2, 6, 6)
    other = room.add("other")
    assert room.facts().offered == "other"
    room.viewer.layers.selection.active = room.points
    assert room.facts().offered == ""
    room.viewer.layers.selection.active = other
    room.bench.use_offered()
    assert room.chosen_image is other
    facts = room.facts()
    assert (facts.image, facts.offered, facts.is_begun) == ("other", "", False)
    room.viewer.layers.selection.active = room.viewer.layers["stack"]
    assert room.facts().offered == "stack"


def test_neither_the_image_in_work_nor_its_channels_nor_other_layers_are_offered(room):
    channel = room.add("channel")
    room.use_channels([room.chosen_image, channel])
    for layer in (room.chosen_image, channel, room.viewer.add_labels(np.zeros((FRAMES, 24, 30), np.uint8))):
        room.viewer.layers.selection.active = layer
        assert room.facts().offered == ""
        room.bench.use_offered()
        assert room.chosen_image.name == "stack"


# While the model works -----------------------------------------------------------------------------------------------


def test_the_model_is_loaded_looks_and_answers(room):
    room.may_load.clear()
    room.points.add([(2, 6, 6)])
    assert room.facts().doing is Doing.LOADING
    room.may_load.set()
    room.posted.get(timeout=10)()
    assert room.facts().doing is Doing.LOOKING
    room.posted.get(timeout=10)()
    assert room.facts().doing is Doing.ANSWERING
    room.settle()
    assert room.facts().doing is Doing.NOTHING


class Gate:
    """Holds a model up where it is about to answer."""

    def __init__(self):
        self.go_on = threading.Event()

    def __call__(self, frame):
        assert self.go_on.wait(20)


def test_it_is_shown_that_a_frame_is_looked_at_and_another_click_does_not_end_that():
    gate = Gate()
    bench = Bench(FakePredictor(before_prompt=gate))
    bench.points.add([(2, 6, 6)])
    bench.posted.get(timeout=10)()
    assert bench.work.asker.status.is_looking
    bench.points.add([(2, 6, 8)])
    assert bench.work.asker.status.is_looking
    gate.go_on.set()
    bench.settle()
    assert not bench.work.asker.status.is_looking
    bench.close()


def test_a_frame_is_looked_at_once():
    bench = Bench(FakePredictor())

    def looks(act):
        bench.said.clear()
        act()
        bench.settle()
        return any(status.is_looking for status in bench.said)

    assert looks(lambda: bench.click(2, 6, 6))
    assert not looks(lambda: bench.click(2, 6, 8))
    assert looks(lambda: bench.click(3, 6, 8))
    assert not looks(bench.propagate)
    assert not looks(lambda: bench.click(5, 6, 8))
    bench.close()


class Clock:
    """Five seconds pass from one look at it to the next."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 5
        return self.now


def test_the_time_that_is_left_is_told_once_it_is_known():
    bench = Bench(FakePredictor())
    bench.click(0, 6, 6)
    bench.work.asker.pace = Pace(Clock())
    bench.said.clear()
    bench.propagate()
    bench.settle()
    assert {status.done: status.seconds_left for status in bench.said if status.total and status.done} == {
        1: None,
        2: 20,
        3: 15,
        4: 10,
        5: 5,
        6: None,
    }
    bench.close()


@pytest.fixture
def stopped():
    """A propagation through six frames, cancelled on the fourth."""
    bench = Bench(FakePredictor(before_follow=lambda frame: frame == 3 and bench.work.asker.queue.cancel()))
    bench.click(0, 6, 6)
    bench.propagate()
    bench.settle()
    yield bench
    bench.close()


def how_far(bench):
    return bench.work.asker.status.done, bench.work.asker.status.total


def test_after_a_cancel_it_is_known_where_it_stopped_until_something_new_is_asked(stopped):
    assert how_far(stopped) == (4, 6)
    assert stopped.message == ""
    stopped.click(0, 6, 7)
    assert how_far(stopped) == (0, 0)


def test_after_it_has_gone_on_to_the_end_nothing_is_stopped(stopped):
    stopped.predictor.before_follow = lambda frame: None
    stopped.propagate()
    stopped.settle()
    assert how_far(stopped) == (0, 0)


def test_what_is_told_of_a_place_while_it_propagates_still_goes_with_the_place():
    bench = Bench(FakePredictor())
    bench.click(0, 6, 6)
    bench.propagate()
    bench.next_doubtful(0.99)
    bench.work.asker.tell("This mask is doubtful.", is_of_place=True)
    bench.settle()
    assert bench.message == "This mask is doubtful."
    bench.show(3)
    assert bench.message == ""
    bench.close()
