"""From a click to a corrected stack, without a window: real layers, a model that draws discs."""

import threading

import numpy as np
import pytest

from napari_sam2.errors import ModelError
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import MaskPrompt, Target
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Bench, hand_over, paint, square
from tests.napari_sam2.fake_predictor import FakePredictor


@pytest.fixture
def fake():
    return FakePredictor()


@pytest.fixture
def bench(fake):
    bench = Bench(fake)
    yield bench
    bench.close()


def test_it_is_ready_for_a_click_as_soon_as_it_is_opened(bench, fake):
    names = [layer.name for layer in bench.viewer.layers]
    assert names[1:] == ["committed_objects", "current_object", "prompts", "point_prompts"]
    assert bench.viewer.layers.selection.active is bench.points
    assert bench.points.mode == "add"
    assert fake.calls == []


def test_a_click_becomes_a_mask(bench):
    bench.click(2, 10, 12)
    assert bench.shown(1, 2)[10, 12]
    assert not bench.shown(1, 1).any()


def test_every_object_has_its_own_id(bench):
    bench.click(2, 10, 8)
    assert bench.new_object() == 2
    bench.click(2, 10, 20)
    assert bench.shown(1, 2)[10, 8]
    assert bench.shown(2, 2)[10, 20]


def test_a_negative_click_takes_away(bench):
    bench.click(2, 10, 12)
    bench.toggle_polarity()
    bench.click(2, 10, 15)
    assert bench.shown(1, 2)[10, 12]
    assert not bench.shown(1, 2)[10, 14]


def test_removing_a_point_removes_its_mask(bench):
    bench.click(2, 10, 12)
    bench.points.selected_data = {0}
    bench.points.remove_selected()
    bench.settle()
    assert not bench.current().any()


def test_propagation_reaches_every_frame_and_says_how_far_it_is(bench):
    bench.click(2, 10, 12)
    bench.propagate()
    bench.settle()
    assert all(bench.shown(1, frame)[10, 12] for frame in range(FRAMES))
    assert (FRAMES, FRAMES) in {(status.done, status.total) for status in bench.said}


def test_a_cancelled_propagation_goes_on_where_it_stopped():
    fake = FakePredictor(before_follow=lambda frame: bench.cancel() if frame == 3 else None)
    bench = Bench(fake)
    bench.click(0, 10, 12)
    bench.propagate()
    bench.settle()
    assert [frame for frame in range(FRAMES) if bench.shown(1, frame).any()] == [0, 1, 2, 3]
    fake.calls.clear()
    fake.before_follow = lambda frame: None
    bench.propagate()
    bench.settle()
    assert all(bench.shown(1, frame).any() for frame in range(FRAMES))
    assert [call[1] for call in fake.calls if call[0] == "follow"] == [4, 5]
    bench.close()


def test_an_object_added_late_is_followed_alone(bench, fake):
    bench.click(0, 10, 8)
    bench.propagate()
    bench.settle()
    bench.new_object()
    bench.click(0, 10, 20)
    fake.calls.clear()
    bench.propagate()
    bench.settle()
    assert {call[2] for call in fake.calls if call[0] == "follow"} == {(2,)}
    assert bench.shown(1, 5)[10, 8]
    assert bench.shown(2, 5)[10, 20]


def test_propagating_without_a_prompt_says_what_to_do(bench):
    bench.propagate()
    assert "Click an object" in bench.message


def test_undo_and_redo_take_back_and_repeat_a_propagation(bench):
    bench.click(2, 10, 12)
    bench.propagate()
    bench.settle()
    bench.undo()
    bench.settle()
    assert bench.shown(1, 2).any()
    assert not bench.shown(1, 4).any()
    bench.redo()
    bench.settle()
    assert bench.shown(1, 4).any()


def test_what_was_undone_is_followed_again_when_it_is_asked_for(bench):
    bench.click(2, 10, 12)
    bench.propagate()
    bench.settle()
    bench.undo()
    bench.settle()
    bench.propagate()
    bench.settle()
    assert all(bench.shown(1, frame).any() for frame in range(FRAMES))


def test_undo_takes_back_a_click_and_its_mask(bench):
    bench.click(2, 10, 12)
    bench.undo()
    bench.settle()
    assert len(bench.points.data) == 0
    assert not bench.current().any()
    bench.redo()
    bench.settle()
    assert bench.shown(1, 2)[10, 12]


def test_commit_moves_masks_and_prompts_away_in_one_step(bench):
    bench.click(2, 10, 12)
    bench.propagate()
    bench.settle()
    bench.commit()
    bench.settle()
    committed = bench.committed()
    assert (committed[:, 10, 12] == 1).all()
    assert not bench.current().any()
    assert len(bench.points.data) == 0
    assert bench.object_id == 2
    bench.undo()
    bench.settle()
    assert not bench.committed().any()
    assert all(bench.shown(1, frame).any() for frame in range(FRAMES))
    assert len(bench.points.data) == 1


