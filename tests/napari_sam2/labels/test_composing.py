"""Masks put together to labels."""

import numpy as np
import pytest

from napari_sam2.labels.composing import compose, label_dtype
from napari_sam2.prompts import BoxPrompt, PointPrompt
from napari_sam2.results import CLEAN_AREA_PX, ObjectMask
from tests.napari_sam2.conftest import drawn
from tests.napari_sam2.drawn_masks import mask


def labels_of(*objects, dtype=np.uint16):
    return compose(objects, 3, 5, np.dtype(dtype)).labels


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param([], "..... ..... .....", id="nothing"),
        pytest.param([mask(7, "55 55", (1, 3))], "..... ...77 ...77", id="a window in a corner"),
        pytest.param([mask(1, "44444"), mask(2, "33355", (0, 0))], "11122 ..... .....", id="the higher logit wins"),
        pytest.param([mask(9, "333"), mask(4, "333", (0, 1))], "9444. ..... .....", id="the lower id wins a tie"),
        pytest.param(
            [mask(1, "99999"), mask(2, "111", is_given=True)], "22211 ..... .....", id="a given mask wins any logit"
        ),
        pytest.param(
            [mask(5, "999", is_given=True), mask(3, "111", (0, 1), is_given=True)],
            "5333. ..... .....",
            id="the lower id wins among given masks",
        ),
        pytest.param(
            [mask(1, "9", is_given=True), mask(2, "..5")], "1.2.. ..... .....", id="beyond a given mask is room"
        ),
        pytest.param(
            [ObjectMask(3, (0, 0), np.zeros((0, 0), np.float32), 1, 0), mask(2, "5")],
            "2.... ..... .....",
            id="an empty window",
        ),
        pytest.param([mask(1, ".....")], "..... ..... .....", id="nothing above zero"),
        pytest.param([ObjectMask(1, (0, 0), np.zeros((3, 5), np.float32), 1, 1)], "..... ..... .....", id="zero"),
    ],
)
def test_overlaps_are_resolved_by_rule_and_not_by_order(objects, expected):
    np.testing.assert_array_equal(labels_of(*objects), drawn(expected))
    np.testing.assert_array_equal(labels_of(*reversed(objects)), drawn(expected))


@pytest.mark.parametrize(
    ("object_ids", "dtype"),
    [((), np.uint16), ((1, 65535), np.uint16), ((1, 65536), np.uint32), ((2**32 - 1,), np.uint32)],
)
def test_labels_are_as_narrow_as_the_ids_allow(object_ids, dtype):
    assert label_dtype(object_ids) == dtype


def test_large_ids_survive_in_the_label_image():
    labels = labels_of(mask(2**32 - 1, "5"), dtype=np.uint32)
    assert (labels.dtype, labels[0, 0]) == (np.uint32, 2**32 - 1)


# Areas


def composed(*objects, **options):
    return compose(objects, 3, 12, np.dtype(np.uint16), **options)


def test_areas_are_those_of_the_labels_and_not_of_the_masks():
    found = composed(mask(1, "333"), mask(2, "555", (0, 2)), mask(3, "..."), mask(4, "9", is_given=True))
    assert found.area_px == {1: 1, 2: 3, 3: 0, 4: 1}
    rows = found.counted(one.score(0) for one in (mask(1, "333"), mask(3, "...")))
    assert [(row.area_px, row.area_in_labels_px) for row in rows] == [(3, 1), (0, 0)]


def test_the_area_of_an_object_that_is_not_among_the_masks_is_none():
    (row,) = composed(mask(1, "333")).counted([mask(2, "5").score(0)])
    assert (row.area_px, row.area_in_labels_px) == (1, 0)


# Specks: a bar of object 1, a speck of it on the other side of object 2

BAR = mask(1, "333333333333")
ACROSS = mask(2, "5555", (0, 7))
CUT = "11111112222."


