"""Objects of one frame measured: where they are, how large, and how bright the image is under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from skimage.measure import regionprops_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

GEOMETRY = ("object_id", "area_in_labels_px", "centroid_y_px", "centroid_x_px")
"""Columns of every table of measurements."""


def intensity_columns(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns with intensities, by channel; of one without a name, they have none in them."""
    ends = [f"_{channel}" if channel else "" for channel in channels]
    return tuple(f"intensity_{what}{end}" for what in ("mean", "sum") for end in ends)


def measured(
    labels: NDArray[np.integer], values: NDArray[np.generic] | None = None, channels: Sequence[str] = ("",)
) -> pd.DataFrame:
    """Return a table with one row per object of a label image.

    Parameters
    ----------
    labels : ndarray of int, shape (Y, X)
        0 is background.
    values : ndarray, optional
        Shape (Y, X, C): the image, as it was recorded.
    channels : sequence of str
        A name for each channel.

    Returns
    -------
    DataFrame
        By ascending id: object_id, area_in_labels_px, centroid_y_px and centroid_x_px (mean of the pixel centres, which
        are at whole numbers); with `values`, intensity_mean and intensity_sum of the pixels, one of each per channel.
    """
    names = list(GEOMETRY) if values is None else [*GEOMETRY, *intensity_columns(channels)]
    ids = np.unique(labels)
    if not ids.any():
        return pd.DataFrame({name: np.zeros(0, int if number < 2 else float) for number, name in enumerate(names)})
    # Ranks instead of ids: scikit-image has a place for every number up to the largest, and an id may be in the
    # billions.
    ranks = np.searchsorted(ids, labels) + int(ids[0] != 0)
    measure: Callable[..., Any] = regionprops_table  # which has no types
    if values is None:
        found = measure(ranks, properties=("label", "area", "centroid"))
    else:
        found = measure(
            ranks,
            values,
            properties=("label", "area", "centroid", "intensity_mean"),
            extra_properties=(_sum,),
        )
    table = pd.DataFrame(found).set_axis(names, axis=1)
    return table.astype({"area_in_labels_px": int}).assign(object_id=ids[ids != 0])


def _sum(is_inside: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = values[is_inside].sum(axis=0, dtype=np.float64)
    return total
