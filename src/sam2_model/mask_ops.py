"""What is done to masks outside the network: resize, judge, clean."""

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

ABSENT_LOGIT = -1024.0
"""Mask logit of every pixel when the object is not on the frame."""

MASK_LOGIT = 10.0
"""Mask logit of a pixel that is certain, in masks given by a user and in masks that are remembered."""

PROMPT_LOGIT_LIMIT = 32.0
"""Mask logits that are fed back as a prompt are kept between this and its negative."""

_EIGHT = np.ones((3, 3), dtype=bool)


def as_logits(mask: Tensor) -> Tensor:
    """Return masks in [0, 1] as logits between -10 and 10."""
    return mask * (2 * MASK_LOGIT) - MASK_LOGIT


def as_low_res_logits(mask: Tensor, stride: int) -> Tensor:
    """Return masks (B, 1, H, W) of 0 and 1 as logits of a prompt, (B, 1, H / stride, W / stride)."""
    size = [side // stride for side in mask.shape[-2:]]
    return F.interpolate(as_logits(mask), size=size, mode="bilinear", antialias=True)


def fit_mask(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return mask logits (B, 1, H, W) of a size, resized unless they have it."""
    if mask_logits.shape[-2:] == size:
        return mask_logits
    return F.interpolate(mask_logits.float(), size=size, mode="bilinear", antialias=True)


def resize_logits(logits: Tensor, height: int, width: int) -> Tensor:
    """Return mask logits (B, M, h, w) resized bilinearly to (B, M, height, width), float32."""
    return F.interpolate(logits.float(), size=(height, width), mode="bilinear", align_corners=False)


def _bilinear_weights(length: int, size: int, window: slice) -> tuple[slice, NDArray[np.float32]]:
    """Return the cells that a window reads where an axis of `length` cells is resized to `size`, and their weights.

    The weights have shape (window, cells).
    """
    pixels: NDArray[np.intp] = np.arange(size)[window]
    if not len(pixels):
        return slice(0, 0), np.zeros((0, 0), np.float32)
    position = np.clip((pixels + 0.5) * (length / size) - 0.5, 0, length - 1)
    below = np.minimum(position.astype(int), length - 1)
    above = np.minimum(below + 1, length - 1)
    fraction = (position - below).astype(np.float32)
    cells = slice(int(below[0]), int(above[-1]) + 1)
    weights = np.zeros((len(position), cells.stop - cells.start), np.float32)
    rows = np.arange(len(position))
    np.add.at(weights, (rows, below - cells.start), 1 - fraction)
    np.add.at(weights, (rows, above - cells.start), fraction)
    return cells, weights


def resize_window(
    logits: NDArray[np.float32], height: int, width: int, window: tuple[slice, slice]
) -> NDArray[np.float32]:
    """Return one window of what `resize_logits` returns, without computing the rest.

    Parameters
    ----------
    logits : ndarray
        Shape (h, w), float32.
    height, width : int
        Size of the whole result.
    window : tuple of slice
        Rows and columns of the result that are wanted.
    """
    rows, row_weights = _bilinear_weights(logits.shape[0], height, window[0])
    columns, column_weights = _bilinear_weights(logits.shape[1], width, window[1])
    return np.asarray(row_weights @ logits[rows, columns] @ column_weights.T, np.float32)


def window_above(logits: NDArray[np.float32], level: float, height: int, width: int) -> tuple[slice, slice]:
    """Return the window of the resized mask outside of which no logit exceeds a level.

    Parameters
    ----------
    logits : ndarray
        Shape (h, w), float32.
    level : float
        Logit that is exceeded inside only.
    height, width : int
        Size of the resized mask.

    Returns
    -------
    tuple of slice
        Rows and columns; both empty where nothing exceeds the level. Except at the edge of the mask, one pixel of
        margin is included, so that what surrounds an object stays in one piece.
    """
    above = logits > level
    if not above.any():
        return slice(0, 0), slice(0, 0)
    window = []
    for axis, size in enumerate((height, width)):
        cells = np.flatnonzero(above.any(1 - axis))
        scale = size / above.shape[axis]
        # A cell reaches as far as the centres of its neighbours.
        first, last = int((cells[0] - 1) * scale) - 1, int(np.ceil((cells[-1] + 2) * scale)) + 1
        window.append(slice(max(first, 0), min(last, size)))
    return window[0], window[1]


def stability_score(logits: Tensor, offset: float) -> Tensor:
    """Return how little masks change while their threshold moves by `offset` either way.

    Parameters
    ----------
    logits : Tensor
        Shape (..., H, W).
    offset : float
        Shift of the threshold, in logits.

    Returns
    -------
    Tensor
        Shape (...), in [0, 1]: area of the tight mask over area of the wide one, 1 where both are empty.
    """
    tight = (logits > offset).sum((-2, -1)).float()
    wide = (logits > -offset).sum((-2, -1)).float()
    return (tight / wide).where(wide > 0, 1.0)


def _small(regions: NDArray[np.bool_], max_area: int, keep: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return the pixels of 8-connected regions of at most `max_area` pixels, but for those that `keep` marks."""
    labelled, count = ndimage.label(regions, structure=_EIGHT)
    area = np.bincount(labelled.ravel(), minlength=count + 1)
    is_small = area <= max_area
    is_small[0] = False
    if keep is not None:
        is_small[labelled[keep]] = False
    return np.asarray(is_small[labelled])


def fill_holes(logits: NDArray[np.float32], max_area: int, value: float) -> NDArray[np.float32]:
    """Raise the small background regions of a mask to `value`.

    Parameters
    ----------
    logits : ndarray
        Shape (H, W), float32; positive inside the mask.
    max_area : int
        Largest region that counts as a hole, in cells of `logits`, 8-connected.
    value : float
        Logit given to the holes.
    """
    holes = _small(logits <= 0, max_area, keep=None)
    return np.where(holes, np.float32(value), logits)


def clean_small_regions(
    logits: NDArray[np.float32], max_area: int, prompted: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return a mask without its small holes and islands.

    Parameters
    ----------
    logits : ndarray
        Shape (H, W), float32; positive inside the mask.
    max_area : int
        Largest region that is cleaned, in pixels, 8-connected. Zero changes nothing.
    prompted : ndarray, optional
        Shape (H, W), bool: places the user asked for. A region holding one of them stays, as does the largest.

    Returns
    -------
    ndarray
        Shape (H, W), float32. A cleaned pixel keeps the size of its logit and changes its sign, so that it is as
        doubtful as it was.
    """
    inside = logits > 0
    if max_area <= 0 or not inside.any():
        return logits
    # Background that runs into the edge is no hole, however little of it is in view.
    is_open = np.ones(inside.shape, np.bool_)
    is_open[1:-1, 1:-1] = False
    holes = _small(~inside, max_area, is_open if prompted is None else is_open | prompted)
    inside |= holes  # first of all: an island in a hole is part of what surrounds both
    labelled, _ = ndimage.label(inside, structure=_EIGHT)
    area = np.bincount(labelled.ravel())
    area[0] = 0
    keep = labelled == area.argmax()
    if prompted is not None:
        keep |= inside & prompted
    islands = _small(inside, max_area, keep)
    turned = np.where(logits == 0, np.float32(1e-3), np.abs(logits))
    return np.where(islands, -turned, np.where(holes, turned, logits)).astype(np.float32)


def without_islands(logits: NDArray[np.float32], touched: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a mask without its islands, whatever their size, but for the largest and those that are touched.

    Parameters
    ----------
    logits : ndarray
        Shape (H, W), float32; positive inside the mask. Islands are 8-connected.
    touched : ndarray
        Shape (H, W), bool: places of which an island has to hold one to stay.

    Returns
    -------
    ndarray
        Shape (H, W), float32; `logits` itself if nothing is dropped. A dropped pixel keeps the size of its logit and
        changes its sign, as in `clean_small_regions`.
    """
    labelled, count = ndimage.label(logits > 0, structure=_EIGHT)
    if count < 2:
        return logits
    area = np.bincount(labelled.ravel())
    area[0] = 0
    is_dropped = np.ones(count + 1, np.bool_)
    is_dropped[0] = is_dropped[area.argmax()] = False
    is_dropped[labelled[touched]] = False
    return np.where(is_dropped[labelled], -logits, logits) if is_dropped.any() else logits
