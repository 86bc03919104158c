"""Results as a folder of files that other programs read: labels, tables and prompts.

All of it may run on any thread: frames are read and written one by one, and a generator that is closed stops between
two of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_sam2.errors import ImageFileError
from napari_sam2.files.atomic import check_replaceable
from napari_sam2.files.labels import check_label_output, open_label_writer
from napari_sam2.files.measurements import Measurements
from napari_sam2.files.partial import writing
from napari_sam2.files.prompts import write_prompts
from napari_sam2.files.tables import write_table
from napari_sam2.results import feature_table

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_sam2.files.labels import LabelWriter
    from napari_sam2.files.measurements import ImageToMeasure
    from napari_sam2.files.pixel_sizes import PixelSize
    from napari_sam2.files.prompts import PromptFile
    from napari_sam2.frames import ArrayLike

MAX_READ_BYTES = 2**28
"""Memory for frames that share chunks on disk and are therefore read together."""


class LabelFormat(Enum):
    """Format of exported labels, by the end of the file's name."""

    TIFF = ".tif"
    OME_ZARR = ".ome.zarr"


@dataclass(frozen=True, slots=True, eq=False)
class LabelsToExport:
    """Labels that are going to be written.

    Attributes
    ----------
    array : ArrayLike
        The labels, (N, Y, X) or (Y, X); not copied, so what changes before its frame is written is written.
    axes : str
        "TYX", "ZYX" or "YX".
    pixel_size : mapping of str to PixelSize
        By letter of `axes`, as far as it is known.
    remark : str
        What could not be found out, in a sentence; empty if there is no such thing.
    """

    array: ArrayLike
    axes: str
    pixel_size: Mapping[str, PixelSize]
    remark: str = ""

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of the labels in the file: unsigned, 32 bits at most."""
        return np.dtype(f"u{min(self.array.dtype.itemsize, 4)}")


@dataclass(frozen=True, slots=True)
class ExportedFiles:
    """What was written.

    Attributes
    ----------
    folder : Path
        Where it is.
    names : tuple of str
        Names of the files.
    object_ids : tuple of int
        Objects in the labels, ascending.
    remark : str
        What could not be measured, in a sentence; empty if there is no such thing.
    """

    folder: Path
    names: tuple[str, ...]
    object_ids: tuple[int, ...]
    remark: str = ""


def export_all(
    folder: str | os.PathLike[str],
    labels: LabelsToExport,
    *,
    scores: pd.DataFrame,
    prompts: PromptFile,
    image: ImageToMeasure | None = None,
    names: Mapping[int, str] | None = None,
    label_format: LabelFormat = LabelFormat.TIFF,
    overwrite: bool = False,
) -> Generator[tuple[int, int], None, ExportedFiles]:
    """Write results into a folder: `labels` as TIFF or OME-Zarr, tables and `prompts.json`.

    Tables are `measurements.csv`, with one row per object and frame on which it has a pixel in the labels,
    `scores.csv`, with one row per object and frame on which it was looked for, and `objects.csv`. All of them count the
    labels that are written.

    Parameters
    ----------
    folder : path
        Made if it does not exist; its parent must.
    labels : LabelsToExport
        The labels.
    scores : DataFrame
        From `score_table`.
    prompts : PromptFile
        The prompts, and what else the result depends on.
    image : ImageToMeasure, optional
        The image, for intensities.
    names : mapping of int to str, optional
        Names of objects by id.
    label_format : LabelFormat
        Format of the label image. An OME-Zarr also holds the table of objects, as their properties.
    overwrite : bool
        Whether files of these names may be replaced.

    Returns
    -------
    generator of (int, int)
        Frames that are written, and all frames; in the end, what was written. The work is done while it is consumed.
        Given up before the end, it leaves the finished frames in a file with `.partial` in its name, and nothing under
        the final one. The label image gets its name last, so where it is the rest is, too.

    Raises
    ------
    ImageFileError
        If a path may not be written, at once, before the first file is touched; if the disk refuses, later.
    OptionError
        If labels become a zarr, and zarr is not installed, at once; if they are negative or do not fit 32 bits, later.
    """
    folder = Path(folder)
    check_fillable(folder, "an export")
    paths = [folder / name for name in names_of_files(label_format)]
    if folder.exists():
        check_label_output(paths[0], overwrite=overwrite)
        for path in paths[1:]:
            check_replaceable(path, overwrite=overwrite)
    measurements = Measurements(labels.array, labels.axes, labels.pixel_size, image)
    return _written(paths, labels, measurements, scores, prompts, dict(names or {}), overwrite=overwrite)


def names_of_files(label_format: LabelFormat) -> tuple[str, ...]:
    """Return the names of the files of an export, the labels first."""
    return f"labels{label_format.value}", "measurements.csv", "scores.csv", "objects.csv", "prompts.json"


def check_fillable(folder: Path, by: str) -> None:
    """Refuse a folder that cannot be made or filled; the message names what fills it.

    Raises
    ------
    ImageFileError
        If it is a file, or its parent does not exist.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise ImageFileError(f"{folder} is a file, and {by} fills a folder. Choose another name.")
        if not folder.parent.is_dir():
            raise ImageFileError(f"There is no folder {folder.parent} to make {folder.name} in. Make it first.")


