"""Masks of one frame, put together to a label image, and how much of each is in it. The one place where they meet."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.labels.pieces import cut_off
from napari_sam2.labels.values import areas_of
from napari_sam2.prompts import PointPrompt
from napari_sam2.results import CLEAN_AREA_PX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_sam2.prompts import Prompt
    from napari_sam2.results import ObjectMask, ObjectScore


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """Masks of one frame as labels.

    Attributes
    ----------
    labels : ndarray
        Shape (Y, X), unsigned; 0 is background.
    area_px : mapping of int to int
        Pixels that each object has in them.
    num_specks : int
        Specks that were dropped.
    """

    labels: NDArray[np.unsignedinteger]
    area_px: Mapping[int, int]
    num_specks: int = 0

    def counted(self, scores: Iterable[ObjectScore]) -> tuple[ObjectScore, ...]:
        """Return scores of the frame with the areas in these labels; 0 for objects that are not among the masks."""
        return tuple(replace(score, area_in_labels_px=self.area_px.get(score.object_id, 0)) for score in scores)


def label_dtype(object_ids: Iterable[int]) -> np.dtype[np.unsignedinteger]:
    """Return the smallest type of a label image that holds these ids: uint16 or uint32."""
    return np.dtype(np.uint16 if max(object_ids, default=0) <= np.iinfo(np.uint16).max else np.uint32)


def compose(
    objects: Sequence[ObjectMask],
    height: int,
    width: int,
    dtype: np.dtype[np.unsignedinteger],
    *,
    prompts_of: Callable[[int], Iterable[Prompt]] = lambda object_id: (),
    drops_specks: bool = True,
) -> Composed:
    """Return the label image that masks of one frame form together.

    Where masks overlap, a pixel goes to the highest logit; to a mask that the user gave before any other; to the lower
    object id where they are equal. The order of `objects` does not matter.

    Specks that remain beside another object are dropped: pieces of up to `CLEAN_AREA_PX` pixels that are cut off from a
    larger one of their mask just because others took what lay between. Their pixels go to whoever comes next there.

    Parameters
    ----------
    objects : sequence of ObjectMask
        All objects of one frame.
    height, width : int
        Size of the frame, in pixels.
    dtype : dtype
        Type of the label image; see `label_dtype`.
    prompts_of : callable, optional
        Returns the prompts of an object on this frame: a piece with a point on it is no speck.
    drops_specks : bool
        Whether specks are dropped. Of a mask that the user gave none ever is.
    """
    masks = sorted(objects, key=lambda one: one.object_id)
    own = {mask.object_id: int(np.count_nonzero(mask.logits > 0)) for mask in masks}
    labels = _contested(masks, height, width, dtype, {})
    if np.count_nonzero(labels) == sum(own.values()):  # nobody has lost a pixel: most frames end here
        return Composed(labels, own)
    areas = {**dict.fromkeys(own, 0), **areas_of(labels)}
    suspects = [mask for mask in masks if areas[mask.object_id] < own[mask.object_id] and not mask.is_given]
    dropped: dict[int, NDArray[np.bool_]] = {}
    num_specks = 0
    while drops_specks and suspects:
        specks = {mask.object_id: _specks(mask, labels, prompts_of) for mask in suspects}
        found = {object_id: pixels for object_id, (pixels, count) in specks.items() if count}
        if not found:
            break
        num_specks += sum(count for _, count in specks.values())
        dropped |= {i: pixels | dropped[i] if i in dropped else pixels for i, pixels in found.items()}
        labels, before = _contested(masks, height, width, dtype, dropped), areas
        areas = {**dict.fromkeys(own, 0), **areas_of(labels)}
        # Who got the pixels may show a speck there that was below.
        suspects = [one for one in suspects if one.object_id in found or areas[one.object_id] != before[one.object_id]]
    return Composed(labels, areas, num_specks)


def _contested(
    masks: Iterable[ObjectMask],
    height: int,
    width: int,
    dtype: np.dtype[np.unsignedinteger],
    dropped: Mapping[int, NDArray[np.bool_]],
) -> NDArray[np.unsignedinteger]:
    """Return labels in which each pixel goes to the strongest mask, without what was dropped of some, by object."""
    labels = np.zeros((height, width), dtype)
    strongest = np.zeros((height, width), np.float32)
    for mask in masks:
        window = _window(mask)
        strength = np.where(mask.logits > 0, np.float32(np.inf), 0) if mask.is_given else mask.logits
        wins = strength > strongest[window]
        if mask.object_id in dropped:
            wins &= ~dropped[mask.object_id]
        labels[window][wins] = mask.object_id
        strongest[window][wins] = strength[wins]
    return labels


def object_at(objects: Iterable[ObjectMask], row: int, column: int) -> int:
    """Return the label that `compose` gives to one pixel, specks included."""
    found, strongest = 0, 0.0
    for mask in sorted(objects, key=lambda one: one.object_id):
        y, x = row - mask.corner[0], column - mask.corner[1]
        if 0 <= y < mask.logits.shape[0] and 0 <= x < mask.logits.shape[1]:
            logit = float(mask.logits[y, x])
            strength = math.inf if mask.is_given and logit > 0 else logit
            if strength > strongest:
                found, strongest = mask.object_id, strength
    return found


def _specks(
    mask: ObjectMask, labels: NDArray[np.unsignedinteger], prompts_of: Callable[[int], Iterable[Prompt]]
) -> tuple[NDArray[np.bool_], int]:
    """Return the pixels of the specks of a mask, in its window, and how many specks there are."""
    remains = labels[_window(mask)] == mask.object_id
    y, x = mask.corner
    clicks = (
        (round(prompt.y) - y, round(prompt.x) - x)
        for prompt in prompts_of(mask.object_id)
        if isinstance(prompt, PointPrompt) and prompt.positive
    )
    return cut_off(mask.logits > 0, remains, CLEAN_AREA_PX, clicks)


def _window(mask: ObjectMask) -> tuple[slice, slice]:
    (y, x), (height, width) = mask.corner, mask.logits.shape
    return slice(y, y + height), slice(x, x + width)
