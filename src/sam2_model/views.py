"""A closer look: every object is decoded in a view of its own, and seen from so far away that it fits into it.

The decoder lets a prompt look at all tokens of a frame. A model that is at home in small fields loses an object among
the thousands of tokens of a wide one, and its masks have one cell for four pixels, too coarse for an object of ten. In
a view round the object the same weights see what they know: small objects from twice as close, their tokens
interpolated, and those wider than the field that the decoder knows from further away, their tokens averaged.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.config import STRIDE
from sam2_model.mask_decoder import MaskDecoderOutput, best_candidate
from sam2_model.prompt_encoder import MASK_STRIDE, PointLabel

VIEW_STRIDE = MASK_STRIDE // 2
"""Pixels of the working image per cell of mask logits, where frames are answered through views."""

NOT_SEEN = -16.0
"""Mask logit of what lies outside a view."""

_ROOM, _BORDER_PX = 0.75, 24
"""What is known of an object may take this part of a view's side and leaves so many pixels: it is seen with its
surroundings, and corners of views lie between tokens."""

_REACHED_CELLS = 4
"""Cells of a mask on the border of a view from which on the object is taken to go on beyond it."""

_STRAY = 0.02
"""Fraction of a mask on either side that does not count when its extent is measured."""

_CLICK_REACH_PX = 24
"""A click says where an object is, not how small: so far round it, at least, it may extend."""

_CELLS = STRIDE // VIEW_STRIDE
"""Cells of a frame's mask logits along the side of a token."""


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
    distance : float
        From how far it is seen: tokens of the grid along a token of the view, a power of two.
    """

    corners: tuple[tuple[int, int], ...]
    rows: int
    columns: int
    grid: tuple[int, int]
    distance: float = 1.0

    @property
    def _is_frame(self) -> bool:
        return (self.rows, self.columns) == self.grid

    def some(self, which: Tensor) -> "View":
        """Return the views of some of the objects, (N,) true where kept; all share the frame."""
        if self._is_frame:
            return self
        kept = which.tolist()
        return replace(self, corners=tuple(corner for corner, keep in zip(self.corners, kept, strict=True) if keep))

    def cut(self, x: Tensor) -> Tensor:
        """Return the views of maps (1 or N, C, k h, k w), (N, C, k rows, k columns), for any whole k.

        Where the distance does not divide a side, its last cells are repeated until it does.
        """
        k = x.shape[-2] // self.grid[0]  # 1 for the embedding, 2 and 4 for the finer levels, more for mask logits
        parts = x
        if not self._is_frame:
            maps = x.expand(len(self.corners), -1, -1, -1)
            parts = torch.stack(
                [
                    m[:, k * row : k * (row + self.rows), k * column : k * (column + self.columns)]
                    for m, (row, column) in zip(maps, self.corners, strict=True)
                ]
            )
        below, after = (int(k * (-side % self.distance)) for side in (self.rows, self.columns))
        return F.pad(parts, (0, after, 0, below), mode="replicate") if below or after else parts

    def crop(self, x: Tensor) -> Tensor:
        """Return the views of maps (1 or N, C, k h, k w) seen from the distance, (N, C, k rows / distance, ...)."""
        parts = self.cut(x)
        if self.distance > 1:
            # Averaged, a large object covers no more tokens than those that the decoder was trained on.
            return F.avg_pool2d(parts, int(self.distance))
        # Interpolated tokens hold nothing new, but the outline of a small object runs through more cells.
        return _resize(parts, 1 / self.distance)

    def shift(self, points: Tensor) -> Tensor:
        """Return points (N, P, 2), (x, y) in pixels of the frame, in pixels of the views; integers are centres."""
        corners = points.new_tensor([(column * STRIDE, row * STRIDE) for row, column in self.corners])
        return (points - corners[:, None] + 0.5) / self.distance - 0.5

    def paste(self, logits: Tensor) -> Tensor:
        """Return logits of the views (N, M, ...) in their frames, (N, M, H / `VIEW_STRIDE`, W / `VIEW_STRIDE`)."""
        cells = logits.shape[-2] // ceil(self.rows / self.distance)  # for each token of the view
        fitted = _resize(logits.float(), self.distance * _CELLS / cells)
        fitted = fitted[..., : _CELLS * self.rows, : _CELLS * self.columns]  # without the cells that `cut` repeated
        if self._is_frame:
            return fitted
        frames = []
        for x, (row, column) in zip(fitted, self.corners, strict=True):
            above, before = _CELLS * row, _CELLS * column
            below = _CELLS * (self.grid[0] - self.rows) - above
            after = _CELLS * (self.grid[1] - self.columns) - before
            # So low that no cell outside a view is ever taken for the surest of a thin mask (`is_inside`).
            frames.append(F.pad(x, (before, after, above, below), value=NOT_SEEN))
        return torch.stack(frames)

    def is_reached(self, logits: Tensor) -> Tensor:
        """Return whether masks (N, 1, ...) reach a border of the views that is not the frame's, shape (N,)."""
        if self._is_frame:
            return torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        inside = logits[:, 0] > 0
        top, left = (torch.tensor(x, device=logits.device) for x in zip(*self.corners, strict=True))
        # An object cut by the frame itself is no reason to step back: there is nothing more to see.
        sides = (
            (inside[:, 0].sum(1), top > 0),
            (inside[:, -1].sum(1), top + self.rows < self.grid[0]),
            (inside[:, :, 0].sum(1), left > 0),
            (inside[:, :, -1].sum(1), left + self.columns < self.grid[1]),
        )
        cells = sum(torch.where(is_open, count, 0) for count, is_open in sides)
        return torch.as_tensor(cells >= _REACHED_CELLS)