@pytest.mark.parametrize(("policy", "owner"), [(CommitPolicy.KEEP, 1), (CommitPolicy.OVERWRITE, 2)])
def test_committed_pixels_are_kept_unless_they_may_be_overwritten(bench, policy, owner):
    bench.click(2, 10, 12)
    bench.commit()
    bench.settle()
    bench.click(2, 10, 13)
    bench.commit(policy)
    bench.settle()
    assert bench.committed()[2, 10, 12] == owner


def test_scores_are_on_the_layer_and_lead_to_the_doubtful_frames(bench):
    bench.click(2, 10, 12)
    bench.propagate()
    bench.settle()
    assert bench.current_layer.features.set_index("index").loc[1, "n_frames"] == FRAMES
    bench.show(4)
    assert bench.next_doubtful(threshold=0.99) == Target(1, 5)
    assert bench.frame == 5
    assert bench.next_doubtful(threshold=0.01) is None


def rectangle(frame, y, x, y_end, x_end):
    return [(frame, y, x), (frame, y, x_end), (frame, y_end, x_end), (frame, y_end, x)]


def add_shape(bench, vertices, shape_type):
    bench.shapes.add([vertices], shape_type=shape_type)


BESIDE = {
    "a click": lambda bench: bench.points.add([(2, 500, 12)]),
    "a click on no frame": lambda bench: bench.points.add([(FRAMES, 8, 12)]),
    "a box": lambda bench: add_shape(bench, rectangle(2, -9, 3, -4, 8), "rectangle"),
    "a box without extent": lambda bench: add_shape(bench, rectangle(2, 5, 5, 5, 5), "rectangle"),
    "a polygon": lambda bench: add_shape(bench, rectangle(2, 40, 3, 50, 8), "polygon"),
    "a scribble": lambda bench: add_shape(bench, [(2, -4, 3), (2, -4, 9)], "line"),
}


@pytest.mark.parametrize("act", BESIDE.values(), ids=BESIDE)
def test_what_is_drawn_beside_the_image_is_dropped_with_a_sentence_and_stops_no_later_click(bench, act):
    bench.click(2, 10, 12)
    act(bench)
    bench.settle()
    hand_over(bench)
    assert "is dropped" in bench.message
    assert (len(bench.points.data), len(bench.shapes.data)) == (1, 0)
    assert bench.shown(1, 2)[10, 12]
    bench.new_object()
    bench.click(2, 18, 20)
    assert bench.shown(2, 2)[18, 20]
    assert bench.message == ""
    bench.undo()
    bench.settle()
    assert not bench.shown(2, 2).any()
    assert bench.shown(1, 2)[10, 12]
    bench.undo()
    bench.settle()
    assert not bench.can_undo
    bench.click(1, 5, 5)
    assert bench.shown(bench.object_id, 1)[5, 5]


def test_a_point_that_is_dragged_out_of_the_image_comes_back_by_undo(bench):
    bench.click(2, 10, 12)
    points = bench.points
    points.data = [(2, -10, 12)]
    bench.settle()
    hand_over(bench)
    assert len(points.data) == 0
    bench.undo()
    bench.settle()
    np.testing.assert_array_equal(points.data, [(2, 10, 12)])
    assert bench.shown(1, 2)[10, 12]


def test_a_box_that_reaches_beyond_the_image_is_cut_off(bench):
    add_shape(bench, rectangle(2, -9, 3, 4, 8), "rectangle")
    bench.settle()
    assert bench.shown(1, 2)[0:5, 3:9].all()
    assert bench.message == ""


def test_a_second_box_of_an_object_counts_for_nothing_and_stops_nothing(bench):
    add_shape(bench, rectangle(2, 2, 3, 6, 8), "rectangle")
    bench.settle()
    add_shape(bench, rectangle(2, 12, 3, 16, 8), "rectangle")
    bench.settle()
    assert "has 2 boxes on frame 2, and the first one counts" in bench.message
    bench.new_object()
    bench.click(2, 18, 20)
    assert bench.shown(2, 2)[18, 20]
    assert not bench.shown(1, 2)[14, 5]


def test_a_new_object_that_begins_with_a_negative_point_stops_no_other(bench):
    bench.toggle_polarity()
    bench.click(2, 10, 12)
    assert "Object 1 has only negative points" in bench.message
    bench.toggle_polarity()
    bench.new_object()
    bench.click(2, 18, 20)
    assert bench.shown(2, 2)[18, 20]
    assert bench.message == ""


