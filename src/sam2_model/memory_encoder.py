"""The memory encoder: a frame and its mask, fused into a spatial memory (Ravi et al. 2024, section 4)."""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.config import STRIDE
from sam2_model.layers import LayerNorm2d

_MASK_CHANNELS = (1, 4, 16, 64, 256)
"""Channels of the mask on its way from stride 1 to stride 16."""

_FUSER_REACH = 3
"""Tokens on either side that a block of the fuser looks at."""

_LARGEST_PART = 0.5
"""An object that takes more than this part of a side of the frame is encoded in the whole frame."""


@dataclass(frozen=True, slots=True)
class _Windows:
    """Parts of an h x w grid of tokens, one for each of B objects and all of one size."""

    corners: tuple[tuple[int, int], ...]  # upper left tokens, (row, column)
    size: tuple[int, int]
    grid: tuple[int, int]

    def grown(self, before: int, after: int) -> "_Windows":
        """Windows that hold these and so many tokens more on each side, as far as the grid goes."""
        size = min(self.size[0] + before + after, self.grid[0]), min(self.size[1] + before + after, self.grid[1])
        corners = tuple(
            (min(max(row - before, 0), self.grid[0] - size[0]), min(max(column - before, 0), self.grid[1] - size[1]))
            for row, column in self.corners
        )
        return replace(self, corners=corners, size=size)

    def cut(self, x: Tensor, *, cells: int = 1, margin: int = 0) -> Tensor:
        """Cut maps (B, C, cells h + 2 margin, cells w + 2 margin) to the windows and their margins."""
        rows, columns = (cells * side + 2 * margin for side in self.size)
        parts = [
            m[:, cells * row : cells * row + rows, cells * column : cells * column + columns]
            for m, (row, column) in zip(x, self.corners, strict=True)
        ]
        return torch.stack(parts)

    def put(self, parts: Tensor, around: Tensor, *, border: int = 0) -> Tensor:
        """Put what is in the windows, (B, C, rows, columns), into a map (1, C, h, w): (B, C, h, w).

        On sides that are cut out of the grid, above and on the left, `border` tokens of each part are left out.
        """
        maps = around.repeat(len(parts), 1, 1, 1)
        for one, part, (row, column) in zip(maps, parts, self.corners, strict=True):
            above, before = border * (row > 0), border * (column > 0)
            one[:, row + above : row + self.size[0], column + before : column + self.size[1]] = part[:, above:, before:]
        return maps


def _backgrounds(mask: Tensor) -> Tensor:
    """Value of each mask (B, 1, H, W) in its corners, (B,): of four, the second lowest."""
    return mask[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].median(dim=1).values


def _spans(is_inside: Tensor) -> list[tuple[int, int]]:
    """First token of each row (B, N) of pixels that some pixel inside reaches, and how many tokens they reach."""
    spans = []
    for pixels in is_inside:
        inside = pixels.nonzero()[:, 0]
        # A token looks at its own pixels and at those of the token before it.
        first, last = (int(inside[0]) // STRIDE, (int(inside[-1]) + STRIDE - 1) // STRIDE) if len(inside) else (0, 0)
        spans.append((first, min(last + 1, len(pixels) // STRIDE) - first))
    return spans


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

    def constant(self, value: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map a mask of one value to (1, width, *grid): but for the first row and column, all tokens are alike."""
        corner: Tensor = self.encoder(value.view(1, 1, 1, 1).repeat(1, 1, 2 * STRIDE, 2 * STRIDE))
        rows, columns = (torch.arange(side, device=corner.device).clamp(max=1) for side in grid)
        return corner[:, :, rows][..., columns]

    def within(self, mask: Tensor, windows: _Windows, background: Tensor) -> Tensor:
        """Map masks that are constant outside of windows as `forward` does; `background` is theirs from `constant`."""
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
        """Refine a map (B, C, h, w)."""
        return x + self._change(self.dwconv(x))

    def _change(self, seen: Tensor) -> Tensor:
        y: Tensor = self.norm(seen).permute(0, 2, 3, 1)  # (B, h, w, C)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return y.permute(0, 3, 1, 2)

    def within(self, x: Tensor, windows: _Windows, background: Tensor) -> Tensor:
        """Refine maps as `forward` does, of which only windows change; `background` (1, C, h, w) is refined already."""
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
        """Refine a map (B, C, h, w)."""
        result: Tensor = self.layers(x)
        return result

    def within(self, x: Tensor, windows: _Windows, background: Tensor) -> Tensor:
        """Refine maps (B, C, h, w) that equal the `background` (1, C, h, w) outside of windows."""
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
        """Encode scaled masks on a frame, (B, Cm, h, w); an embedding of batch one is shared by all masks.

        Where no gradients are wanted, masks that are constant but for a part of a shared frame are encoded in that part
        alone: the cost of many small objects goes with their size, not with that of the frame.
        """
        if torch.is_grad_enabled() or len(embedding) > 1:
            return self._encode(embedding, mask)
        grid: tuple[int, int] = (embedding.shape[2], embedding.shape[3])
        background = _backgrounds(mask)  # (B,)
        is_inside = mask[:, 0] != background[:, None, None]  # (B, H, W)
        spans = list(zip(_spans(is_inside.any(2)), _spans(is_inside.any(1)), strict=True))
        is_small = [all(s[1] <= _LARGEST_PART * n for s, n in zip(own, grid, strict=True)) for own in spans]
        groups: dict[float | None, list[int]] = {}
        for i, value in enumerate(background.tolist()):
            groups.setdefault(value if is_small[i] else None, []).append(i)
        parts = []
        for value, chosen in groups.items():
            if value is None:
                parts.append(self._encode(embedding, mask[chosen]))
                continue
            rows, columns = zip(*(spans[i] for i in chosen), strict=True)
            size = max(length for _, length in rows), max(length for _, length in columns)
            corners = tuple((row, column) for (row, _), (column, _) in zip(rows, columns, strict=True))
            windows = _Windows(corners, size, grid).grown(0, 0)
            parts.append(self._encode_within(embedding, mask[chosen], windows, background[chosen[0]]))
        order = torch.tensor([i for chosen in groups.values() for i in chosen], device=mask.device)
        return torch.cat(parts)[order.argsort()]

    def _encode(self, embedding: Tensor, mask: Tensor) -> Tensor:
        memory: Tensor = self.out_proj(self.fuser(self.pix_feat_proj(embedding) + self.mask_downsampler(mask)))
        return memory

    def _encode_within(self, embedding: Tensor, mask: Tensor, windows: _Windows, value: Tensor) -> Tensor:
        """Encode masks that have one value outside of windows."""
        frame = self.pix_feat_proj(embedding)
        empty = self.mask_downsampler.constant(value, windows.grid)
        changed = self.mask_downsampler.within(mask, windows, empty)
        memory: Tensor = self.out_proj(self.fuser.within(frame + changed, windows, frame + empty))
        return memory
