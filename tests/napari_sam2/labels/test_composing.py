"""Masks put together to labels."""

import numpy as np
import pytest

from napari_sam2.labels.composing import compose, label_dtype
from napari_sam2.results import ObjectMask
from tests.napari_sam2.conftest import drawn
from tests.napari_sam2.drawn_masks import mask


def labels_of(*objects, dtype=np.uint16):
    return compose(objects, 3, 5, np.dtype(dtype))


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