def test_a_model_that_cannot_be_loaded_is_said_and_asked_again():
    bench = Bench(ModelError("There is no model here. Download one."))
    bench.click(2, 10, 12)
    assert bench.message == "There is no model here. Download one."
    bench.predictor = FakePredictor()
    bench.ask()
    bench.settle()
    assert bench.shown(1, 2)[10, 12]
    bench.close()


def test_clicks_faster_than_the_model_answers_end_in_the_newest_picture(bench):
    points = bench.points
    for x in range(5, 25, 4):
        points.add([(2, 10, x)])
    bench.settle()
    assert all(bench.shown(1, 2)[10, x] for x in range(5, 25, 4))


def test_a_scaled_and_moved_image_is_segmented_where_it_was_clicked(fake):
    bench = Bench(fake, scale=(2, 0.5, 0.5), translate=(1, 30, 40))
    bench.click(2, 10, 12)
    assert bench.shown(1, 2)[10, 12]
    np.testing.assert_allclose(bench.current_layer.scale, bench.image.scale)
    np.testing.assert_allclose(bench.current_layer.translate, bench.image.translate)
    bench.close()


def test_a_single_image_is_segmented(fake):
    bench = Bench(fake, np.zeros((HEIGHT, WIDTH), np.uint8))
    bench.points.add([(10, 12)])
    bench.settle()
    assert bench.current()[10, 12] == 1
    bench.close()


def test_closing_while_the_model_works_leaves_nothing_running(bench):
    bench.click(2, 10, 12)
    before = threading.active_count()
    bench.propagate()
    bench.close()
    assert threading.active_count() == before - 1


def test_what_is_painted_over_a_mask_is_followed_as_it_was_painted(bench):
    bench.click(0, 10, 12)
    bench.propagate()
    bench.settle()
    painted = bench.shown(1, 3) | square(2, 20)
    paint(bench, 3, square(2, 20), 1)
    bench.propagate()
    bench.settle()
    np.testing.assert_array_equal(bench.shown(1, 3), painted)
    np.testing.assert_array_equal(bench.shown(1, 5), painted)
    assert not bench.shown(1, 2)[3, 21]


def test_painting_a_new_object_makes_it_one_that_is_followed(bench):
    bench.choose(4)
    paint(bench, 1, square(5, 5), 4)
    bench.propagate()
    bench.settle()
    np.testing.assert_array_equal(bench.shown(4, 4), square(5, 5))


def test_painting_is_undone_in_one_step(bench):
    bench.click(0, 10, 12)
    before = bench.shown(1, 0).copy()
    paint(bench, 0, square(2, 20), 1)
    bench.undo()
    bench.settle()
    np.testing.assert_array_equal(bench.shown(1, 0), before)


def test_an_approved_frame_is_certain_and_stays_when_its_prompts_change(bench):
    bench.click(0, 10, 12)
    bench.propagate()
    bench.settle()
    bench.show(3)
    bench.approve()
    bench.settle()
    assert bench.is_approved(1, 3)
    approved = bench.shown(1, 3).copy()
    bench.click(0, 16, 12)
    bench.propagate()
    bench.settle()
    np.testing.assert_array_equal(bench.shown(1, 3), approved)
    scores = bench.scores().set_index("frame")
    assert scores.loc[3, "confidence"] == 1


def test_erasing_all_of_a_mask_is_refused_with_what_to_do_instead(bench):
    bench.click(2, 10, 12)
    before = bench.shown(1, 2).copy()
    paint(bench, 2, before, 0)
    np.testing.assert_array_equal(bench.shown(1, 2), before)
    assert "press X" in bench.message


def test_another_model_is_asked_for_every_prompt_and_follows_anew(bench, fake):
    bench.click(0, 10, 8)
    bench.propagate()
    bench.settle()
    other = FakePredictor(size=512)
    bench.use_model(lambda: other)
    bench.settle()
    assert other.count("prompt") == 1
    assert bench.working_size == 512
    assert bench.shown(1, 5)[10, 8]  # what was followed stays until it is followed again
    bench.propagate()
    bench.settle()
    assert {call[1] for call in other.calls if call[0] == "follow"} == set(range(FRAMES))


def test_another_model_while_following_leaves_a_step_to_undo():
    fake = FakePredictor(before_follow=lambda frame: bench.cancel() if frame == 3 else None)
    bench = Bench(fake)
    bench.click(0, 10, 8)
    bench.propagate()
    while not bench.shown(1, 2).any():
        bench.posted.get(timeout=10)()
    bench.use_model(FakePredictor)
    bench.settle()
    bench.undo()
    bench.settle()
    assert [frame for frame in range(FRAMES) if bench.shown(1, frame).any()] == [0]
    bench.close()


def test_without_prompts_another_model_is_not_loaded(bench):
    bench.use_model(bench.load)
    assert bench.is_ready
    assert bench.working_size is None


