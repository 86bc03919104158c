"""Confidence by object and frame: read from the masks that are held, and drawn in colours. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_sam2.colours import confidence_colours

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from napari_sam2.workspace.held import HeldMasks, Shown

T = TypeVar("T", np.float32, np.bool_)

ABSENT, UNSEEN = 1.5, 2.0
"""In the place of a confidence: the object was not found, or not looked for. The smallest value is the one to show."""

GREY = (128, 128, 128, 110)
"""Colour of an object that was not found."""

FADING = 3
"""By how much objects that are not shown in the image are less opaque."""

HATCH_PX = 8
"""Width of a stripe and the gap beside it, of masks that are older than a prompt."""


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceTable:
    """One row per object, one column per frame.

    Attributes
    ----------
    object_ids : tuple of int
        The objects, ascending.
    values : ndarray
        (objects, frames) float32: confidence, `ABSENT` or `UNSEEN`.
    """

    object_ids: tuple[int, ...]
    values: NDArray[np.float32]

    @property
    def num_frames(self) -> int:
        """Length of a row."""
        return int(self.values.shape[1])

    def shrunk(self, num_rows: int, num_columns: int) -> NDArray[np.float32]:
        """All rows, no more of them and no longer than asked for: the worst of what falls together is kept.

        Returns
        -------
        ndarray
            At most (num_rows, num_columns), float32.
        """
        return _shrunk(self.values, num_rows, num_columns, np.minimum)


def _shrunk(cells: NDArray[T], num_rows: int, num_columns: int, together: np.ufunc) -> NDArray[T]:
    """No more rows and columns than asked for, of those that there are; what falls together is put together."""
    for axis, most in enumerate((num_rows, num_columns)):
        if cells.shape[axis] > most > 0:
            cells = together.reduceat(cells, np.arange(most) * cells.shape[axis] // most, axis=axis)
    return cells


def confidence_table(held: HeldMasks, object_ids: Iterable[int]) -> ConfidenceTable:
    """Read the confidence of objects on all frames.

    Parameters
    ----------
    held : HeldMasks
        The masks.
    object_ids : iterable of int
        Which objects, with masks or without, in any order.
    """
    ids = tuple(sorted(object_ids))
    values = np.array([held.confidences(object_id) for object_id in ids], np.float32).reshape(-1, held.num_frames)
    num_found = np.isfinite(values).sum(0)
    np.nan_to_num(values, copy=False, nan=UNSEEN)
    row_of = {object_id: row for row, object_id in enumerate(ids)}
    for frame in held.frames:
        masks = held.on(frame)
        if len(masks) != num_found[frame]:
            rows = [row_of[i] for i, one in masks.items() if not one.score.area_px and i in row_of]
            values[rows, frame] = ABSENT
    return ConfidenceTable(ids, values)


def draw_table(
    table: ConfidenceTable, height: int, width: int, shown: Shown, outdated: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Draw a table as large as asked for; what is doubtful stays visible where there are more cells than pixels.

    Parameters
    ----------
    table : ConfidenceTable
        The table, of one object or more.
    height, width : int
        Size in pixels.
    shown : Shown
        Which masks are to be seen in the image. Hidden objects are faded, masks hidden as doubtful have fine dark
        stripes.
    outdated : ndarray, optional
        (objects, frames) bool, masks that are older than a prompt: they are hatched the other way, with gaps.

    Returns
    -------
    ndarray
        (height, width, 4) uint8: red, green, blue and opacity. Nothing is drawn where an object was not looked for.
    """
    values = table.shrunk(height, width)
    colours = np.full((*values.shape, 4), 255, np.uint8)
    colours[..., :3] = confidence_colours(values)
    colours[values == ABSENT] = GREY
    colours[values == UNSEEN] = 0
    rows, columns = _stretched(values.shape[0], height), _stretched(values.shape[1], width)
    drawn = colours[rows[:, None], columns]
    is_hidden = _are_in(table.object_ids, shown.hidden)[_stretched(len(table.object_ids), height)]
    y, x = np.ogrid[:height, :width]
    is_doubtful = (values < shown.least_confidence)[rows[:, None], columns]
    drawn[is_doubtful & ((x + y) % 4 > 1), :3] //= 3
    drawn[is_hidden, :, 3] //= FADING
    if outdated is not None and outdated.any():
        is_outdated = _shrunk(outdated, height, width, np.logical_or)[rows[:, None], columns]
        drawn[is_outdated & ((x - y) % HATCH_PX >= HATCH_PX // 2), 3] = 0
    return drawn


def _stretched(count: int, length: int) -> NDArray[np.intp]:
    """Which of so many cells lies under each of so many pixels."""
    return np.arange(length) * count // length


def _are_in(object_ids: Collection[int], others: Collection[int]) -> NDArray[np.bool_]:
    return np.array([object_id in others for object_id in object_ids], np.bool_)
