"""Results as a folder of files that other programs read: labels, tables and prompts.

All of it may run on any thread: frames are read and written one by one, and a generator that is closed stops between
two of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import ImageFileError
from napari_sam2.files.atomic import check_replaceable
from napari_sam2.files.labels import check_label_output, open_label_writer
from napari_sam2.files.partial import writing
from napari_sam2.files.prompts import write_prompts
from napari_sam2.files.tables import write_table
from napari_sam2.results import feature_table

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.labels import LabelWriter
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


def export_all(
    folder: str | os.PathLike[str],
    labels: LabelsToExport,
    *,
    scores: pd.DataFrame,
    prompts: PromptFile,
    names: Mapping[int, str] | None = None,
    label_format: LabelFormat = LabelFormat.TIFF,
    overwrite: bool = False,
) -> Iterator[tuple[int, int]]:
    """Write results into a folder: `labels` as TIFF or OME-Zarr, `scores.csv`, `objects.csv` and `prompts.json`.

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
    names : mapping of int to str, optional
        Names of objects by id.
    label_format : LabelFormat
        Format of the label image. An OME-Zarr also holds name and confidence of every object, as its properties.
    overwrite : bool
        Whether files of these names may be replaced.

    Returns
    -------
    iterator of (int, int)
        Frames that are written, and all frames. The work is done while it is consumed. Given up before the end, it
        leaves the finished frames in a file with `.partial` in its name, and nothing under the final one. The label
        image gets its name last, so where it is the rest is, too.

    Raises
    ------
    ImageFileError
        If a path may not be written, at once, before the first file is touched; if the disk refuses, later.
    OptionError
        If labels become a zarr, and zarr is not installed, at once; if they are negative or do not fit 32 bits, later.
    """
    folder = Path(folder)
    check_fillable(folder, "an export")
    names_of_files = (f"labels{label_format.value}", "scores.csv", "objects.csv", "prompts.json")
    paths = tuple(folder / name for name in names_of_files)
    if folder.exists():
        check_label_output(paths[0], overwrite=overwrite)
        for path in paths[1:]:
            check_replaceable(path, overwrite=overwrite)
    return _written(paths, labels, scores, prompts, dict(names or {}), overwrite=overwrite)


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
    scores: pd.DataFrame,
    prompts: PromptFile,
    names: Mapping[int, str],
    *,
    overwrite: bool,
) -> Iterator[tuple[int, int]]:
    labels_path, scores_path, objects_path, prompts_path = paths
    make_folder(labels_path.parent)
    with open_label_writer(
        labels_path,
        shape=tuple(labels.array.shape),
        dtype=labels.dtype,
        axes=labels.axes,
        pixel_size=labels.pixel_size,
        overwrite=overwrite,
    ) as writer:
        objects = yield from _written_frames(writer, labels, scores, names)
        writer.describe(objects)
        write_table(scores_path, scores, overwrite=overwrite)
        write_table(objects_path, objects, overwrite=overwrite)
        write_prompts(prompts_path, prompts, overwrite=overwrite)


def _written_frames(
    writer: LabelWriter, labels: LabelsToExport, scores: pd.DataFrame, names: Mapping[int, str]
) -> Generator[tuple[int, int], None, pd.DataFrame]:
    """Write all frames and return the table of objects."""
    num_frames, area = Counter[int](), Counter[int]()
    for frame, plane in enumerate(_planes(labels.array)):
        writer.write(frame, plane)
        for object_id, count in zip(*(found.tolist() for found in np.unique(plane, return_counts=True)), strict=True):
            num_frames[object_id] += 1
            area[object_id] += count
        yield frame + 1, len(writer)
    del num_frames[0]
    return _object_table(scores, names, num_frames, area)


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


def _object_table(
    scores: pd.DataFrame, names: Mapping[int, str], num_frames: Mapping[int, int], area: Mapping[int, int]
) -> pd.DataFrame:
    """Return one row per object that was scored or is in the labels; what is not known of it stays empty.

    Number of frames and mean area of an object without scores are those of its labels.
    """
    scored = feature_table(scores).set_index("index")
    ids = sorted({*scored.index.astype(int), *num_frames})
    table = scored.reindex(ids)
    unscored = [object_id for object_id in ids if object_id not in scored.index]
    table.loc[unscored, "n_frames"] = [num_frames[i] for i in unscored]
    table.loc[unscored, "mean_area_px"] = [area[i] / num_frames[i] for i in unscored]
    # Whole numbers stay whole beside empty cells.
    table = table.astype({"n_frames": "Int64", "worst_frame": "Int64"}).rename_axis("index").reset_index()
    table.insert(1, "name", [names.get(object_id) for object_id in ids])
    return table
