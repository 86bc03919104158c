"""What goes on at the same time does not harm each other, and what is taken back is all there again."""

import threading

import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels, Points

from napari_sam2.errors import PromptError
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Bench, hand_over
from tests.napari_sam2.fake_predictor import FakePredictor, FakeTracker


def held(bench):
    """Objects with a mask, by frame."""
    return {frame: sorted(bench.masks_on(frame)) for frame in bench.frames_with_masks}


class Underway:
    """Object 1 is being followed from frame 0, and the model waits before a frame."""

    def __init__(self, frame=3):
        self.frame, self.is_there, self.may_go_on = frame, threading.Event(), threading.Event()
        self.bench = Bench(FakePredictor(before_follow=self._before_follow))
        self.bench.click(0, 8, 8)
        self.bench.propagate()
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
    made.close()


@pytest.fixture
def underway():
    made = Underway()
    yield made
    made.may_go_on.set()
    made.bench.close()


def test_a_click_during_a_propagation_leaves_all_of_it_to_be_undone(underway):
    bench = underway.bench
    bench.new_object()
    bench.points.add([(4, 18, 18)])
    underway.go_on()
    bench.undo()  # what was followed after the click
    bench.settle()
    assert held(bench) == {0: [1], 1: [1], 2: [1], 4: [2]}
    bench.undo()  # the click
    bench.settle()
    bench.undo()  # what was followed before it
    bench.settle()
    assert held(bench) == {0: [1]}


def test_undoing_a_commit_during_a_propagation_shows_no_mask_without_prompts(underway):
    bench = underway.bench
    bench.commit()
    underway.go_on()
    assert held(bench) == {}
    bench.undo()
    bench.settle()
    assert held(bench) == {0: [1], 1: [1], 2: [1]}
    assert bench.prompts.object_ids == (1,)
    assert not bench.committed().any()


def test_undo_during_a_propagation_takes_back_what_it_has_done_and_stops_it(underway):
    bench = underway.bench
    bench.undo()
    underway.go_on()
    assert held(bench) == {0: [1]}
    assert bench.prompts.object_ids == (1,)
    bench.redo()
    bench.settle()
    assert held(bench) == {0: [1], 1: [1], 2: [1]}


def test_a_stroke_survives_an_answer_that_comes_while_the_brush_is_down(underway):
    bench = underway.bench
    bench.show(3)
    with bench.current_layer.block_history():
        bench.current_layer.data_setitem((np.array([3, 3]), np.array([20, 20]), np.array([20, 21])), 1)
        underway.go_on()
        assert 3 in held(bench)
    bench.posted.get(timeout=10)()
    bench.settle()
    assert bench.is_approved(1, 3)
    assert bench.current()[3, 20, 20:22].tolist() == [1, 1]
    assert bench.current()[3, 8, 8] == 1


def test_a_picture_that_was_replaced_by_another_shape_stops_the_propagation_with_a_sentence(underway):
    bench = underway.bench
    bench.current_layer.data = np.zeros((2, 5, 5), np.uint16)
    underway.go_on()
    assert "shape (2, 5, 5)" in bench.message


def test_prompts_that_could_not_be_answered_survive_a_commit(bench, monkeypatch):
    bench.click(0, 8, 8)
    bench.new_object()

    def fail(*given):
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(FakeTracker, "prompt", fail)
        bench.click(2, 18, 18)
    bench.commit()
    bench.settle()
    assert bench.points.features["object_id"].tolist() == [2]
    assert held(bench) == {2: [2]}


def test_undoing_a_correction_brings_the_followed_mask_back(bench):
    bench.click(0, 8, 8)
    bench.propagate()
    bench.settle()
    before = {frame: bench.masks_on(frame)[1] for frame in range(FRAMES)}
    bench.click(3, 9, 9)
    bench.undo()
    bench.settle()
    assert all(bench.masks_on(frame)[1] is before[frame] for frame in range(1, FRAMES))


def test_undoing_a_clearing_brings_the_followed_masks_back(bench):
    bench.click(0, 8, 8)
    bench.propagate()
    bench.settle()
    before = held(bench)
    bench.clear_prompts()
    bench.settle()
    assert held(bench) == {}
    bench.undo()
    bench.settle()
    assert held(bench) == before


def labels_with(object_id, dtype=np.uint32):
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), dtype)
    labels[1, 3:6, 3:6] = object_id
    return Labels(labels, name="mine")


def test_the_layers_of_results_take_the_width_that_the_numbers_of_objects_need(bench):
    bench.click(0, 18, 18)
    bench.read_layer(bench.viewer.add_layer(labels_with(70000)))
    bench.settle()
    assert bench.message == ""
    assert bench.shown(70000, 1)[4, 4]
    assert bench.shown(1, 0)[18, 18]
    assert bench.new_object() == 70001
    bench.commit()
    bench.settle()
    assert bench.committed()[1, 4, 4] == 70000
    bench.undo()
    bench.settle()
    assert not bench.committed().any()
    bench.redo()
    bench.settle()
    assert bench.committed()[0, 18, 18] == 1
    assert bench.committed()[1, 4, 4] == 70000


def test_numbers_beyond_those_of_any_label_image_are_refused_and_stop_nothing(bench):
    with pytest.raises(PromptError, match="frame 1"):
        bench.read_layer(bench.viewer.add_layer(labels_with(2**32, np.uint64)))
    bench.click(0, 8, 8)
    assert bench.shown(1, 0)[8, 8]


