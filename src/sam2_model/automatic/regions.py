"""From what cells say to regions, one for each object: cells walk to the middle of theirs, and where many meet is one.

The walk is that of Cellpose (Stringer et al. 2021); offsets instead of learned gradients make it short. Regions are
coarse and only begin the work: each becomes a prompt (`automatic.instances`), and the mask decoder draws the outline.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

_STEPS = 80
"""Cells that are walked at most: the radius of the largest object that is seen as one."""

_SLOW = 0.1
"""Offset, in object sizes, below which steps become shorter, so that cells stop at the middle."""

_NARROW, _WIDE = 1.0, 2.0
"""How far apart cells may stop that mean one middle, in cells: narrow for small objects, wide for large ones."""

_ALIKE = 0.8
"""Ratio of the sizes of two regions with one middle from which on they are the same."""

_LEAST_CELLS = 3.0
"""Cells that have to meet."""

_APART = 5
"""Side of the square, in cells, in which there is one meeting point."""

_CAUGHT = 6.0
"""Cells that stop within so many cells of a meeting point, and two for each sigma, belong to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Cells that mean one object.

    Attributes
    ----------
    corner : tuple of int
        Row and column of the first cell of `mask`.
    mask : ndarray of bool, shape (h, w)
        True for its cells.
    middle : tuple of int
        Row and column of the cell where they meet.
    """

    corner: tuple[int, int]
    mask: NDArray[np.bool_]
    middle: tuple[int, int]


def find_regions(object_logits: NDArray[np.float32], offsets: NDArray[np.float32]) -> tuple[Region, ...]:
    """Return the regions of one image; some overlap, where it is doubtful whether there is one object or two.

    Parameters
    ----------
    object_logits : ndarray
        Shape (h, w), float32, of the cells (`instance_decoder.InstanceMaps`).
    offsets : ndarray
        Shape (2, h, w), float32.
    """
    starts = np.argwhere(object_logits > 0)
    if not len(starts):
        return ()
    ends = _walk(starts, offsets)
    certainty = 1 / (1 + np.exp(-object_logits[tuple(starts.T)]))
    weight = np.zeros(object_logits.shape, np.float32)
    np.add.at(weight, tuple(np.rint(ends).astype(int).T), certainty)
    narrow, wide = (_met(starts, ends, weight, sigma) for sigma in (_NARROW, _WIDE))
    return (*narrow, *(region for region in wide if not any(_is_alike(region, other) for other in narrow)))


def _is_alike(one: Region, other: Region) -> bool:
    """Return whether two regions are nearly the same: asked for twice, they would get the same answer."""
    if max(abs(a - b) for a, b in zip(one.middle, other.middle, strict=True)) > 1:
        return False
    sizes = sorted((np.count_nonzero(one.mask), np.count_nonzero(other.mask)))
    return bool(sizes[0] >= _ALIKE * sizes[1])


def _walk(starts: NDArray[np.intp], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return where cells (N, 2) stop."""
    length = np.sqrt((offsets**2).sum(0))
    step = offsets / np.maximum(length, _SLOW)  # (2, h, w), at most one cell
    limit = np.array(length.shape, np.float32) - 1
    place = starts.astype(np.float32)
    for _ in range(_STEPS):
        row, column = np.rint(place).astype(int).T
        place = np.clip(place + step[:, row, column].T, 0, limit)
    return place


def _met(
    starts: NDArray[np.intp], ends: NDArray[np.float32], weight: NDArray[np.float32], sigma: float
) -> list[Region]:
    """Return the regions of cells that have met."""
    mass = ndimage.gaussian_filter(weight, sigma) * (2 * np.pi * sigma**2)
    is_middle = (mass == ndimage.maximum_filter(mass, _APART)) & (mass > _LEAST_CELLS)
    # A middle between cells is several that are equal.
    places, count = ndimage.label(is_middle, np.ones((3, 3)))
    if not count:
        return []
    middles = np.rint(ndimage.center_of_mass(is_middle, places, np.arange(count) + 1)).astype(int)  # (N, 2)
    distance, nearest = cKDTree(middles).query(ends, distance_upper_bound=_CAUGHT + 2 * sigma)
    is_caught = np.isfinite(distance)
    numbers = np.zeros(weight.shape, np.int32)
    numbers[tuple(starts[is_caught].T)] = nearest[is_caught] + 1
    return [
        Region((window[0].start, window[1].start), numbers[window] == number + 1, (int(y), int(x)))
        for number, ((y, x), window) in enumerate(
            zip(middles, ndimage.find_objects(numbers, len(middles)), strict=True)
        )
        if window is not None
    ]
