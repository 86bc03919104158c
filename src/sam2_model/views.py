"""A closer look at a wide frame: every object is decoded in a view of its own.

The decoder lets a prompt look at all tokens of a frame. A model that is at home in small fields loses an object among
the thousands of tokens of a wide one; in a view round the object, the same weights see what they know. Whoever reaches
the border of a view is looked at in one of twice the side.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.config import STRIDE
from sam2_model.mask_decoder import MaskDecoderOutput, best_candidate
from sam2_model.prompt_encoder import MASK_STRIDE, PointLabel

NOT_SEEN = -16.0
"""Mask logit of what lies outside a view."""

_ROOM = 0.75
"""Largest part of a view's side that what is known of an object may take: it is seen with its surroundings."""

_REACHED_CELLS = 4
"""Cells of a mask on the border of a view from which on the object is taken to go on beyond it."""

_STRAY = 0.02
"""Fraction of a mask on either side that does not count when its extent is measured."""

_CELLS = STRIDE // MASK_STRIDE


@dataclass(frozen=True, slots=True)
class View:
    """Parts of an h x w grid of tokens, one for each of N objects and all of one size.

    Attributes
    ----------
    corners : tuple of (int, int)
        Upper left tokens, (row, column).
    rows, columns : int
        Tokens along the sides.
    grid : tuple of int
        The whole grid, (h, w).
    """

    corners: tuple[tuple[int, int], ...]
    rows: int
    columns: int
    grid: tuple[int, int]

    def some(self, which: Tensor) -> "View":
        """Keep the views of some of the objects, (N,) true where kept."""
        kept = which.tolist()
        return replace(self, corners=tuple(corner for corner, keep in zip(self.corners, kept, strict=True) if keep))

    def crop(self, x: Tensor) -> Tensor:
        """Cut maps (1 or N, C, k h, k w) to (N, C, k rows, k columns), for any whole k."""
        k = x.shape[-2] // self.grid[0]
        maps = x.expand(len(self.corners), -1, -1, -1)
        return torch.stack(
            [
                m[:, k * row : k * (row + self.rows), k * column : k * (column + self.columns)]
                for m, (row, column) in zip(maps, self.corners, strict=True)
            ]
        )

    def shift(self, points: Tensor) -> Tensor:
        """Count points (N, P, 2), (x, y) in pixels of the frame, from the corners of the views."""
        corners = points.new_tensor([(column * STRIDE, row * STRIDE) for row, column in self.corners])
        return points - corners[:, None]

    def paste(self, logits: Tensor) -> Tensor:
        """Put low-resolution logits (N, M, 4 rows, 4 columns) back into their frames, (N, M, 4 h, 4 w)."""
        frames = []
        for x, (row, column) in zip(logits, self.corners, strict=True):
            above, before = _CELLS * row, _CELLS * column
            below = _CELLS * (self.grid[0] - self.rows) - above
            after = _CELLS * (self.grid[1] - self.columns) - before
            frames.append(F.pad(x, (before, after, above, below), value=NOT_SEEN))
        return torch.stack(frames)

    def is_reached(self, logits: Tensor) -> Tensor:
        """Whether masks (N, 1, 4 rows, 4 columns) go up to a border that is not the frame's, shape (N,)."""
        inside = logits[:, 0] > 0
        top, left = (torch.tensor(x, device=logits.device) for x in zip(*self.corners, strict=True))
        sides = (
            (inside[:, 0].sum(1), top > 0),
            (inside[:, -1].sum(1), top + self.rows < self.grid[0]),
            (inside[:, :, 0].sum(1), left > 0),
            (inside[:, :, -1].sum(1), left + self.columns < self.grid[1]),
        )
        cells = sum(torch.where(is_open, count, 0) for count, is_open in sides)
        return torch.as_tensor(cells >= _REACHED_CELLS)


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """Rectangles in which what is known of N objects lies, in pixels of the frame.

    Attributes
    ----------
    low, high : Tensor
        Shape (N, 2), (x, y); where nothing is known, `low` is above `high`.
    """

    low: Tensor
    high: Tensor

    def __or__(self, other: "Extent") -> "Extent":
        """Rectangles that hold both."""
        return Extent(self.low.minimum(other.low), self.high.maximum(other.high))

    def fits(self, side_px: int) -> Tensor:
        """Whether something is known and a view of this side has room for it, shape (N,)."""
        length = (self.high - self.low).amax(1)
        return (length >= 0) & (length <= _ROOM * side_px)

    def view(self, indices: Tensor, side_px: int, grid: tuple[int, int]) -> View:
        """Lay views round some of the objects, within the frame."""
        tokens = side_px // STRIDE
        rows, columns = min(tokens, grid[0]), min(tokens, grid[1])
        middles = ((self.low + self.high) / 2 / STRIDE)[indices].tolist()
        corners = tuple(
            (min(max(round(y - rows / 2), 0), grid[0] - rows), min(max(round(x - columns / 2), 0), grid[1] - columns))
            for x, y in middles
        )
        return View(corners, rows, columns, grid)


