"""Masks outside the network: resized, judged, cleaned."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sam2_model.mask_ops import (
    ABSENT_LOGIT,
    MASK_LOGIT,
    as_logits,
    as_low_res_logits,
    clean_small_regions,
    fill_holes,
    resize_logits,
    resize_window,
    stability_score,
    window_above,
    without_islands,
)

sides = st.integers(1, 24)


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)


def drawn(*rows: str) -> np.ndarray:
    """Logits of a drawn mask: # is inside (2), . is outside (-3)."""
    return np.where(np.array([list(row) for row in rows]) == "#", np.float32(2), np.float32(-3))


def as_drawn(logits: np.ndarray) -> tuple[str, ...]:
    return tuple("".join("#" if value > 0 else "." for value in row) for row in logits)


# Resizing -------------------------------------------------------------------------------------------------------------


def test_masks_become_logits_between_minus_ten_and_ten():
    mask = torch.tensor([0.0, 0.5, 1.0])
    assert as_logits(mask).tolist() == [-MASK_LOGIT, 0, MASK_LOGIT]


def test_low_resolution_logits_are_averages_of_the_mask():
    mask = torch.zeros(2, 1, 8, 16)
    mask[0, 0, :, :8] = 1
    logits = as_low_res_logits(mask, 4)
    assert logits.shape == (2, 1, 2, 4)
    torch.testing.assert_close(logits[1], torch.full((1, 2, 4), -MASK_LOGIT))
    assert logits[0, 0, :, 0].gt(0.8 * MASK_LOGIT).all()
    assert logits[0, 0, :, 3].lt(-0.8 * MASK_LOGIT).all()


def test_resizing_gives_float32_of_the_size_asked_for():
    resized = resize_logits(torch.ones(2, 3, 4, 5, dtype=torch.bfloat16), 7, 9)
    assert (resized.shape, resized.dtype) == ((2, 3, 7, 9), torch.float32)
    torch.testing.assert_close(resized, torch.ones_like(resized))


@settings(deadline=None, max_examples=80)
@given(sides, sides, st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_resized_window_is_a_window_of_the_resized(h, w, height, width, data):
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    left, right = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    window = (slice(top, bottom), slice(left, right))
    logits = noise(h, w, data.draw(st.integers(0, 99)))
    whole = resize_logits(torch.from_numpy(logits)[None, None], height, width)[0, 0].numpy()
    part = resize_window(logits, height, width, window)
    assert part.dtype == np.float32
    np.testing.assert_allclose(part, whole[window], atol=1e-4)


@settings(deadline=None, max_examples=80)
@given(sides, sides, st.integers(1, 60), st.integers(1, 60), st.floats(-1, 2.5), st.integers(0, 99))
def test_nothing_outside_the_window_exceeds_the_level(h, w, height, width, level, seed):
    logits = noise(h, w, seed)
    logits[np.random.default_rng(seed).random((h, w)) < 0.8] = -5
    rows, columns = window_above(logits, level, height, width)
    assert 0 <= rows.start <= rows.stop <= height
    assert 0 <= columns.start <= columns.stop <= width
    above = resize_logits(torch.from_numpy(logits)[None, None], height, width)[0, 0].numpy() > level + 1e-5
    above[rows, columns] = False
    assert not above.any()


@pytest.mark.parametrize("size", [8, 16, 64, 100])
def test_the_window_fits_its_object_with_a_margin_around(size):
    logits = np.full((16, 16), -1, np.float32)
    logits[6:9, 7] = 1
    rows, columns = window_above(logits, 0, size, size)
    whole = resize_logits(torch.from_numpy(logits)[None, None], size, size)[0, 0].numpy() > 0
    scale = size / 16
    assert rows.stop - rows.start <= 6 * scale + 4
    assert columns.stop - columns.start <= 4 * scale + 4
    border = whole[rows, columns].copy()
    border[1:-1, 1:-1] = False
    assert not border.any()


def test_the_window_of_an_absent_object_is_empty():
    window = window_above(np.full((4, 4), ABSENT_LOGIT, np.float32), 0, 40, 40)
    assert window == (slice(0, 0), slice(0, 0))
    assert resize_window(np.full((4, 4), ABSENT_LOGIT, np.float32), 40, 40, window).shape == (0, 0)


# Stability ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "offset", "score"),
    [
        ([[5.0, 5.0], [-5.0, -5.0]], 1.0, 1.0),
        ([[5.0, 0.5], [-0.5, -5.0]], 1.0, 1 / 3),
        ([[0.5, 0.5], [0.5, 0.5]], 1.0, 0.0),
        ([[-5.0, -5.0], [-5.0, -5.0]], 1.0, 1.0),  # both empty
        ([[1.0, -1.0], [2.0, -5.0]], 1.0, 1 / 2),  # the level itself is outside
    ],
)
def test_stability_is_the_tight_area_over_the_wide(logits, offset, score):
    assert stability_score(torch.tensor(logits), offset).item() == pytest.approx(score)


def test_stability_is_judged_mask_by_mask():
    logits = torch.stack([torch.full((4, 4), 9.0), torch.full((4, 4), 0.01)]).view(2, 1, 4, 4)
    assert stability_score(logits, 0.05).tolist() == [[1.0], [0.0]]


