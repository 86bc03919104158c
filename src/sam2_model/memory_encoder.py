"""The memory encoder: a frame and its mask, fused into a spatial memory (Ravi et al. 2024, section 4)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.layers import LayerNorm2d

_MASK_CHANNELS = (1, 4, 16, 64, 256)
"""Channels of the mask on its way from stride 1 to stride 16."""


class MaskDownsampler(nn.Module):
    """Four strided convolutions from the working image's resolution to the embedding's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for channels_in, channels in pairwise(_MASK_CHANNELS):
            steps += [
                nn.Conv2d(channels_in, channels, kernel_size=3, stride=2, padding=1),
                LayerNorm2d(channels),
                nn.GELU(),
            ]
        self.encoder = nn.Sequential(*steps, nn.Conv2d(_MASK_CHANNELS[-1], width, kernel_size=1))

    def forward(self, mask: Tensor) -> Tensor:
        """Map masks (B, 1, H, W) to (B, width, H / 16, W / 16)."""
        result: Tensor = self.encoder(mask)
        return result


class FuserBlock(nn.Module):
    """A ConvNeXt block (Liu et al. 2022): depth-wise 7 x 7, then a wide channel mixer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Refine a map (B, C, h, w)."""
        y: Tensor = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)  # (B, h, w, C)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class Fuser(nn.Module):
    """Two blocks in a row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(FuserBlock(width), FuserBlock(width))

    def forward(self, x: Tensor) -> Tensor:
        """Refine a map (B, C, h, w)."""
        result: Tensor = self.layers(x)
        return result


class MemoryEncoder(nn.Module):
    """What is remembered of an object on a frame."""

    def __init__(self, width: int, memory_channels: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(width)
        self.pix_feat_proj = nn.Conv2d(width, width, kernel_size=1)
        self.fuser = Fuser(width)
        self.out_proj = nn.Conv2d(width, memory_channels, kernel_size=1)

    def forward(
        self,
        embedding: Tensor,  # (B, C, h, w)
        mask: Tensor,  # (B, 1, 16 h, 16 w)
    ) -> Tensor:
        """Encode scaled masks on a frame, (B, Cm, h, w); an embedding of batch one is shared by all masks."""
        memory: Tensor = self.out_proj(self.fuser(self.pix_feat_proj(embedding) + self.mask_downsampler(mask)))
        return memory
