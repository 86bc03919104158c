"""What the model answers as masks on the frame: at its size, cut to where the object is, without what nobody meant."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.prompts import MaskPrompt
from napari_sam2.results import CLEAN_AREA_PX, STABILITY_OFFSET, ObjectMask
from sam2_model.mask_ops import clean_small_regions, resize_window, window_above, without_islands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.prompts import Prompt
    from sam2_model.video.state import FramePrompt

OUTSIDE_LOGIT = 0.1
"""Logit, at least so far below zero, of a pixel that the user clicked as not belonging to the object."""

GIVEN_LOGIT = 10.0
"""Logit of the pixels of a mask that the user gave."""

LEAST_FOUND_LOGIT = 0.1
"""Logit that the pixels of a mask that the model has found have at least: whatever it said, they are in the mask."""


def given_mask(object_id: int, prompts: tuple[Prompt, ...]) -> ObjectMask:
    """Return the mask that prompts are themselves, unchanged: of the user's, or found by a model before."""
    mask = next((prompt for prompt in prompts if isinstance(prompt, MaskPrompt)), None)
    if mask is None:
        return ObjectMask(object_id, (0, 0), np.zeros((0, 0), np.float32), 1.0, 0.0, is_given=True)
    found = mask.found
    # Where masks meet, one that was found is worth what its model said, as those that answer prompts are.
    logit = np.float32(GIVEN_LOGIT if found is None else max(found.mean_logit, LEAST_FOUND_LOGIT))
    iou, score = (1.0, 1.0) if found is None else (found.predicted_iou, found.object_score)
    logits = np.where(mask.crop, logit, -logit)
    return ObjectMask(object_id, mask.corner, logits, iou, score, is_given=found is None, found=found)


def object_mask(
    object_id: int,
    low_res_logits: NDArray[np.float32],
    predicted_iou: float,
    object_score: float,
    size: tuple[int, int],
    prompt: FramePrompt,
    *,
    drops_islands: bool = True,
) -> ObjectMask:
    """Return a mask at the size of the frame, cut to where it is, without specks and without what was not clicked.

    Parameters
    ----------
    object_id : int
        The object.
    low_res_logits : ndarray
        Shape (h, w), float32, as the model has them.
    predicted_iou, object_score : float
        How sure it is.
    size : (int, int)
        Rows and columns of the frame.
    prompt : FramePrompt
        The prompts of the object on this frame; an empty one if it was followed there.
    drops_islands : bool
        Whether islands that no positive click touches are dropped, as `answers_clicks` says where; the largest stays.
    """
    rows, columns = window_above(low_res_logits, -STABILITY_OFFSET, *size)
    logits = resize_window(low_res_logits, *size, (rows, columns))
    # Where model and user agree, nothing is a speck: a part that was clicked, a hole that was clicked away.
    clicked = prompt.points.round().astype(int) - (columns.start, rows.start)
    is_here = ((clicked >= 0) & (clicked < logits.shape[::-1])).all(1)
    x, y = clicked[is_here].T
    is_on = prompt.labels[is_here] == 1
    # A pixel that the user calls outside is outside, also on an outline where the model is not so sure.
    logits[y[~is_on], x[~is_on]] = np.minimum(logits[y[~is_on], x[~is_on]], -OUTSIDE_LOGIT)
    prompted = np.zeros(logits.shape, np.bool_)
    prompted[y, x] = (logits[y, x] > 0) == is_on
    logits = clean_small_regions(logits, CLEAN_AREA_PX, prompted)
    if drops_islands and answers_clicks(prompt):
        touched = np.zeros(logits.shape, np.bool_)
        touched[y[is_on], x[is_on]] = True
        logits = without_islands(logits, touched)
    return ObjectMask(object_id, (rows.start, columns.start), logits, predicted_iou, object_score)


def placed(mask: ObjectMask, corner: tuple[int, int], size: tuple[int, int]) -> ObjectMask:
    """Return a mask of a part of a frame on the frame, without what lies beyond that.

    Parameters
    ----------
    mask : ObjectMask
        In pixels of the part.
    corner : (int, int)
        Row and column of the first pixel of the part.
    size : (int, int)
        Rows and columns of the frame.
    """
    if mask.is_given:
        return mask
    top, left = mask.corner[0] + corner[0], mask.corner[1] + corner[1]
    return replace(mask, corner=(top, left), logits=mask.logits[: max(size[0] - top, 0), : max(size[1] - left, 0)])


def answers_clicks(prompt: FramePrompt) -> bool:
    """Whether clicks alone say what is meant, so that an island none of them touches is another object or none.

    A box or a mask says more than that: what lies in it may be in pieces.
    """
    return prompt.box is None and prompt.mask is None and bool((prompt.labels == 1).any())
