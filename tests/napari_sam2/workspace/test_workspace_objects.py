"""Objects in a workspace: named, hidden, locked, merged and deleted, and all of that undone."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.label_edits import read_frame
from napari_sam2.prompts import PointPrompt
from napari_sam2.sessions.steps import Renumbering
from napari_sam2.workspace.requests import Activity
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Bench, paint, square
from tests.napari_sam2.fake_predictor import FakePredictor

LEFT, RIGHT = (10, 6), (10, 22)


@pytest.fixture
def bench(fake):
    bench = Bench(fake)
    yield bench
    bench.work.close()


def give(bench, object_id, place, frame=0):
    """Click one object."""
    bench.work.choose_object(object_id)
    bench.click(frame, *place)


def follow(bench):
    bench.work.propagate()
    bench.settle()


def commit(bench):
    bench.work.commit()
    bench.settle()


def committed(bench):
    return np.asarray(bench.work.committed.data)


def frames_of(bench, object_id):
    """Frames on which an object is drawn."""
    return [frame for frame in range(FRAMES) if bench.shown(object_id, frame).any()]


def steps(bench):
    """What the log says when it is written down."""
    bench.work.results.settle_log()
    return bench.work.results.log.steps


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
    two.work.objects.set_hidden(1, is_hidden=True)
    assert not two.shown(1, two.work.frame).any()
    two.work.show(4)
    assert not two.shown(1, 4).any()
    assert two.shown(2, 4).any()
    two.work.objects.set_hidden(1, is_hidden=False)
    assert two.shown(1, 4).any()


def test_a_hidden_object_is_not_committed_and_keeps_masks_and_prompts(two):
    two.work.objects.set_hidden(1, is_hidden=True)
    commit(two)
    assert set(np.unique(committed(two))) == {0, 2}
    assert two.work.prompts.object_ids == (1,)
    two.work.objects.set_hidden(1, is_hidden=False)
    for frame in range(FRAMES):
        two.work.show(frame)
    assert frames_of(two, 1) == list(range(FRAMES))


def test_pixels_of_a_hidden_object_go_to_the_one_under_it(bench):
    give(bench, 1, (10, 12))
    give(bench, 2, (10, 13))
    bench.work.show(0)
    bench.work.objects.set_hidden(1, is_hidden=True)
    whole = bench.shown(2, 0).sum()
    bench.work.objects.set_hidden(1, is_hidden=False)
    assert bench.shown(2, 0).sum() < whole


def test_an_answer_for_a_hidden_object_is_kept_out_of_sight(bench):
    bench.work.objects.set_hidden(1, is_hidden=True)
    bench.click(2, *LEFT)
    assert not bench.shown(1, 2).any()
    assert bench.work.scores_on(2)[1].area_px > 0


def test_painting_on_a_hidden_object_is_refused_and_leaves_its_mask(two):
    two.work.objects.set_hidden(1, is_hidden=True)
    paint(two, 3, square(2, 12), 1)
    assert "hidden" in two.work.status.message
    assert not two.shown(1, 3).any()
    two.work.objects.set_hidden(1, is_hidden=False)
    assert two.shown(1, 3)[LEFT]
    assert not two.shown(1, 3)[3, 13]


def test_painting_over_a_mask_that_is_too_doubtful_to_be_shown_is_refused(two):
    two.work.hide_below(0.99)
    paint(two, 3, square(2, 12), 1)
    two.work.hide_below(0)
    assert two.shown(1, 3)[LEFT]
    assert not two.shown(1, 3)[3, 13]


# Committing ----------------------------------------------------------------------------------------------------------


def test_committing_nothing_is_no_step_and_says_so(bench):
    commit(bench)
    assert "There is nothing to commit yet" in bench.work.status.message
    assert not bench.work.history.can_undo
    assert steps(bench) == ()


@pytest.mark.parametrize("withhold", ["set_hidden", "set_locked"])
def test_what_may_not_be_committed_stays_and_the_reason_is_said(two, withhold):
    change = {"set_hidden": {"is_hidden": True}, "set_locked": {"is_locked": True}}[withhold]
    getattr(two.work.objects, withhold)(1, 2, **change)
    two.work.choose_object(1)
    commit(two)
    assert "There is nothing to commit" in two.work.status.message
    assert "hidden or locked" in two.work.status.message
    assert steps(two) == ()
    assert two.work.object_id == 1
    assert two.work.prompts.object_ids == (1, 2)


def test_masks_too_doubtful_to_be_shown_are_nothing_to_commit(two):
    two.work.hide_below(1.01)
    commit(two)
    assert "There is nothing to commit" in two.work.status.message
    assert steps(two) == ()


# Locking -------------------------------------------------------------------------------------------------------------


def test_a_locked_object_is_not_followed(bench, fake):
    give(bench, 1, LEFT)
    give(bench, 2, RIGHT)
    bench.work.objects.set_locked(1, is_locked=True)
    follow(bench)
    assert frames_of(bench, 1) == [0]
    assert frames_of(bench, 2) == list(range(FRAMES))
    assert {call[2] for call in fake.calls if call[0] == "follow"} == {(2,)}


def test_an_object_locked_while_it_is_followed_gets_nothing_more(bench, fake):
    def lock_at_three(frame):
        if frame == 3:
            bench.posted.put(lambda: bench.work.objects.set_locked(1, is_locked=True))

    fake.before_follow = lock_at_three
    bench.click(0, *LEFT)
    follow(bench)
    assert frames_of(bench, 1) == [0, 1, 2]
    fake.before_follow = lambda frame: None
    bench.work.objects.set_locked(1, is_locked=False)
    follow(bench)
    assert frames_of(bench, 1) == list(range(FRAMES))


def test_painting_on_a_locked_object_or_over_it_changes_nothing_of_it(two):
    before = two.shown(1, 3).copy()
    two.work.objects.set_locked(1, is_locked=True)
    paint(two, 3, square(2, 12), 1)
    np.testing.assert_array_equal(two.shown(1, 3), before)
    paint(two, 3, square(8, 4), 2)
    np.testing.assert_array_equal(two.shown(1, 3), before)
    assert "Object 1 is locked" in two.work.status.message


def test_committing_leaves_locked_objects_where_they_are(two):
    two.work.objects.set_locked(1, is_locked=True)
    commit(two)
    assert set(np.unique(committed(two))) == {0, 2}
    assert frames_of(two, 1) == list(range(FRAMES))
    assert two.work.prompts.object_ids == (1,)


def test_nothing_is_committed_over_a_locked_object(settled):
    before = committed(settled) == 1
    settled.work.objects.set_locked(1, is_locked=True)
    settled.click(0, LEFT[0], LEFT[1] + 2)
    settled.work.commit(CommitPolicy.OVERWRITE)
    settled.settle()
    np.testing.assert_array_equal(committed(settled) == 1, before)
    assert (committed(settled)[0] == 3).any()


def test_prompts_for_a_locked_object_wait_until_it_is_unlocked(bench, fake):
    give(bench, 1, LEFT)
    before = bench.shown(1, 0).copy()
    bench.work.objects.set_locked(1, is_locked=True)
    bench.click(0, LEFT[0] + 6, LEFT[1])
    np.testing.assert_array_equal(bench.shown(1, 0), before)
    assert "locked" in bench.work.status.message
    assert fake.count("prompt") == 1
    bench.work.objects.set_locked(1, is_locked=False)
    bench.settle()
    assert bench.shown(1, 0)[LEFT[0] + 6, LEFT[1]]


def test_a_locked_object_outlives_its_prompts(bench):
    give(bench, 1, LEFT)
    bench.work.objects.set_locked(1, is_locked=True)
    bench.work.prompt_layers.points.selected_data = {0}
    bench.work.prompt_layers.points.remove_selected()
    bench.settle()
    assert bench.shown(1, 0)[LEFT]
    bench.work.objects.set_locked(1, is_locked=False)
    bench.settle()
    assert not bench.shown(1, 0).any()


def test_what_was_said_before_the_lock_is_answered_after_it(bench):
    give(bench, 1, LEFT)
    bench.work.prompt_layers.points.add([(0, LEFT[0] + 6, LEFT[1])])
    bench.work.objects.set_locked(1, is_locked=True)
    bench.settle()
    assert bench.shown(1, 0)[LEFT[0] + 6, LEFT[1]]


def test_another_model_does_not_answer_for_a_locked_object(two):
    two.work.objects.set_locked(1, is_locked=True)
    before = two.work.results.held.on(0)
    locked, open_one = before[1], before[2]
    two.work.use_model(lambda: FakePredictor(size=512))
    two.settle()
    after = two.work.results.held.on(0)
    assert after[1] is locked
    assert after[2] is not open_one


@pytest.mark.parametrize(
    "act",
    [
        lambda work: work.delete_object(1),
        lambda work: work.delete_object(2, 1),
        lambda work: work.merge_objects(1, 2),
        lambda work: work.merge_objects(2, 1),
    ],
    ids=["delete", "delete with another", "merge into", "merge away"],
)
def test_a_locked_object_is_neither_deleted_nor_merged(settled, act):
    before = committed(settled).copy()
    settled.work.objects.set_locked(1, is_locked=True)
    act(settled.work)
    settled.settle()
    np.testing.assert_array_equal(committed(settled), before)
    assert "Object 1 is locked" in settled.work.status.message


def test_prompts_of_a_locked_object_are_not_cleared(two):
    two.work.choose_object(1)
    two.work.objects.set_locked(1, is_locked=True)
    two.work.clear_prompts()
    two.settle()
    assert two.work.prompts.object_ids == (1, 2)
    assert len(two.work.prompt_layers.points.data) == 2


# Names ---------------------------------------------------------------------------------------------------------------


def test_names_are_on_both_layers_and_undone(settled):
    give(settled, 3, LEFT)
    settled.work.rename_object(3, "daughter")
    settled.work.rename_object(1, "mother")
    for layer in (settled.work.current, settled.work.committed):
        names = layer.features.set_index("index")["name"]
        assert (names[1], names[3]) == ("mother", "daughter")
    settled.work.undo()
    settled.settle()
    assert settled.work.objects.notes.names == {3: "daughter"}
    settled.work.redo()
    settled.settle()
    assert settled.work.objects.name(1) == "mother"


def test_names_change_nothing_else_on_the_table_of_committed_objects(settled):
    before = settled.work.committed.features.drop(columns="name")
    assert before["n_frames"].iloc[1] == FRAMES
    settled.work.rename_object(1, "mother")
    settled.work.rename_object(1, "")
    after = settled.work.committed.features
    assert after["name"].isna().all()
    assert after.drop(columns="name").equals(before)


def test_a_table_of_the_users_own_is_left_alone(bench):
    own = Labels(
        np.zeros((FRAMES, HEIGHT, WIDTH), np.uint16), features={"index": [1], "name": ["hers"], "stage": ["M"]}
    )
    bench.viewer.add_layer(own)
    bench.work.use_target(own)
    bench.work.rename_object(1, "ours")
    assert own.features["name"].tolist() == ["hers"]
    assert own.features["stage"].tolist() == ["M"]


def test_committing_and_deleting_leave_a_table_of_the_users_own_alone(bench):
    own = Labels(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint16), features={"index": [1], "stage": ["M"]})
    bench.viewer.add_layer(own)
    bench.work.use_target(own)
    give(bench, 1, LEFT)
    commit(bench)
    assert own.data.any()
    assert own.features["stage"].tolist() == ["M"]
    bench.work.delete_object(1)
    assert not own.data.any()
    assert own.features["stage"].tolist() == ["M"]


def test_our_table_tells_of_what_is_committed_again_once_our_layer_is_used_again(bench):
    ours, own = bench.work.committed, Labels(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint16))
    bench.viewer.add_layer(own)
    bench.work.use_target(own)
    bench.work.use_target(ours)
    give(bench, 1, LEFT)
    commit(bench)
    bench.work.rename_object(1, "mother")
    table = ours.features.set_index("index")
    assert table["n_frames"][1] == 1
    assert table["name"][1] == "mother"


def test_renaming_to_the_same_name_is_no_step(bench):
    bench.work.rename_object(1, "")
    assert not bench.work.history.can_undo


# Deleting ------------------------------------------------------------------------------------------------------------


def test_deleting_takes_prompts_masks_pixels_and_name_in_one_step(settled):
    work = settled.work
    give(settled, 1, LEFT, frame=4)
    paint(settled, 2, square(2, 12), 1)
    work.rename_object(1, "mother")
    work.objects.set_hidden(1, is_hidden=True)
    before, scores = committed(settled).copy(), work.scores()
    work.delete_object(1)
    settled.settle()
    assert 1 not in committed(settled)
    assert 1 not in work.object_ids
    assert 1 not in work.prompts.object_ids
    assert work.objects.notes.names == {}
    assert work.objects.notes.hidden == frozenset()
    work.undo()
    settled.settle()
    np.testing.assert_array_equal(committed(settled), before)
    assert work.scores().equals(scores)
    assert work.prompts.object_ids == (1,)
    assert work.is_approved(1, 2)
    assert work.objects.name(1) == "mother"
    assert work.objects.notes.hidden == {1}
    work.redo()
    settled.settle()
    assert 1 not in work.object_ids
    assert work.objects.name(1) == ""


def test_several_objects_are_deleted_and_come_back_in_one_step(two):
    commit(two)
    before = committed(two).copy()
    two.work.delete_object(1, 2)
    two.settle()
    assert not committed(two).any()
    assert steps(two)[1:] == (Renumbering(1, 0), Renumbering(2, 0))
    two.work.undo()
    two.settle()
    np.testing.assert_array_equal(committed(two), before)
    assert len(steps(two)) == 1


def test_the_log_tells_of_a_deletion_until_it_is_undone(settled):
    settled.work.delete_object(1)
    settled.settle()
    assert steps(settled)[1:] == (Renumbering(1, 0),)
    settled.work.undo()
    settled.settle()
    assert len(steps(settled)) == 1


def test_what_was_never_committed_is_deleted_without_a_word_in_the_log(two):
    two.work.delete_object(1)
    two.settle()
    assert steps(two) == ()
    assert frames_of(two, 1) == []
    two.work.undo()
    two.settle()
    assert frames_of(two, 1) == list(range(FRAMES))


def test_what_was_settled_since_a_deletion_stays_when_it_is_undone(two):
    two.work.rename_object(1, "mother")
    two.work.delete_object(1)
    two.settle()
    two.work.objects.rename(2, "daughter")
    two.work.objects.set_locked(2, is_locked=True)
    two.work.undo()
    two.settle()
    assert two.work.objects.notes.names == {1: "mother", 2: "daughter"}
    assert two.work.objects.notes.locked == {2}


def test_deleting_the_current_object_makes_its_neighbour_current(two):
    two.work.choose_object(1)
    two.work.delete_object(1)
    two.settle()
    assert two.work.object_id == 2
    two.work.delete_object(2)
    two.settle()
    assert two.work.object_ids == (2,)


def test_deleting_nothing_is_no_step(bench):
    bench.work.delete_object(1)
    bench.work.delete_object()
    assert not bench.work.history.can_undo


def test_answers_on_their_way_to_a_deleted_object_are_dropped(bench):
    give(bench, 1, LEFT)
    give(bench, 2, RIGHT)
    bench.work.propagate()
    bench.work.delete_object(1)
    bench.settle()
    assert frames_of(bench, 1) == []
    assert bench.work.results.held.object_ids == (2,)


def test_prompts_that_a_deleted_object_has_in_a_layer_of_the_users_own_are_told(bench):
    own = bench.viewer.add_points([(0, *LEFT)], features={"object_id": [3]}, ndim=3, name="mine")
    bench.work.read_layer(own)
    bench.settle()
    bench.work.delete_object(3)
    bench.settle()
    assert 3 not in bench.work.prompts.object_ids
    assert len(own.data) == 1
    assert "prompts in 'mine'" in bench.work.status.message
    bench.work.undo()
    bench.settle()
    assert bench.shown(3, 0).any()


def test_nothing_is_told_of_layers_that_say_nothing_of_a_deleted_object(bench):
    bench.work.read_layer(bench.viewer.add_points([(0, *LEFT)], features={"object_id": [3]}, ndim=3))
    bench.settle()
    give(bench, 4, RIGHT)
    bench.work.delete_object(4)
    bench.settle()
    assert bench.work.status.message == ""


# Merging -------------------------------------------------------------------------------------------------------------


def test_committed_objects_become_one_in_one_step(settled):
    give(settled, 3, (18, 14))
    commit(settled)
    work, before = settled.work, committed(settled).copy()
    work.rename_object(2, "daughter")
    work.merge_objects(1, 2, 3, 1)
    settled.settle()
    np.testing.assert_array_equal(committed(settled), np.where(before > 0, 1, 0))
    assert work.object_id == 1
    assert work.object_ids == (1,)
    assert work.objects.notes.names == {}
    assert steps(settled)[2:] == (Renumbering(2, 1), Renumbering(3, 1))
    work.undo()
    settled.settle()
    np.testing.assert_array_equal(committed(settled), before)
    assert work.objects.name(2) == "daughter"
    assert len(steps(settled)) == 2


def test_an_object_that_is_not_committed_is_not_merged(settled):
    give(settled, 3, (18, 14))
    settled.work.merge_objects(1, 2, 3)
    settled.settle()
    assert "Object 3 is not committed yet" in settled.work.status.message
    assert settled.work.object_ids == (1, 2, 3)
    assert settled.work.object_id == 3


def test_an_object_merged_with_itself_keeps_its_name(settled):
    settled.work.rename_object(1, "mother")
    settled.work.merge_objects(1, 1)
    assert settled.work.objects.name(1) == "mother"


# All of them ---------------------------------------------------------------------------------------------------------


def test_objects_are_known_by_whatever_there_is_of_them(settled):
    assert settled.work.object_ids == (1, 2, 3)
    settled.work.choose_object(1)
    assert settled.work.object_ids == (1, 2)
    y, x = np.nonzero(square(15, 15))
    settled.work.committed.data_setitem((np.full(len(y), settled.work.frame), y, x), 9)
    while not settled.posted.empty():
        settled.posted.get()()
    assert settled.work.object_ids == (1, 2, 9)
    settled.work.delete_object(9)
    assert settled.work.object_ids == (1, 2)


def test_an_answer_reads_no_committed_frame_again(settled, monkeypatch):
    give(settled, 3, (18, 14))
    assert settled.work.object_ids == (1, 2, 3)
    read = []
    monkeypatch.setattr(
        "napari_sam2.workspace.picture.read_frame",
        lambda layer, grid, frame: read.append(layer) or read_frame(layer, grid, frame),
    )
    give(settled, 3, (18, 16))
    assert settled.work.object_ids == (1, 2, 3)
    assert settled.work.committed not in read


def test_three_hundred_objects_are_told_apart():
    bench = Bench(FakePredictor(), np.zeros((3, 60, 60), np.uint8))
    work = bench.work
    places = [(y, x) for y in range(2, 60, 3) for x in range(2, 47, 3)]
    assert len(places) == 300
    said = [PointPrompt(number, 0, *place) for number, place in enumerate(places, 1)]
    work.sources.restore(lambda: work.prompt_layers.restore(work.prompt_layers.state_of(said, work.grid)))
    work.ask()
    bench.settle()
    follow(bench)
    assert work.object_ids == tuple(range(1, 301))
    assert {int(np.asarray(work.current.data)[2][place]) for place in places} == set(range(1, 301))
    commit(bench)
    assert work.results.committed_ids == tuple(range(1, 301))
    work.delete_object(*range(1, 300))
    bench.settle()
    assert work.object_ids == (300, 301)
    assert work.status.activity is Activity.READY
    bench.work.close()
