"""Values of label images as object ids, whatever type of number they were saved in."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from napari_sam2.errors import PromptError
from napari_sam2.prompts import MAX_OBJECT_ID

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike


def check_label_type(labels: ArrayLike) -> None:
    """Refuse an array whose values cannot be labels, without looking at them.

    Raises
    ------
    PromptError
        If it has no shape and type, or holds neither whole numbers, floats nor booleans.
    """
    if not hasattr(labels, "shape") or not hasattr(labels, "dtype"):
        raise PromptError(f"Labels are of type {type(labels).__name__}. Give an array (numpy, dask or zarr).")
    dtype = np.dtype(labels.dtype)
    if dtype.kind not in "biuf":
        raise PromptError(f"Labels are of dtype {dtype}, and object ids are numbers. Save them as whole numbers.")


def object_ids_of(values: NDArray[np.generic]) -> NDArray[np.integer]:
    """Return the values of a label image as integers.

    Parameters
    ----------
    values : ndarray
        Booleans, integers, or floats that are whole numbers, as some programs save labels.

    Returns
    -------
    ndarray
        Integers of the same shape; integers are returned as they are.

    Raises
    ------
    PromptError
        If a value is negative, no whole number, or larger than a label image can hold; or if the type is another.
    """
    check_label_type(values)
    if not values.size:
        return np.zeros(values.shape, np.uint8)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    whole = values if values.dtype.kind != "f" else np.trunc(values)
    # NaN is equal to nothing, not even itself.
    strange = whole != values
    if strange.any():
        raise PromptError(
            f"The labels hold the value {values[strange][0].item()}, and object ids are whole numbers. If these are "
            "labels, and not intensities or probabilities, round them and save them again."
        )
    for value in (values.min().item(), values.max().item()):
        if not 0 <= value <= MAX_OBJECT_ID:
            raise PromptError(
                f"The labels hold the value {value}, and object ids go from 1 to {MAX_OBJECT_ID}, with 0 for the "
                "background. Renumber them, or set it to 0."
            )
    return values.astype(np.uint32) if values.dtype.kind == "f" else cast("NDArray[np.integer]", values)


def areas_of(labels: NDArray[np.integer]) -> dict[int, int]:
    """Return how many pixels each object has in a label image, (Y, X), by ascending id; without the background."""
    pixels = labels.reshape(-1)
    if not pixels.size:
        return {}
    # Objects are runs of equal numbers, so few pixels need be sorted.
    first = np.concatenate(([0], np.flatnonzero(pixels[1:] != pixels[:-1]) + 1))
    ids, run_of = np.unique(pixels[first], return_inverse=True)
    areas = np.bincount(run_of, weights=np.diff(first, append=pixels.size)).astype(int)
    return {object_id: area for object_id, area in zip(ids.tolist(), areas.tolist(), strict=True) if object_id}
