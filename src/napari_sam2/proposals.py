"""Objects that a model has found by itself in one frame, and which of them are kept. No model is needed to choose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_sam2.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.prompts import ModelScores

LEAST_SCORE = 0.6
"""Score below which a proposal is not kept unless the user asks for more."""

MOST_OVERLAP = 0.3
"""Part of a proposal that better ones may have taken already."""

SMALLEST_PX = 12
"""Proposals of fewer pixels are specks."""

_SIZE_EXPONENT = 0.25
"""A bias of 1 lets a mask of four times the area win over one whose score is larger by a factor of 1.4."""

_MEMBERS, _MEMBER_SIZE, _MEMBER_INSIDE = 3, 1 / 3, 0.8
"""A mask that holds so many others, each of so much of its size at most and so far inside it, is a group of objects."""

_CELL_PX = 128
"""Side of the squares by which proposals that may overlap are looked up."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """One mask that a model has found by itself. Others may overlap it.

    Attributes
    ----------
    corner : tuple of int
        Row and column of the first pixel of `mask` in the frame.
    mask : ndarray of bool, shape (h, w)
        True on the object; the smallest rectangle that holds it.
    scores : ModelScores
        How sure the model is of the mask.
    agreement : float
        How well the mask agrees with what the model saw of whole objects, in [0, 1]; 1 where it was not asked.
    seed : tuple of float
        Row and column from which it was found, in data pixels.
    likeness : float or None
        How much it is like the examples, in [0, 1]; None without examples.
    """

    corner: tuple[int, int]
    mask: NDArray[np.bool_]
    scores: ModelScores
    agreement: float
    seed: tuple[float, float]
    likeness: float | None = None

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the frame that `mask` covers."""
        (y, x), (height, width) = self.corner, self.mask.shape
        return slice(y, y + height), slice(x, x + width)

    @property
    def score(self) -> float:
        """How good a proposal it is, in [0, 1]: the cube root of confidence times agreement."""
        return float(np.cbrt(self.scores.confidence * self.agreement))


@dataclass(frozen=True, slots=True)
class ProposalFilter:
    """Which proposals are kept. What a user changes by sliders; nothing is computed anew by a model.

    Attributes
    ----------
    least_score : float
        Smallest score, in [0, 1]; less keeps more.
    size_bias : float
        Which of two proposals that overlap is the better one: 0 the one with the higher score, up to 1 rather the
        larger, down to -1 rather the smaller.
    smallest_px, largest_px : int, int or None
        Smallest and largest area, in pixels; None for no limit.
    most_overlap : float
        Part of a proposal, in [0, 1], that better ones may have taken already.
    least_likeness : float
        Smallest likeness to the examples, in [0, 1]; proposals without examples pass.

    Raises
    ------
    OptionError
        If a number is outside its range, or the smallest area is above the largest.
    """

    least_score: float = LEAST_SCORE
    size_bias: float = 0.0
    smallest_px: int = SMALLEST_PX
    largest_px: int | None = None
    most_overlap: float = MOST_OVERLAP
    least_likeness: float = 0.5

    def __post_init__(self) -> None:
        for name, low in (("least_score", 0), ("size_bias", -1), ("most_overlap", 0), ("least_likeness", 0)):
            value = getattr(self, name)
            is_number = isinstance(value, float | int | np.floating | np.integer)
            if not is_number or not low <= value <= 1:  # not a number is in no range
                raise OptionError(f"{name} is {value!r}. Use a number from {low} to 1.")
        if self.smallest_px < 1 or (self.largest_px is not None and self.largest_px < self.smallest_px):
            raise OptionError(
                f"Areas from {self.smallest_px} to {self.largest_px} px keep nothing. Let the smallest be 1 or more, "
                "and the largest no smaller than that."
            )