def extent_of_points(points: Tensor, labels: Tensor) -> Extent:
    """Measure points and boxes (N, P, 2) with labels (N, P)."""
    is_padding = (labels == PointLabel.PADDING)[..., None]
    low = points.masked_fill(is_padding, torch.inf).amin(1)
    return Extent(low, points.masked_fill(is_padding, -torch.inf).amax(1))


def extent_of_masks(masks: Tensor, frame_px: tuple[int, int]) -> Extent:
    """Measure masks (N, 1, H, W), true inside, on frames of this height and width in pixels."""
    lows, highs = [], []
    for axis, length in ((1, frame_px[1]), (2, frame_px[0])):
        mass = masks[:, 0].float().sum(axis).cumsum(1)  # (N, W) or (N, H)
        total = mass[:, -1:]
        steps = mass.shape[1]
        is_inside = (mass > _STRAY * total) & (total > 0)
        is_before = (mass < (1 - _STRAY) * total) & (total > 0)
        lows.append(torch.where(total[:, 0] > 0, (~is_inside).sum(1) * (length / steps), torch.inf))
        highs.append(torch.where(total[:, 0] > 0, (is_before.sum(1) + 1) * (length / steps), -torch.inf))
    return Extent(torch.stack(lows, 1), torch.stack(highs, 1))


def extent_of_answers(output: MaskDecoderOutput, frame_px: tuple[int, int]) -> Extent:
    """Measure the best candidates of a first look; an object that is not there has none."""
    masks = (best_candidate(output).mask_logits > 0) & (output.object_score_logit > 0)[..., None, None]
    return extent_of_masks(masks, frame_px)


def look(
    answer: Callable[[Tensor, View | None], MaskDecoderOutput], extent: Extent, view_px: int, grid: tuple[int, int]
) -> MaskDecoderOutput:
    """Decode N objects, each in the smallest view that does for it.

    Parameters
    ----------
    answer : callable
        Given the indices of some objects, shape (M,), and views of them, decodes these; without views, in the whole
        frame.
    extent : Extent
        What is known of the objects.
    view_px : int
        Side of the smallest view.
    grid : tuple of int
        Rows and columns of the frame, in tokens.

    Returns
    -------
    MaskDecoderOutput
        For all N, masks of the size of the frame.
    """
    pending = torch.arange(len(extent.low), device=extent.low.device)
    order: list[Tensor] = []
    outputs: list[MaskDecoderOutput] = []
    while view_px < max(grid) * STRIDE and len(pending):
        fits = extent.fits(view_px)[pending]
        chosen = pending[fits]
        if len(chosen):
            view = extent.view(chosen, view_px, grid)
            output = answer(chosen, view)
            is_done = ~view.is_reached(best_candidate(output).mask_logits)
            if is_done.any():
                done = output.rows(is_done)
                order.append(chosen[is_done])
                outputs.append(replace(done, mask_logits=view.some(is_done).paste(done.mask_logits)))
            pending = torch.cat([pending[~fits], chosen[~is_done]])
        view_px *= 2
    if len(pending):
        order.append(pending)
        outputs.append(answer(pending, None))
    return MaskDecoderOutput.join(outputs).rows(torch.cat(order).argsort())
