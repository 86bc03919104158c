"""Places that mark objects, from points, labels, prompts and bright spots."""

import numpy as np
import pytest

from napari_sam2.errors import OptionError, PromptError
from napari_sam2.labels.seeds import seeds_from_array, seeds_from_maxima, seeds_of_prompts
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt


def test_points_are_taken_as_they_are():
    assert seeds_from_array(np.array([[1, 2], [0, 5]], np.uint8), 4, 6) == ((1, 2), (0, 5))
    assert seeds_from_array([(3.4, -0.5)], 4, 6) == ((3.4, -0.5),)


def test_labels_of_the_shape_of_the_image_are_labels_also_where_it_is_two_pixels_wide():
    labels = np.array([[0, 7], [0, 7], [5, 7]])
    assert seeds_from_array(labels, 3, 2) == ((2, 0), (0, 1))
    assert seeds_from_array(labels, 10, 10) == ((0, 7), (0, 7), (5, 7))


def test_a_ring_is_marked_on_itself():
    y, x = np.mgrid[:21, :21]
    ring = (np.hypot(y - 10, x - 10) < 9) & (np.hypot(y - 10, x - 10) > 4)
    ((row, column),) = seeds_from_array(ring, 21, 21)
    assert ring[int(row), int(column)]


def test_prompts_are_seeds_but_for_negative_points():
    prompts = [
        PointPrompt(1, 0, 2, 3),
        PointPrompt(1, 0, 9, 9, positive=False),
        BoxPrompt(2, 0, 4, 2, 8, 6),
        MaskPrompt(3, 0, np.ones((3, 3), bool), corner=(10, 10), shape=(20, 20)),
    ]
    assert seeds_of_prompts(prompts, 20, 20) == ((2, 3), (6, 4), (11, 11))
    with pytest.raises(PromptError, match="There are no seeds"):
        seeds_of_prompts(prompts[1:2], 20, 20)


def test_seeds_of_another_frame_are_refused():
    with pytest.raises(PromptError, match="A seed is on frame 3"):
        seeds_of_prompts([PointPrompt(1, 3, 2, 3)], 20, 20)


def test_a_box_is_a_seed_in_the_middle_of_what_is_in_the_image():
    assert seeds_of_prompts([BoxPrompt(2, 0, -0.5, 10, 3.5, 100)], 4, 21) == ((1.5, 15.25),)


@pytest.fixture
def spots():
    """Three blurred spots on a noisy ground, (60, 80), the last one faint."""
    y, x = np.mgrid[:60, :80]
    image = np.random.default_rng(1).normal(100, 3, (60, 80))
    for row, column, height in ((10, 15, 400), (12, 60, 300), (45, 40, 250)):
        image += height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2 / 4**2)
    return image


@pytest.mark.parametrize("kind", [np.float64, np.uint16])
def test_bright_spots_are_found_from_top_to_bottom_and_noise_is_not(spots, kind):
    found = seeds_from_maxima(spots.astype(kind))
    assert np.abs(found - [(10, 15), (12, 60), (45, 40)]).max() <= 1


def test_spots_that_are_closer_than_the_spacing_are_one():
    image = np.zeros((30, 40))
    image[14:17, [13, 14, 15, 23, 24, 25]] = 100
    assert len(seeds_from_maxima(image, spacing_px=6)) == 2
    assert len(seeds_from_maxima(image, spacing_px=16)) == 1


def test_values_that_are_none_count_as_dark(spots):
    spots[10:12, 14:16] = np.nan
    spots[0, 79] = np.inf
    assert np.abs(seeds_from_maxima(spots) - [(10, 15), (12, 60), (45, 40)]).max() <= 3


@pytest.mark.parametrize("channel", [np.zeros((9, 9)), np.full((5, 5), np.nan), np.ones((1, 1), np.uint16)])
def test_a_channel_of_one_value_has_no_spot(channel):
    with pytest.raises(PromptError, match="no bright spot"):
        seeds_from_maxima(channel, spacing_px=1)


@pytest.mark.parametrize(
    ("channel", "spacing", "message"),
    [
        (np.zeros((3, 9, 9)), 3, r"The channel has shape \(3, 9, 9\)"),
        (np.full((3, 9), "a"), 3, "dtype <U1"),
        (np.zeros((9, 9)), 0, "The spacing is 0"),
        (np.zeros((9, 9)), 10, "The spacing is 10"),
        (np.zeros((9, 9)), float("nan"), "The spacing is nan"),
    ],
)
def test_what_is_no_channel_or_no_spacing_is_refused(channel, spacing, message):
    with pytest.raises(OptionError, match=message):
        seeds_from_maxima(channel, spacing_px=spacing)
