"""Mask logits as they are stored: hundreds of small objects need not take the room of as many frames."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class StoredMask:
    """Mask logits of one object, of which the cells that are all alike are left out. Nothing is lost.

    Attributes
    ----------
    window : Tensor
        The smallest rectangle that holds all other cells; it shares memory with nothing.
    corner : tuple of int
        First row and column of the window.
    size : tuple of int
        Rows and columns of the whole.
    around : float
        Logit of every cell outside the window.
    """

    window: Tensor
    corner: tuple[int, int]
    size: tuple[int, int]
    around: float

    @classmethod
    def of(cls, logits: Tensor) -> "StoredMask":
        """Return mask logits (h, w) as they are stored."""
        corners = logits[[0, 0, -1, -1], [0, -1, 0, -1]]
        around = corners.median()  # of four values the second lowest: an object may lie in one corner, or in two
        other = logits != around
        rows, columns = other.any(1).nonzero()[:, 0].tolist(), other.any(0).nonzero()[:, 0].tolist()
        window = logits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows else logits[:0, :0]
        corner = (rows[0], columns[0]) if rows else (0, 0)
        return cls(window.clone(), corner, (logits.shape[0], logits.shape[1]), float(around))

    def middle(self) -> tuple[float, float] | None:
        """Return the mean row and column of the cells inside the mask; None if there is none."""
        inside = self.logits() > 0
        places = inside.nonzero().float()
        if not len(places):
            return None
        row, column = places.mean(0).tolist()
        return row, column

    def logits(self) -> Tensor:
        """Return the whole mask logits, (h, w)."""
        logits = self.window.new_full(self.size, self.around)
        (row, column), (rows, columns) = self.corner, self.window.shape
        logits[row : row + rows, column : column + columns] = self.window
        return logits
