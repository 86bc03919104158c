"""Label arrays as prompts: every id becomes a mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_sam2.errors import PromptError
from napari_sam2.prompts import MaskPrompt, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike

    _Region = tuple[int, tuple[int, int], NDArray[np.bool_]]


def prompts_from_labels(labels: ArrayLike, frames: int | Iterable[int] | None = None) -> tuple[MaskPrompt, ...]:
    """Mask prompts for every id of a label array.

    Parameters
    ----------
    labels : array of int, shape (Y, X) or (N, Y, X)
        0 is background, every other value an object id. May be lazy; a stack is read one frame at a time.
    frames : int or iterable of int, optional
        Of a stack: the frames to take; None takes all. Of a (Y, X) array: the frames on which it stands; None
        means frame 0.

    Returns
    -------
    tuple of MaskPrompt
        By frame in the order given, then by ascending id.

    Raises
    ------
    PromptError
        If the array is not integer, has negative values, another number of axes or no object, or if a frame does
        not exist.
    """
    shape = _checked_labels_shape(labels)
    placed: Iterable[tuple[int, _Region]]
    if len(shape) == 2:
        regions = tuple(_regions(np.asarray(labels[:, :])))
        placed = product(_frame_numbers(frames, default=(0,)), regions)
    else:
        placed = (
            (frame, region)
            for frame in _frame_numbers(frames, default=range(shape[0]), num_frames=shape[0])
            for region in _regions(np.asarray(labels[frame, :, :]))
        )
    height, width = shape[-2:]
    prompts = tuple(
        MaskPrompt(object_id, frame, mask, corner=corner, shape=(height, width))
        for frame, (object_id, corner, mask) in placed
    )
    if not prompts:
        raise PromptError(
            "The label array holds no object on the frames taken: every value is 0. Paint an object, or choose other "
            "frames."
        )
    return prompts


def _regions(labels: NDArray[np.integer]) -> Iterator[_Region]:
    """Yield each id of a (Y, X) label image with the corner and the mask of the rectangle that holds it."""
    if not labels.size:
        return
    if labels.min() < 0:
        raise PromptError(
            f"The label array holds the negative value {labels.min()}. Object ids start at 1: set it to 0 or renumber."
        )
    ids = np.unique(labels)
    # Rank of each pixel's id: find_objects lists every number up to the largest, and an id may be in the billions.
    ranks = np.searchsorted(ids, labels) + int(ids[0] > 0)
    for object_id, box in zip(ids[ids > 0], ndimage.find_objects(ranks), strict=True):
        yield int(object_id), (box[0].start, box[1].start), labels[box] == object_id


def _checked_labels_shape(labels: ArrayLike) -> tuple[int, ...]:
    if not hasattr(labels, "shape") or not hasattr(labels, "dtype"):
        raise PromptError(f"Labels are of type {type(labels).__name__}. Give an integer array (numpy, dask or zarr).")
    shape, dtype = tuple(labels.shape), np.dtype(labels.dtype)
    if dtype.kind == "b":
        raise PromptError(
            "Labels are boolean, which says where objects are but not which. Number them, for example with "
            "skimage.measure.label(mask), or make one MaskPrompt of a single object."
        )
    if dtype.kind not in "iu":
        raise PromptError(
            f"Labels are of dtype {dtype}. Convert them to integers, for example labels.astype('uint32')."
        )
    if len(shape) not in (2, 3):
        raise PromptError(f"Labels have shape {shape}. Give one image (Y, X) or a stack (N, Y, X), without channels.")
    return shape


def _frame_numbers(
    frames: int | Iterable[int] | None, *, default: Iterable[int], num_frames: int | None = None
) -> tuple[int, ...]:
    if frames is None:
        frames = default
    elif not isinstance(frames, Iterable):
        frames = (frames,)
    numbers = tuple(whole_number(frame, "Frame", least=0) for frame in frames)
    for frame in numbers:
        if num_frames is not None and frame >= num_frames:
            raise PromptError(f"There is no frame {frame}: the labels have {num_frames}, numbered from 0.")
    return numbers