def test_after_the_highest_number_the_lowest_free_one_is_taken(bench):
    bench.read_layer(bench.viewer.add_layer(labels_with(2**32 - 1)))
    bench.settle()
    assert bench.object_id == 1


def test_a_narrow_layer_of_the_users_own_is_widened_with_a_sentence(bench):
    bench.read_layer(bench.viewer.add_layer(labels_with(300)))
    bench.settle()
    target = bench.viewer.add_layer(Labels(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), name="narrow"))
    target.data[0, 0, 0] = 7
    bench.commit_into(target)
    bench.commit()
    bench.settle()
    assert target.data.dtype == np.uint16
    assert (target.data[0, 0, 0], target.data[1, 4, 4]) == (7, 300)
    assert "'narrow' is of type uint16 now, because object 300 did not fit uint8" in bench.message
    bench.undo()
    bench.settle()
    assert target.data[1, 4, 4] == 0


def test_a_narrow_array_on_disk_stays_as_it_is_and_the_advice_leads_on(bench, tmp_path):
    bench.read_layer(bench.viewer.add_layer(labels_with(300)))
    bench.settle()
    on_disk = zarr.create_array(tmp_path / "mine.zarr", shape=(FRAMES, HEIGHT, WIDTH), dtype="uint8")
    bench.commit_into(bench.viewer.add_layer(Labels(on_disk, name="narrow")))
    bench.commit()
    assert "Object 300 does not fit Labels layer 'narrow'" in bench.message
    assert "Commit into 'committed_objects' instead" in bench.message
    assert held(bench) == {1: [300]}
    bench.commit_into(bench.made_layers[0])
    bench.commit()
    bench.settle()
    assert bench.committed()[1, 4, 4] == 300


def test_what_makes_no_sense_in_a_layer_of_the_users_own_stops_nothing_else(bench):
    points = bench.viewer.add_layer(Points([(1, 5, 5), (1, 99, 5), (8, 5, 5)], name="seeds"))
    bench.read_layer(points)
    bench.settle()
    message = bench.message
    assert "In layer 'seeds', 2 prompts lie outside the image or on frames" in message
    assert bench.shown(1, 1)[5, 5]
    bench.click(0, 18, 18)  # of the next object
    assert bench.shown(2, 0)[18, 18]
    assert bench.message == ""  # it was said
    points.features = {"object_id": [1, 1, "cell"]}
    hand_over(bench)
    bench.settle()
    assert "has the object_id 'cell'" in bench.message
    bench.click(3, 10, 10)
    assert bench.shown(2, 3)[10, 10]
    assert bench.shown(1, 1)[5, 5]


def test_a_layer_in_which_nothing_in_the_image_is_left_says_nothing_any_more(bench):
    points = bench.viewer.add_layer(Points([(1, 5, 5), (1, 99, 5)], name="seeds"))
    bench.read_layer(points)
    bench.settle()
    points.selected_data = {0}
    points.remove_selected()
    hand_over(bench)
    bench.settle()
    assert bench.prompts.object_ids == ()
    assert not bench.shown(1, 1).any()


def test_a_brush_of_three_dimensions_paints_on_all_its_frames(bench):
    bench.click(0, 8, 8)
    bench.show(2)
    current = bench.current_layer
    current.n_edit_dimensions, current.brush_size, current.selected_label = 3, 5, 1
    current.paint((2, 15, 15), 1)
    hand_over(bench)
    bench.settle()
    assert all(bench.is_approved(1, frame) for frame in (1, 2, 3))
    bench.undo()
    bench.settle()
    assert held(bench) == {0: [1]}


def test_a_brush_of_three_dimensions_is_logged_on_all_its_committed_frames(bench):
    bench.show(2)
    committed = bench.committed_layer
    committed.n_edit_dimensions, committed.brush_size = 3, 5
    committed.paint((2, 15, 15), 7)
    hand_over(bench)
    painted = {frame for frame in range(FRAMES) if committed.data[frame].any()}
    assert len(painted) > 1
    assert bench.hand_edited_frames == painted


def test_a_frame_is_shown_in_a_viewer_of_other_units():
    bench = Bench(FakePredictor(), scale=(2, 1, 1), units=("um", "um", "um"))
    data = np.zeros((FRAMES, HEIGHT, WIDTH))
    bench.viewer.add_layer(Image(data, units=("nm", "nm", "nm"), scale=(2000, 1000, 1000)))
    bench.show(3)
    assert bench.frame == 3
    bench.close()


def test_a_click_during_a_propagation_is_answered_before_the_rest_of_the_stack(underway):
    bench = underway.bench
    bench.new_object()
    bench.points.add([(4, 18, 18)])
    underway.go_on()
    verbs = [call[0] for call in bench.predictor.calls if call[0] in ("prompt", "follow")]
    clicked = len(verbs) - verbs[::-1].index("prompt")
    assert verbs[clicked:].count("follow") >= 6 - underway.frame - 1
    assert list(held(bench)) == list(range(6))
    assert all(ids == [1, 2] for ids in held(bench).values())


def test_a_propagation_that_is_cancelled_after_a_click_does_not_go_on(underway):
    bench = underway.bench
    bench.new_object()
    bench.points.add([(4, 18, 18)])
    bench.cancel()
    underway.go_on()
    assert set(held(bench)) < set(range(6))
