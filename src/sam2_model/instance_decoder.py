"""Where objects are, all at once: what every cell of an image has to say of the object it lies on.

Published SAM 2 has no such part: it finds whole images by asking for a grid of points. For hundreds of small objects
that is slow, and most points miss them. Here each cell says whether it lies on an object, on an outline, and which way
the middle of its object is, as heads of StarDist, Cellpose and micro-sam do (Archit et al. 2025, "Segment Anything for
Microscopy", put one beside SAM). `automatic.regions` makes objects of it.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.prompt_encoder import MASK_STRIDE

CELL_PX = MASK_STRIDE
"""Pixels of the working image per cell of the maps, along each axis."""

_HIDDEN = 16


@dataclass(frozen=True, slots=True, eq=False)
class InstanceMaps:
    """What each cell of B images says of the object it lies on.

    Attributes
    ----------
    object_logits : Tensor
        Shape (B, 1, h, w): positive on objects.
    outline_logits : Tensor
        Shape (B, 1, h, w): positive where objects end.
    offsets : Tensor
        Shape (B, 2, h, w): from the cell to the centroid of its object, (y, x), relative to the square root of the
        object's area.
    """

    object_logits: Tensor
    outline_logits: Tensor
    offsets: Tensor


class InstanceDecoder(nn.Module):
    """Objects, outlines and offsets from all levels of the image's features.

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

    def forward(
        self,
        fine: Tensor,  # (B, C / 8, H / 4, W / 4)
        middle: Tensor,  # (B, C / 4, H / 8, W / 8)
        embedding: Tensor,  # (B, C, H / 16, W / 16)
    ) -> InstanceMaps:
        """Return the maps of B images, one cell for `CELL_PX` pixels along each axis."""
        # Each token answers for its own cells, so that it must know what lies around it.
        x = F.pixel_shuffle(self.coarse(embedding), 4) + F.pixel_shuffle(self.middle(middle), 2)
        maps = self.last(F.gelu(x + self.fine(fine)))  # (B, 4, H / 4, W / 4)
        return InstanceMaps(maps[:, :1], maps[:, 1:2], maps[:, 2:])
