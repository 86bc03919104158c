"""What is read from paint over masks, and from approving them. No model, no window."""

import numpy as np
import pytest

from napari_sam2.workspace.painting import edit_of_given, read_painting, seen_masks
from tests.napari_sam2.held_room import HeldRoom


@pytest.fixture
def room():
    return HeldRoom()


def paint(room, frame, x, label):
    room.picture.layer.data[frame, :, x : x + 2] = label


def test_painting_is_read_by_object_and_what_may_not_be_painted_is_told(room):
    paint(room, 0, 5, 3)
    paint(room, 0, 0, 2)
    room.objects.set_locked(1, is_locked=True)
    painting = read_painting(room.picture, room.objects.notes, 0)
    assert sorted(painting.masks) == [2, 3]
    assert not painting.masks[2][:, :4].any()  # the pixels of the locked one
    assert painting.masks[3].sum() == 8
    assert painting.locked == (1,)
    assert "Object 1 is locked" in painting.remark


def test_every_reason_for_which_painting_is_not_taken_is_told(room):
    room.objects.set_locked(1, is_locked=True)
    paint(room, 0, 0, 0)
    for x in (8, 10):
        paint(room, 0, x, 0)
    painting = read_painting(room.picture, room.objects.notes, 0)
    assert (painting.locked, painting.erased, dict(painting.masks)) == ((1,), (2,), {})
    assert "is locked" in painting.remark
    assert "Nothing would be left of object 2" in painting.remark


def test_a_frame_that_was_not_painted_says_nothing(room):
    painting = read_painting(room.picture, room.objects.notes, 0)
    assert painting.is_whole
    assert not painting.masks
    assert painting.remark == ""


def test_approved_masks_take_the_place_of_what_was_said_there_until_it_is_undone(room):
    edit = edit_of_given(room.sources, room.prompts, 0, seen_masks(room.picture, 0))
    edit.redo()
    kinds = {(prompt.target, type(prompt).__name__) for prompt in room.sources.read().prompts}
    assert {(target.object_id, target.frame, kind) for target, kind in kinds} == {
        (1, 0, "MaskPrompt"),
        (2, 0, "MaskPrompt"),
        (1, 1, "PointPrompt"),
    }
    edit.undo()
    assert room.sources.read() == room.prompts


def test_a_mask_that_takes_the_place_of_another_does_not_keep_it_as_what_was_said_before(room):
    for number in range(3):
        edit_of_given(room.sources, room.sources.read(), 0, {1: np.eye(4, 12, number, dtype=bool)}).redo()
    (one,) = room.sources.user_masks.values()
    assert [type(prompt).__name__ for prompt in one.prompts] == ["PointPrompt"]
