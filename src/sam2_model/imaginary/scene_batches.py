"""Generated scenes as batches to train on."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sam2_model.imaginary.scenes import Scene, SceneOptions, make_scene
from sam2_model.imaginary.textures import Field
from sam2_model.preprocessing import WorkingImage
from sam2_model.training.batches import Batch, Clip, assemble, choose_objects, visible_objects
from sam2_model.training.stages import Load, Stage

_ATTEMPTS = 20
_TINTED = 0.12


@dataclass(frozen=True, slots=True)
class SceneStage(Stage):
    """A stage on generated scenes.

    Attributes
    ----------
    scenes : SceneOptions
        What kind of scenes; size and frames come from the load.
    """

    scenes: SceneOptions = field(default_factory=SceneOptions)


def draw_scenes(rng: np.random.Generator, stage: SceneStage, load: Load) -> Batch:
    """Return a batch of generated scenes, as the stage describes them."""
    return scene_batch(rng, replace(stage.scenes, size=load.size, frames=load.frames), load.clips, load.objects)


def scene_batch(rng: np.random.Generator, options: SceneOptions, clips: int, objects: int) -> Batch:
    """Return a batch of `clips` new scenes and of `objects` chosen in each, with repetition where a scene has fewer."""
    scenes = [_scene_with_objects(rng, options) for _ in range(clips)]
    chosen = []
    for scene in scenes:
        ids = choose_objects(rng, scene.labels[0], objects)
        chosen.append(Clip(_to_images(_tint(rng, scene.frames)), scene.labels, ids))
    return assemble(chosen)


def _to_images(frames: Field) -> Tensor:
    """Return frames in [0, 1], grey (T, S, S) or RGB (T, S, S, 3), normalised as in prediction, (T, 3, S, S)."""
    pixels = np.round(frames * 255).astype(np.uint8)
    if pixels.ndim == 3:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    working = WorkingImage.stretched(pixels.shape[1], pixels.shape[2], pixels.shape[1])
    return torch.cat([working.image(frame, torch.device("cpu")) for frame in pixels])


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
    """Return grey frames, sometimes coloured as by a stain or a pseudo-colour."""
    if rng.random() >= _TINTED:
        return frames
    dark, bright = rng.random((2, 3)) * [[0.4], [1.0]] + [[0.0], [0.0]]
    bright = np.maximum(bright, dark + 0.1)
    return np.asarray(np.clip(dark + frames[..., None] * (bright - dark), 0, 1), np.float32)
