"""Objects of a frame measured."""

import numpy as np
import pandas as pd
import pytest

from napari_sam2.labels.measuring import GEOMETRY, intensity_columns, measured
from tests.napari_sam2.conftest import drawn

LABELS = drawn("..22. 722.. 7...7")


def test_area_and_centroid_are_those_of_the_pixels():
    pd.testing.assert_frame_equal(
        measured(LABELS),
        pd.DataFrame(
            {
                "object_id": [2, 7],
                "area_in_labels_px": [4, 3],
                "centroid_y_px": [0.5, 5 / 3],
                "centroid_x_px": [2.0, 4 / 3],
            }
        ),
        check_dtype=False,
    )


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, ">i2", np.float32, np.float64])
def test_intensities_are_the_mean_and_the_sum_of_the_values_in_every_channel(dtype):
    values = np.random.default_rng(3).integers(0, 200, (3, 5, 2)).astype(dtype)
    table = measured(LABELS, values, ("DNA", "membrane")).set_index("object_id")
    for object_id in (2, 7):
        for channel, name in enumerate(("DNA", "membrane")):
            inside = values[np.equal(LABELS, object_id), channel].astype(float)
            assert table.loc[object_id, f"intensity_mean_{name}"] == pytest.approx(inside.mean())
            assert table.loc[object_id, f"intensity_sum_{name}"] == pytest.approx(inside.sum())


def test_the_sum_of_many_bright_pixels_is_exact():
    values = np.full((300, 300, 1), 65535, np.uint16)
    assert measured(np.ones((300, 300), np.uint8), values)["intensity_sum"].item() == 300 * 300 * 65535
    assert measured(np.ones((300, 300), np.uint8), values.astype(np.float32))["intensity_sum"].item() == 90000 * 65535


def test_a_single_channel_needs_no_name():
    assert list(measured(LABELS, np.ones((3, 5, 1)))) == [*GEOMETRY, "intensity_mean", "intensity_sum"]


def test_labels_without_an_object_have_the_columns_of_others():
    empty = measured(np.zeros((3, 5), int), np.ones((3, 5, 3)), ("red", "green", "blue"))
    assert list(empty) == [*GEOMETRY, *intensity_columns(("red", "green", "blue"))]
    assert not len(empty)


def test_the_largest_id_is_measured_like_any_other():
    labels = np.where(LABELS == 7, np.uint32(2**32 - 1), np.uint32(0))
    assert measured(labels)["object_id"].tolist() == [2**32 - 1]
    assert measured(np.full((2, 2), 5))["area_in_labels_px"].tolist() == [4]  # no background at all
