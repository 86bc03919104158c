"""Confidence in rows: what is kept, what is forgotten, what is shown where there is little room."""

import numpy as np

from napari_sam2.results import ObjectMask
from napari_sam2.widgets.confidence_rows import ABSENT, UNSEEN, ConfidenceRows, ramp_colours


def score(object_id, frame, confidence, area=9):
    logits = np.full((3, 3) if area else (0, 0), 10.0, np.float32)
    return ObjectMask(object_id, (0, 0), logits, confidence, 1.0).score(frame)


def test_a_row_comes_with_its_first_score_and_goes_with_its_last():
    rows = ConfidenceRows(4)
    rows.set_frame(2, {7: score(7, 2, 0.25)})
    assert rows.object_ids == (7,)
    assert [rows.at(7, frame) for frame in range(4)] == [UNSEEN, UNSEEN, 0.25, UNSEEN]
    rows.set_frame(2, {})
    assert rows.object_ids == ()
    assert rows.at(7, 2) == UNSEEN


def test_the_worst_is_among_the_frames_where_it_was_found():
    rows = ConfidenceRows(3)
    rows.set_frame(0, {1: score(1, 0, 0.75)})
    rows.set_frame(1, {1: score(1, 1, 0.0, area=0)})
    assert rows.at(1, 1) == ABSENT
    assert rows.worst(1) == (0.75, 0)
    assert rows.worst(2) is None


def test_a_doubtful_frame_among_thousands_is_still_seen():
    rows = ConfidenceRows(2000)
    for frame in range(2000):
        rows.set_frame(frame, {1: score(1, frame, 0.125 if frame == 1234 else 1.0)})
    shrunk = rows.shrunk(10, 200)
    assert shrunk.shape == (1, 200)
    assert np.flatnonzero(shrunk[0] == 0.125).tolist() == [123]


def test_the_ramp_runs_from_red_to_green():
    red, green, _ = ramp_colours(np.array([0.0, 1.0], np.float32))[:, :].T
    assert red[0] > red[1]
    assert green[0] < green[1]
