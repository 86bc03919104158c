"""Parts of a frame that is too large to be seen whole, pixel for pixel: a cell is seen in its own surroundings.

Crops of one size lie on a lattice, half a crop apart, so that neighbours share what was encoded, and whole tokens
apart, so that what is remembered in one can be recalled in another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.config import STRIDE
from sam2_model.preprocessing import check_image

Corner = tuple[int, int]
"""Row and column of the first pixel of a part, in the frame."""


@dataclass(frozen=True, slots=True)
class Crops:
    """The crops of frames of one size.

    Attributes
    ----------
    height, width : int
        Size of a frame, in pixels.
    side : int
        Side of a crop, in pixels, a multiple of 32. Along an axis on which the frame is no longer, crops are as long as
        the frame. Some reach a few pixels beyond it: there its last pixels are repeated.
    """

    height: int
    width: int
    side: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of every crop."""
        return min(self.side, self.height), min(self.side, self.width)

    def nearest(self, row: float, column: float) -> Corner:
        """Return the corner of the crop whose middle is nearest to a place."""
        return self._along(row, self.height), self._along(column, self.width)

    def _along(self, place: float, length: int) -> int:
        last = -(-max(length - self.side, 0) // STRIDE) * STRIDE
        step = self.side // 2
        wanted = place - self.side / 2
        below = min(max(floor(wanted / step) * step, 0), last)
        above = min(below + step, last)
        return below if wanted - below <= above - wanted else above

    def holding(self, top: float, left: float, bottom: float, right: float) -> Corner | None:
        """Return the corner of the crop nearest to a rectangle; None if that takes more than half of a crop's side.

        A rectangle that takes less lies in that crop whole.
        """
        for extent, length in ((bottom - top, self.height), (right - left, self.width)):
            if extent > self.side / 2 and length > self.side:
                return None
        return self.nearest((top + bottom) / 2, (left + right) / 2)

    def open_sides(self, corner: Corner) -> tuple[bool, bool, bool, bool]:
        """Return whether the frame goes on above a crop, below it, on its left and on its right."""
        (top, left), (rows, columns) = corner, self.size
        return top > 0, top + rows < self.height, left > 0, left + columns < self.width

    def read(self, window: Callable[[slice, slice], NDArray[np.uint8]], corner: Corner) -> NDArray[np.uint8]:
        """Return the pixels of a crop, (rows, columns, 3), through a function that reads windows of the frame."""
        (top, left), (rows, columns) = corner, self.size
        part = check_image(window(slice(top, top + rows), slice(left, left + columns)))
        below, after = rows - part.shape[0], columns - part.shape[1]
        return np.pad(part, ((0, below), (0, after), (0, 0)), mode="edge") if below or after else part


def steps(before: Corner, now: Corner, cell_px: int) -> tuple[int, int]:
    """Return by how many cells what lay in one crop has to be moved, down and to the right, to lie so in another."""
    return (before[0] - now[0]) // cell_px, (before[1] - now[1]) // cell_px


def moved(maps: Tensor, down: int, right: int, *, outside: float | None = None) -> Tensor:
    """Return maps (..., h, w) moved by whole cells; what comes in is `outside`, or the nearest cell that was there."""
    if not down and not right:
        return maps
    rows, columns = (
        torch.arange(length, device=maps.device) - step
        for length, step in zip(maps.shape[-2:], (down, right), strict=True)
    )
    h, w = maps.shape[-2:]
    shifted = maps[..., rows.clamp(0, h - 1)[:, None], columns.clamp(0, w - 1)]
    if outside is None:
        return shifted
    is_known = ((rows >= 0) & (rows < h))[:, None] & (columns >= 0) & (columns < w)
    return torch.where(is_known, shifted, outside)
