"""What the instance decoder should say of a label image, and what it is charged for what it says instead."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.instance_decoder import CELL_PX, InstanceMaps

_OUTLINE_WEIGHT = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class InstanceTarget:
    """What B label images show in each cell.

    Attributes
    ----------
    objects : Tensor
        Shape (B, 1, h, w), 1.0 on objects.
    outlines : Tensor
        Shape (B, 1, h, w), 1.0 where two labels meet.
    offsets : Tensor
        Shape (B, 2, h, w), from the cell to the centroid of its object, (y, x), relative to the square root of the
        object's area; 0 on the background.
    """

    objects: Tensor
    outlines: Tensor
    offsets: Tensor


def instance_target(labels: Tensor) -> InstanceTarget:
    """Return what label images (B, H, W) show in each cell of the maps."""
    middle = CELL_PX // 2
    cells = labels[:, middle::CELL_PX, middle::CELL_PX].long()  # (B, h, w)
    B, h, w = cells.shape
    # Ids of different images must not meet in the sums below.
    count = int(labels.max()) + 1
    device = labels.device
    index = (cells + torch.arange(B, device=device)[:, None, None] * count).flatten()
    y = torch.arange(h, dtype=torch.float32, device=device)[None, :, None].expand(B, h, w)
    x = torch.arange(w, dtype=torch.float32, device=device)[None, None, :].expand(B, h, w)
    area = torch.bincount(index, minlength=B * count).float().clamp(min=1)
    centroids = [torch.bincount(index, v.flatten(), minlength=B * count) / area for v in (y, x)]
    size = area.sqrt()[index].view(B, h, w)
    offsets = torch.stack([(c[index].view(B, h, w) - v) / size for c, v in zip(centroids, (y, x), strict=True)], 1)
    objects = (cells > 0).float()[:, None]
    number = labels[:, None].float()
    highest = F.max_pool2d(number, CELL_PX + 2, CELL_PX, 1)
    lowest = -F.max_pool2d(-number, CELL_PX + 2, CELL_PX, 1)
    return InstanceTarget(objects, (highest != lowest).float(), offsets.float() * objects)


def instance_loss(maps: InstanceMaps, labels: Tensor, *, is_complete: bool = True) -> Tensor:
    """Return what maps are charged, scalar, for what they miss of label images (B, H, W).

    Parameters
    ----------
    maps : InstanceMaps
        Of the B images.
    labels : Tensor
        Shape (B, H, W); 0 is background.
    is_complete : bool
        Whether every object has a label. Otherwise what has no label may be an object: only the cells of labelled
        objects are charged, and only for the way to the middle, which nothing but an object has.
    """
    target = instance_target(labels.to(maps.offsets.device))
    error = F.smooth_l1_loss(maps.offsets, target.offsets, reduction="none", beta=0.2).sum(1, keepdim=True)
    offsets: Tensor = (error * target.objects).sum() / target.objects.sum().clamp(min=1)
    if not is_complete:
        return offsets
    objects = F.binary_cross_entropy_with_logits(maps.object_logits, target.objects)
    weight = maps.outline_logits.new_tensor(_OUTLINE_WEIGHT)
    outlines = F.binary_cross_entropy_with_logits(maps.outline_logits, target.outlines, pos_weight=weight)
    return objects + outlines + offsets
