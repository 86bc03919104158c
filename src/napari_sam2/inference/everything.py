"""Everything in a frame, tile by tile, from far away to close by: what a model with an instance decoder proposes.

Objects are seen best at a certain size. The frame is looked at as a whole first, then in tiles, each time from twice as
close, down to twice its own resolution; an object is proposed at every distance from which it fits into a tile. What is
kept of all this is decided by `proposals`. Tiles overlap, each proposes the objects whose middle lies in its own part,
and no more than one is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.examples import likeness_to
from napari_sam2.inference.predictor import FoundPart
from napari_sam2.prompts import ModelScores
from napari_sam2.proposals import Proposal, largest_piece
from napari_sam2.results import STABILITY_OFFSET
from sam2_model.automatic.instances import InstancePredictor
from sam2_model.device import inference
from sam2_model.instance_decoder import CELL_PX
from sam2_model.mask_ops import resize_window, window_above
from sam2_model.preprocessing import WorkingImage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Search
    from sam2_model.automatic.instances import Instance
    from sam2_model.sam2 import Sam2

TILE_PX = 512
"""Side of a tile in pixels of the working image."""

HALO_PX = 64
"""What a tile sees beyond its own part, at least, where it has a neighbour, in pixels of the working image."""

CLOSEST = 2.0
"""Pixels of the working image per pixel of the frame in the closest look; less where the frame is not seen whole."""

_WORTH_PX = 32
"""Objects wider than this, in pixels of the frame, are seen well enough without the closest look."""

_SURE = 0.75
"""Score from which on a large object needs no closer look."""

_PLAIN_LOGIT = 1.5
"""Object logit of a cell from which on it is a reason to look closer; noise reaches less."""

_BLOCK_PX = 16
"""Side of the squares, in pixels of the frame, for which it is noted whether a closer look is worth while."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a frame that is looked at in one go.

    Attributes
    ----------
    window : tuple of slice
        Rows and columns of the frame that are seen.
    own : tuple of slice
        Those whose objects this tile proposes; the own parts of all tiles cover the frame once.
    zoom : float
        Pixels of the working image per pixel of the frame.
    """

    window: tuple[slice, slice]
    own: tuple[slice, slice]
    zoom: float


def tiles(window: tuple[slice, slice], zoom: float) -> tuple[Tile, ...]:
    """Return the tiles that cover rows and columns of a frame at one zoom, row by row."""
    rows, columns = (_along(side, zoom) for side in window)
    return tuple(Tile((seen_y, seen_x), (own_y, own_x), zoom) for seen_y, own_y in rows for seen_x, own_x in columns)


def _along(side: slice, zoom: float) -> list[tuple[slice, slice]]:
    """Return what tiles see along an axis, and what of it is their own."""
    tile, halo = round(TILE_PX / zoom), round(HALO_PX / zoom)
    length = side.stop - side.start
    if length <= tile:
        return [(side, side)]
    count = -(-(length - 2 * halo) // (tile - 2 * halo))
    starts = [side.start + round(number * (length - tile) / (count - 1)) for number in range(count)]
    # The line between two tiles is in the middle of what both see.
    lines = [(first + tile + second) // 2 for first, second in pairwise(starts)]
    bounds = zip([side.start, *lines], [*lines, side.stop], strict=True)
    return [(slice(start, start + tile), slice(*own)) for start, own in zip(starts, bounds, strict=True)]


def zooms(window: tuple[slice, slice]) -> tuple[float, ...]:
    """Return from how close a part of a frame is looked at, from the whole of it in one tile to the closest look."""
    length = max(side.stop - side.start for side in window)
    found = [CLOSEST]
    while found[0] > 1 or length * found[0] > TILE_PX:
        found.insert(0, found[0] / 2)
    return tuple(found)


def propose_instances(model: Sam2, frames: FrameStack, frame: int, search: Search) -> Iterator[FoundPart]:
    """Yield what a model with an instance decoder finds by itself in one frame, tile by tile.

    Parameters
    ----------
    model : Sam2
        With an instance decoder.
    frames : FrameStack
        Of which a tile is read at a time.
    frame : int
        The frame.
    search : Search
        What is looked for.
    """
    window = search.window or (slice(0, frames.height), slice(0, frames.width))
    predictor = InstancePredictor(model)
    looks = [tile for zoom in zooms(window) for tile in tiles(window, zoom)]
    worth = _Worth(window)
    for number, tile in enumerate(looks, 1):
        found: list[Proposal] = []
        if tile.zoom < CLOSEST or search.seeds is not None or worth.is_worth(tile):
            found = _look(predictor, frames, frame, tile, search, worth)
        yield FoundPart(tuple(found), number, len(looks))


class _Worth:
    """Where there is something that is better seen from the closest: small, or not told apart."""

    def __init__(self, window: tuple[slice, slice]) -> None:
        self._top, self._left = window[0].start, window[1].start
        shape = [-(-(side.stop - side.start) // _BLOCK_PX) for side in window]
        self._blocks = np.zeros(shape, np.bool_)

    def note(self, tile: Tile, is_object: NDArray[np.bool_], found: Sequence[Proposal]) -> None:
        """Note what is seen of objects in the cells (h, w) of a tile, but for large ones that were found well."""
        height, width = (side.stop - side.start for side in tile.window)
        cell = CELL_PX / tile.zoom
        rows, columns = (np.arange(side) / cell for side in (height, width))
        is_open = is_object[rows.astype(int)][:, columns.astype(int)]  # (height, width), in pixels of the frame
        for one in found:
            if one.mask.size >= _WORTH_PX**2 and one.score >= _SURE:
                y, x = (first - side.start for first, side in zip(one.corner, tile.window, strict=True))
                is_open[y : y + one.mask.shape[0], x : x + one.mask.shape[1]][one.mask] = False
        y, x = np.nonzero(is_open)
        top, left = tile.window[0].start - self._top, tile.window[1].start - self._left
        self._blocks[(y + top) // _BLOCK_PX, (x + left) // _BLOCK_PX] = True

    def is_worth(self, tile: Tile) -> bool:
        """Return whether anything was noted in the own part of a tile."""
        rows, columns = (
            slice((own.start - first) // _BLOCK_PX, -(-(own.stop - first) // _BLOCK_PX))
            for own, first in zip(tile.own, (self._top, self._left), strict=True)
        )
        return bool(self._blocks[rows, columns].any())


def _look(
    predictor: InstancePredictor,
    frames: FrameStack,
    frame: int,
    tile: Tile,
    search: Search,
    worth: _Worth,
) -> list[Proposal]:
    """Return the proposals of one tile, and note where a closer look is worth while."""
    top, left = (side.start for side in tile.window)
    with inference(predictor.model.device):
        pixels = frames.window(frame, *tile.window)
        working = WorkingImage.zoomed(pixels.shape[0], pixels.shape[1], tile.zoom)
        features = predictor.model.encode_image(working.image(pixels, predictor.model.device))
    maps, regions = predictor.see(features)
    if search.seeds is None:
        own = [region for region in regions if _is_own(tile, [cell * CELL_PX for cell in region.middle])]
        instances = predictor.segment(features, maps, own)
    else:
        local = [((y - top + 0.5) * tile.zoom - 0.5, (x - left + 0.5) * tile.zoom - 0.5) for y, x in search.seeds]
        instances = predictor.segment_seeds(features, maps, [place for place in local if _is_own(tile, place)])
    size, stride = (frames.height, frames.width), predictor.model.mask_stride
    found = []
    for instance in instances:
        proposal = _proposal(instance, tile, stride, size)
        if proposal is not None:
            area_px = int(np.count_nonzero(proposal.mask))
            alike = likeness_to(search.like, instance.features.cpu().numpy(), area_px, tile.zoom)
            found.append(replace(proposal, likeness=alike))
    worth.note(tile, (maps.object_logits[0, 0] > _PLAIN_LOGIT).cpu().numpy(), found)
    return found


def _is_own(tile: Tile, place: Sequence[float]) -> bool:
    """Return whether a place of the working image (row, column) lies in the tile's own part."""
    return all(
        own.start <= seen.start + where / tile.zoom < own.stop
        for own, seen, where in zip(tile.own, tile.window, place, strict=True)
    )


