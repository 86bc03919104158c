"""Clips as tensors: normalised images and the objects to ask for."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.errors import PromptError

MIN_AREA_PX = 16
"""Smallest visible area, on the first frame, of an object worth asking for."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B clips of T frames and N objects in them.

    Attributes
    ----------
    images : Tensor
        Shape (T, B, 3, S, S), normalised.
    owner : Tensor
        Shape (N,), the clip each object belongs to.
    masks : Tensor
        Shape (T, N, 1, S, S), float32, 0 or 1; all 0 on a frame without the object.
    labels : Tensor
        Shape (T, B, S, S), int32: every object of the clips, asked for or not.
    is_complete : bool
        Whether every object that is seen has a label; else what has none is not surely background.
    """

    images: Tensor
    owner: Tensor
    masks: Tensor
    labels: Tensor
    is_complete: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """T frames, what is on them, and which P objects to ask for.

    Attributes
    ----------
    images : Tensor
        Shape (T, 3, S, S), normalised.
    labels : ndarray
        Shape (T, S, S), int32; 0 is background.
    chosen : ndarray
        Shape (P,), ids in `labels`.
    """

    images: Tensor
    labels: NDArray[np.int32]
    chosen: NDArray[np.intp]


def assemble(clips: list[Clip], *, is_complete: bool = True) -> Batch:
    """Return a batch of clips of one shape with equally many chosen objects; objects of a clip are neighbours."""
    masks = []
    for clip in clips:
        ids = torch.from_numpy(clip.chosen.astype(np.int32))
        masks.append(torch.from_numpy(clip.labels)[:, None] == ids[:, None, None])  # (T, P, S, S)
    owner = torch.arange(len(clips)).repeat_interleave(len(clips[0].chosen))
    labels = torch.stack([torch.from_numpy(clip.labels) for clip in clips], 1)
    images = torch.stack([clip.images for clip in clips], 1)
    return Batch(images, owner, torch.cat(masks, 1)[:, :, None].float(), labels, is_complete)


def choose_objects(rng: np.random.Generator, labels: NDArray[np.int32], objects: int) -> NDArray[np.intp]:
    """Return ids worth asking for in a (S, S) label image; with repetition where there are fewer than `objects`.

    Raises
    ------
    PromptError
        If there is no object of at least `MIN_AREA_PX` pixels.
    """
    candidates = visible_objects(labels)
    if len(candidates) == 0:
        raise PromptError(f"A clip shows no object of {MIN_AREA_PX} px to ask for.")
    chosen = rng.permutation(candidates)[:objects]
    if len(chosen) < objects:
        chosen = np.concatenate([chosen, rng.choice(candidates, objects - len(chosen))])
    return chosen


def visible_objects(labels: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the ids in a (H, W) label image that cover at least `MIN_AREA_PX` pixels."""
    area = np.bincount(labels.ravel())
    area[0] = 0
    return np.flatnonzero(area >= MIN_AREA_PX)
