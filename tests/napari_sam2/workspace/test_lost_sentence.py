"""Objects that leave the field are told after a propagation, and a second prompt recalls them."""

import numpy as np
import pytest

from napari_sam2.results import ObjectMask
from sam2_model.memory_bank import Direction
from tests.napari_sam2.bench import FRAMES, Bench
from tests.napari_sam2.fake_predictor import FakePredictor, FakeTracker


class LosingPredictor(FakePredictor):
    """Finds an object again only on the frames next to one on which it was prompted."""

    def open(self, frames):
        super().open(frames)
        return LosingTracker(self, frames)


class LosingTracker(FakeTracker):
    def follow(self, frame, object_ids, direction):
        masks = super().follow(frame, object_ids, direction)
        step = 1 if direction is Direction.FORWARD else -1
        near = {frame, frame - step}
        return tuple(mask if any((mask.object_id, f) in self.said for f in near) else absent(mask) for mask in masks)


def absent(mask):
    return ObjectMask(mask.object_id, (0, 0), np.zeros((0, 0), np.float32), 0.9, 0.01)


@pytest.fixture
def bench():
    bench = Bench(LosingPredictor())
    yield bench
    bench.close()


def follow(bench):
    bench.propagate()
    bench.settle()
    return bench.message


def test_an_object_that_left_the_field_is_told_and_a_second_prompt_recalls_it(bench):
    bench.click(0, 8, 8)
    message = follow(bench)
    assert message.startswith(f"Object 1 is not found on frames 2 to {FRAMES - 1}. If it is there, click it")
    assert bench.area(1, 4) == bench.area(1, 5) == 0
    bench.click(4, 12, 20)
    assert bench.shown(1, 4)[12, 20]
    assert follow(bench) == ""
    assert bench.shown(1, 5)[12, 20]
    assert bench.area(1, 2) == 0  # it was away in between, which nobody has to be told


def test_an_object_that_comes_into_the_field_late_is_told_of_the_frames_before(bench):
    bench.click(3, 8, 8)
    bench.show(3)
    bench.propagate("backward")
    bench.settle()
    assert "on frames 0 to 1." in bench.message


def test_an_object_that_the_user_says_is_away_is_not_told(bench):
    bench.click(0, 8, 8)
    bench.show(3)
    bench.absent()
    bench.settle()
    assert follow(bench) == ""


def test_of_many_objects_a_few_are_named(bench):
    for number in range(7):
        bench.click(0, 2 + 3 * number, 8)
        bench.new_object()
    message = follow(bench)
    what = "Objects 1, 2, 3, 4, 5 and 2 more are not found on some frames"
    assert message.startswith(f"{what} (object 1: frames 2 to 5).")


def test_nothing_is_told_while_all_objects_are_found():
    bench = Bench(FakePredictor())
    bench.click(0, 8, 8)
    assert follow(bench) == ""
    bench.close()
