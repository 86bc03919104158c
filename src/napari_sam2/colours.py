"""The colours of confidence, the same in pictures, tables and layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE_RAMP = ("#c8403a", "#e8a33d", "#f2e7a1", "#5fb3a1")
"""From doubtful (red) to sure (green-blue), at equal steps from 0 to 1; also told apart by lightness."""


def confidence_colours(confidences: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return red, green and blue of confidences in [0, 1]: the shape of the array and a last axis of three, uint8."""
    ramp = np.array([list(bytes.fromhex(colour[1:])) for colour in CONFIDENCE_RAMP], np.float64)
    stops = np.linspace(0, 1, len(ramp))
    return np.stack([np.interp(confidences, stops, ramp[:, channel]) for channel in range(3)], -1).astype(np.uint8)
