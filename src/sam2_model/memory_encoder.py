"""The memory encoder: a frame and its mask, fused into a spatial memory (Ravi et al. 2024, section 4)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.config import STRIDE
from sam2_model.layers import LayerNorm2d
from sam2_model.memory_windows import Windows, group_by_window

_MASK_CHANNELS = (1, 4, 16, 64, 256)
"""Channels of the mask on its way from stride 1 to stride 16."""

_FUSER_REACH = 3
"""Tokens on either side that a block of the fuser looks at."""


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
        """Return masks (B, 1, H, W) as maps (B, width, H / 16, W / 16)."""
        result: Tensor = self.encoder(mask)
        return result

    def constant(self, value: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return what `forward` makes of a mask of one value, (1, width, *grid)."""
        # But for the first row and column, which see the padding, all tokens are alike.
        corner: Tensor = self.encoder(value.view(1, 1, 1, 1).repeat(1, 1, 2 * STRIDE, 2 * STRIDE))
        rows, columns = (torch.arange(side, device=corner.device).clamp(max=1) for side in grid)
        return corner[:, :, rows][..., columns]

    def within(self, mask: Tensor, windows: Windows, background: Tensor) -> Tensor:
        """Return what `forward` makes of masks that are constant outside of windows: `background`, from `constant`."""
        wider = windows.grown(1, 0)  # the first tokens of a part miss the pixels before it
        return wider.put(self(wider.cut(mask, cells=STRIDE)), background, border=1)


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
        """Return a map (B, C, h, w) refined."""
        return x + self._change(self.dwconv(x))

    def _change(self, seen: Tensor) -> Tensor:
        y: Tensor = self.norm(seen).permute(0, 2, 3, 1)  # (B, h, w, C)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return y.permute(0, 3, 1, 2)

    def within(self, x: Tensor, windows: Windows, background: Tensor) -> Tensor:
        """Return maps (B, C, h, w) refined, which outside of windows are `background` (1, C, h, w), refined already."""
        padded = F.pad(x, (_FUSER_REACH,) * 4)
        parts = windows.cut(padded, margin=_FUSER_REACH)
        seen = F.conv2d(parts, self.dwconv.weight, self.dwconv.bias, groups=self.dwconv.groups)
        return windows.put(windows.cut(x) + self._change(seen), background)


class Fuser(nn.Module):
    """Two blocks in a row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(FuserBlock(width), FuserBlock(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (B, C, h, w) refined."""
        result: Tensor = self.layers(x)
        return result

    def within(self, x: Tensor, windows: Windows, background: Tensor) -> Tensor:
        """Return maps (B, C, h, w) refined, which equal `background` (1, C, h, w) outside of windows."""
        for layer in self.layers:
            assert isinstance(layer, FuserBlock)
            background, windows = layer(background), windows.grown(_FUSER_REACH, _FUSER_REACH)
            x = layer.within(x, windows, background)
        return x


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
        """Return spatial memories (B, Cm, h, w) of scaled masks; an embedding of batch one is shared by all masks.

        Where no gradients are wanted, masks that are constant but for a part of a shared frame are encoded in that part
        alone: the cost of many small objects goes with their size, not with that of the frame.
        """
        if torch.is_grad_enabled() or len(embedding) > 1:
            return self._encode(embedding, mask)
        parts, order = [], []
        for group in group_by_window(mask, (embedding.shape[2], embedding.shape[3])):
            order += group.masks
            if group.windows is None:
                parts.append(self._encode(embedding, mask[group.masks]))
            else:
                parts.append(self._encode_within(embedding, mask[group.masks], group.windows, group.background))
        return torch.cat(parts)[torch.tensor(order, device=mask.device).argsort()]

    def _encode(self, embedding: Tensor, mask: Tensor) -> Tensor:
        memory: Tensor = self.out_proj(self.fuser(self.pix_feat_proj(embedding) + self.mask_downsampler(mask)))
        return memory

    def _encode_within(self, embedding: Tensor, mask: Tensor, windows: Windows, value: Tensor) -> Tensor:
        """Return spatial memories of masks that have one value outside of windows."""
        frame = self.pix_feat_proj(embedding)
        empty = self.mask_downsampler.constant(value, windows.grid)
        changed = self.mask_downsampler.within(mask, windows, empty)
        memory: Tensor = self.out_proj(self.fuser.within(frame + changed, windows, frame + empty))
        return memory
