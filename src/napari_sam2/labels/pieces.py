"""Pieces of masks: pixels that touch each other, also at corners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage import measure

from napari_sam2.prompts import MaskPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_EIGHT = np.ones((3, 3), np.bool_)
"""Pixels touch along edges and at corners."""

_PIECE = 0.25
"""Area of a piece, relative to the largest one, from which on it is no speck."""


def count_pieces(mask: NDArray[np.generic]) -> int:
    """Return into how many pieces of some size a mask (Y, X) falls; specks do not count."""
    pieces, _ = _pieces(np.asarray(mask) != 0)
    areas = np.bincount(pieces.ravel())[1:]
    return int((areas >= _PIECE * areas.max(initial=0)).sum())


def cut_off(
    whole: NDArray[np.bool_], remains: NDArray[np.bool_], most_px: int, kept: Iterable[tuple[int, int]] = ()
) -> tuple[NDArray[np.bool_], int]:
    """Return the small pieces that remain of a mask and were joined to a larger one before.

    Parameters
    ----------
    whole, remains : ndarray of bool, shape (Y, X)
        The mask, and what is left of it. Of each of its own pieces, the largest that is left is never returned.
    most_px : int
        Area of the largest piece that is small, in pixels.
    kept : iterable of (int, int)
        Rows and columns of pixels whose pieces are not returned either. Asked for only if there is something small;
        pixels beyond the array are passed over.

    Returns
    -------
    ndarray of bool, shape (Y, X)
        The pixels of these pieces.
    int
        Number of these pieces.
    """
    pieces, count = ndimage.label(remains, _EIGHT)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    is_small = areas <= most_px
    is_small[0] = False
    if count > 1 and is_small.any():
        wholes, _ = ndimage.label(whole, _EIGHT)
        piece_of = np.zeros(count + 1, np.intp)
        piece_of[pieces[remains]] = wholes[remains]
        by_area = 1 + np.argsort(-areas[1:], kind="stable")
        _, first = np.unique(piece_of[by_area], return_index=True)
        is_small[by_area[first]] = False
        height, width = pieces.shape
        for y, x in kept:
            if 0 <= y < height and 0 <= x < width and pieces[y, x]:
                is_small[pieces[y, x]] = False
    else:
        is_small[:] = False
    return is_small[pieces], int(is_small.sum())


def numbered_pieces(
    planes: Iterable[NDArray[np.integer]],
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.integer]]]:
    """Yield each frame of a stack of labels, (Y, X), with the numbers of its pieces, from 1 on through all frames.

    Pixels of different labels are of different pieces.
    """
    before = 0
    for plane in planes:
        pieces, count = _pieces(plane)
        yield plane, np.where(pieces > 0, pieces + before, 0)
        before += count


def _pieces(labels: NDArray[np.generic]) -> tuple[NDArray[np.integer], int]:
    number: Callable[..., Any] = measure.label  # which has no types
    pieces, count = number(labels, connectivity=2, return_num=True)
    return pieces, int(count)


class PieceTree:
    """Which pieces of neighbouring frames touch each other, and so are of one object."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def join(
        self,
        before: tuple[NDArray[np.integer], NDArray[np.integer]],
        after: tuple[NDArray[np.integer], NDArray[np.integer]],
    ) -> None:
        """Join the pieces of a frame with those of the one before it.

        Parameters
        ----------
        before, after : pair of ndarray
            Labels and pieces of each, (Y, X). Pieces that touch are of one object if their labels are equal.
        """
        height, width = after[0].shape
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                here = (slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0)))
                there = (slice(max(-dy, 0), height + min(-dy, 0)), slice(max(-dx, 0), width + min(-dx, 0)))
                touch = (after[0][here] == before[0][there]) & (after[0][here] != 0)
                pairs = np.stack([before[1][there][touch], after[1][here][touch]])
                for one, other in np.unique(pairs, axis=1).T.tolist():
                    self._join(one, other)

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parents[high] = low

    def root(self, piece: int) -> int:
        """Return the piece with the lowest number of an object."""
        path = []
        while piece in self._parents:
            path.append(piece)
            piece = self._parents[piece]
        for passed in path:
            self._parents[passed] = piece
        return piece


def united(object_id: int, masks: Sequence[MaskPrompt]) -> MaskPrompt:
    """Return several masks of one frame as the mask of one object."""
    first = masks[0]
    top, left = (min(mask.corner[axis] for mask in masks) for axis in (0, 1))
    bottom, right = (max(mask.corner[axis] + mask.extent[axis] for mask in masks) for axis in (0, 1))
    crop = np.zeros((bottom - top, right - left), np.bool_)
    for mask in masks:
        (y, x), (height, width) = mask.corner, mask.extent
        crop[y - top : y - top + height, x - left : x - left + width] |= mask.crop
    return MaskPrompt(object_id, first.frame, crop, corner=(top, left), shape=first.shape)


def innermost(mask: MaskPrompt) -> tuple[float, float]:
    """Return row and column of the pixel of a mask that is farthest from its outline."""
    depth = ndimage.distance_transform_edt(np.pad(mask.crop, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.extent)
    return float(y + mask.corner[0]), float(x + mask.corner[1])
