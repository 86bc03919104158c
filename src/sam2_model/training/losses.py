"""The losses of a prediction (Kirillov et al. 2023, appendix A; Ravi et al. 2024, appendix D).

Two things differ from the papers, because small objects on a small model demanded it: cross-entropy is averaged in a
window around the object instead of being focal over the image, and masks are compared there on a grid that is as fine
for a small object as for a large one, after the same interpolation that prediction ends with.
"""

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.mask_decoder import MaskDecoderOutput
from sam2_model.prompt_encoder import MASK_STRIDE

GRID = 80
"""Points along each side of the window in which a mask is compared with the truth."""

_MARGIN, _LEAST_MARGIN_PX = 0.5, 6.0
"""How far a window reaches beyond the object's bounding box, relative to its side and at least."""

_CROSS_ENTROPY = 2.0
_OTHERS = 0.1
_PRESENCE = 3.0
_ABSENT = 2.0
"""Weight of absent objects in the loss of the object score: in a stack most objects are absent on most frames."""


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
    instances : Tensor or float
        Loss of the instance decoder; 0 without it.
    """

    mask: Tensor
    iou: Tensor
    presence: Tensor
    instances: Tensor | float = 0.0

    @property
    def total(self) -> Tensor:
        """Everything, scalar."""
        return self.mask + self.iou + _PRESENCE * self.presence + self.instances


def mean_losses(parts: list[Losses]) -> Losses:
    """Return the average over several predictions."""
    return Losses(
        torch.stack([p.mask for p in parts]).mean(),
        torch.stack([p.iou for p in parts]).mean(),
        torch.stack([p.presence for p in parts]).mean(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What N predictions on one frame are compared with; h x w are the cells of the low-resolution logits.

    Attributes
    ----------
    cover : Tensor
        Shape (N, 1, G, G), 0 or 1: the truth at the points of each object's window.
    rows, columns : Tensor
        Shapes (N, G, h) and (N, G, w): weights that interpolate low-resolution logits at these points.
    outside : Tensor
        Shape (N, 1, h / thinning, w / thinning), 1 for the cells outside the window.
    cell_points : Tensor
        Shape (N, 1), points of the window's grid on the area of one such cell.
    is_present : Tensor
        Shape (N,), 1.0 where the object is on the frame.
    thinning : int
        Outside the windows one cell in so many is looked at, along each axis.
    """

    cover: Tensor
    rows: Tensor
    columns: Tensor
    outside: Tensor
    cell_points: Tensor
    is_present: Tensor
    thinning: int = 1

    def to(self, device: torch.device) -> "Target":
        """Return the target on the device of the predictions."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "thinning"}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def sample(self, logits: Tensor) -> Tensor:
        """Return low-resolution logits (N, M, h, w) interpolated at the points of the windows, (N, M, G, G)."""
        return self.rows[:, None] @ logits @ self.columns[:, None].transpose(-2, -1)

    def thin(self, logits: Tensor) -> Tensor:
        """Return the cells of logits (N, M, h, w) that are looked at outside the windows."""
        return logits[..., :: self.thinning, :: self.thinning]

    def beyond(self, values: Tensor) -> Tensor:
        """Return the sum of values of such cells outside the windows, (N, M)."""
        return (values * self.outside).sum((-2, -1))


def target_of(masks: Tensor, stride: int) -> Target:
    """Return masks as seen through a window around each object; an absent one gets the whole image.

    Parameters
    ----------
    masks : Tensor
        Shape (N, 1, S, S), 0 or 1.
    stride : int
        Pixels per cell of the low-resolution logits that are compared with them.
    """
    S = masks.shape[-1]
    occupied = masks[:, 0] > 0
    y, rows, row_inside = _axis(occupied.any(2), stride)
    x, columns, column_inside = _axis(occupied.any(1), stride)
    N, G = y.shape
    cover = masks[:, 0].gather(1, y[:, :, None].expand(N, G, S)).gather(2, x[:, None, :].expand(N, G, G))
    thinning = max(MASK_STRIDE // stride, 1)
    inside = row_inside[:, ::thinning, None] * column_inside[:, None, ::thinning]  # (N, h / thinning, w / thinning)
    points = G * G / inside.flatten(1).sum(1, keepdim=True).clamp(min=1)
    is_present = occupied.flatten(1).any(1).float()
    return Target(cover[:, None], rows, columns, 1 - inside[:, None], points, is_present, thinning)


def _axis(occupied: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the windows along one axis of S pixels; `occupied` (N, S) is true where the objects are.

    Returns
    -------
    pixels : Tensor
        Shape (N, G), the pixel under each point.
    weights : Tensor
        Shape (N, G, h), interpolation of h cells at the points.
    inside : Tensor
        Shape (N, h), 1.0 for the cells whose middle is in the window.
    """
    S = occupied.shape[1]
    place = torch.arange(S, dtype=torch.float32)
    first = torch.where(occupied, place, float(S)).amin(1, keepdim=True)
    last = torch.where(occupied, place, -1.0).amax(1, keepdim=True)
    margin = (_MARGIN * (last - first + 1)).clamp(min=_LEAST_MARGIN_PX)
    is_absent = last < 0
    start = torch.where(is_absent, 0.0, (first - margin).clamp(min=0))  # edges of pixels, not their middles
    stop = torch.where(is_absent, float(S), (last + 1 + margin).clamp(max=S))  # (N, 1)
    points = start + (torch.arange(GRID) + 0.5) / GRID * (stop - start)  # (N, G)
    cells = torch.arange(S // stride)
    between = (points / stride - 0.5).clamp(0, S // stride - 1)  # as bilinear enlargement places it
    weights = (1 - (between[..., None] - cells).abs()).clamp(min=0)
    middle = (cells + 0.5) * stride
    inside = ((middle >= start) & (middle < stop)).float()
    return points.long().clamp(max=S - 1), weights, inside


def mask_loss(logits: Tensor, target: Target) -> Tensor:
    """Return cross-entropy near the object plus dice, for each mask.

    Parameters
    ----------
    logits : Tensor
        Shape (N, M, h, w), low-resolution logits.
    target : Target
        Of the same N.

    Returns
    -------
    Tensor
        Shape (N, M).
    """
    cover = target.cover
    sampled = target.sample(logits)  # (N, M, G, G)
    entropy = F.binary_cross_entropy_with_logits(sampled, cover.expand_as(sampled), reduction="none").mean((-2, -1))
    rest = target.thin(logits)
    elsewhere = target.beyond(F.softplus(rest)) / target.outside.sum((-2, -1)).clamp(min=1)
    p = sampled.sigmoid()
    overlap = (p * cover).sum((-2, -1))
    # Squares in the denominator, so that a soft mask is not better than a sharp one.
    claimed = (p * p).sum((-2, -1)) + target.beyond(rest.sigmoid() ** 2) * target.cell_points
    dice = 1 - (2 * overlap + 1) / (claimed + cover.sum((-2, -1)) + 1)
    return _CROSS_ENTROPY * (entropy + elsewhere) + dice


def intersection_over_union(logits: Tensor, target: Target) -> Tensor:
    """Return the IoU of low-resolution logits (N, M, h, w) with the truth, shape (N, M); 0 where one is empty."""
    predicted, true = target.sample(logits) > 0, target.cover > 0
    beyond = target.beyond((target.thin(logits) > 0).float()) * target.cell_points
    shared = (predicted & true).sum((-2, -1))
    return shared / ((predicted | true).sum((-2, -1)) + beyond).clamp(min=1)


def prompt_losses(output: MaskDecoderOutput, target: Target) -> Losses:
    """Return the losses of the decoder's answer to N prompts.

    Parameters
    ----------
    output : MaskDecoderOutput
        All four masks of N prompts.
    target : Target
        The truth; of an absent object only the object score counts.

    Returns
    -------
    Losses
        The single mask and the best of the three candidates count fully, the others a little.
    """
    logits = output.mask_logits
    is_present = target.is_present
    count = is_present.sum().clamp(min=1)
    each = mask_loss(logits, target)  # (N, 4)
    per_prompt = each[:, 0] + each[:, 1:].amin(1) + _OTHERS * each[:, 1:].mean(1)
    with torch.no_grad():
        iou = intersection_over_union(logits, target)
    iou_error = (output.predicted_iou - iou).abs().mean(1)
    weight = torch.where(is_present > 0, 1.0, _ABSENT)
    presence = F.binary_cross_entropy_with_logits(output.object_score_logit[:, 0], is_present, weight=weight)
    return Losses((per_prompt * is_present).sum() / count, (iou_error * is_present).sum() / count, presence)
