"""The picture of a result."""

import numpy as np
import pytest
from PIL import Image

from napari_sam2.cli.overview import MAX_OBJECTS, _chosen_frames, _colours, draw_overview
from napari_sam2.frames import FrameStack
from napari_sam2.results import ObjectMask, score_table

WIDE, HIGH = 1800, 1380


def scores_of(object_ids, frames, area=4):
    logits = np.full((1, area), 5, np.float32)
    return score_table(
        ObjectMask(object_id, (0, 0), logits, 1 / object_id, 1.0).score(frame)
        for object_id in object_ids
        for frame in frames
    )


@pytest.fixture
def draw(tmp_path, toy_movie):
    """Draw a result of the toy movie and open the picture."""

    def drawn(labels, scores, **options):
        path = tmp_path / "overview.png"
        draw_overview(path, FrameStack(toy_movie), labels, scores, title="Toys", **options)
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("PNG", (WIDE, HIGH))
            return np.asarray(picture.convert("RGB")).astype(int)

    return drawn


def test_a_result_is_drawn_with_its_outlines_and_its_strip(draw, toy_movie, toy_labels):
    labels = np.stack([toy_labels] * len(toy_movie))
    with_objects = draw(labels, scores_of((1, 2, 3), range(5)), prompted=(2,))
    without = draw(np.zeros_like(labels), scores_of((1, 2, 3), range(5), area=0), prompted=(2,))
    differs = (with_objects != without).any(-1)
    assert differs[: HIGH // 2].any()
    assert differs[HIGH * 3 // 4 :].any()
    saturated = np.ptp(with_objects[: HIGH // 2], axis=-1) > 80
    assert saturated.any()
    assert not (np.ptp(without[: HIGH // 2], axis=-1) > 80).any()


def test_a_result_without_objects_scores_or_prompts_is_drawn(draw, toy_movie):
    assert draw(np.zeros(toy_movie.shape, np.uint16), score_table([])).any()


def test_of_many_objects_the_most_doubtful_are_shown(draw, toy_movie):
    object_ids = range(1, MAX_OBJECTS + 30)
    labels = np.zeros(toy_movie.shape, np.uint16)
    labels[:, 2:7, :] = np.arange(60).reshape(5, 12) + 1
    assert draw(labels, scores_of(object_ids, range(5)), frame_name="slice").any()


EVERY = np.arange(20)


@pytest.mark.parametrize(
    ("count", "labelled", "prompted", "expected"),
    [
        (3, EVERY, (), [0, 1, 2]),
        (1, EVERY, (0,), [0]),
        (20, EVERY, (), [0, 3, 5, 8, 11, 14, 16, 19]),
        (20, EVERY, (8,), [0, 3, 5, 8, 11, 14, 16, 19]),
        (20, EVERY, (9,), [0, 3, 5, 9, 11, 14, 16, 19]),
        (20, [4, 6], (), [4, 6]),
        (20, [4, 6], (5,), [4, 6]),
        (20, [], (7,), [0, 3, 5, 7, 11, 14, 16, 19]),
    ],
)
def test_frames_are_chosen_over_the_objects_with_a_prompted_one_among_them(count, labelled, prompted, expected):
    labels = np.zeros((count, 2, 2), np.uint8)
    labels[[frame for frame in labelled if frame < count]] = 1
    assert _chosen_frames(count, labels, prompted) == expected


def test_neighbouring_objects_have_distant_colours():
    colours = np.array(list(_colours(range(1, 30)).values()))
    assert np.abs(np.diff(colours, axis=0)).sum(1).min() > 0.4
    assert list(_colours((9, 2))) == [2, 9]
