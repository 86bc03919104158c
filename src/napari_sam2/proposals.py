"""Objects that a model has found by itself in one frame, and which of them are kept. No model is needed to choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.prompts import ModelScores

LEAST_SCORE = 0.5
"""Score below which a proposal is not kept unless the user asks for more."""

MOST_OVERLAP = 0.3
"""Part of a proposal that better ones may have taken already."""

SMALLEST_PX = 12
"""Proposals of fewer pixels are specks."""

_SIZE_EXPONENT = 0.25
"""A bias of 1 lets a mask of four times the area win over one whose score is larger by a factor of 1.4."""


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
        """How good a proposal it is, in [0, 1]: the geometric mean of what the model says of mask and object."""
        return float(np.sqrt(self.scores.predicted_iou * self.scores.object_score * self.agreement))


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
            if not low <= value <= 1:  # not a number is in no range
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
        self._taken: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.proposals)

    def kept(self, chosen: ProposalFilter, covered: NDArray[np.bool_] | None = None) -> tuple[Proposal, ...]:
        """Return the proposals that are kept, the best first, each without what better ones have taken.

        Parameters
        ----------
        chosen : ProposalFilter
            What is asked of them.
        covered : ndarray of bool, shape (Y, X), optional
            Pixels that are taken from the beginning: by objects that there are, or outside the region of interest.
        """
        if self._taken is None:
            self._taken = np.zeros((self.height, self.width), np.bool_)
        kept = tuple(self._kept(chosen, self._taken, covered))
        # Only where something was kept: whoever moves a slider over a large frame waits for no copy of all of it.
        for proposal in kept:
            self._taken[proposal.window] = False
        return kept

    def _kept(
        self, chosen: ProposalFilter, taken: NDArray[np.bool_], covered: NDArray[np.bool_] | None
    ) -> Iterator[Proposal]:
        rank = self._scores * np.maximum(self._areas, 1) ** (_SIZE_EXPONENT * chosen.size_bias)
        largest = np.inf if chosen.largest_px is None else chosen.largest_px
        fits = (self._scores >= chosen.least_score) & (self._likeness >= chosen.least_likeness)
        fits &= (self._areas >= chosen.smallest_px) & (self._areas <= largest)
        order = np.argsort(-rank, kind="stable")
        for number in order[fits[order]].tolist():
            proposal, area = self.proposals[number], int(self._areas[number])
            window = taken[proposal.window]
            free = proposal.mask & ~window
            if covered is not None:
                free &= ~covered[proposal.window]
            left = int(np.count_nonzero(free))
            if left < chosen.smallest_px or area - left > chosen.most_overlap * area:
                continue
            window |= free
            yield proposal if left == area else _cropped(proposal, free)


def _cropped(proposal: Proposal, mask: NDArray[np.bool_]) -> Proposal:
    """Return a proposal with a smaller mask in the same window, cut to the rectangle that holds it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = proposal.corner
    return Proposal(
        (y + int(rows[0]), x + int(columns[0])),
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
        proposal.scores,
        proposal.agreement,
        proposal.seed,
        proposal.likeness,
    )
