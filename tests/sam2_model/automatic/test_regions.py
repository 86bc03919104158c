"""Regions of cells, from maps that say the truth of a drawn label image, or not quite."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2_model.automatic.regions import Region, find_regions
from sam2_model.training.instances import instance_target


def drawn(*discs: tuple[float, float, float], side: int = 256) -> NDArray[np.int32]:
    """A label image with discs: row, column, radius."""
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.int32)
    for number, (row, column, radius) in enumerate(discs, 1):
        labels[np.hypot(y - row, x - column) < radius] = number
    return labels


def regions_of(labels: NDArray[np.int32], noise: float = 0.0) -> tuple[Region, ...]:
    target = instance_target(torch.from_numpy(labels)[None])
    offsets = target.offsets[0].numpy()
    offsets = offsets + noise * np.random.default_rng(0).standard_normal(offsets.shape).astype(np.float32)
    return find_regions(8 * (2 * target.objects[0, 0].numpy() - 1), offsets)


def labels_seen(labels: NDArray[np.int32], regions: tuple[Region, ...]) -> set[int]:
    """Labels that are the greater part of a region, and of which it is the greater part."""
    cells = labels[2::4, 2::4]
    seen = set()
    for region in regions:
        (y, x), (height, width) = region.corner, region.mask.shape
        inside = cells[y : y + height, x : x + width][region.mask]
        number = int(np.bincount(inside).argmax())
        common = np.count_nonzero(inside == number)
        if number and 2 * common > max(inside.size, np.count_nonzero(cells == number)):
            seen.add(number)
    return seen


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_objects_of_all_sizes_are_seen_even_where_they_touch(noise):
    labels = drawn((30, 30, 6), (30, 44, 8), (60, 120, 20), (60, 158, 18), (180, 120, 60), (180, 200, 20))
    assert labels_seen(labels, regions_of(labels, noise)) == set(range(1, 7))


def test_one_object_is_one_region():
    (region,) = regions_of(drawn((128, 128, 40)))
    assert region.middle == pytest.approx((31.5, 31.5), abs=0.5)
    assert np.count_nonzero(region.mask) == pytest.approx(np.pi * 10**2, rel=0.1)


def test_the_middle_is_a_cell_of_the_whole_image():
    (region,) = regions_of(drawn((200, 100, 20)))
    assert region.middle == pytest.approx((49, 24), abs=1)


def test_nothing_is_seen_on_the_background():
    assert find_regions(np.full((8, 8), -5, np.float32), np.zeros((2, 8, 8), np.float32)) == ()


def test_two_cells_are_no_object():
    logits = np.full((8, 8), -5, np.float32)
    logits[3, 3:5] = 5
    assert find_regions(logits, np.zeros((2, 8, 8), np.float32)) == ()
