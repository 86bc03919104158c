"""How good a model is on scenes it never saw: always the same ones."""

from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from sam2_model.imaginary.scene_batches import scene_batch
from sam2_model.imaginary.scenes import SceneOptions
from sam2_model.sam2 import Sam2
from sam2_model.training.scoring import SEED, score_clip, score_image


@dataclass(frozen=True, slots=True)
class ValidationOptions:
    """How much to validate on.

    Attributes
    ----------
    image_sizes : tuple of int
        Sides of single images in pixels.
    images : int
        Images per size.
    clips : int
        Clips of 5 frames.
    clip_size : int
        Side of their frames in pixels.
    objects : int
        Objects per image or clip.
    radius_px : float
        Smallest typical radius of the objects.
    """

    image_sizes: tuple[int, ...] = (256, 512)
    images: int = 20
    clips: int = 20
    clip_size: int = 256
    objects: int = 8
    radius_px: float = 5.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over objects.

    Attributes
    ----------
    click, box, three_clicks : float
        IoU after one click in the middle, a box, or two corrections of the click.
    dice_1, dice_2, dice_4 : float
        Dice 1, 2 and 4 frames after a true mask, where the object is still there.
    presence : float
        Fraction of followed objects and frames whose presence is predicted correctly.
    iou_error : float
        Mean absolute error of the predicted IoU of clicks.
    """

    click: float
    box: float
    three_clicks: float
    dice_1: float
    dice_2: float
    dice_4: float
    presence: float
    iou_error: float

    @property
    def overall(self) -> float:
        """One number to choose weights by."""
        return (self.click + self.box + self.three_clicks + self.dice_1 + self.dice_4) / 5


@torch.inference_mode()
def validate(model: Sam2, options: ValidationOptions) -> Scores:
    """Return the scores of a model in evaluation mode; the same model always gets the same."""
    parts: dict[str, list[Tensor]] = {field.name: [] for field in fields(Scores)}
    for size in options.image_sizes:
        rng = np.random.default_rng([SEED, size, 0])
        for _ in range(options.images):
            batch = scene_batch(rng, SceneOptions(size=size, radius_px=(options.radius_px, size)), 1, options.objects)
            for name, values in score_image(model, batch).items():
                parts[name].append(values)
    rng = np.random.default_rng([SEED, options.clip_size, 1])
    for index in range(options.clips):
        radius_px = (options.radius_px, options.clip_size)
        scenes = SceneOptions(size=options.clip_size, frames=5, sections=float(index % 2), radius_px=radius_px)
        for name, values in score_clip(model, scene_batch(rng, scenes, 1, options.objects)).items():
            parts[name].append(values)
    return Scores(**{name: float(torch.cat(values).mean()) for name, values in parts.items()})


def as_row(scores: Scores) -> dict[str, float]:
    """Return scores as one row of a table, rounded."""
    return {name: round(value, 4) for name, value in asdict(scores).items()}
