"""What goes on at the same time does not harm each other, and what is taken back is all there again."""

import queue
import threading

import numpy as np
import pytest
from napari.layers import Image, Labels

from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Bench
from tests.napari_sam2.fake_predictor import FakePredictor, FakeTracker


def held(bench):
    """Objects with a mask, by frame."""
    masks = bench.space.results.held
    return {frame: sorted(masks.on(frame)) for frame in masks.frames}


def hand_over(bench):
    while True:
        try:
            bench.posted.get_nowait()()
        except queue.Empty:
            return


class Underway:
    """Object 1 is being followed from frame 0, and the model waits before a frame."""

    def __init__(self, frame=3):
        self.frame, self.is_there, self.may_go_on = frame, threading.Event(), threading.Event()
        self.bench = Bench(FakePredictor(before_follow=self._before_follow))
        self.bench.click(0, 8, 8)
        self.bench.space.propagate()
        assert self.is_there.wait(10)
        hand_over(self.bench)

    def _before_follow(self, frame):
        if frame == self.frame:
            self.is_there.set()
            assert self.may_go_on.wait(10)

    def go_on(self):
        self.may_go_on.set()
        self.bench.settle()
        hand_over(self.bench)


@pytest.fixture
def bench():
    made = Bench(FakePredictor())
    yield made
    made.space.close()


@pytest.fixture
def underway():
    made = Underway()
    yield made
    made.may_go_on.set()
    made.bench.space.close()


def test_a_click_during_a_propagation_leaves_all_of_it_to_be_undone(underway):
    bench = underway.bench
    bench.space.new_object()
    bench.space.prompt_layers.points.add([(4, 18, 18)])
    underway.go_on()
    bench.space.undo()  # what was followed after the click
    bench.settle()
    assert held(bench) == {0: [1], 1: [1], 2: [1], 4: [2]}
    bench.space.undo()  # the click
    bench.settle()
    bench.space.undo()  # what was followed before it
    bench.settle()
    assert held(bench) == {0: [1]}


def test_undoing_a_commit_during_a_propagation_shows_no_mask_without_prompts(underway):
    bench = underway.bench
    bench.space.commit()
    underway.go_on()
    assert held(bench) == {}
    bench.space.undo()
    bench.settle()
    assert held(bench) == {0: [1], 1: [1], 2: [1]}
    assert bench.space.prompts.object_ids == (1,)
    assert not bench.space.committed.data.any()


def test_undo_during_a_propagation_takes_back_what_it_has_done_and_stops_it(underway):
    bench = underway.bench
    bench.space.undo()
    underway.go_on()
    assert held(bench) == {0: [1]}
    assert bench.space.prompts.object_ids == (1,)
    bench.space.redo()
    bench.settle()
    assert held(bench) == {0: [1], 1: [1], 2: [1]}


def test_a_stroke_survives_an_answer_that_comes_while_the_brush_is_down(underway):
    bench = underway.bench
    bench.space.show(3)
    with bench.space.current.block_history():
        bench.space.current.data_setitem((np.array([3, 3]), np.array([20, 20]), np.array([20, 21])), 1)
        underway.go_on()
        assert 3 in held(bench)
    bench.posted.get(timeout=10)()
    bench.settle()
    assert bench.space.is_approved(1, 3)
    assert bench.space.current.data[3, 20, 20:22].tolist() == [1, 1]
    assert bench.space.current.data[3, 8, 8] == 1


def test_a_picture_that_was_replaced_by_another_shape_stops_the_propagation_with_a_sentence(underway):
    bench = underway.bench
    bench.space.current.data = np.zeros((2, 5, 5), np.uint16)
    underway.go_on()
    assert "shape (2, 5, 5)" in bench.space.status.message


def test_prompts_that_could_not_be_answered_survive_a_commit(bench, monkeypatch):
    bench.click(0, 8, 8)
    bench.space.new_object()

    def fail(*given):
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(FakeTracker, "prompt", fail)
        bench.click(2, 18, 18)
    bench.space.commit()
    bench.settle()
    assert bench.space.prompt_layers.points.features["object_id"].tolist() == [2]
    assert held(bench) == {2: [2]}


def test_undoing_a_correction_brings_the_followed_mask_back(bench):
    bench.click(0, 8, 8)
    bench.space.propagate()
    bench.settle()
    before = {frame: bench.space.results.held.on(frame)[1] for frame in range(FRAMES)}
    bench.click(3, 9, 9)
    bench.space.undo()
    bench.settle()
    assert all(bench.space.results.held.on(frame)[1] is before[frame] for frame in range(1, FRAMES))


def test_undoing_a_clearing_brings_the_followed_masks_back(bench):
    bench.click(0, 8, 8)
    bench.space.propagate()
    bench.settle()
    before = held(bench)
    bench.space.clear_prompts()
    bench.settle()
    assert held(bench) == {}
    bench.space.undo()
    bench.settle()
    assert held(bench) == before


def test_an_object_whose_number_does_not_fit_the_picture_is_refused(bench):
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint32)
    labels[1, 3:6, 3:6] = 70000
    bench.space.read_layer(bench.viewer.add_layer(Labels(labels)))
    bench.settle()
    assert "Object 70000 does not fit" in bench.space.status.message
    assert held(bench) == {}


def test_a_brush_of_three_dimensions_paints_on_all_its_frames(bench):
    bench.click(0, 8, 8)
    bench.space.show(2)
    current = bench.space.current
    current.n_edit_dimensions, current.brush_size, current.selected_label = 3, 5, 1
    current.paint((2, 15, 15), 1)
    hand_over(bench)
    bench.settle()
    assert all(bench.space.is_approved(1, frame) for frame in (1, 2, 3))
    bench.space.undo()
    bench.settle()
    assert held(bench) == {0: [1]}


def test_a_brush_of_three_dimensions_is_logged_on_all_its_committed_frames(bench):
    bench.space.show(2)
    committed = bench.space.committed
    committed.n_edit_dimensions, committed.brush_size = 3, 5
    committed.paint((2, 15, 15), 7)
    hand_over(bench)
    painted = {frame for frame in range(FRAMES) if committed.data[frame].any()}
    assert len(painted) > 1
    assert bench.space.results.log.touched == painted


def test_a_frame_is_shown_in_a_viewer_of_other_units():
    bench = Bench(FakePredictor(), scale=(2, 1, 1), units=("um", "um", "um"))
    data = np.zeros((FRAMES, HEIGHT, WIDTH))
    bench.viewer.add_layer(Image(data, units=("nm", "nm", "nm"), scale=(2000, 1000, 1000)))
    bench.space.show(3)
    assert bench.space.frame == 3
    bench.space.close()


def test_a_click_during_a_propagation_is_answered_before_the_rest_of_the_stack(underway):
    bench = underway.bench
    bench.space.new_object()
    bench.space.prompt_layers.points.add([(4, 18, 18)])
    underway.go_on()
    verbs = [call[0] for call in bench.predictor.calls if call[0] in ("prompt", "follow")]
    clicked = len(verbs) - verbs[::-1].index("prompt")
    assert verbs[clicked:].count("follow") >= 6 - underway.frame - 1
    assert list(held(bench)) == list(range(6))
    assert all(ids == [1, 2] for ids in held(bench).values())


def test_a_propagation_that_is_cancelled_after_a_click_does_not_go_on(underway):
    bench = underway.bench
    bench.space.new_object()
    bench.space.prompt_layers.points.add([(4, 18, 18)])
    bench.space.cancel()
    underway.go_on()
    assert set(held(bench)) < set(range(6))
