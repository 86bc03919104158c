"""How much objects look alike, by the model's own features: an example instead of a description in words."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.sam2 import ImageFeatures

_SIZE_WEIGHT = 0.1
"""What a difference in size by a factor of e takes from the likeness."""


def object_features(features: ImageFeatures, masks: Tensor) -> Tensor:
    """Return what objects look like, (N, C): of unit length, to be compared by `likeness`.

    The mean of the finest level tells of texture and brightness, that of the coarsest of what kind of thing it is; both
    count the same.

    Parameters
    ----------
    features : ImageFeatures
        Of one image.
    masks : Tensor
        Shape (N, 1, h, w), bool, of any size: all of the image.
    """
    means = []
    for level in (features.fine[0], features.embedding[0]):
        weights = F.interpolate(masks.float(), size=level.shape[-2:], mode="area")[:, 0]  # (N, h, w)
        weights = weights / weights.sum((1, 2), keepdim=True).clamp(min=1e-6)
        means.append(F.normalize(torch.einsum("chw,nhw->nc", level.float(), weights), dim=1))
    return F.normalize(torch.cat(means, 1), dim=1)


def likeness(features: Tensor, area: Tensor, other: Tensor, other_area: Tensor) -> Tensor:
    """Return how much N objects look like M others, (N, M), in [0, 1].

    Parameters
    ----------
    features, other : Tensor
        Shape (N, C) and (M, C), from `object_features`, of images seen from as close.
    area, other_area : Tensor
        Shape (N,) and (M,): areas in one unit.
    """
    size = (area.log()[:, None] - other_area.log()).abs()
    return (features @ other.T - _SIZE_WEIGHT * size).clamp(0, 1)
