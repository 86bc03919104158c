"""Pairs of objects that are the same thing: their masks lie on each other. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_sam2.results import ObjectMask
    from napari_sam2.workspace.held import HeldMask, Snapshot

LEAST_IOU = 0.8
"""Overlap, as intersection over union, from which two masks are of one thing. Neighbours that touch have 0.1."""

MASKS_AT_ONCE = 1500
"""Masks that are compared in one reading; the rest waits for the next, so that nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two objects that are the same.

    Attributes
    ----------
    first, second : int
        The objects, the smaller id first.
    frames : tuple of int
        Where they are, ascending.
    """

    first: int
    second: int
    frames: tuple[int, ...]


class DuplicateFinder:
    """Finds duplicates among the masks of a stack; frames whose masks are as before are not looked at again."""

    def __init__(self) -> None:
        self._seen: Snapshot = {}
        self._pairs: dict[int, tuple[tuple[int, int], ...]] = {}

    def find(self, masks: Snapshot, here: int, left_out: Collection[int] = ()) -> tuple[Duplicate, ...]:
        """Return the pairs that are known by now, in order of ids.

        Parameters
        ----------
        masks : mapping
            From `HeldMasks.snapshot`.
        here : int
            The frame that is shown: what has changed near it is compared first.
        left_out : collection of int
            Objects that nobody is told of.
        """
        for frame in self._seen.keys() - masks.keys():
            del self._seen[frame], self._pairs[frame]
        changed = [frame for frame, of_frame in masks.items() if self._seen.get(frame) is not of_frame]
        count = 0
        for frame in sorted(changed, key=lambda one: abs(one - here)):
            if count >= MASKS_AT_ONCE:
                break
            self._seen[frame], self._pairs[frame] = masks[frame], _pairs_on(masks[frame])
            count += len(masks[frame])
        frames: dict[tuple[int, int], list[int]] = {}
        for frame in sorted(self._pairs):
            for pair in self._pairs[frame]:
                if not (pair[0] in left_out or pair[1] in left_out):
                    frames.setdefault(pair, []).append(frame)
        return tuple(Duplicate(*pair, tuple(frames[pair])) for pair in sorted(frames))

    def is_behind(self, masks: Snapshot) -> bool:
        """Whether some frames were not compared yet."""
        return any(self._seen.get(frame) is not of_frame for frame, of_frame in masks.items())


def _pairs_on(masks: Mapping[int, HeldMask]) -> tuple[tuple[int, int], ...]:
    found = [held.mask for held in masks.values() if held.score.area_px]
    areas = np.array([held.score.area_px for held in masks.values() if held.score.area_px])
    return tuple(sorted(_sorted_ids(a, b) for a, b in _candidates(found, areas) if _iou(a, b) >= LEAST_IOU))


def _sorted_ids(a: ObjectMask, b: ObjectMask) -> tuple[int, int]:
    return min(a.object_id, b.object_id), max(a.object_id, b.object_id)


def _candidates(masks: list[ObjectMask], areas: NDArray[np.intp]) -> Iterator[tuple[ObjectMask, ObjectMask]]:
    """Pairs that could be the same by their areas and windows; their pixels need not be looked at for that."""
    if len(masks) < 2:
        return
    least = LEAST_IOU * np.maximum.outer(areas, areas)
    corner = np.array([mask.corner for mask in masks])
    end = corner + [mask.logits.shape for mask in masks]
    height, width = (
        np.minimum.outer(end[:, axis], end[:, axis]) - np.maximum.outer(corner[:, axis], corner[:, axis])
        for axis in (0, 1)
    )
    is_near = (np.minimum.outer(areas, areas) >= least) & (height > 0) & (width > 0) & (height * width >= least)
    for one, other in zip(*np.nonzero(np.triu(is_near, 1)), strict=True):
        yield masks[one], masks[other]


def _iou(a: ObjectMask, b: ObjectMask) -> float:
    top, left = (max(one) for one in zip(a.corner, b.corner, strict=True))
    both = _inside(a, top, left), _inside(b, top, left)
    height, width = (min(one.shape[axis] for one in both) for axis in (0, 1))
    overlap = np.count_nonzero(both[0][:height, :width] & both[1][:height, :width])
    return overlap / (np.count_nonzero(a.logits > 0) + np.count_nonzero(b.logits > 0) - overlap)


def _inside(mask: ObjectMask, top: int, left: int) -> NDArray[np.bool_]:
    """Pixels of a mask from a place on, which is not above or left of its window."""
    return mask.logits[top - mask.corner[0] :, left - mask.corner[1] :] > 0


def duplicates_sentence(duplicates: Iterable[Duplicate], *, is_stack: bool) -> str:
    """Return which objects are the same, and what to do; empty without any."""
    found = tuple(duplicates)
    if not found:
        return ""
    one, more = found[0], len(found) - 1
    where = f" on {_frames_named(one.frames)}" if is_stack else ""
    others = f" {more} more {'pair is' if more == 1 else 'pairs are'} alike." if more else ""
    # As before a division, where a cell is two objects of which one is not there yet.
    do = "delete one, or press X where it is not there." if is_stack else "delete one of them."
    return f"Objects {one.first} and {one.second} are the same{where}: {do}{others}"


def _frames_named(frames: tuple[int, ...]) -> str:
    first, last = frames[0], frames[-1]
    if len(frames) == 1:
        return f"frame {first}"
    if len(frames) == last - first + 1:
        return f"frames {first} to {last}"
    return f"{len(frames)} frames from {first} on"
