"""Pieces of masks: pixels that touch each other, also at corners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skimage import measure

from napari_sam2.prompts import MaskPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_PIECE = 0.25
"""Area of a piece, relative to the largest one, from which on it is no speck."""


def count_pieces(mask: NDArray[np.generic]) -> int:
    """Return into how many pieces of some size a mask (Y, X) falls; specks do not count."""
    pieces, _ = _pieces(np.asarray(mask) != 0)
    areas = np.bincount(pieces.ravel())[1:]
    return int((areas >= _PIECE * areas.max(initial=0)).sum())


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
