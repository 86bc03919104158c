import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam2.errors import FrameError, SessionError
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import PointPrompt
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, ModelUsed, PackedPlane, Renumbering, WorkLog

MODEL = ModelUsed("fake", "f" * 64, 256)
CLICK = PointPrompt(1, 0, 2, 1)
EMPTY = np.zeros((3, 4), np.uint16)


def commit(*frames):
    return Commit((MaskSource(1, (CLICK,), MODEL, frames),), CommitPolicy.KEEP)


def filled(value):
    return np.full((3, 4), value, np.uint16)


def values(step):
    """What each frame of a hand edit is filled with."""
    return {frame: int(plane.unpack()[0, 0]) for frame, plane in step.planes.items()}


# Values


@given(
    st.sampled_from(["u1", "<u2", ">u2", "<i4", ">i8"]).flatmap(
        lambda dtype: arrays(dtype, st.tuples(st.integers(1, 5), st.integers(1, 5)))
    )
)
def test_a_plane_is_unpacked_as_it_was(plane):
    packed = PackedPlane.pack(plane)
    again = packed.unpack()
    np.testing.assert_array_equal(again, plane)
    assert again.dtype == plane.dtype.newbyteorder("=")
    assert again.flags.writeable
    assert packed == PackedPlane.pack(np.asfortranarray(plane))


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (PackedPlane((3, 4), "uint16", b"no zlib"), "is damaged"),
        (PackedPlane((3, 5), "uint16", PackedPlane.pack(EMPTY).data), "has another length"),
        (PackedPlane((3, 3), "uint16", PackedPlane.pack(EMPTY).data), "has another length"),
    ],
)
def test_a_damaged_plane_is_refused(packed, message):
    with pytest.raises(SessionError, match=message):
        packed.unpack()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, (CLICK,), MODEL, (0,)), "object 2 cannot come from prompts of object 1"),
        ((1, (), MODEL, (0,)), "no prompts"),
        ((1, (CLICK,), MODEL, ()), "no frames"),
        ((1, (CLICK,), MODEL, (0, 2, 1)), "not ascending"),
        ((1, (CLICK,), MODEL, (0, 0)), "not ascending"),
    ],
)
def test_masks_from_nowhere_are_refused(arguments, message):
    with pytest.raises(SessionError, match=message):
        MaskSource(*arguments)


# The log


def test_steps_stay_in_order():
    log, steps = WorkLog(), [commit(0), Renumbering(1, 2), commit(1)]
    for step in steps:
        log.record(step)
    assert log.steps == tuple(steps)
    assert WorkLog(steps).steps == tuple(steps)


def test_touched_frames_become_a_hand_edit_of_what_is_there_when_they_are_settled():
    log = WorkLog()
    log.touch([4, 2])
    assert log.touched == {2, 4}
    log.record_touched(filled)
    assert values(log.steps[0]) == {2: 2, 4: 4}
    assert log.touched == frozenset()
    log.record_touched(lambda frame: pytest.fail("nothing was touched"))


def test_hand_edits_after_each_other_are_one():
    log = WorkLog()
    for frames, value in (([1, 2], 5), ([2, 3], 6)):
        log.touch(frames)
        log.record_touched(lambda frame, value=value: filled(value))
    assert len(log.steps) == 1
    assert values(log.steps[0]) == {1: 5, 2: 6, 3: 6}


def test_a_hand_edit_after_a_commit_stands_behind_it():
    log = WorkLog()
    log.touch([1])
    log.record_touched(filled)
    log.record(commit(1))
    log.touch([1])
    log.record_touched(lambda frame: filled(9))
    assert [type(step) for step in log.steps] == [HandEdit, Commit, HandEdit]
    assert values(log.steps[2]) == {1: 9}


def test_an_empty_frame_is_written_down_only_where_a_step_left_something():
    log = WorkLog()
    log.touch([0, 1])
    log.record_touched(lambda frame: EMPTY)
    assert log.steps == ()
    log.record(commit(1))
    log.touch([0, 1])
    log.record_touched(lambda frame: EMPTY)
    assert values(log.steps[1]) == {1: 0}
    log.touch([1, 2])
    log.record_touched(filled)
    log.touch([2])
    log.record_touched(lambda frame: EMPTY)
    assert values(log.steps[1]) == {1: 1, 2: 0}


def test_nothing_is_settled_when_a_frame_cannot_be_read():
    log = WorkLog()
    log.touch([1, 2])

    def fail(frame):
        raise FrameError(f"Frame {frame} is lost.")

    with pytest.raises(FrameError):
        log.record_touched(fail)
    assert log.touched == {1, 2}
    assert log.steps == ()


def test_a_step_that_is_undone_at_once_has_never_been():
    first, second = commit(0), commit(1)
    log = WorkLog([first])
    log.record(second)
    assert log.withdraw(second)
    assert log.steps == (first,)
    assert log.withdraw(first)
    assert log.steps == ()


def test_a_step_that_is_not_the_last_stays():
    first, second = commit(0), commit(0)
    log = WorkLog([first, second])
    assert not log.withdraw(first)
    assert log.steps == (first, second)


def test_a_step_stays_when_somebody_painted_after_it():
    step = commit(0)
    log = WorkLog()
    log.record(step)
    log.touch([3])
    assert not log.withdraw(step)
    log.record_touched(filled)
    assert not log.withdraw(step)


def test_what_was_painted_before_a_step_does_not_keep_it():
    first, second = commit(0), commit(1)
    log = WorkLog()
    log.record(first)
    log.touch([3])
    log.record(second)
    assert log.withdraw(second)
    assert log.touched == {3}
    assert not log.withdraw(first)


def test_a_copy_of_a_log_goes_its_own_way():
    log = WorkLog([commit(0)])
    log.touch([3])
    other = log.copy()
    other.record_touched(filled)
    log.touch([4])
    log.record(commit(1))
    assert [type(step) for step in other.steps] == [Commit, HandEdit]
    assert other.touched == frozenset()
    assert [type(step) for step in log.steps] == [Commit, Commit]
    assert log.touched == {3, 4}