class ProposalSet:
    """All proposals of one frame.

    Parameters
    ----------
    proposals : iterable of Proposal
        In any order.
    height, width : int
        Size of the frame, in pixels.
    """

    def __init__(self, proposals: Iterable[Proposal], height: int, width: int) -> None:
        self.proposals: Sequence[Proposal] = tuple(proposals)
        self.height, self.width = height, width
        self._scores = np.array([one.score for one in self.proposals])
        self._areas = np.array([np.count_nonzero(one.mask) for one in self.proposals], np.int64)
        self._likeness = np.array([1.0 if one.likeness is None else one.likeness for one in self.proposals])
        self._overlaps = _Overlaps()
        self._covered: tuple[NDArray[np.bool_] | None, NDArray[np.int64]] = (None, np.zeros_like(self._areas))

    def __len__(self) -> int:
        return len(self.proposals)

    def extended(self, more: Iterable[Proposal]) -> ProposalSet:
        """Return a set with more proposals, which takes less time than to begin anew."""
        larger = ProposalSet((*self.proposals, *more), self.height, self.width)
        if len(self._overlaps) <= len(self):  # else somebody else has gone on with them
            larger._overlaps = self._overlaps
        return larger

    def kept(self, chosen: ProposalFilter, covered: NDArray[np.bool_] | None = None) -> tuple[Proposal, ...]:
        """Return the proposals that are kept, the best first, each without what better ones have taken.

        Parameters
        ----------
        chosen : ProposalFilter
            What is asked of them.
        covered : ndarray of bool, shape (Y, X), optional
            Pixels that are taken from the beginning: by objects that there are, or outside the region of interest. An
            array that was given before is taken to be unchanged.
        """
        if covered is not self._covered[0]:
            counts = [0 if covered is None else np.count_nonzero(p.mask & covered[p.window]) for p in self.proposals]
            self._covered = covered, np.array(counts, np.int64)
        self._overlaps.add(self.proposals)
        return tuple(self._kept(chosen))

    def _kept(self, chosen: ProposalFilter) -> Iterator[Proposal]:
        _, covered_px = self._covered
        rank = self._scores * np.maximum(self._areas, 1) ** (_SIZE_EXPONENT * chosen.size_bias)
        largest = np.inf if chosen.largest_px is None else chosen.largest_px
        fits = (self._scores >= chosen.least_score) & (self._likeness >= chosen.least_likeness)
        fits &= (self._areas >= chosen.smallest_px) & (self._areas <= largest)
        fits &= covered_px <= chosen.most_overlap * self._areas
        order = np.argsort(-rank, kind="stable")
        numbers: list[int] = order[fits[order]].tolist()
        if chosen.size_bias <= 0:
            # A group whose score is between those of its members would take the place of the weaker ones.
            numbers.sort(key=lambda number: self._is_group(number, fits))
        kept: set[int] = set()
        for number in numbers:
            proposal, area = self.proposals[number], int(self._areas[number])
            better = [(other, px) for other, px in self._overlaps.of(number) if other in kept]
            # All of a better one is taken, by itself or by others before it: most copies of it end here.
            if any(px > chosen.most_overlap * area for _, px in better):
                continue
            if not better and not covered_px[number]:
                kept.add(number)
                yield proposal
                continue
            free = self._free(proposal, [other for other, _ in better])
            left = int(np.count_nonzero(free))
            if not left or area - left > chosen.most_overlap * area:
                continue
            rest = _cropped(proposal, free)
            if np.count_nonzero(rest.mask) >= chosen.smallest_px:
                kept.add(number)
                yield rest

    def _is_group(self, number: int, fits: NDArray[np.bool_]) -> bool:
        """Whether a proposal holds several others that fit and hardly overlap each other."""
        areas, most = self._areas, _MEMBER_SIZE * self._areas[number]
        held = [
            other
            for other, px in self._overlaps.of(number)
            if other < len(self) and fits[other] and areas[other] <= most and px >= _MEMBER_INSIDE * areas[other]
        ]
        members: set[int] = set()
        for other in sorted(held, key=lambda one: -self._scores[one]) if len(held) >= _MEMBERS else ():
            shared = max((px for one, px in self._overlaps.of(other) if one in members), default=0)
            if shared <= MOST_OVERLAP * self._areas[other]:
                members.add(other)
            if len(members) == _MEMBERS:
                return True
        return False

    def _free(self, proposal: Proposal, better: Iterable[int]) -> NDArray[np.bool_]:
        """Return what better proposals, and objects that there are, leave of one."""
        free, covered = proposal.mask.copy(), self._covered[0]
        if covered is not None:
            free &= ~covered[proposal.window]
        for number in better:
            mine, theirs = _common(proposal, self.proposals[number])
            free[mine] &= ~self.proposals[number].mask[theirs]
        return free


class _Overlaps:
    """How many pixels proposals share, found once for each pair: sliders ask again and again."""

    def __init__(self) -> None:
        self._of: list[list[tuple[int, int]]] = []
        self._in_cell: dict[tuple[int, int], list[int]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, number: int) -> Sequence[tuple[int, int]]:
        """Return the numbers of proposals that share pixels with one, and how many."""
        return self._of[number]

    def add(self, proposals: Sequence[Proposal]) -> None:
        """Compare those that have come since the last time with all before them."""
        for number in range(len(self), len(proposals)):
            one, near = proposals[number], set()
            for cell in _cells(one):
                there = self._in_cell.setdefault(cell, [])
                near.update(there)
                there.append(number)
            self._of.append([])
            for other in near:
                mine, theirs = _common(one, proposals[other])
                shared = int(np.count_nonzero(one.mask[mine] & proposals[other].mask[theirs]))
                if shared:
                    self._of[number].append((other, shared))
                    self._of[other].append((number, shared))


def _cells(proposal: Proposal) -> Iterator[tuple[int, int]]:
    rows, columns = proposal.window
    for y in range(rows.start // _CELL_PX, (rows.stop - 1) // _CELL_PX + 1):
        for x in range(columns.start // _CELL_PX, (columns.stop - 1) // _CELL_PX + 1):
            yield y, x


_Window = tuple[slice, slice]


def _common(one: Proposal, other: Proposal) -> tuple[_Window, _Window]:
    """Return where both proposals may be: rows and columns in the mask of each."""
    (y, x), (height, width) = one.corner, one.mask.shape
    (v, u), (rows, columns) = other.corner, other.mask.shape
    top, bottom, left, right = max(y, v), min(y + height, v + rows), max(x, u), min(x + width, u + columns)
    bottom, right = max(top, bottom), max(left, right)
    mine = slice(top - y, bottom - y), slice(left - x, right - x)
    return mine, (slice(top - v, bottom - v), slice(left - u, right - u))


def _cropped(proposal: Proposal, free: NDArray[np.bool_]) -> Proposal:
    """Return a proposal with the largest piece of what is left of it, cut to the rectangle that holds it."""
    mask = largest_piece(free)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = proposal.corner
    corner = (y + int(rows[0]), x + int(columns[0]))
    return replace(proposal, corner=corner, mask=mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest piece of a mask (Y, X), 8-connected: what is found by itself is in one."""
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    return np.asarray(pieces == 1 + np.bincount(pieces.ravel())[1:].argmax())
