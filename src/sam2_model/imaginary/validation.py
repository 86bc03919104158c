"""How good a model is on scenes it never saw: always the same ones."""

from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sam2_model.imaginary.scenes import SceneOptions
from sam2_model.mask_decoder import best_candidate, single_mask
from sam2_model.mask_ops import resize_logits
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import Sam2
from sam2_model.training.batches import Batch, scene_batch
from sam2_model.training.prompting import box_around, correction_clicks
from sam2_model.training.steps import device_of, follow, select

_SEED = 20_240_801
"""Training seeds its scenes with other numbers, unless somebody chooses this one."""


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
        Fraction of followed objects and frames whose presence is told rightly.
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


SCORE_NAMES = tuple(f.name for f in fields(Scores))
"""Columns of a table of scores."""


@torch.inference_mode()
def validate(model: Sam2, options: ValidationOptions) -> Scores:
    """Score a model in evaluation mode; the same model always gets the same scores."""
    parts: dict[str, list[Tensor]] = {name: [] for name in SCORE_NAMES}
    for size in options.image_sizes:
        rng = np.random.default_rng([_SEED, size, 0])
        for _ in range(options.images):
            batch = scene_batch(rng, SceneOptions(size=size, radius_px=(options.radius_px, size)), 1, options.objects)
            for name, values in score_image(model, batch).items():
                parts[name].append(values)
    rng = np.random.default_rng([_SEED, options.clip_size, 1])
    for index in range(options.clips):
        radius_px = (options.radius_px, options.clip_size)
        scenes = SceneOptions(size=options.clip_size, frames=5, sections=float(index % 2), radius_px=radius_px)
        for name, values in score_clip(model, scene_batch(rng, scenes, 1, options.objects)).items():
            parts[name].append(values)
    return Scores(**{name: float(torch.cat(values).mean()) for name, values in parts.items()})


def as_row(scores: Scores) -> dict[str, float]:
    """Scores as one row of a table, rounded."""
    return {name: round(value, 4) for name, value in asdict(scores).items()}


def central_clicks(masks: Tensor) -> Tensor:
    """Innermost pixel of each mask (N, 1, S, S), as points (N, 1, 2), (x, y)."""
    points = []
    for mask in masks[:, 0].numpy():
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        points.append([[float(x), float(y)]])
    return torch.tensor(points)


def score_image(model: Sam2, batch: Batch) -> dict[str, Tensor]:
    """Prompt the objects of single images, outside of any gradient.

    Returns
    -------
    dict of str to Tensor
        "click", "box", "three_clicks" and "iou_error" of `Scores`, each of shape (N,).
    """
    device = device_of(model)
    masks = batch.masks[0]
    generator = torch.Generator().manual_seed(_SEED)
    features = select(model.encode_image(batch.images[0].to(device)), batch.owner)
    embedding = model.without_memory(features)
    points = central_clicks(masks).to(device)
    labels = torch.full(points.shape[:2], int(PointLabel.POSITIVE), device=device)
    output = model.decode(embedding, features, points, labels)
    answer = best_candidate(output)
    click = _iou(answer.mask_logits, masks)
    iou_error = (answer.predicted_iou[:, 0].cpu() - click).abs()
    shown = answer.mask_logits
    for _ in range(2):
        more_points, more_labels = (x.to(device) for x in correction_clicks(generator, shown.cpu(), masks))
        points, labels = torch.cat([points, more_points], 1), torch.cat([labels, more_labels], 1)
        shown = single_mask(model.decode(embedding, features, points, labels), stability_fallback=True).mask_logits
    corners = box_around(generator, masks, 0.0).to(device)
    corner_labels = torch.tensor([PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT], device=device)
    corner_labels = corner_labels.expand(len(masks), 2)
    boxed = single_mask(model.decode(embedding, features, corners, corner_labels), stability_fallback=True)
    return {
        "click": click,
        "box": _iou(boxed.mask_logits, masks),
        "three_clicks": _iou(shown, masks),
        "iou_error": iou_error,
    }


def score_clip(model: Sam2, batch: Batch) -> dict[str, Tensor]:
    """Follow the true masks of the first frame, outside of any gradient.

    Returns
    -------
    dict of str to Tensor
        "presence", shape ((T - 1) N,), and those of "dice_1", "dice_2" and "dice_4" for which the clip is long enough,
        one value per object that is still there.
    """
    outputs = follow(model, batch)
    scores: dict[str, Tensor] = {}
    verdicts = []
    for distance, output in enumerate(outputs, start=1):
        masks = batch.masks[distance]
        is_present = masks.flatten(1).any(1)
        claimed = output.object_score_logit[:, 0].cpu() > 0
        verdicts.append((claimed == is_present).float())
        if f"dice_{distance}" in SCORE_NAMES:
            logits = torch.where(claimed[:, None, None, None], best_candidate(output).mask_logits.cpu(), -1.0)
            iou = _iou(logits, masks)
            scores[f"dice_{distance}"] = (2 * iou / (1 + iou))[is_present]
    return scores | {"presence": torch.cat(verdicts)}


def _iou(logits: Tensor, masks: Tensor) -> Tensor:
    """IoU at full size of logits (N, 1, h, w) with masks (N, 1, S, S), shape (N,)."""
    S = masks.shape[-1]
    predicted, true = resize_logits(logits.cpu(), S, S) > 0, masks > 0.5
    union = (predicted | true).flatten(1).sum(1).clamp(min=1)
    return (predicted & true).flatten(1).sum(1) / union
