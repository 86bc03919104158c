"""Masks by frame and object: their tables, which are shown, and what they were computed from."""

import numpy as np
import pandas as pd
import pytest

from napari_sam2.prompts import PointPrompt, PromptSet
from napari_sam2.results import ObjectMask, feature_table
from napari_sam2.sessions.steps import ModelUsed
from napari_sam2.workspace.held import HeldMask, HeldMasks, Shown, sources_of

MODEL = ModelUsed("fake", "f" * 64, 256)


def point(frame, x=1.0, object_id=1):
    return PointPrompt(object_id, frame, 1.0, x)


def held(object_id, frame, *, iou=0.9, area=4, prompts=(), model=MODEL):
    logits = np.full((1, area), 5, np.float32)
    mask = ObjectMask(object_id, (0, 0), logits, iou, 1.0)
    return HeldMask(mask, mask.score(frame), prompts, model)


@pytest.fixture
def masks():
    masks = HeldMasks(5)
    for frame, iou in enumerate((0.9, 0.4, 0.7)):
        masks.set(frame, {1: held(1, frame, iou=iou), 2: held(2, frame, area=0)})
    return masks


def test_the_table_of_objects_is_that_of_all_scores(masks):
    pd.testing.assert_frame_equal(masks.features(), feature_table(masks.scores()), check_dtype=False)
    masks.set(1, {})
    masks.set(4, {3: held(3, 4, area=9)})
    pd.testing.assert_frame_equal(masks.features(), feature_table(masks.scores()), check_dtype=False)
    assert masks.object_ids == (1, 2, 3)


def test_an_object_without_masks_is_forgotten(masks):
    for frame in masks.frames:
        masks.set(frame, {})
    assert masks.object_ids == ()
    assert not masks
    assert masks.features().empty


def test_confidence_is_known_where_an_object_was_found(masks):
    np.testing.assert_allclose(masks.confidences(1), [0.9, 0.4, 0.7, np.nan, np.nan], rtol=1e-6)
    assert np.isnan(masks.confidences(2)).all()


def test_masks_are_counted_on_all_frames_and_on_some(masks):
    assert [masks.num_masks(2), masks.num_masks(2, range(1, 5)), masks.num_masks(9)] == [3, 2, 0]


def test_hidden_and_doubtful_masks_are_not_shown(masks):
    assert [mask.object_id for mask in masks.shown_on(1, Shown())] == [1, 2]
    assert [mask.object_id for mask in masks.shown_on(1, Shown(hidden=frozenset({2})))] == [1]
    assert [mask.object_id for mask in masks.shown_on(1, Shown(least_confidence=0.5))] == [2]


def test_masks_from_one_state_of_the_prompts_are_one_take():
    masks, prompts = HeldMasks(5), (point(1),)
    for frame in (1, 2, 3):
        masks.set(frame, {1: held(1, frame, prompts=prompts)})
    (take,) = sources_of(masks.snapshot(), PromptSet(prompts))
    assert (take.object_id, take.prompts, take.model, take.frames) == (1, prompts, MODEL, (1, 2, 3))


def test_equal_prompts_are_one_state_however_often_they_were_read():
    masks = HeldMasks(5)
    for frame in (0, 1, 2):
        masks.set(frame, {1: held(1, frame, prompts=(point(1),))})
    (take,) = sources_of(masks.snapshot(), PromptSet([point(1)]))
    assert take.frames == (0, 1, 2)


def test_the_mask_of_a_prompted_frame_is_told_as_of_now_and_others_as_they_were():
    masks, then = HeldMasks(5), (point(1),)
    now = (point(1), point(3))
    for frame in (1, 2):
        masks.set(frame, {1: held(1, frame, prompts=then)})
    masks.set(3, {1: held(1, 3, prompts=now)})
    takes = {take.prompts: take.frames for take in sources_of(masks.snapshot(), PromptSet(now))}
    assert takes == {now: (1, 3), then: (2,)}


def test_a_prompted_frame_whose_prompts_have_changed_is_told_as_it_was():
    masks, then, now = HeldMasks(5), (point(1),), (point(1, x=2.0),)
    masks.set(1, {1: held(1, 1, prompts=then)})
    (take,) = sources_of(masks.snapshot(), PromptSet(now))
    assert take.prompts == then


def test_masks_of_two_models_are_two_takes():
    masks, prompts = HeldMasks(5), (point(0),)
    masks.set(1, {1: held(1, 1, prompts=prompts)})
    masks.set(2, {1: held(1, 2, prompts=prompts, model=ModelUsed("tiny", "a" * 64, 1024))})
    assert [take.frames for take in sources_of(masks.snapshot(), PromptSet(prompts))] == [(1,), (2,)]


def test_takes_of_what_is_shown_leave_the_rest_out(masks):
    prompts = (point(0),)
    masks.set(0, {1: held(1, 0, prompts=prompts), 2: held(2, 0, prompts=(point(0, object_id=2),))})
    masks.set(1, {})
    masks.set(2, {})
    takes = sources_of(masks.snapshot(), PromptSet(), Shown(hidden=frozenset({2})))
    assert [take.object_id for take in takes] == [1]


def test_a_snapshot_does_not_change(masks):
    before = masks.snapshot()
    masks.set(0, {})
    assert set(before) == {0, 1, 2}


@pytest.mark.parametrize(
    ("areas", "lost"),
    [
        ({0: 4, 1: 4}, range(0)),
        ({0: 4, 1: 0, 2: 4}, range(0)),
        ({0: 4, 1: 4, 2: 0, 3: 0}, range(2, 4)),
        ({1: 0, 2: 0, 3: 4}, range(1, 3)),
        ({1: 0, 2: 4, 3: 0}, range(3, 4)),
        ({1: 0, 2: 0}, range(0)),
        ({}, range(0)),
    ],
)
def test_an_object_is_lost_from_where_on_it_is_not_found(areas, lost):
    masks = HeldMasks(5)
    for frame, area in areas.items():
        masks.set(frame, {1: held(1, frame, area=area)})
    assert masks.frames_lost(1) == lost


def test_areas_in_labels_are_those_that_were_counted_last(masks):
    assert masks.features()["mean_area_in_labels_px"].tolist() == [4, 0]  # each on its own, until somebody counts
    masks.count(0, {1: 3, 7: 9})
    masks.count(1, {2: 1})
    table = masks.scores().set_index(["object_id", "frame"])["area_in_labels_px"]
    assert table.to_dict() == {(1, 0): 3, (1, 1): 0, (1, 2): 4, (2, 0): 0, (2, 1): 1, (2, 2): 0}
    assert masks.features()["mean_area_in_labels_px"].tolist() == [3.5, 1]
    pd.testing.assert_frame_equal(masks.features(), feature_table(masks.scores()), check_dtype=False)


def test_an_area_in_labels_goes_with_its_mask(masks):
    masks.count(0, {1: 3})
    masks.set(0, {2: masks.on(0)[2]})
    masks.set(0, {1: held(1, 0, area=6), 2: masks.on(0)[2]})
    table = masks.scores().set_index(["object_id", "frame"])["area_in_labels_px"]
    assert table[1, 0] == 6
