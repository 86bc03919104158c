"""One label array of all objects, as it is exported and as a replay gives it."""

import numpy as np
import pytest

from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.grid import LayerGrid
from napari_sam2.layers.planes import MergedLabels

SHAPE = (3, 4, 5)


def merged(frame_axis, policy=CommitPolicy.KEEP, locked=()):
    axes = (frame_axis, *(axis for axis in range(3) if axis != frame_axis))
    grid = LayerGrid(SHAPE, *axes, level=0, downsampling=(1.0,) * 3)
    committed, current = np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.uint16)
    committed[1, :2] = 1
    current[:, 1:] = 2
    return MergedLabels(committed, current, grid, {}, policy, frozenset(locked))


@pytest.mark.parametrize("frame_axis", [0, 1, 2])
@pytest.mark.parametrize("key", [slice(None), 1, slice(1, 3), (slice(None), 2), (1, slice(None), slice(2, 4))])
def test_it_is_read_like_an_array_whatever_axis_is_followed(frame_axis, key):
    expected = np.zeros(SHAPE, np.uint16)
    expected[:, 1:] = 2
    expected[1, :2] = 1
    np.testing.assert_array_equal(merged(frame_axis)[key], expected[key])
    assert merged(frame_axis).dtype == np.uint16


def test_what_is_shown_gets_the_pixels_that_a_commit_would_give_it():
    assert merged(0, CommitPolicy.OVERWRITE)[1, 1, 0] == 2
    assert merged(0, CommitPolicy.OVERWRITE, locked=[1])[1, 1, 0] == 1


def test_a_single_image_is_one_plane():
    grid = LayerGrid((2, 3), None, 0, 1, level=0, downsampling=(1.0, 1.0))
    both = MergedLabels(np.eye(2, 3, dtype=np.uint16), np.full((2, 3), 5), grid, {}, CommitPolicy.KEEP, frozenset())
    np.testing.assert_array_equal(both[:, :], [[1, 5, 5], [5, 1, 5]])
