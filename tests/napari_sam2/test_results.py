"""Masks, their scores, and the two tables."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sam2.prompts import ModelScores
from napari_sam2.results import FrameResult, ObjectMask, feature_table, score_table
from tests.napari_sam2.drawn_masks import mask

SCORE_COLUMNS = [
    "object_id",
    "frame",
    "predicted_iou",
    "object_score",
    "stability",
    "mean_logit",
    "confidence",
    "area_px",
    "area_in_labels_px",
]
FEATURE_COLUMNS = [
    "index",
    "n_frames",
    "mean_area_in_labels_px",
    "mean_confidence",
    "worst_confidence",
    "worst_frame",
    "mean_area_px",
]


def test_a_row_of_scores_says_what_the_mask_is():
    (row,) = FrameResult(4, (mask(7, "3.5 9.."),)).scores
    assert (row.object_id, row.frame, row.area_px, row.area_in_labels_px) == (7, 4, 3, 3)
    assert row.mean_logit == pytest.approx((3 + 5 + 9) / 3)
    assert (row.predicted_iou, row.object_score) == (0.9, 0.8)
    assert row.stability == 1.0
    assert row.confidence == pytest.approx(0.9 * 0.8)


def test_pixels_near_the_threshold_make_a_mask_unstable():
    logits = np.array([[5.0, 0.5, -0.5, -5.0]], np.float32)
    one = ObjectMask(1, (0, 0), logits, 1.0, 1.0)
    assert one.stability == pytest.approx(1 / 3)
    assert one.score(0).confidence == pytest.approx(1 / 3)
    assert one.score(0).area_px == 2


def test_a_given_mask_is_certain():
    assert mask(1, "1", is_given=True).score(0).confidence == 1.0


def test_of_a_mask_that_was_found_the_row_is_what_the_model_said():
    said = ModelScores(0.7, 0.8, 0.9, 3.25)
    row = ObjectMask(1, (0, 0), np.full((2, 3), 3.25, np.float32), 0.7, 0.8, found=said).score(5)
    assert ModelScores(row.predicted_iou, row.object_score, row.stability, row.mean_logit) == said
    assert (row.confidence, row.area_px) == (said.confidence, 6)


def test_an_absent_object_keeps_its_row():
    row = ObjectMask(3, (0, 0), np.zeros((0, 0), np.float32), 0.4, 0.1).score(2)
    assert (row.object_id, row.frame, row.area_px, row.stability) == (3, 2, 0, 1.0)
    assert np.isnan(row.mean_logit)


def test_the_table_of_scores_has_one_row_per_object_and_frame_in_order():
    rows = [mask(i, "5").score(frame) for frame in (2, 0) for i in (3, 1)]
    table = score_table(rows)
    assert list(table.columns) == SCORE_COLUMNS
    assert table[["object_id", "frame"]].to_numpy().tolist() == [[1, 0], [1, 2], [3, 0], [3, 2]]


def test_features_speak_of_the_frames_on_which_an_object_was_found():
    scores = score_table(
        [
            ObjectMask(1, (0, 0), np.full((1, 2), 5, np.float32), 0.8, 1.0).score(0),
            ObjectMask(1, (0, 0), np.full((1, 4), 5, np.float32), 0.6, 1.0).score(1),
            ObjectMask(1, (0, 0), np.zeros((0, 0), np.float32), 0.1, 0.1).score(2),
            ObjectMask(2, (0, 0), np.zeros((0, 0), np.float32), 0.5, 0.2).score(0),
            ObjectMask(2, (0, 0), np.zeros((0, 0), np.float32), 0.5, 0.1).score(1),
        ]
    )
    table = feature_table(scores)
    assert list(table.columns) == FEATURE_COLUMNS
    found, absent = table.itertuples(index=False, name=None)
    assert found == pytest.approx((1, 2, 3.0, 0.7, 0.6, 1, 3.0))
    assert absent == pytest.approx((2, 0, 0.0, 0.075, 0.05, 1, 0.0))


def test_the_mean_area_in_labels_is_that_of_the_frames_on_which_something_is_in_them():
    rows = [replace(mask(1, "5555").score(frame), area_in_labels_px=area) for frame, area in enumerate((4, 0, 1))]
    (row,) = feature_table(score_table(rows)).to_dict("records")
    assert (row["mean_area_px"], row["mean_area_in_labels_px"]) == (4, 2.5)


def test_tables_of_nothing_have_their_columns():
    scores = score_table([])
    assert list(scores.columns) == SCORE_COLUMNS
    assert list(feature_table(scores).columns) == FEATURE_COLUMNS
    assert len(feature_table(scores)) == 0
