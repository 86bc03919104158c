"""What a prediction is charged for (Kirillov et al. 2023, appendix A; Ravi et al. 2024, appendix D).

Two things differ from the papers, because small objects on a small model demanded it: cross-entropy is averaged in a
window around the object instead of being focal over the image, and targets are the area a mask covers of each
low-resolution cell, so that outlines are learnt finer than the cells.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.mask_decoder import MaskDecoderOutput

_OUTSIDE = 0.05
_CROSS_ENTROPY = 2.0
_OTHERS = 0.1
_PRESENCE = 3.0
_ABSENT = 2.0
"""Weight of an object that is gone, when its presence is told: in a stack most objects are, on most frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Losses of N prompts, averaged.

    Attributes
    ----------
    mask : Tensor
        Cross-entropy and dice of the masks, scalar.
    iou : Tensor
        Error of the predicted IoU, scalar.
    presence : Tensor
        Cross-entropy of the object score, scalar.
    dense : Tensor or float
        What the throw-away head charges the image encoder; 0 without it.
    """

    mask: Tensor
    iou: Tensor
    presence: Tensor
    dense: Tensor | float = 0.0

    @property
    def total(self) -> Tensor:
        """Everything, scalar."""
        return self.mask + self.iou + _PRESENCE * self.presence + self.dense


def mean_losses(parts: list[Losses]) -> Losses:
    """Average over several predictions."""
    return Losses(
        torch.stack([p.mask for p in parts]).mean(),
        torch.stack([p.iou for p in parts]).mean(),
        torch.stack([p.presence for p in parts]).mean(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What N predictions on one frame are compared with.

    Attributes
    ----------
    cover : Tensor
        Shape (N, 1, h, w), fraction of each cell that the mask covers.
    window : Tensor
        Shape (N, 1, h, w), weight of each cell in the cross-entropy.
    is_present : Tensor
        Shape (N,), 1.0 where the object is on the frame.
    """

    cover: Tensor
    window: Tensor
    is_present: Tensor

    def to(self, device: torch.device) -> "Target":
        """Move to where the predictions are."""
        return Target(self.cover.to(device), self.window.to(device), self.is_present.to(device))


def target_of(masks: Tensor, cell_px: int) -> Target:
    """Reduce masks (N, 1, S, S) of 0 and 1 to cells of `cell_px` pixels."""
    h, w = masks.shape[2] // cell_px, masks.shape[3] // cell_px
    cover = masks.view(-1, 1, h, cell_px, w, cell_px).mean((3, 5))
    return Target(cover, window_around(cover), cover.flatten(1).amax(1).gt(0).float())


def window_around(target: Tensor) -> Tensor:
    """Weights (N, 1, h, w): 1 in the bounding box of each target and half its size around, little elsewhere."""
    h, w = target.shape[-2:]
    rows = _window_1d(target.amax(3)[:, 0], h)  # (N, h)
    columns = _window_1d(target.amax(2)[:, 0], w)  # (N, w)
    inside = rows[:, None, :, None] * columns[:, None, None, :]
    return inside * (1 - _OUTSIDE) + _OUTSIDE


def mask_loss(logits: Tensor, target: Target) -> Tensor:
    """Cross-entropy near the object and dice, for each mask.

    Parameters
    ----------
    logits : Tensor
        Shape (N, M, h, w).
    target : Target
        Of the same N and cells.

    Returns
    -------
    Tensor
        Shape (N, M).
    """
    cover, weight = target.cover, target.window
    entropy = F.binary_cross_entropy_with_logits(logits, cover.expand_as(logits), reduction="none")
    entropy = (entropy * weight).sum((-2, -1)) / weight.sum((-2, -1))
    p = logits.sigmoid()
    overlap = (p * cover).sum((-2, -1))
    # Squares in the denominator let soft targets reach zero loss.
    dice = 1 - (2 * overlap + 1) / ((p * p).sum((-2, -1)) + (cover * cover).sum((-2, -1)) + 1)
    return _CROSS_ENTROPY * entropy + dice


def intersection_over_union(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of thresholded masks (N, M, h, w) with targets (N, 1, h, w), shape (N, M); 1 where both are empty."""
    predicted, true = logits > 0, target > 0.5
    union = (predicted | true).sum((-2, -1)).float()
    shared = (predicted & true).sum((-2, -1)).float()
    return torch.where(union > 0, shared / union.clamp(min=1), 1.0)


def prompt_losses(output: MaskDecoderOutput, target: Target) -> Losses:
    """Charge the decoder's answer to N prompts.

    Parameters
    ----------
    output : MaskDecoderOutput
        All four masks of N prompts.
    target : Target
        The truth; of an absent object only the object score is charged. The low-resolution logits are enlarged to
        its cells if need be.

    Returns
    -------
    Losses
        The single mask and the best of the three candidates count fully, the others a little.
    """
    logits = output.mask_logits
    if logits.shape[-2:] != target.cover.shape[-2:]:
        logits = F.interpolate(logits, size=target.cover.shape[-2:], mode="bilinear", align_corners=False)
    is_present = target.is_present
    count = is_present.sum().clamp(min=1)
    each = mask_loss(logits, target)  # (N, 4)
    per_prompt = each[:, 0] + each[:, 1:].amin(1) + _OTHERS * each[:, 1:].mean(1)
    with torch.no_grad():
        iou = intersection_over_union(logits, target.cover)
    iou_error = (output.predicted_iou - iou).abs().mean(1)
    weight = torch.where(is_present > 0, 1.0, _ABSENT)
    presence = F.binary_cross_entropy_with_logits(output.object_score_logit[:, 0], is_present, weight=weight)
    return Losses((per_prompt * is_present).sum() / count, (iou_error * is_present).sum() / count, presence)


def _window_1d(occupied: Tensor, size: int) -> Tensor:
    """1 within the occupied span and half its length around, along one axis, (N, size)."""
    place = torch.arange(size, dtype=torch.float32)
    is_occupied = occupied > 0
    first = torch.where(is_occupied, place, float(size)).amin(1, keepdim=True)
    last = torch.where(is_occupied, place, -1.0).amax(1, keepdim=True)
    margin = 0.5 * (last - first + 1) + 2
    return ((place >= first - margin) & (place <= last + margin)).float()
