"""Masks of one frame, put together to a label image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_sam2.results import ObjectMask


def label_dtype(object_ids: Iterable[int]) -> np.dtype[np.unsignedinteger]:
    """Return the smallest type of a label image that holds these ids: uint16 or uint32."""
    return np.dtype(np.uint16 if max(object_ids, default=0) <= np.iinfo(np.uint16).max else np.uint32)


def compose(
    objects: Sequence[ObjectMask], height: int, width: int, dtype: np.dtype[np.unsignedinteger]
) -> NDArray[np.unsignedinteger]:
    """Return the label image that masks of one frame form together.

    Where masks overlap, a pixel goes to the highest logit; to a mask that the user gave before any other; to the lower
    object id where they are equal. The order of `objects` does not matter.

    Parameters
    ----------
    objects : sequence of ObjectMask
        All objects of one frame.
    height, width : int
        Size of the frame, in pixels.
    dtype : dtype
        Type of the label image; see `label_dtype`.

    Returns
    -------
    ndarray
        Shape (height, width); 0 is background.
    """
    labels = np.zeros((height, width), dtype)
    strongest = np.zeros((height, width), np.float32)
    for mask in sorted(objects, key=lambda one: one.object_id):
        y, x = mask.corner
        window = (slice(y, y + mask.logits.shape[0]), slice(x, x + mask.logits.shape[1]))
        strength = np.where(mask.logits > 0, np.float32(np.inf), 0) if mask.is_given else mask.logits
        wins = strength > strongest[window]
        labels[window][wins] = mask.object_id
        strongest[window][wins] = strength[wins]
    return labels


def object_at(objects: Iterable[ObjectMask], row: int, column: int) -> int:
    """Return the label that `compose` gives to one pixel."""
    found, strongest = 0, 0.0
    for mask in sorted(objects, key=lambda one: one.object_id):
        y, x = row - mask.corner[0], column - mask.corner[1]
        if 0 <= y < mask.logits.shape[0] and 0 <= x < mask.logits.shape[1]:
            logit = float(mask.logits[y, x])
            strength = math.inf if mask.is_given and logit > 0 else logit
            if strength > strongest:
                found, strongest = mask.object_id, strength
    return found
