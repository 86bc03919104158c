"""A throw-away head that teaches the image encoder what objects are, everywhere at once.

A prompt says something about one object; this head is asked about every cell of the image: is it an object, an
outline, and where is the middle of the object it belongs to? It is not part of the model.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.prompt_encoder import MASK_STRIDE
from sam2_model.sam2 import ImageFeatures

_HIDDEN = 16
_OUTLINE_WEIGHT = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class DenseTarget:
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


def dense_target(labels: Tensor) -> DenseTarget:
    """Return what label images (B, S, S) show in each cell of the low-resolution grid."""
    B, S = labels.shape[:2]
    middle = MASK_STRIDE // 2
    cells = labels[:, middle::MASK_STRIDE, middle::MASK_STRIDE].long()  # (B, h, w)
    w = S // MASK_STRIDE
    # Ids of different images must not meet in the sums below.
    count = int(labels.max()) + 1
    index = (cells + torch.arange(B)[:, None, None] * count).flatten()
    y = torch.arange(w, dtype=torch.float32)[None, :, None].expand(B, w, w)
    x = torch.arange(w, dtype=torch.float32)[None, None, :].expand(B, w, w)
    area = torch.bincount(index, minlength=B * count).float().clamp(min=1)
    centroids = [torch.bincount(index, v.flatten(), minlength=B * count) / area for v in (y, x)]
    size = area.sqrt()[index].view(B, w, w)
    offsets = torch.stack([(c[index].view(B, w, w) - v) / size for c, v in zip(centroids, (y, x), strict=True)], 1)
    objects = (cells > 0).float()[:, None]
    number = labels[:, None].float()
    highest = F.max_pool2d(number, MASK_STRIDE + 2, MASK_STRIDE, 1)
    lowest = -F.max_pool2d(-number, MASK_STRIDE + 2, MASK_STRIDE, 1)
    return DenseTarget(objects, (highest != lowest).float(), offsets.float() * objects)


class DenseHead(nn.Module):
    """Objects, outlines and offsets from all levels of the pyramid.

    Parameters
    ----------
    width : int
        Channels of the embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(width, _HIDDEN * 16, kernel_size=1)
        self.middle = nn.Conv2d(width // 4, _HIDDEN * 4, kernel_size=1)
        self.fine = nn.Conv2d(width // 8, _HIDDEN, kernel_size=1)
        self.last = nn.Conv2d(_HIDDEN, 4, kernel_size=3, padding=1)

    def forward(self, features: ImageFeatures, labels: Tensor) -> Tensor:
        """Return what the features of B images are charged, scalar, for what they miss of label images (B, S, S)."""
        predicted, target = self.predict(features), dense_target(labels)
        objects = F.binary_cross_entropy_with_logits(predicted[:, :1], target.objects)
        weight = predicted.new_tensor(_OUTLINE_WEIGHT)
        outlines = F.binary_cross_entropy_with_logits(predicted[:, 1:2], target.outlines, pos_weight=weight)
        error = F.smooth_l1_loss(predicted[:, 2:], target.offsets, reduction="none", beta=0.2).sum(1, keepdim=True)
        offsets = (error * target.objects).sum() / target.objects.sum().clamp(min=1)
        return objects + outlines + offsets

    def predict(self, features: ImageFeatures) -> Tensor:
        """Return object logit, outline logit and offset (y, x) of each cell, (B, 4, H / 4, W / 4)."""
        # Each token answers for its own cells, so that it must know what lies around it.
        x = F.pixel_shuffle(self.coarse(features.embedding), 4) + F.pixel_shuffle(self.middle(features.middle), 2)
        result: Tensor = self.last(F.gelu(x + self.fine(features.fine)))
        return result