@pytest.mark.parametrize(
    ("objects", "options", "expected", "specks"),
    [
        pytest.param([BAR, ACROSS], {}, CUT, 1, id="it is dropped"),
        pytest.param([BAR, ACROSS], {"drops_specks": False}, "111111122221", 0, id="unless specks are kept"),
        pytest.param([mask(1, "333333333333", is_given=True), mask(2, "5555", (0, 7), is_given=True)], {}, "1" * 12, 0,
                     id="of given masks the lower id has all"),
        pytest.param([mask(3, "333333333333", is_given=True), mask(2, "5555", (0, 7), is_given=True)], {},
                     "333333322223", 0, id="a given mask keeps its specks"),
        pytest.param([mask(1, "3333333....3"), ACROSS], {}, "111111122221", 0, id="an island of the mask itself stays"),
        pytest.param([mask(1, "3333333...33"), ACROSS], {}, "111111122221", 0, id="and what is left of such an island"),
        pytest.param([BAR, mask(2, "5555", (0, 1))], {}, "122221111111".replace("1", ".", 1), 1,
                     id="never the largest piece"),
        pytest.param([BAR, mask(2, "22", (0, 10)), ACROSS], {}, "111111122222", 1, id="its pixels go to who is next"),
        pytest.param([mask(1, "33"), mask(2, "55")], {}, "22..........", 0, id="an object that lost all has no specks"),
        pytest.param([mask(1, "333"), mask(2, ".5.")], {}, "12..........", 1, id="of equal pieces the first stays"),
    ],
)  # fmt: skip
def test_specks_that_remain_beside_another_object_are_dropped(objects, options, expected, specks):
    for given in (objects, objects[::-1]):
        found = composed(*given, **options)
        np.testing.assert_array_equal(found.labels[0], drawn(expected)[0])
        assert found.num_specks == specks
        assert {i: area for i, area in found.area_px.items() if area} == {
            int(i): int((found.labels == i).sum()) for i in np.unique(found.labels) if i
        }


def test_a_piece_larger_than_a_speck_stays():
    wide = mask(1, "3" * 30)
    for width, is_left in ((CLEAN_AREA_PX, False), (CLEAN_AREA_PX + 1, True)):
        found = compose([wide, mask(2, "55", (0, 28 - width))], 1, 30, np.dtype(np.uint16))
        assert (found.labels[0, -1] == 1) == is_left


def test_what_comes_to_light_below_a_speck_is_looked_at_too():
    below = mask(2, "444444444444 44..........")
    found = composed(mask(1, "555555555555"), below, mask(3, "99", (0, 9)))
    np.testing.assert_array_equal(found.labels[0], drawn("11111111133.")[0])
    assert found.num_specks == 2


def test_specks_are_pieces_that_touch_at_no_corner():
    found = composed(mask(1, "333333 333333"), mask(2, "...5.. ......"))
    np.testing.assert_array_equal(found.labels[:2, :6], drawn("111211 111111"))


@pytest.mark.parametrize(
    ("prompts", "is_kept"),
    [
        ([], False),
        ([PointPrompt(1, 0, 0.4, 10.8)], True),
        ([PointPrompt(1, 0, 0.4, 10.8, positive=False)], False),
        ([PointPrompt(1, 0, 0, 3), PointPrompt(1, 0, 2, 11)], False),
        ([BoxPrompt(1, 0, 0, 0, 1, 11)], False),
    ],
    ids=["nothing", "a click on it", "a click off it", "clicks elsewhere", "a box"],
)
def test_a_speck_that_was_clicked_stays(prompts, is_kept):
    found = composed(BAR, ACROSS, prompts_of=lambda object_id: prompts if object_id == 1 else ())
    assert (found.labels[0, 11] == 1) == is_kept


def test_nobody_asks_for_clicks_where_no_masks_overlap():
    def asked(object_id):
        raise AssertionError

    assert composed(mask(1, "333"), mask(2, "333", (1, 0)), prompts_of=asked).area_px == {1: 3, 2: 3}