def _resize(x: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


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
        """Return rectangles that hold both."""
        return Extent(self.low.minimum(other.low), self.high.maximum(other.high))

    def fits(self, side_px: int) -> Tensor:
        """Return whether something is known and a view of this side has room for it, shape (N,)."""
        length = (self.high - self.low).amax(1)
        return (length >= 0) & (length <= min(_ROOM * side_px, side_px - _BORDER_PX))


@dataclass(frozen=True, slots=True)
class Ladder:
    """The views of a frame, rung by rung from the closest to the whole frame; sides double from one to the next.

    Attributes
    ----------
    view_px : int
        Side of a view whose tokens are seen as they are, and of half the field that the decoder knows.
    grid : tuple of int
        Rows and columns of the frame, in tokens.
    closest_px : int, optional
        Side of the closest view in pixels; half of `view_px` when omitted, which is seen from twice as close.
    """

    view_px: int
    grid: tuple[int, int]
    closest_px: int | None = None

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the views in pixels, but for the last, the frame."""
        sides, side = [], self.closest_px or self.view_px // 2
        while side < max(self.grid) * STRIDE:
            sides.append(side)
            side *= 2
        return tuple(sides)

    def rungs(self, extent: Extent) -> Tensor:
        """Return for each object the closest view with room for it, (N,); the frame where nothing is known."""
        sides = self.sides
        rungs = torch.full((len(extent.low),), len(sides), device=extent.low.device)
        for rung in reversed(range(len(sides))):
            rungs = torch.where(extent.fits(sides[rung]), rung, rungs)
        return rungs

    def view(self, rung: int, extent: Extent, objects: Tensor) -> View:
        """Return views of one rung round some of the objects, within the frame."""
        sides, grid = self.sides, self.grid
        if rung == len(sides):
            return View(((0, 0),), *grid, grid, self._distance(max(grid) * STRIDE))
        tokens = sides[rung] // STRIDE
        rows, columns = min(tokens, grid[0]), min(tokens, grid[1])
        middles = ((extent.low + extent.high) / 2 / STRIDE)[objects].tolist()
        corners = tuple(
            (min(max(round(y - rows / 2), 0), grid[0] - rows), min(max(round(x - columns / 2), 0), grid[1] - columns))
            for x, y in middles
        )
        distance = min(sides[rung] / self.view_px, self._distance(sides[rung]))
        return View(corners, rows, columns, grid, distance)

    def _distance(self, side_px: int) -> float:
        """Return the distance from which a side is no wider than the field that the decoder knows."""
        return float(1 << (ceil(side_px / (2 * self.view_px)) - 1).bit_length())


def nowhere(count: int, device: torch.device) -> Extent:
    """Return the extent of objects of which nothing is known."""
    return Extent(torch.full((count, 2), torch.inf, device=device), torch.full((count, 2), -torch.inf, device=device))


def extent_of_points(points: Tensor, labels: Tensor) -> Extent:
    """Return the extent of points and boxes (N, P, 2) with labels (N, P)."""
    is_padding = (labels == PointLabel.PADDING)[..., None]
    reach = (labels == PointLabel.POSITIVE)[..., None] * _CLICK_REACH_PX
    low = (points - reach).masked_fill(is_padding, torch.inf).amin(1)
    return Extent(low, (points + reach).masked_fill(is_padding, -torch.inf).amax(1))


def extent_of_masks(masks: Tensor, frame_px: tuple[int, int]) -> Extent:
    """Return the extent of masks (N, 1, H, W), true inside, on frames of this height and width in pixels."""
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


def is_inside(mask_logits: Tensor) -> Tensor:
    """Return which cells of masks (N, 1, h, w) are inside; of one too thin to have any, the surest."""
    surest = mask_logits.amax((-2, -1), keepdim=True)
    return (mask_logits > 0) | ((mask_logits == surest) & (surest > NOT_SEEN))


def extent_of_answers(output: MaskDecoderOutput, frame_px: tuple[int, int]) -> Extent:
    """Return the extent of the best candidates of a look; an absent object has none."""
    masks = (best_candidate(output).mask_logits > 0) & (output.object_score_logit > 0)[..., None, None]
    return extent_of_masks(masks, frame_px)


Decode = Callable[[Tensor, View, Tensor | None], MaskDecoderOutput]
"""Decodes M objects, given their numbers, views of them and, on a second look, masks (N, 1, ...) of all objects."""


def look(
    decode: Decode, extent: Extent, ladder: Ladder, *, seeks: bool = False, closely: bool = True
) -> MaskDecoderOutput:
    """Return the masks of N objects, each decoded in the closest view that holds it.

    Who reaches the border of a view is looked at in the next wider one. Who turns out to fit into a closer view is
    looked at once more from there, and the mask that was found is shown with the prompts; this second look has the last
    word, unless it runs out of its view.

    Parameters
    ----------
    decode : callable
        Decodes some of the objects in views.
    extent : Extent
        What is known of the objects.
    ladder : Ladder
        The views to choose from.
    seeks : bool
        Whether objects that are not in their views are looked for in the whole frame.
    closely : bool
        Whether there is a second look.

    Returns
    -------
    MaskDecoderOutput
        For all N, masks of the size of the frame.
    """
    frame = len(ladder.sides)  # the last rung: the frame as a whole
    first = ladder.rungs(extent)
    beyond = torch.full_like(first, frame + 1)
    found, _, seen_at = _climb(decode, extent, ladder, first, beyond, None, seeks=seeks)
    if seeks:
        # An object that is not where it was expected may be anywhere: each rung between would be one more guess.
        is_lost = (found.object_score_logit[:, 0] <= 0) & (seen_at < frame)
        sought, objects, _ = _climb(decode, extent, ladder, torch.where(is_lost, frame, beyond), beyond, None)
        found, seen_at = _with(found, objects, sought), torch.where(is_lost, frame, seen_at)
    if not closely:
        return found
    frame_px = (ladder.grid[0] * STRIDE, ladder.grid[1] * STRIDE)
    # The first look has found the extent, which a click alone does not give; now it decides how close to go.
    outline = extent_of_answers(found, frame_px)
    closest = ladder.rungs(outline)
    if not (closest < seen_at).any():
        return found
    # So close, what set the object apart from its likes may be out of view: its mask is shown instead.
    shown = best_candidate(found).mask_logits.detach()
    closer, objects, _ = _climb(decode, outline, ladder, closest, seen_at, shown)
    return _with(found, objects, closer)


def _with(output: MaskDecoderOutput, objects: Tensor, newer: MaskDecoderOutput) -> MaskDecoderOutput:
    """Return answers in which those of some objects are replaced by newer ones."""
    if not len(objects):
        return output
    names = [field.name for field in fields(MaskDecoderOutput)]
    return MaskDecoderOutput(*(getattr(output, name).index_copy(0, objects, getattr(newer, name)) for name in names))


def _climb(
    decode: Decode,
    extent: Extent,
    ladder: Ladder,
    first: Tensor,
    limit: Tensor,
    shown: Tensor | None,
    *,
    seeks: bool = False,
) -> tuple[MaskDecoderOutput, Tensor, Tensor]:
    """Return the masks of objects in wider and wider views, from rung `first` (N,) and below rung `limit` (N,).

    Where objects that are not there will be sought, they need not be looked for in the next view.

    Returns
    -------
    output : MaskDecoderOutput
        Of the objects that have a view that does.
    objects : Tensor
        Which these are, ascending.
    rungs : Tensor
        Shape (N,), where each was seen.
    """
    rungs = first.clone()
    outputs: list[MaskDecoderOutput] = []
    order: list[Tensor] = []
    for rung in range(len(ladder.sides) + 1):
        chosen = ((rungs == rung) & (rungs < limit)).nonzero()[:, 0]
        if not len(chosen):
            continue
        # Rung by rung, and not object by object: all that are seen from equally far go through the decoder together.
        view = ladder.view(rung, extent, chosen)
        output = decode(chosen, view, shown)
        goes_on = view.is_reached(best_candidate(output).mask_logits)
        if seeks:
            goes_on &= output.object_score_logit[:, 0] > 0
        rungs[chosen[goes_on]] = rung + 1
        if not goes_on.all():
            done = output if not goes_on.any() else output.rows(~goes_on)
            outputs.append(replace(done, mask_logits=view.some(~goes_on).paste(done.mask_logits)))
            order.append(chosen[~goes_on])
    if not outputs:
        return MaskDecoderOutput(*(torch.empty(0),) * 4), rungs[:0], rungs
    objects = torch.cat(order)
    if len(outputs) == 1:
        return outputs[0], objects, rungs
    return MaskDecoderOutput.join(outputs).rows(objects.argsort()), objects.sort().values, rungs