def test_every_change_of_masks_is_announced_with_its_scores(bench):
    frames = []
    bench.on_masks(lambda frame: frames.append(frame))
    bench.click(2, 10, 12)
    assert frames == [2]
    assert bench.area(1, 2) > 0
    bench.commit()
    bench.settle()
    assert frames[-1] == 2
    assert bench.scores_on(2) == {}


def test_closing_does_not_wait_for_the_frame_in_hand_if_told_so():
    held = threading.Event()
    bench = Bench(FakePredictor(before_follow=lambda frame: held.wait(20)))
    bench.click(0, 10, 12)
    bench.propagate()
    bench.close(timeout_s=0)
    held.set()


def test_what_was_painted_twice_is_what_was_painted_last(bench):
    bench.click(2, 10, 12)
    paint(bench, 2, square(4, 4), 1)
    paint(bench, 2, square(14, 20), 1)
    expected = bench.current()[2] == 1
    bench.propagate()
    bench.settle()
    (prompt,) = bench.prompts[Target(1, 2)]
    assert isinstance(prompt, MaskPrompt)
    np.testing.assert_array_equal(prompt.mask, expected)


def test_a_click_on_a_mask_that_was_followed_corrects_it(bench):
    bench.click(2, 10, 12)
    bench.propagate()
    bench.settle()
    bench.toggle_polarity()
    bench.click(4, 10, 15)
    assert bench.shown(1, 4)[10, 12]
    assert not bench.shown(1, 4)[10, 14]
    mask, click = bench.prompts[Target(1, 4)]
    assert isinstance(mask, MaskPrompt)
    assert not click.positive
    bench.undo()
    bench.settle()
    assert Target(1, 4) not in bench.prompts


def test_a_click_where_nothing_was_followed_says_what_it_always_says(bench):
    bench.click(2, 10, 12)
    bench.click(4, 10, 15)
    (click,) = bench.prompts[Target(1, 4)]
    assert click.x == 15


def test_an_object_is_marked_absent_where_it_was_followed(bench):
    bench.click(2, 10, 12)
    bench.propagate()
    bench.settle()
    bench.show(4)
    bench.absent()
    bench.settle()
    assert not bench.shown(1, 4).any()
    assert bench.shown(1, 3).any()
    (absence,) = bench.prompts[Target(1, 4)]
    assert not absence.positive
    bench.undo()
    bench.settle()
    assert Target(1, 4) not in bench.prompts


def test_absence_takes_the_place_of_everything_said_on_its_frame(bench):
    bench.click(2, 10, 12)
    bench.click(4, 10, 15)
    bench.shapes.add([[(4, 4, 5), (4, 4, 12), (4, 9, 12), (4, 9, 5)]], shape_type="rectangle")
    bench.settle()
    bench.show(4)
    bench.absent()
    bench.settle()
    (absence,) = bench.prompts[Target(1, 4)]
    assert not absence.positive
    assert len(bench.prompts[Target(1, 2)]) == 1


def test_an_object_that_is_prompted_nowhere_else_cannot_be_absent(bench):
    bench.click(2, 10, 12)
    bench.show(2)
    bench.absent()
    assert "no other frame" in bench.message
    assert bench.shown(1, 2).any()


def add_box(bench, frame=1):
    bench.shapes.add([[(frame, 4, 5), (frame, 4, 12), (frame, 9, 12), (frame, 9, 5)]], shape_type="rectangle")
    bench.settle()


def test_after_a_box_was_committed_the_next_commit_works(bench):
    add_box(bench)
    bench.commit()
    bench.settle()
    bench.click(2, 16, 20)
    bench.commit()
    bench.settle()
    assert bench.committed()[2, 16, 20] == 2
    assert len(bench.shapes.features) == 0


def test_after_a_box_was_undone_prompts_are_cleared_and_committed_as_ever(bench):
    add_box(bench)
    bench.undo()
    bench.settle()
    bench.click(2, 10, 12)
    bench.commit()
    bench.settle()
    assert bench.committed()[2, 10, 12] == 1


def test_a_commit_while_an_interrupting_click_is_answered_takes_the_place_of_going_on():
    bench = Bench(FakePredictor())
    bench.click(2, 10, 8)
    bench.propagate()
    while not bench.frames_done:
        bench.posted.get(timeout=10)()
    bench.points.add([(2, 10, 20)])
    bench.commit()
    bench.settle()
    hand_over(bench)
    bench.settle()
    assert bench.committed()[2].any()
    assert bench.frames_with_masks == ()
    # Each step is taken back in the order in which it was made, the interrupted propagation too.
    while bench.can_undo:
        bench.undo()
        bench.settle()
        hand_over(bench)
    assert not bench.committed().any()
    assert bench.frames_with_masks == ()
    assert not bench.prompts
