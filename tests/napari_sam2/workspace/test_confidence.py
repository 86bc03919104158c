"""The table of confidences: what is read from held masks, what is seen where there is little room, what is hidden."""

from pathlib import Path

import numpy as np
import pytest

from napari_sam2.colours import confidence_colours
from napari_sam2.results import ObjectMask
from napari_sam2.sessions.steps import ModelUsed
from napari_sam2.workspace.confidence import (
    ABSENT,
    UNSEEN,
    ConfidenceTable,
    confidence_table,
    draw_table,
)
from napari_sam2.workspace.held import HeldMask, HeldMasks, Shown

MODEL = ModelUsed("fake", "f" * 64, 256, Path("fake"))


def held_mask(object_id, frame, confidence):
    """A mask of this confidence; an empty one for None."""
    logits = np.zeros((0, 0), np.float32) if confidence is None else np.full((3, 3), 10.0, np.float32)
    mask = ObjectMask(object_id, (0, 0), logits, confidence or 0.0, 1.0)
    return HeldMask(mask, mask.score(frame), (), MODEL)


def held_masks(*rows):
    """Masks of objects 1, 2, ...: a row of confidences each, None where it is absent, "" where nobody looked."""
    held = HeldMasks(len(rows[0]))
    for frame, column in enumerate(zip(*rows, strict=True)):
        held.set(frame, {i: held_mask(i, frame, one) for i, one in enumerate(column, start=1) if one != ""})
    return held


def test_a_table_tells_found_from_absent_and_from_not_looked_for():
    table = confidence_table(held_masks([0.25, None, ""], [0.5, 0.75, None]), [2, 1, 9])
    assert table.object_ids == (1, 2, 9)
    assert table.num_frames == 3
    np.testing.assert_array_equal(table.values, [[0.25, ABSENT, UNSEEN], [0.5, 0.75, ABSENT], [UNSEEN, UNSEEN, UNSEEN]])


def test_a_table_without_objects_has_frames():
    table = confidence_table(HeldMasks(7), [])
    assert table.object_ids == ()
    assert table.num_frames == 7


def test_objects_that_are_not_asked_for_have_no_row():
    table = confidence_table(held_masks([0.25, None], [None, 0.5]), [2])
    np.testing.assert_array_equal(table.values, [[ABSENT, 0.5]])


def test_a_doubtful_frame_among_thousands_is_still_seen():
    values = np.ones((40, 2000), np.float32)
    values[33, 1234] = 0.125
    shrunk = ConfidenceTable(tuple(range(40)), values).shrunk(10, 200)
    assert shrunk.shape == (10, 200)
    assert np.argwhere(shrunk == 0.125).tolist() == [[8, 123]]


@pytest.mark.parametrize(("height", "width"), [(12, 30), (1, 2)])
def test_a_drawing_is_as_large_as_asked_for(height, width):
    table = ConfidenceTable((1, 2, 3), np.ones((3, 5), np.float32))
    drawn = draw_table(table, height, width, Shown())
    assert drawn.shape == (height, width, 4)
    assert (drawn[..., :3] == confidence_colours(np.float32([1]))).all()
    assert (drawn[..., 3] == 255).all()


def test_nothing_is_drawn_where_nobody_looked_and_grey_where_nothing_was_found():
    unseen, absent = draw_table(ConfidenceTable((1,), np.float32([[UNSEEN, ABSENT]])), 1, 2, Shown())[0]
    assert unseen[3] == 0
    assert len(set(absent[:3].tolist())) == 1
    assert absent[3] > 0


def test_masks_hidden_as_doubtful_are_hatched():
    table = ConfidenceTable((1,), np.float32([[0.4, 0.5, ABSENT]]))
    drawn = draw_table(table, 8, 24, Shown(least_confidence=0.5))
    num_colours = [len(np.unique(cell.reshape(-1, 4), axis=0)) for cell in np.split(drawn, 3, axis=1)]
    assert num_colours == [2, 1, 1]


def test_masks_older_than_a_prompt_have_gaps_and_look_otherwise_than_hidden_ones():
    table, outdated = ConfidenceTable((1,), np.float32([[0.4, 0.4]])), np.array([[True, False]])
    old, new = np.split(draw_table(table, 16, 32, Shown(), outdated), 2, axis=1)
    assert 0 < np.count_nonzero(old[..., 3] == 0) < old[..., 3].size
    assert (new[..., 3] == 255).all()
    seen = old[..., 3] > 0
    assert (old[seen] == new[seen]).all()
    hidden = np.split(draw_table(table, 16, 32, Shown(least_confidence=0.5)), 2, axis=1)[0]
    assert (hidden[..., 3] == 255).all()
    assert len(np.unique(hidden[..., :3].reshape(-1, 3), axis=0)) == 2


def test_an_outdated_mask_among_thousands_is_still_seen():
    table, outdated = ConfidenceTable(tuple(range(40)), np.ones((40, 2000), np.float32)), np.zeros((40, 2000), np.bool_)
    outdated[16:24, 1200:1300] = True
    drawn = draw_table(table, 10, 200, Shown(), outdated)
    assert 0 < np.count_nonzero(drawn[4:6, 120:130, 3] == 0) < 20
    assert (drawn[:4, :, 3] == 255).all()


def test_hidden_objects_are_faded():
    table = ConfidenceTable((3, 8), np.ones((2, 4), np.float32))
    drawn = draw_table(table, 6, 4, Shown(hidden=frozenset({8})))
    assert (drawn[:3, :, 3] == 255).all()
    assert (drawn[3:, :, 3] < 128).all()


def test_the_ramp_runs_from_red_to_green():
    red, green, _ = confidence_colours(np.array([0.0, 1.0], np.float32)).T
    assert red[0] > red[1]
    assert green[0] < green[1]
