"""What an action on objects has changed, and what it leaves to be changed. No model, no window."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_sam2.errors import OptionError
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import Target
from tests.napari_sam2.held_room import HeldRoom


@pytest.fixture
def room():
    return HeldRoom()


def test_a_commit_writes_labels_at_once_and_leaves_masks_and_prompts_to_be_taken_away(room):
    step = room.actions.commit(room.prompts, CommitPolicy.KEEP)
    assert (room.committed()[0, 0, [0, 8]] == [1, 2]).all()
    assert room.picture.held.object_ids == (1, 2)
    assert room.sources.read().object_ids == (1, 2)
    step.finish()
    assert room.picture.held.object_ids == ()
    assert room.sources.read().object_ids == ()


def test_all_changes_of_a_step_together_take_it_back(room):
    step = room.commit()
    for change in reversed((*step.made, *step.left)):
        change.undo()
    assert not room.committed().any()
    assert room.picture.held.object_ids == (1, 2)
    assert room.sources.read().object_ids == (1, 2)
    assert room.labels.log.steps == ()


def test_frames_on_which_nothing_is_committed_are_no_part_of_the_step(room):
    room.objects.set_locked(1, is_locked=True)
    room.actions.commit(room.prompts, CommitPolicy.KEEP).finish()
    assert set(room.labels.scores) == {Target(2, 0)}
    assert room.picture.held.object_ids == (1,)


def test_with_nothing_to_commit_nothing_is_written_down(room):
    room.objects.set_locked(1, 2, is_locked=True)
    with pytest.raises(OptionError, match="nothing to commit: all masks are hidden or locked"):
        room.actions.commit(room.prompts, CommitPolicy.KEEP)
    assert room.labels.log.steps == ()


def test_a_deletion_names_the_layers_in_which_prompts_stay(room):
    step = room.actions.delete(room.prompts, [2, 7])
    assert step.remark.startswith("Object 2 is deleted; its prompts in 'mine' are yours")
    assert room.actions.delete(room.prompts, [7]) is None


def test_a_step_that_fails_half_way_is_taken_back(room, monkeypatch):
    room.commit()
    before, merge = room.committed().copy(), room.labels.merge

    def fail_at_two(into, other):
        if other == 2:
            raise OptionError("This layer cannot be written.")
        return merge(into, other)

    monkeypatch.setattr(room.labels, "merge", fail_at_two)
    with pytest.raises(OptionError, match="cannot be written"):
        room.actions.merge(room.prompts, 3, [1, 2])
    np.testing.assert_array_equal(room.committed(), before)
    assert room.labels.object_ids == (1, 2)


def test_a_target_with_an_object_that_others_number_is_accepted_and_one_of_ours_is_not(room):
    target = Labels(np.full((2, 4, 12), 1, np.uint16), name="target")
    room.actions.check_target(target, room.image, room.prompts)  # object 1 is numbered in the layer of the user
    room.sources.remove(room.sources.others[0])
    with pytest.raises(OptionError, match="'target' has an object 1 already"):
        room.actions.check_target(target, room.image, room.prompts)
