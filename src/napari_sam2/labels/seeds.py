"""Seeds: places of an image of which each lies on one object, as points, labels and bright spots give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu

from napari_sam2.errors import OptionError, PromptError
from napari_sam2.labels.pieces import innermost
from napari_sam2.labels.prompts import masks_of_frame
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt
    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike
    from napari_sam2.prompts import Prompt

Seeds = tuple[tuple[float, float], ...]
"""Rows and columns, in data pixels."""

SPACING_PX = 10
"""Bright spots that are closer together than this are one."""


def seeds_from_array(array: npt.ArrayLike | ArrayLike, height: int, width: int) -> Seeds:
    """Return the seeds that points, or the labels of an image, are.

    Parameters
    ----------
    array : array
        Points (N, 2), rows and columns in data pixels; or labels of the image's own shape, every id of which is a seed
        at its innermost pixel.
    height, width : int
        Size of the image, in pixels.

    Raises
    ------
    PromptError
        If it is neither, holds no seed, a value that is no object id, or a point that is outside the image.
    """
    try:
        values = np.asarray(array)
    except ValueError as error:  # lists of different lengths
        raise PromptError(f"Seeds are no array: {error}. Give a row and a column for each.") from error
    if values.shape == (height, width):
        return seeds_of_prompts(masks_of_frame(values, 0), height, width)
    if values.size and (values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "iuf"):
        raise PromptError(
            f"Seeds have shape {values.shape} and dtype {values.dtype}. Give points of shape (N, 2), rows and columns, "
            f"or labels of the shape of the image, {(height, width)}."
        )
    return _checked(((float(y), float(x)) for y, x in values.tolist()), height, width)


def seeds_of_prompts(prompts: Iterable[Prompt], height: int, width: int) -> Seeds:
    """Return the seeds that prompts are: positive points, the middles of boxes, the innermost pixels of masks.

    Raises
    ------
    PromptError
        If there is none, or one is outside the image or on another frame than 0.
    """
    places: list[tuple[float, float]] = []
    for prompt in prompts:
        if prompt.frame:
            raise PromptError(f"A seed is on frame {prompt.frame}, and an image has frame 0 alone. Correct the frame.")
        match prompt:
            case PointPrompt() if prompt.positive:
                places.append((prompt.y, prompt.x))
            case BoxPrompt():
                inside = prompt.inside(height, width)
                places.append(((inside.y_min + inside.y_max) / 2, (inside.x_min + inside.x_max) / 2))
            case MaskPrompt():
                places.append(innermost(prompt))
    return _checked(places, height, width)


def seeds_from_maxima(channel: ArrayLike, *, spacing_px: float = SPACING_PX) -> NDArray[np.float64]:
    """Return the bright spots of one channel, such as one of nuclei, as seeds.

    The channel is smoothed over half the spacing. Maxima of that count where they are brighter than its Otsu threshold.

    Parameters
    ----------
    channel : array
        Shape (Y, X): the values of one channel. NaN and infinity count as its darkest value.
    spacing_px : float
        Least distance between two seeds, in pixels: somewhat less than the width of an object.

    Returns
    -------
    ndarray
        Shape (N, 2): rows and columns, from top to bottom, then from left to right.

    Raises
    ------
    PromptError
        If the channel has no maximum, as one of a single value has.
    OptionError
        If the spacing is no number from 1, or the channel has other axes than rows and columns.
    """
    values = np.asarray(channel)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise OptionError(
            f"The channel has shape {values.shape} and dtype {values.dtype}. Give numbers in rows and columns, (Y, X)."
        )
    if not np.isreal(spacing_px) or not 1 <= spacing_px <= max(1, *values.shape):
        raise OptionError(
            f"The spacing is {spacing_px!r}. Use a number of pixels, from 1 to the longer side of the image."
        )
    levels = values.astype(np.float64)
    is_finite = np.isfinite(levels)
    levels[~is_finite] = levels[is_finite].min(initial=np.inf) if is_finite.any() else 0.0
    smooth = ndimage.gaussian_filter(levels, spacing_px / 4)
    if smooth.min() == smooth.max():
        raise PromptError("The channel has the same value everywhere, and no bright spot. Take another channel.")
    find: Callable[..., Any] = peak_local_max  # without types, as the threshold
    least: Callable[..., Any] = threshold_otsu
    spots = find(smooth, min_distance=round(spacing_px), threshold_abs=least(smooth), exclude_border=False)
    if not len(spots):
        raise PromptError("The channel has no bright spot. Take another channel.")
    return np.asarray(sorted(spots.tolist()), np.float64)


def _checked(places: Iterable[tuple[float, float]], height: int, width: int) -> Seeds:
    seeds = tuple(places)
    for y, x in seeds:
        if not (-0.5 <= y <= height - 0.5 and -0.5 <= x <= width - 0.5):  # not a number is nowhere
            raise PromptError(
                f"The seed (y {y:g}, x {x:g}) lies outside the image of {height} x {width} pixels. Move it inside, or "
                "leave it out; seeds are (y, x) in data pixels."
            )
    if not seeds:
        raise PromptError("There are no seeds. Give a point or a label for each object, or leave seeds out.")
    return seeds
