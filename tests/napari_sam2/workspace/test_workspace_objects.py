"""Objects in a workspace: named, hidden, locked, merged and deleted, and all of that undone."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.grid import LayerGrid
from napari_sam2.prompts import PointPrompt
from napari_sam2.sessions.steps import Renumbering
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Bench, paint, square
from tests.napari_sam2.fake_predictor import FakePredictor

LEFT, RIGHT = (10, 6), (10, 22)


@pytest.fixture
def bench(fake):
    bench = Bench(fake)
    yield bench
    bench.close()


def give(bench, object_id, place, frame=0):
    """Click one object."""
    bench.choose(object_id)
    bench.click(frame, *place)


def follow(bench):
    bench.propagate()
    bench.settle()


def commit(bench):
    bench.commit()
    bench.settle()


def frames_of(bench, object_id):
    """Frames on which an object is drawn."""
    return [frame for frame in range(FRAMES) if bench.shown(object_id, frame).any()]


@pytest.fixture
def two(bench):
    """Two objects, followed through the stack."""
    give(bench, 1, LEFT)
    give(bench, 2, RIGHT)
    follow(bench)
    return bench


@pytest.fixture
def settled(two):
    """Two committed objects; the current one is a third."""
    commit(two)
    return two


# Hiding --------------------------------------------------------------------------------------------------------------


def test_a_hidden_object_is_not_drawn_on_any_frame_and_comes_back(two):
    two.hide(1)
    assert not two.shown(1, two.frame).any()
    two.show(4)
    assert not two.shown(1, 4).any()
    assert two.shown(2, 4).any()
    two.unhide(1)
    assert two.shown(1, 4).any()


def test_a_hidden_object_is_not_committed_and_keeps_masks_and_prompts(two):
    two.hide(1)
    commit(two)
    assert set(np.unique(two.committed())) == {0, 2}
    assert two.prompts.object_ids == (1,)
    two.unhide(1)
    for frame in range(FRAMES):
        two.show(frame)
    assert frames_of(two, 1) == list(range(FRAMES))


def test_pixels_of_a_hidden_object_go_to_the_one_under_it(bench):
    give(bench, 1, (10, 12))
    give(bench, 2, (10, 13))
    bench.show(0)
    bench.hide(1)
    whole = bench.shown(2, 0).sum()
    bench.unhide(1)
    assert bench.shown(2, 0).sum() < whole


def test_an_answer_for_a_hidden_object_is_kept_out_of_sight(bench):
    bench.hide(1)
    bench.click(2, *LEFT)
    assert not bench.shown(1, 2).any()
    assert bench.area(1, 2) > 0


def test_painting_on_a_hidden_object_is_refused_and_leaves_its_mask(two):
    two.hide(1)
    paint(two, 3, square(2, 12), 1)
    assert "hidden" in two.message
    assert not two.shown(1, 3).any()
    two.unhide(1)
    assert two.shown(1, 3)[LEFT]
    assert not two.shown(1, 3)[3, 13]


def test_painting_over_a_mask_that_is_too_doubtful_to_be_shown_is_refused(two):
    two.hide_below(0.99)
    paint(two, 3, square(2, 12), 1)
    two.hide_below(0)
    assert two.shown(1, 3)[LEFT]
    assert not two.shown(1, 3)[3, 13]


# Committing ----------------------------------------------------------------------------------------------------------


def test_committing_nothing_is_no_step_and_says_so(bench):
    commit(bench)
    assert "There is nothing to commit yet" in bench.message
    assert not bench.can_undo
    assert bench.steps() == ()


@pytest.mark.parametrize("withhold", [Bench.hide, Bench.lock])
def test_what_may_not_be_committed_stays_and_the_reason_is_said(two, withhold):
    withhold(two, 1, 2)
    two.choose(1)
    commit(two)
    assert "There is nothing to commit" in two.message
    assert "hidden or locked" in two.message
    assert two.steps() == ()
    assert two.object_id == 1
    assert two.prompts.object_ids == (1, 2)


def test_masks_too_doubtful_to_be_shown_are_nothing_to_commit(two):
    two.hide_below(1.01)
    commit(two)
    assert "There is nothing to commit" in two.message
    assert two.steps() == ()


# Locking -------------------------------------------------------------------------------------------------------------


def test_a_locked_object_is_not_followed(bench, fake):
    give(bench, 1, LEFT)
    give(bench, 2, RIGHT)
    bench.lock(1)
    follow(bench)
    assert frames_of(bench, 1) == [0]
    assert frames_of(bench, 2) == list(range(FRAMES))
    assert {call[2] for call in fake.calls if call[0] == "follow"} == {(2,)}


def test_an_object_locked_while_it_is_followed_gets_nothing_more(bench, fake):
    def lock_at_three(frame):
        if frame == 3:
            bench.posted.put(lambda: bench.lock(1))

    fake.before_follow = lock_at_three
    bench.click(0, *LEFT)
    follow(bench)
    assert frames_of(bench, 1) == [0, 1, 2]
    fake.before_follow = lambda frame: None
    bench.unlock(1)
    follow(bench)
    assert frames_of(bench, 1) == list(range(FRAMES))


def test_painting_on_a_locked_object_or_over_it_changes_nothing_of_it(two):
    before = two.shown(1, 3).copy()
    two.lock(1)
    paint(two, 3, square(2, 12), 1)
    np.testing.assert_array_equal(two.shown(1, 3), before)
    paint(two, 3, square(8, 4), 2)
    np.testing.assert_array_equal(two.shown(1, 3), before)
    assert "Object 1 is locked" in two.message


def test_committing_leaves_locked_objects_where_they_are(two):
    two.lock(1)
    commit(two)
    assert set(np.unique(two.committed())) == {0, 2}
    assert frames_of(two, 1) == list(range(FRAMES))
    assert two.prompts.object_ids == (1,)


def test_nothing_is_committed_over_a_locked_object(settled):
    before = settled.committed() == 1
    settled.lock(1)
    settled.click(0, LEFT[0], LEFT[1] + 2)
    settled.commit(CommitPolicy.OVERWRITE)
    settled.settle()
    np.testing.assert_array_equal(settled.committed() == 1, before)
    assert (settled.committed()[0] == 3).any()


def test_prompts_for_a_locked_object_wait_until_it_is_unlocked(bench, fake):
    give(bench, 1, LEFT)
    before = bench.shown(1, 0).copy()
    bench.lock(1)
    bench.click(0, LEFT[0] + 6, LEFT[1])
    np.testing.assert_array_equal(bench.shown(1, 0), before)
    assert "locked" in bench.message
    assert fake.count("prompt") == 1
    bench.unlock(1)
    bench.settle()
    assert bench.shown(1, 0)[LEFT[0] + 6, LEFT[1]]


def test_a_locked_object_outlives_its_prompts(bench):
    give(bench, 1, LEFT)
    bench.lock(1)
    bench.points.selected_data = {0}
    bench.points.remove_selected()
    bench.settle()
    assert bench.shown(1, 0)[LEFT]
    bench.unlock(1)
    bench.settle()
    assert not bench.shown(1, 0).any()


def test_what_was_said_before_the_lock_is_answered_after_it(bench):
    give(bench, 1, LEFT)
    bench.points.add([(0, LEFT[0] + 6, LEFT[1])])
    bench.lock(1)
    bench.settle()
    assert bench.shown(1, 0)[LEFT[0] + 6, LEFT[1]]


def test_another_model_does_not_answer_for_a_locked_object(two):
    two.lock(1)
    before = two.masks_on(0)
    locked, open_one = before[1], before[2]
    two.use_model(lambda: FakePredictor(size=512))
    two.settle()
    after = two.masks_on(0)
    assert after[1] is locked
    assert after[2] is not open_one


@pytest.mark.parametrize(
    "act",
    [
        lambda bench: bench.delete(1),
        lambda bench: bench.delete(2, 1),
        lambda bench: bench.merge(1, 2),
        lambda bench: bench.merge(2, 1),
    ],
    ids=["delete", "delete with another", "merge into", "merge away"],
)
def test_a_locked_object_is_neither_deleted_nor_merged(settled, act):
    before = settled.committed().copy()
    settled.lock(1)
    act(settled)
    settled.settle()
    np.testing.assert_array_equal(settled.committed(), before)
    assert "Object 1 is locked" in settled.message


def test_prompts_of_a_locked_object_are_not_cleared(two):
    two.choose(1)
    two.lock(1)
    two.clear_prompts()
    two.settle()
    assert two.prompts.object_ids == (1, 2)
    assert len(two.points.data) == 2


# Names ---------------------------------------------------------------------------------------------------------------


def test_names_are_on_both_layers_and_undone(settled):
    give(settled, 3, LEFT)
    settled.rename(3, "daughter")
    settled.rename(1, "mother")
    for layer in (settled.current_layer, settled.committed_layer):
        names = layer.features.set_index("index")["name"]
        assert (names[1], names[3]) == ("mother", "daughter")
    settled.undo()
    settled.settle()
    assert settled.names() == {3: "daughter"}
    settled.redo()
    settled.settle()
    assert settled.name(1) == "mother"


def test_names_change_nothing_else_on_the_table_of_committed_objects(settled):
    before = settled.committed_layer.features.drop(columns="name")
    assert before["n_frames"].iloc[1] == FRAMES
    settled.rename(1, "mother")
    settled.rename(1, "")
    after = settled.committed_layer.features
    assert after["name"].isna().all()
    assert after.drop(columns="name").equals(before)


def test_a_table_of_the_users_own_is_left_alone(bench):
    own = Labels(
        np.zeros((FRAMES, HEIGHT, WIDTH), np.uint16), features={"index": [1], "name": ["hers"], "stage": ["M"]}
    )
    bench.viewer.add_layer(own)
    bench.commit_into(own)
    bench.rename(1, "ours")
    assert own.features["name"].tolist() == ["hers"]
    assert own.features["stage"].tolist() == ["M"]


def test_committing_and_deleting_leave_a_table_of_the_users_own_alone(bench):
    own = Labels(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint16), features={"index": [1], "stage": ["M"]})
    bench.viewer.add_layer(own)
    bench.commit_into(own)
    give(bench, 1, LEFT)
    commit(bench)
    assert own.data.any()
    assert own.features["stage"].tolist() == ["M"]
    bench.delete(1)
    assert not own.data.any()
    assert own.features["stage"].tolist() == ["M"]


def test_our_table_tells_of_what_is_committed_again_once_our_layer_is_used_again(bench):
    ours, own = bench.committed_layer, Labels(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint16))
    bench.viewer.add_layer(own)
    bench.commit_into(own)
    bench.commit_into(ours)
    give(bench, 1, LEFT)
    commit(bench)
    bench.rename(1, "mother")
    table = ours.features.set_index("index")
    assert table["n_frames"][1] == 1
    assert table["name"][1] == "mother"


def test_renaming_to_the_same_name_is_no_step(bench):
    bench.rename(1, "")
    assert not bench.can_undo


# Deleting ------------------------------------------------------------------------------------------------------------


def test_deleting_takes_prompts_masks_pixels_and_name_in_one_step(settled):
    give(settled, 1, LEFT, frame=4)
    paint(settled, 2, square(2, 12), 1)
    settled.rename(1, "mother")
    settled.hide(1)
    settled.show(4)  # on which it is not counted in the labels while it is hidden
    before, scores = settled.committed().copy(), settled.scores()
    settled.delete(1)
    settled.settle()
    assert 1 not in settled.committed()
    assert 1 not in settled.object_ids
    assert 1 not in settled.prompts.object_ids
    assert settled.names() == {}
    assert settled.hidden == frozenset()
    settled.undo()
    settled.settle()
    np.testing.assert_array_equal(settled.committed(), before)
    assert settled.scores().equals(scores)
    assert settled.prompts.object_ids == (1,)
    assert settled.is_approved(1, 2)
    assert settled.name(1) == "mother"
    assert settled.hidden == {1}
    settled.redo()
    settled.settle()
    assert 1 not in settled.object_ids
    assert settled.name(1) == ""


def test_several_objects_are_deleted_and_come_back_in_one_step(two):
    commit(two)
    before = two.committed().copy()
    two.delete(1, 2)
    two.settle()
    assert not two.committed().any()
    assert two.steps()[1:] == (Renumbering(1, 0), Renumbering(2, 0))
    two.undo()
    two.settle()
    np.testing.assert_array_equal(two.committed(), before)
    assert len(two.steps()) == 1


def test_the_log_tells_of_a_deletion_until_it_is_undone(settled):
    settled.delete(1)
    settled.settle()
    assert settled.steps()[1:] == (Renumbering(1, 0),)
    settled.undo()
    settled.settle()
    assert len(settled.steps()) == 1


def test_what_was_never_committed_is_deleted_without_a_word_in_the_log(two):
    two.delete(1)
    two.settle()
    assert two.steps() == ()
    assert frames_of(two, 1) == []
    two.undo()
    two.settle()
    assert frames_of(two, 1) == list(range(FRAMES))


def test_what_was_settled_since_a_deletion_stays_when_it_is_undone(two):
    two.rename(1, "mother")
    two.delete(1)
    two.settle()
    two.note_name(2, "daughter")
    two.lock(2)
    two.undo()
    two.settle()
    assert two.names() == {1: "mother", 2: "daughter"}
    assert two.locked == {2}


def test_deleting_the_current_object_makes_its_neighbour_current(two):
    two.choose(1)
    two.delete(1)
    two.settle()
    assert two.object_id == 2
    two.delete(2)
    two.settle()
    assert two.object_ids == (2,)


def test_deleting_nothing_is_no_step(bench):
    bench.delete(1)
    bench.delete()
    assert not bench.can_undo


def test_answers_on_their_way_to_a_deleted_object_are_dropped(bench):
    give(bench, 1, LEFT)
    give(bench, 2, RIGHT)
    bench.propagate()
    bench.delete(1)
    bench.settle()
    assert frames_of(bench, 1) == []
    assert bench.objects_with_masks == (2,)


def test_prompts_that_a_deleted_object_has_in_a_layer_of_the_users_own_are_told(bench):
    own = bench.viewer.add_points([(0, *LEFT)], features={"object_id": [3]}, ndim=3, name="mine")
    bench.read_layer(own)
    bench.settle()
    bench.delete(3)
    bench.settle()
    assert 3 not in bench.prompts.object_ids
    assert len(own.data) == 1
    assert "prompts in 'mine'" in bench.message
    bench.undo()
    bench.settle()
    assert bench.shown(3, 0).any()


def test_nothing_is_told_of_layers_that_say_nothing_of_a_deleted_object(bench):
    bench.read_layer(bench.viewer.add_points([(0, *LEFT)], features={"object_id": [3]}, ndim=3))
    bench.settle()
    give(bench, 4, RIGHT)
    bench.delete(4)
    bench.settle()
    assert bench.message == ""


# Merging -------------------------------------------------------------------------------------------------------------


def test_committed_objects_become_one_in_one_step(settled):
    give(settled, 3, (18, 14))
    commit(settled)
    before = settled.committed().copy()
    settled.rename(2, "daughter")
    settled.merge(1, 2, 3, 1)
    settled.settle()
    np.testing.assert_array_equal(settled.committed(), np.where(before > 0, 1, 0))
    assert settled.object_id == 1
    assert settled.object_ids == (1,)
    assert settled.names() == {}
    assert settled.steps()[2:] == (Renumbering(2, 1), Renumbering(3, 1))
    settled.undo()
    settled.settle()
    np.testing.assert_array_equal(settled.committed(), before)
    assert settled.name(2) == "daughter"
    assert len(settled.steps()) == 2


def test_an_object_that_is_not_committed_is_not_merged(settled):
    give(settled, 3, (18, 14))
    settled.merge(1, 2, 3)
    settled.settle()
    assert "Object 3 is not committed yet" in settled.message
    assert settled.object_ids == (1, 2, 3)
    assert settled.object_id == 3


def test_an_object_merged_with_itself_keeps_its_name(settled):
    settled.rename(1, "mother")
    settled.merge(1, 1)
    assert settled.name(1) == "mother"


# All of them ---------------------------------------------------------------------------------------------------------


def test_objects_are_known_by_whatever_there_is_of_them(settled):
    assert settled.object_ids == (1, 2, 3)
    settled.choose(1)
    assert settled.object_ids == (1, 2)
    y, x = np.nonzero(square(15, 15))
    settled.committed_layer.data_setitem((np.full(len(y), settled.frame), y, x), 9)
    while not settled.posted.empty():
        settled.posted.get()()
    assert settled.object_ids == (1, 2, 9)
    settled.delete(9)
    assert settled.object_ids == (1, 2)


def test_an_answer_reads_no_committed_frame_again(settled, monkeypatch):
    give(settled, 3, (18, 14))
    assert settled.object_ids == (1, 2, 3)
    read = []
    plane = LayerGrid.plane
    monkeypatch.setattr(
        LayerGrid, "plane", lambda grid, array, frame: read.append(id(array)) or plane(grid, array, frame)
    )
    give(settled, 3, (18, 16))
    assert settled.object_ids == (1, 2, 3)
    assert id(settled.committed_layer.data) not in read


def test_three_hundred_objects_are_told_apart():
    bench = Bench(FakePredictor(), np.zeros((3, 60, 60), np.uint8))
    places = [(y, x) for y in range(2, 60, 3) for x in range(2, 47, 3)]
    assert len(places) == 300
    said = [PointPrompt(number, 0, *place) for number, place in enumerate(places, 1)]
    bench.set_prompts(said)
    bench.settle()
    follow(bench)
    assert bench.object_ids == tuple(range(1, 301))
    assert {int(bench.current()[2][place]) for place in places} == set(range(1, 301))
    commit(bench)
    assert bench.committed_ids == tuple(range(1, 301))
    bench.delete(*range(1, 300))
    bench.settle()
    assert bench.object_ids == (300, 301)
    assert bench.is_ready
    bench.close()