# Cleaning -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "before", "max_area", "after"),
    [
        ("a hole is filled", ("#####", "#.###", "#####", "....."), 1, ("#####", "#####", "#####", ".....")),
        ("a larger hole stays", ("#####", "#..##", "#####", "....."), 1, ("#####", "#..##", "#####", ".....")),
        ("an island is dropped", ("###..", "###.#", "###.."), 1, ("###..", "###..", "###..")),
        ("a larger island stays", ("###.#", "###.#", "###.."), 1, ("###.#", "###.#", "###..")),
        ("corners connect an island", ("##....", "##.#..", "##..#."), 1, ("##....", "##.#..", "##..#.")),
        ("corners connect holes", ("#####", "#.###", "##.##", "#####"), 1, ("#####", "#.###", "##.##", "#####")),
        ("the largest stays however small", (".....", ".##..", "....."), 9, (".....", ".##..", ".....")),
        ("of two small ones the largest stays", ("##..#", "....."), 9, ("##...", ".....")),
        ("an island in a hole is one with it", ("#####", "#...#", "#.#.#", "#...#", "#####", *["....."] * 3), 8,
         (*["#####"] * 5, *["....."] * 3)),
        ("background at the edge is no hole", ("####.", "#.###", "####."), 2, ("####.", "#####", "####.")),
        ("zero changes nothing", ("###.#", "#.#..", "###.."), 0, ("###.#", "#.#..", "###..")),
        ("nothing stays nothing", ("...", "..."), 9, ("...", "...")),
        ("everything stays everything", ("###", "###"), 9, ("###", "###")),
    ],
)  # fmt: skip
def test_cleaning(what, before, max_area, after):
    assert as_drawn(clean_small_regions(drawn(*before), max_area)) == after, what


def test_a_prompted_island_and_a_prompted_hole_stay():
    before = drawn("####..", "#.##.#", "####..", ".....#", "#.....")
    prompted = np.zeros(before.shape, bool)
    prompted[1, 1] = prompted[1, 5] = True
    assert as_drawn(clean_small_regions(before, 1, prompted)) == ("####..", "#.##.#", "####..", "......", "......")


def test_a_cleaned_pixel_stays_as_doubtful_as_it_was():
    before = drawn("####..", "#.##.#", "####..")
    after = clean_small_regions(before, 1)
    assert after.dtype == np.float32
    np.testing.assert_array_equal(np.abs(after), np.abs(before))
    before[1, 1] = 0  # on the fence, hence outside
    assert clean_small_regions(before, 1)[1, 1] == pytest.approx(1e-3)


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 12), st.integers(0, 99), st.booleans())
def test_cleaning_leaves_no_speck_and_takes_neither_the_largest_nor_the_prompted(h, w, max_area, seed, is_prompted):
    logits = noise(h, w, seed)
    prompted = np.random.default_rng(seed + 1).random((h, w)) < 0.05 if is_prompted else None
    cleaned = clean_small_regions(logits, max_area, prompted)
    np.testing.assert_array_equal(clean_small_regions(cleaned, max_area, prompted), cleaned)
    if prompted is not None:
        np.testing.assert_array_equal((cleaned > 0)[prompted], (logits > 0)[prompted])
    regions, count = ndimage.label(cleaned > 0, np.ones((3, 3)))
    assert bool(count) == bool((logits > 0).any())
    area = np.bincount(regions.ravel())[1:]
    small = [
        region
        for region in range(1, count + 1)
        if area[region - 1] <= max_area and (prompted is None or not prompted[regions == region].any())
    ]
    assert len(small) <= 1  # the largest itself may be small
    assert all(area[region - 1] == area.max() for region in small)


def test_cleaning_leaves_its_input_alone():
    before = drawn("####", "#.##", "####", "....", "...#")
    copy = before.copy()
    assert (clean_small_regions(before, 2) != copy).any()
    assert (fill_holes(before, 2, 0.1) != copy).any()
    np.testing.assert_array_equal(before, copy)


def test_filled_holes_get_the_value_asked_for_and_islands_stay():
    filled = fill_holes(drawn("####.#", "#.##..", "####.."), 1, 0.25)
    assert as_drawn(filled) == ("####.#", "####..", "####..")
    assert filled[1, 1] == np.float32(0.25)


@pytest.mark.parametrize(
    ("what", "before", "touched", "after"),
    [
        ("what was clicked stays, what was not goes", ("##..##", "##..#."), [(0, 0)], ("##....", "##....")),
        ("the largest stays, though another was clicked", ("##..##", "##..#."), [(0, 4)], ("##..##", "##..#.")),
        ("two clicks keep two", ("##.#.#", "##...."), [(0, 0), (0, 5)], ("##...#", "##....")),
        (
            "corners connect",
            ("##....", "##.#..", "##..#.", "...#.."),
            [(0, 0)],
            ("##....", "##....", "##....", "......"),
        ),
        ("a click beside the mask keeps the largest alone", ("##..##", "##..#."), [(0, 2)], ("##....", "##....")),
        ("one piece stays as it is", ("###...", "#.#..."), [(0, 0)], ("###...", "#.#...")),
        ("nothing stays nothing", ("......", "......"), [(0, 0)], ("......", "......")),
    ],
)
def test_islands(what, before, touched, after):
    logits, places = drawn(*before), np.zeros((len(before), len(before[0])), bool)
    places[tuple(zip(*touched, strict=True))] = True
    copy = logits.copy()
    cleaned = without_islands(logits, places)
    assert as_drawn(cleaned) == after, what
    np.testing.assert_array_equal(np.abs(cleaned), np.abs(logits))
    np.testing.assert_array_equal(logits, copy)
    assert (cleaned is logits) == (before == after)
