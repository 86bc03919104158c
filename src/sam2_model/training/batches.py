"""Scenes as tensors: normalised images and the objects to ask for."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.errors import PromptError
from sam2_model.imaginary.scenes import Scene, SceneOptions, make_scene
from sam2_model.imaginary.textures import Field
from sam2_model.preprocessing import to_model_image

MIN_AREA_PX = 16
"""Smallest visible area, on the first frame, of an object worth asking for."""

_ATTEMPTS = 20
_TINTED = 0.12


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
    """

    images: Tensor
    owner: Tensor
    masks: Tensor
    labels: Tensor


def scene_batch(rng: np.random.Generator, options: SceneOptions, clips: int, objects: int) -> Batch:
    """Make clips and choose objects in each.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    options : SceneOptions
        What kind of scenes to make.
    clips : int
        Number of clips B.
    objects : int
        Objects per clip; chosen with repetition where a clip has fewer.

    Returns
    -------
    Batch
        With N = `clips` * `objects`.
    """
    scenes = [_scene_with_objects(rng, options) for _ in range(clips)]
    return to_batch(rng, scenes, objects)


def to_batch(rng: np.random.Generator, scenes: list[Scene], objects: int) -> Batch:
    """Choose objects in given clips of one shape.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness: which objects, and which clips are tinted.
    scenes : list of Scene
        The clips.
    objects : int
        Objects per clip; chosen with repetition where a clip has fewer.

    Returns
    -------
    Batch
        Objects of the same clip are neighbours.

    Raises
    ------
    PromptError
        If a clip shows no object of at least `MIN_AREA_PX` pixels on its first frame.
    """
    clips = []
    for scene in scenes:
        chosen = choose_objects(rng, scene.labels[0], objects)
        clips.append(Clip(to_images(_tint(rng, scene.frames)), scene.labels, chosen))
    return assemble(clips)


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


def assemble(clips: list[Clip]) -> Batch:
    """Put clips of one shape, with equally many chosen objects, together; objects of a clip are neighbours."""
    masks = []
    for clip in clips:
        ids = torch.from_numpy(clip.chosen.astype(np.int32))
        masks.append(torch.from_numpy(clip.labels)[:, None] == ids[:, None, None])  # (T, P, S, S)
    owner = torch.arange(len(clips)).repeat_interleave(len(clips[0].chosen))
    labels = torch.stack([torch.from_numpy(clip.labels) for clip in clips], 1)
    images = torch.stack([clip.images for clip in clips], 1)
    return Batch(images, owner, torch.cat(masks, 1)[:, :, None].float(), labels)


def choose_objects(rng: np.random.Generator, labels: NDArray[np.int32], objects: int) -> NDArray[np.intp]:
    """Choose ids worth asking for in a (S, S) label image; with repetition where there are fewer than `objects`.

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
    """Ids in a (H, W) label image that cover at least `MIN_AREA_PX` pixels."""
    area = np.bincount(labels.ravel())
    area[0] = 0
    return np.flatnonzero(area >= MIN_AREA_PX)


def to_images(frames: Field) -> Tensor:
    """Normalise frames in [0, 1], grey (T, S, S) or RGB (T, S, S, 3), to (T, 3, S, S) as prediction does."""
    pixels = np.round(frames * 255).astype(np.uint8)
    if pixels.ndim == 3:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    device = torch.device("cpu")
    return torch.cat([to_model_image(frame, frame.shape[0], device) for frame in pixels])


def _scene_with_objects(rng: np.random.Generator, options: SceneOptions) -> Scene:
    for _ in range(_ATTEMPTS):
        scene = make_scene(rng, options)
        if rng.random() < 0.5:  # objects are followed backward in time as well: bodies merge, light comes back
            scene = replace(scene, frames=scene.frames[::-1].copy(), labels=scene.labels[::-1].copy())
        if len(visible_objects(scene.labels[0])):
            return scene
    # Nuclei alone in a time-lapse are never missing for long; this only guards against odd options.
    return _scene_with_objects(rng, replace(options, families=("nuclei",), sections=0.0))


def _tint(rng: np.random.Generator, frames: Field) -> Field:
    """Sometimes turn grey frames into colour ones, as from a stain or a pseudo-colour."""
    if rng.random() >= _TINTED:
        return frames
    dark, bright = rng.random((2, 3)) * [[0.4], [1.0]] + [[0.0], [0.0]]
    bright = np.maximum(bright, dark + 0.1)
    return np.asarray(np.clip(dark + frames[..., None] * (bright - dark), 0, 1), np.float32)
