"""How well a model prompts and follows objects of which the masks are known."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sam2_model.mask_decoder import best_candidate, single_mask
from sam2_model.mask_ops import resize_logits
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import Sam2
from sam2_model.training.batches import Batch
from sam2_model.training.prompting import box_around, correction_clicks
from sam2_model.training.steps import follow

SEED = 20_240_801
"""What is random in a test. Training seeds its scenes with other numbers, unless somebody chooses this one."""

_DISTANCES = (1, 2, 4)
"""Frames after a true mask on which following is scored."""


def _central_clicks(masks: Tensor) -> Tensor:
    """Return the innermost pixel of each mask (N, 1, S, S), as points (N, 1, 2), (x, y)."""
    points = []
    for mask in masks[:, 0].numpy():
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        points.append([[float(x), float(y)]])
    return torch.tensor(points)


def score_image(model: Sam2, batch: Batch) -> dict[str, Tensor]:
    """Return how well a model answers prompts of the objects of single images, to be called without gradients.

    Returns
    -------
    dict of str to Tensor
        Each of shape (N,): the IoU after one "click" in the middle, a "box", or two corrections of the click
        ("three_clicks"), and the absolute error of the IoU that is predicted for the click ("iou_error").
    """
    device = model.device
    masks = batch.masks[0]
    generator = torch.Generator().manual_seed(SEED)
    features = model.encode_image(batch.images[0].to(device)).rows(batch.owner)
    embedding = model.without_memory(features)
    points = _central_clicks(masks).to(device)
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
    """Return how well a model follows the true masks of the first frame, to be called without gradients.

    Returns
    -------
    dict of str to Tensor
        "presence", shape ((T - 1) N,), 1 where it is predicted correctly; and the Dice 1, 2 and 4 frames after the
        true mask ("dice_1", ...), as far as the clip goes, one value per object that is still there.
    """
    outputs = follow(model, batch)
    scores: dict[str, Tensor] = {}
    verdicts = []
    for distance, output in enumerate(outputs, start=1):
        masks = batch.masks[distance]
        is_present = masks.flatten(1).any(1)
        claimed = output.object_score_logit[:, 0].cpu() > 0
        verdicts.append((claimed == is_present).float())
        if distance in _DISTANCES:
            logits = torch.where(claimed[:, None, None, None], best_candidate(output).mask_logits.cpu(), -1.0)
            iou = _iou(logits, masks)
            scores[f"dice_{distance}"] = (2 * iou / (1 + iou))[is_present]
    return scores | {"presence": torch.cat(verdicts)}


def _iou(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the IoU at full size of logits (N, 1, h, w) with masks (N, 1, H, W), shape (N,)."""
    predicted, true = resize_logits(logits.cpu(), *masks.shape[-2:]) > 0, masks > 0.5
    union = (predicted | true).flatten(1).sum(1).clamp(min=1)
    return (predicted & true).flatten(1).sum(1) / union
