"""The image encoder: trunk and feature pyramid (Ravi et al. 2024, section 4, "image encoder")."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.config import HieraConfig
from sam2_model.hiera import Hiera


class FeaturePyramid(nn.Module):
    """Bring the trunk's stages to one width; the coarsest also informs the level of stride 16."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        # Stored from the coarsest level to the finest.
        self.convs = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.Conv2d(c, width, kernel_size=1))) for c in reversed(channels)
        )

    def forward(self, stages: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the levels of stride 4, 8 and 16 of four stages, each (B, width, H / stride, W / stride)."""
        fine, middle, coarse, coarsest = (conv(x) for conv, x in zip(reversed(self.convs), stages, strict=True))
        raised = F.interpolate(coarsest.float(), scale_factor=2.0, mode="nearest")
        return fine, middle, coarse + raised


class ImageEncoder(nn.Module):
    """Trunk and pyramid."""

    def __init__(self, trunk: HieraConfig, width: int) -> None:
        super().__init__()
        self.trunk = Hiera(trunk)
        self.neck = FeaturePyramid(self.trunk.channels, width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the levels of stride 4, 8 and 16 of images (B, 3, H, W), each (B, width, H / stride, W / stride)."""
        levels: tuple[Tensor, Tensor, Tensor] = self.neck(self.trunk(images))
        return levels