def make_folder(folder: Path) -> None:
    """Make a folder for results if it does not exist.

    Raises
    ------
    ImageFileError
        If it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"The folder {folder} cannot be made ({error}). Choose another.") from error


def _written(
    paths: Sequence[Path],
    labels: LabelsToExport,
    measurements: Measurements,
    scores: pd.DataFrame,
    prompts: PromptFile,
    names: Mapping[int, str],
    *,
    overwrite: bool,
) -> Generator[tuple[int, int], None, ExportedFiles]:
    labels_path, measurements_path, scores_path, objects_path, prompts_path = paths
    make_folder(labels_path.parent)
    with open_label_writer(
        labels_path,
        shape=tuple(labels.array.shape),
        dtype=labels.dtype,
        axes=labels.axes,
        pixel_size=labels.pixel_size,
        overwrite=overwrite,
    ) as writer:
        yield from _written_frames(writer, labels.array, measurements)
        measured = measurements.table()
        scores = _counted(scores, measured)
        objects = _object_table(scores, names, measured, measurements.means(measured))
        writer.describe(objects)
        write_table(measurements_path, measured, overwrite=overwrite)
        write_table(scores_path, scores, overwrite=overwrite)
        write_table(objects_path, objects, overwrite=overwrite)
        write_prompts(prompts_path, prompts, overwrite=overwrite)
    object_ids = tuple(sorted(measured["object_id"].unique().tolist()))
    return ExportedFiles(labels_path.parent, tuple(path.name for path in paths), object_ids, measurements.remark)


def _written_frames(
    writer: LabelWriter, array: ArrayLike, measurements: Measurements
) -> Generator[tuple[int, int], None, None]:
    """Write and measure all frames."""
    is_in_order = measurements.is_in_order
    total = len(writer) + (0 if is_in_order else measurements.num_frames)
    for number, plane in enumerate(_planes(array)):
        writer.write(number, plane)
        if is_in_order:
            measurements.add(number, plane)
        yield number + 1, total
    for frame in () if is_in_order else measurements.add_all():
        yield len(writer) + frame + 1, total


def _planes(array: ArrayLike) -> Iterator[NDArray[np.integer]]:
    """Yield the planes of an array; planes that share chunks are read together, within limits."""
    if len(array.shape) == 2:
        yield _integers(array[:, :])
        return
    count, height, width = array.shape
    chunks = getattr(array, "chunks", None)
    # zarr gives one length for all chunks along an axis, dask the length of each.
    deep = 1 if chunks is None else int(np.max(chunks[0]))
    step = max(1, min(deep, MAX_READ_BYTES // max(1, height * width * array.dtype.itemsize)))
    for start in range(0, count, step):
        yield from _integers(array[start : start + step, :, :])


def _integers(part: object) -> NDArray[np.integer]:
    read = np.asarray(part)
    return read.astype(np.uint8) if read.dtype == bool else read


def _counted(scores: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return scores with the areas in the labels that are written."""
    where = ["object_id", "frame"]
    areas = measured.set_index(where)["area_in_labels_px"]
    found = areas.reindex(pd.MultiIndex.from_frame(scores[where])).fillna(0).astype(int)
    return scores.assign(area_in_labels_px=found.to_numpy())


def _object_table(
    scores: pd.DataFrame, names: Mapping[int, str], measured: pd.DataFrame, means: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per object that was scored or is in the labels; what is not known of it stays empty.

    Number of frames and mean area of an object without scores are those of its labels.
    """
    in_labels = measured["object_id"].value_counts()
    scored = feature_table(scores).set_index("index")
    ids = sorted({*scored.index.astype(int), *means.index.astype(int)})
    table = scored.reindex(ids)
    unscored = [object_id for object_id in ids if object_id not in scored.index]
    table.loc[unscored, "n_frames"] = [in_labels[i] for i in unscored]
    table.loc[unscored, "mean_area_px"] = [means["mean_area_in_labels_px"][i] for i in unscored]
    table["mean_area_in_labels_px"] = means["mean_area_in_labels_px"].reindex(ids).fillna(0.0)
    table = table.join(means.drop(columns="mean_area_in_labels_px"))
    # Whole numbers stay whole beside empty cells.
    table = table.astype({"n_frames": "Int64", "worst_frame": "Int64"}).rename_axis("index").reset_index()
    table.insert(1, "name", [names.get(object_id) for object_id in ids])
    return table
