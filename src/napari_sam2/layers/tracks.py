"""Objects of a stack as a Tracks layer: where they are on every frame, coloured by confidence.

Positions are measured on an array, on any thread; the layer is made of their table, on the viewer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_sam2.colours import confidence_colours
from napari_sam2.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari.layers import Image, Tracks

    from napari_sam2.frames import ArrayLike
    from napari_sam2.layers.grid import LayerGrid

MAX_AXES = 4
"""Axes of a Tracks layer: frames, rows, columns and one more."""

UNKNOWN_COLOUR = "#8b8f98"
"""Of positions without a confidence: neither doubtful nor sure."""


def measure_positions(labels: ArrayLike, grid: LayerGrid) -> Iterator[pd.DataFrame]:
    """Measure where objects are, one frame at a time.

    Parameters
    ----------
    labels : ArrayLike
        The data of a Labels layer that lies on the image pixel by pixel.
    grid : LayerGrid
        How the image is read.

    Yields
    ------
    DataFrame
        The objects of one frame, by id, in the columns object_id, frame, y, x (the mean of the pixel centres, in pixels
        of the frame) and area_px. One table per frame, in order.

    Raises
    ------
    FrameError
        If the labels have another shape than the grid.
    """
    if tuple(labels.shape) != grid.shape:
        raise FrameError(
            f"Labels have shape {tuple(labels.shape)}, and {grid.shape} is needed. Use labels made for this image."
        )
    for frame in range(grid.num_frames):
        plane = grid.plane(labels, frame)
        rows, columns = np.nonzero(plane)
        ids, ranks, areas = np.unique(plane[rows, columns], return_inverse=True, return_counts=True)
        y, x = (np.bincount(ranks, weights=where) / areas for where in (rows, columns))
        yield pd.DataFrame({"object_id": ids.astype(int), "frame": frame, "y": y, "x": x, "area_px": areas})


def track_table(positions: Iterable[pd.DataFrame], scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per object and frame on which it is, by object, then by frame.

    Parameters
    ----------
    positions : iterable of DataFrame
        From `measure_positions`, at least one.
    scores : DataFrame
        From `results.score_table`.

    Returns
    -------
    DataFrame
        Columns object_id, frame, y, x, area_px, confidence. The confidence is NaN where there is no score.
    """
    table = pd.concat(positions)
    known = scores[["object_id", "frame", "confidence"]].astype({"object_id": int, "frame": int, "confidence": float})
    return table.merge(known, on=["object_id", "frame"], how="left").sort_values(
        ["object_id", "frame"], ignore_index=True
    )


def new_tracks_layer(image: Image, grid: LayerGrid, table: pd.DataFrame, *, name: str = "tracks") -> Tracks:
    """Make a Tracks layer that lies on an image, one track per object.

    Parameters
    ----------
    image : napari.layers.Image
        The image. The layer takes over its scale, position, rotation, shear, affine, units and axis labels.
    grid : LayerGrid
        How it is read.
    table : DataFrame
        From `track_table`.
    name : str
        Name of the layer.

    Returns
    -------
    napari.layers.Tracks
        Not added to a viewer. It has the axes of the image from that of the frames on. The number of a track is the
        object's id; confidence, area_px and frame are its features, and it is coloured by confidence, from 0 to 1.

    Raises
    ------
    FrameError
        If the table is empty, the image is no stack, its frames do not lie along the first of its axes that are longer
        than one, or there are more axes after it than tracks can have.
    """
    from napari.layers import Tracks
    from napari.utils.colormaps import Colormap

    first = grid.frame_axis
    if first is None or first > min(grid.row_axis, grid.column_axis):
        # napari orders the points of a track by their first coordinate, and would join them in the wrong order.
        raise FrameError(
            f"Image {image.name!r} is read as "
            + ("a single image" if first is None else f"frames along its axis {first}")
            + ", and tracks run along the first of three axes. Show a stack in its own order to have tracks of it."
        )
    if image.ndim - first > MAX_AXES:
        raise FrameError(
            f"Image {image.name!r} has {image.ndim - first} axes from that of its frames on, and tracks have "
            f"{MAX_AXES} at most. Take out axes of length one: slice its array."
        )
    if table.empty:
        raise FrameError("There is no object to track: the labels are empty on all frames. Propagate first.")
    # Before the frames there are but axes of length one, and napari lays layers of fewer axes on the last ones.
    coordinates = grid.to_data(table[["frame", "y", "x"]])[:, first:]
    return Tracks(
        np.column_stack((table["object_id"], coordinates)),
        name=name,
        features=table[["confidence", "area_px", "frame"]],
        color_by="confidence",
        colormaps_dict={
            # One of our own has no scale of its own: 0 and 1 are its ends, whatever occurs.
            "confidence": Colormap(
                confidence_colours(np.linspace(0, 1, 256)) / 255, name="confidence", nan_color=UNKNOWN_COLOUR
            )
        },
        **_placement(image, first),
    )


def _placement(image: Image, first: int) -> dict[str, Any]:
    """Where a layer lies that has the axes of an image from one on."""
    ndim = image.ndim - first
    return {
        "scale": image.scale[first:],
        "translate": image.translate[first:],
        "rotate": np.asarray(image.rotate)[first:, first:],
        "shear": image.shear[len(image.shear) - ndim * (ndim - 1) // 2 :],  # an upper triangle, row by row
        "affine": np.asarray(image.affine.affine_matrix)[first:, first:],
        "units": image.units[first:],
        "axis_labels": image.axis_labels[first:],
    }