def _proposal(instance: Instance, tile: Tile, stride: int, size: tuple[int, int]) -> Proposal | None:
    """Return an instance as a proposal on the frame; None if nothing is left of it there, or it is cut by the tile."""
    cell = stride / tile.zoom  # pixels of the frame per cell
    height, width = (max(round(side * cell), 1) for side in instance.logits.shape)
    rows, columns = window_above(instance.logits, 0.0, height, width)
    logits = resize_window(instance.logits, height, width, (rows, columns))
    top = tile.window[0].start + round(instance.corner[0] * cell) + rows.start
    left = tile.window[1].start + round(instance.corner[1] * cell) + columns.start
    logits = logits[: size[0] - top, : size[1] - left]
    inside = largest_piece(logits > 0)
    ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(ys):
        return None
    corner, end = (top + int(ys[0]), left + int(xs[0])), (top + int(ys[-1]) + 1, left + int(xs[-1]) + 1)
    # What goes on beyond the tile is seen whole from further away, or in no tile at all.
    for low, high, seen, length in zip(corner, end, tile.window, size, strict=True):
        if (low <= seen.start and seen.start > 0) or (high >= seen.stop and seen.stop < length):
            return None
    mask = inside[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    tight, wide = (int(np.count_nonzero(logits > level)) for level in (STABILITY_OFFSET, -STABILITY_OFFSET))
    scores = ModelScores(
        instance.predicted_iou,
        instance.object_score,
        tight / wide,
        float(logits[inside].mean()),
    )
    y, x = ((where + 0.5) / tile.zoom - 0.5 for where in instance.seed)
    seed = (y + tile.window[0].start, x + tile.window[1].start)
    return Proposal(corner, mask, scores, instance.agreement, seed)
