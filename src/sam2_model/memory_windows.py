"""The parts of a frame in which masks are remembered: a small object need not cost a whole frame.

A mask has one value everywhere but round its object. There the memory encoder, which looks only a few tokens far, gives
what it gives to an empty mask of that value; so it is run once on that, and for each object in a window round it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sam2_model.config import STRIDE

_LARGEST_PART = 0.5
"""An object that takes more than this part of a side of the frame is encoded in the whole frame."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Parts of an h x w grid of tokens, one for each of B objects and all of one size.

    Attributes
    ----------
    corners : tuple of (int, int)
        Upper left tokens, (row, column).
    size : tuple of int
        Rows and columns of each.
    grid : tuple of int
        Rows and columns of the whole.
    """

    corners: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    grid: tuple[int, int]

    def grown(self, before: int, after: int) -> "Windows":
        """Return windows that hold these and so many tokens more on each side, as far as the grid goes."""
        size = min(self.size[0] + before + after, self.grid[0]), min(self.size[1] + before + after, self.grid[1])
        corners = tuple(
            (min(max(row - before, 0), self.grid[0] - size[0]), min(max(column - before, 0), self.grid[1] - size[1]))
            for row, column in self.corners
        )
        return replace(self, corners=corners, size=size)

    def cut(self, x: Tensor, *, cells: int = 1, margin: int = 0) -> Tensor:
        """Return the windows and their margins in maps (B, C, cells h + 2 margin, cells w + 2 margin)."""
        rows, columns = (cells * side + 2 * margin for side in self.size)
        parts = [
            m[:, cells * row : cells * row + rows, cells * column : cells * column + columns]
            for m, (row, column) in zip(x, self.corners, strict=True)
        ]
        return torch.stack(parts)

    def put(self, parts: Tensor, around: Tensor, *, border: int = 0) -> Tensor:
        """Return maps (B, C, h, w): `parts` (B, C, rows, columns) in the windows, `around` (1, C, h, w) elsewhere.

        On sides that are cut out of the grid, above and on the left, `border` tokens of each part are left out.
        """
        maps = around.repeat(len(parts), 1, 1, 1)
        for one, part, (row, column) in zip(maps, parts, self.corners, strict=True):
            above, before = border * (row > 0), border * (column > 0)
            one[:, row + above : row + self.size[0], column + before : column + self.size[1]] = part[:, above:, before:]
        return maps


@dataclass(frozen=True, slots=True, eq=False)
class WindowGroup:
    """Masks that are encoded together.

    Attributes
    ----------
    masks : list of int
        Their numbers.
    background : Tensor
        Value of the first of them outside of its window; with windows, that of all.
    windows : Windows or None
        Where they are encoded; None in the whole frame.
    """

    masks: list[int]
    background: Tensor
    windows: Windows | None


def group_by_window(mask: Tensor, grid: tuple[int, int]) -> Iterator[WindowGroup]:
    """Yield groups of masks (B, 1, H, W): those that fill their frame, and small ones of one background each."""
    # As in `StoredMask`: of the values in the corners the second lowest.
    background = mask[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].median(dim=1).values  # (B,)
    is_inside = mask[:, 0] != background[:, None, None]  # (B, H, W)
    spans = list(zip(_spans(is_inside.any(2)), _spans(is_inside.any(1)), strict=True))
    groups: dict[float | None, list[int]] = {}
    for i, value in enumerate(background.tolist()):
        is_small = all(length <= _LARGEST_PART * side for (_, length), side in zip(spans[i], grid, strict=True))
        groups.setdefault(value if is_small else None, []).append(i)
    for common, chosen in groups.items():
        rows, columns = zip(*(spans[i] for i in chosen), strict=True)
        corners = tuple((row, column) for (row, _), (column, _) in zip(rows, columns, strict=True))
        size = max(length for _, length in rows), max(length for _, length in columns)
        windows = None if common is None else Windows(corners, size, grid).grown(0, 0)  # none beyond the grid
        yield WindowGroup(chosen, background[chosen[0]], windows)


def _spans(is_inside: Tensor) -> list[tuple[int, int]]:
    """Return the first token of each row (B, N) of pixels that some pixel inside reaches, and how many they reach."""
    spans = []
    for pixels in is_inside:
        inside = pixels.nonzero()[:, 0]
        # A token looks at its own pixels and at those of the token before it.
        first, last = (int(inside[0]) // STRIDE, (int(inside[-1]) + STRIDE - 1) // STRIDE) if len(inside) else (0, 0)
        spans.append((first, min(last + 1, len(pixels) // STRIDE) - first))
    return spans
