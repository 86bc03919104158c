"""Confidence by object and frame as numbers in rows, and as colours. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_sam2.results import ObjectScore

ABSENT, UNSEEN = 1.5, 2.0
"""In the place of a confidence: the object was not found, or not looked for. The smallest value is the one to show."""

RAMP = np.array([(0xC8, 0x40, 0x3A), (0xE8, 0xA3, 0x3D), (0xF2, 0xE7, 0xA1), (0x5F, 0xB3, 0xA1)], np.float64)
"""From doubtful (red) to sure (green-blue), also told apart by lightness; the colours of `overview.py`."""


class ConfidenceRows:
    """A row for every object that was looked for on any frame.

    Parameters
    ----------
    num_frames : int
        Length of a row.
    """

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self._rows: dict[int, NDArray[np.float32]] = {}

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects with a row, ascending."""
        return tuple(sorted(self._rows))

    def set_frame(self, frame: int, scores: Mapping[int, ObjectScore]) -> None:
        """Let these be the scores of a frame."""
        for object_id in scores.keys() - self._rows.keys():
            self._rows[object_id] = np.full(self.num_frames, UNSEEN, np.float32)
        for object_id, row in list(self._rows.items()):
            score = scores.get(object_id)
            if score is not None:
                row[frame] = score.confidence if score.area_px else ABSENT
            elif row[frame] != UNSEEN:
                row[frame] = UNSEEN
                if (row == UNSEEN).all():
                    del self._rows[object_id]

    def at(self, object_id: int, frame: int) -> float:
        """Confidence of an object on a frame, `ABSENT` or `UNSEEN`."""
        row = self._rows.get(object_id)
        return UNSEEN if row is None else float(row[frame])

    def worst(self, object_id: int) -> tuple[float, int] | None:
        """Smallest confidence of an object, and its frame; None if it was found nowhere."""
        row = self._rows.get(object_id)
        if row is None or row.min() >= ABSENT:
            return None
        return float(row.min()), int(row.argmin())

    def shrunk(self, num_rows: int, num_columns: int) -> NDArray[np.float32]:
        """All rows, no more of them and no longer than asked for: the worst of what falls together is kept.

        Returns
        -------
        ndarray
            At most (num_rows, num_columns), float32, by ascending object.
        """
        table = np.array([self._rows[i] for i in self.object_ids], np.float32).reshape(-1, self.num_frames)
        for axis, most in enumerate((num_rows, num_columns)):
            if table.shape[axis] > most > 0:
                table = np.minimum.reduceat(table, np.arange(most) * table.shape[axis] // most, axis=axis)
        return table


def ramp_colours(confidences: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Red, green and blue of confidences: the shape of the array and a last axis of three, uint8."""
    stops = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(confidences, stops, RAMP[:, channel]) for channel in range(3)], -1).astype(np.uint8)
