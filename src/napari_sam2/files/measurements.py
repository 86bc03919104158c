"""What an export measures: every object on every frame, in the labels that are written, in pixels and in units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.arrays import AxesView
from napari_sam2.labels.measuring import GEOMETRY, intensity_columns, measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from napari_sam2.files.pixel_sizes import PixelSize
    from napari_sam2.frames import ArrayLike, FrameStack


@dataclass(frozen=True, slots=True, eq=False)
class ImageToMeasure:
    """The image under labels.

    Attributes
    ----------
    frames : FrameStack
        Its frames. What is measured is what was recorded, not what the model sees.
    channels : tuple of str
        A name for each channel; an empty one for an image that has no others.
    order : tuple of int, optional
        Axes of the labels that are frames (where there are any), rows and columns of these frames. None means their own
        order.
    """

    frames: FrameStack
    channels: tuple[str, ...] = ("",)
    order: tuple[int, ...] | None = None


class Measurements:
    """Collects what is measured, frame by frame: frame, row and column are those in which one worked.

    Parameters
    ----------
    labels : ArrayLike
        The labels, (N, Y, X) or (Y, X).
    axes : str
        The letters of their axes.
    pixel_size : mapping of str to PixelSize
        By letter, as far as it is known.
    image : ImageToMeasure, optional
        What lies under them; without it nothing is known of intensities.

    Attributes
    ----------
    is_in_order : bool
        Whether frames are planes of the labels as they are written.
    num_frames : int
        Number of frames.
    remark : str
        What could not be measured, in a sentence; empty if there is no such thing.
    """

    def __init__(
        self, labels: ArrayLike, axes: str, pixel_size: Mapping[str, PixelSize], image: ImageToMeasure | None = None
    ) -> None:
        natural = tuple(range(len(axes)))
        order = natural if image is None or image.order is None else image.order
        self.is_in_order = order == natural
        self._labels = labels if self.is_in_order else AxesView(labels, {}, order)
        self._image = image
        self._axes = "".join(axes[axis] for axis in order)
        self._pixel_size = pixel_size
        self.num_frames = labels.shape[order[0]] if len(order) == 3 else 1
        self.remark = ""
        self._tables: list[pd.DataFrame] = []

    def add(self, frame: int, plane: NDArray[np.integer]) -> None:
        """Measure the labels of a frame, (Y, X)."""
        values = None
        if self._image is not None and not self.remark:
            try:
                values = self._image.frames.values(frame)
            except (ImageFileError, OSError) as error:  # labels are written whatever became of the image
                self.remark = f"Intensities are not known from frame {frame} on: {error}"
        table = measured(plane, values, ("",) if self._image is None else self._image.channels)
        table.insert(1, "frame", frame)
        self._tables.append(table)

    def add_all(self) -> Iterator[int]:
        """Measure all frames, and yield the number of each; for labels that are written in another order."""
        for frame in range(self.num_frames):
            key = (slice(None), slice(None)) if len(self._axes) == 2 else (frame, slice(None), slice(None))
            self.add(frame, np.asarray(self._labels[key]))
            yield frame

    def table(self) -> pd.DataFrame:
        """Return one row per object and frame on which it has a pixel, by object, then by frame.

        Columns are those of `measured`, and frame; where sizes of pixels are known, also the area and the centroid in
        units, and where the frame is: its time, or its place along the axis.
        """
        columns = ["object_id", "frame", *GEOMETRY[1:]]
        if self._image is not None:
            columns += intensity_columns(self._image.channels)
        found = [one for one in self._tables if len(one)]
        table = pd.concat(found) if found else pd.DataFrame(columns=columns)
        table = table.reindex(columns=columns).sort_values(["object_id", "frame"], ignore_index=True)
        return table.assign(**self._in_units(table))

    def means(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the means over frames of `table`, by the id of the object; their names begin with "mean_"."""
        beside = [name for name in table if name == "frame" or name in self._in_place(table)]
        return table.drop(columns=beside).groupby("object_id").mean().add_prefix("mean_")

    def _in_units(self, table: pd.DataFrame) -> dict[str, pd.Series]:
        columns = {}
        rows, across = (self._pixel_size.get(axis) for axis in self._axes[-2:])
        if rows is not None and across is not None and rows.unit == across.unit:
            columns[f"area_{_ascii(rows.unit)}2"] = table["area_in_labels_px"] * (rows.size * across.size)
        for name, size in (("centroid_y", rows), ("centroid_x", across)):
            if size is not None:
                columns[f"{name}_{_ascii(size.unit)}"] = table[f"{name}_px"] * size.size
        return columns | self._in_place(table)

    def _in_place(self, table: pd.DataFrame) -> dict[str, pd.Series]:
        """Where the frames are, as far as that is known."""
        axis = self._axes[0]
        step = self._pixel_size.get(axis) if len(self._axes) == 3 else None
        if step is None:
            return {}
        name = "time" if axis == "T" else axis.lower()
        return {f"{name}_{_ascii(step.unit)}": table["frame"] * step.size}


def _ascii(unit: str) -> str:
    """Spell a unit so that every program reads the name of a column that ends with it."""
    return unit.replace("\N{MICRO SIGN}", "u")
