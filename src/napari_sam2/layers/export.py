"""Work on its way out of napari: labels, tables and prompts as files that others read.

What is needed of a layer is taken on the viewer's thread, by `labels_to_export`. The rest may run on any other: frames
are read and written one by one, and a generator that is closed stops between two of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import FrameError, ImageFileError
from napari_sam2.files.atomic import check_replaceable
from napari_sam2.files.images.arrays import AxesView
from napari_sam2.files.label_zarr import ZarrLabelWriter
from napari_sam2.files.labels import check_label_output, open_label_writer
from napari_sam2.files.partial import writing
from napari_sam2.files.pixel_sizes import PixelSize
from napari_sam2.files.prompts import write_prompts
from napari_sam2.layers.source_axes import described, file_of
from napari_sam2.results import feature_table, score_table
from napari_sam2.tracking.batch import write_table

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterator, Mapping, Sequence

    import pandas as pd
    import pint
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_sam2.files.labels import AnyLabelWriter
    from napari_sam2.files.prompts import PromptFile
    from napari_sam2.frames import ArrayLike

MAX_READ_BYTES = 2**28
"""Memory for frames that share chunks on disk and are therefore read together."""

_LETTERS = dict.fromkeys(("t", "time", "frame"), "T") | dict.fromkeys(("z", "depth", "slice"), "Z")
_LENGTHS = ("m", "cm", "mm", "\N{MICRO SIGN}m", "nm", "in")


class LabelFormat(Enum):
    """Format of exported labels, by the end of the file's name."""

    TIFF = ".tif"
    OME_ZARR = ".ome.zarr"


@dataclass(frozen=True, slots=True, eq=False)
class LabelsToExport:
    """What is written of a Labels layer.

    Attributes
    ----------
    array : ArrayLike
        The labels, in the order of the data, without further axes of length one; not copied, so what changes before
        its frame is written is written.
    axes : str
        "TYX", "ZYX" or "YX".
    pixel_size : mapping of str to PixelSize
        By letter of `axes`, as far as it is known. What the layer says is in lengths of one unit, and in seconds.
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
class ExportPaths:
    """Files of a piece of work in a folder."""

    labels: Path
    scores: Path
    objects: Path
    prompts: Path


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """How far an export has come.

    Attributes
    ----------
    done, total : int
        Frames of the label image. The tables follow the last one.
    """

    done: int
    total: int


def export_paths(folder: str | os.PathLike[str], label_format: LabelFormat = LabelFormat.TIFF) -> ExportPaths:
    """Names of the files that `export_all` writes into a folder."""
    folder = Path(folder)
    return ExportPaths(
        labels=folder / f"labels{label_format.value}",
        scores=folder / "scores.csv",
        objects=folder / "objects.csv",
        prompts=folder / "prompts.json",
    )


def labels_to_export(
    layer: Labels, *, array: ArrayLike | None = None, path: str | os.PathLike[str] | None = None
) -> LabelsToExport:
    """Take from a Labels layer what is needed to write it; on the viewer's thread.

    The first of three axes is time or depth, as its name says (t, z), else its unit, else the file, else time. Sizes
    and units that the layer has are its own. Of what it does not say, the file is asked: napari opens many files
    without axes and pixel size. A layer that is scaled without a unit says how it wants to be seen, and the sizes of
    the file do not apply to it.

    Parameters
    ----------
    layer : napari.layers.Labels
        Of rows and columns, or with one more axis; further ones are of length one. Of several resolutions, the finest
        is taken.
    array : ArrayLike, optional
        What is to be written in the place of its data, of the same shape.
    path : path, optional
        The file of the image that it lies on. None means the one it comes from or was made for, where there is one.

    Raises
    ------
    FrameError
        If more than one axis beside rows and columns is longer than one.
    """
    if array is None:
        array = layer.data[0] if layer.multiscale else layer.data
    kept = _kept_axes(layer, tuple(array.shape))
    if len(kept) < layer.ndim:
        array = AxesView(array, {axis: 0 for axis in range(layer.ndim) if axis not in kept}, kept)
    source = file_of(layer) if path is None else path
    scales, units = [abs(float(layer.scale[axis])) for axis in kept], [layer.units[axis] for axis in kept]
    letter = _frame_letter(layer.axis_labels[kept[0]], units[0]) if len(kept) == 3 else ""
    if source is None or (letter is not None and all(_is_size(unit) for unit in units)):
        axes = f"{letter or 'T'}YX" if len(kept) == 3 else "YX"
        return LabelsToExport(array, axes, _pixel_size(axes, scales, units))
    file = described(Path(source), tuple(array.shape))
    if letter is None:
        letter = "T" if file is None else file.axes[0]
    axes = f"{letter}YX"
    own = _pixel_size(axes, scales, units)
    if file is None:
        remark = f"Axes and pixel size are as the layer says: {source} could not be asked for them."
        return LabelsToExport(array, axes, own, remark)
    given = {axis: size for axis, size in file.pixel_size.items() if axis in axes}
    is_scaled = any(
        not _is_size(unit) and scale != 1 and not (axis in given and np.isclose(scale, given[axis].size))
        for axis, scale, unit in zip(axes, scales, units, strict=True)
    )
    return LabelsToExport(array, axes, own if is_scaled else {**given, **own})


def _kept_axes(layer: Labels, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Axes that are written: three at most, and the others are of length one, the first ones first."""
    kept = list(range(layer.ndim))
    for axis in range(layer.ndim):
        if len(kept) > 3 and shape[axis] == 1:
            kept.remove(axis)
    if len(kept) > 3:
        raise FrameError(
            f"Labels layer {layer.name!r} of shape {shape} has {layer.ndim} axes, and labels are written with two or "
            "three that are longer than one. Take one position along the others: right-click the layer > Split Stack, "
            "or slice its array."
        )
    return tuple(kept)


def export_labels(
    path: str | os.PathLike[str],
    labels: LabelsToExport,
    *,
    scores: pd.DataFrame | None = None,
    names: Mapping[int, str] | None = None,
    overwrite: bool = False,
) -> Iterator[ExportProgress]:
    """Write a label image, frame by frame.

    Parameters
    ----------
    path : path
        A `.tif`, with axes and pixel size; or a `.zarr`, an OME-Zarr label image that also holds name and confidence of
        every object, as its properties.
    labels : LabelsToExport
        From `labels_to_export`.
    scores : DataFrame, optional
        From `score_table`. None means that nothing is known.
    names : mapping of int to str, optional
        Names of objects by id.
    overwrite : bool
        Whether an existing file, or what an unfinished export left, may be replaced.

    Returns
    -------
    iterator of ExportProgress
        The work is done while it is consumed, one item per frame. Given up before the end, it leaves the finished
        frames in a file with `.partial` in its name, and nothing under the final one.

    Raises
    ------
    ImageFileError
        If the path may not be written, at once; if the disk refuses, later.
    OptionError
        If it is a zarr, and zarr is not installed, at once; if labels are negative or do not fit 32 bits, later.
    """
    path = check_label_output(path, overwrite=overwrite)
    scores = score_table(()) if scores is None else scores
    return _written_labels(path, labels, scores, dict(names or {}), overwrite=overwrite)


def export_all(
    folder: str | os.PathLike[str],
    labels: LabelsToExport,
    *,
    scores: pd.DataFrame,
    prompts: PromptFile,
    names: Mapping[int, str] | None = None,
    label_format: LabelFormat = LabelFormat.TIFF,
    overwrite: bool = False,
) -> Iterator[ExportProgress]:
    """Write a piece of work into a folder: labels, `scores.csv`, `objects.csv` and `prompts.json`.

    Parameters
    ----------
    folder : path
        Made if it does not exist; its parent must.
    labels, scores, names
        As in `export_labels`.
    prompts : PromptFile
        The prompts, and what else the result depends on.
    label_format : LabelFormat
        Format of the label image.
    overwrite : bool
        Whether files of these names may be replaced.

    Returns
    -------
    iterator of ExportProgress
        As in `export_labels`. The label image gets its name last, so where it is the rest is, too.

    Raises
    ------
    ImageFileError, OptionError
        As in `export_labels`, for any of the files: at once, before the first is touched.
    """
    paths = export_paths(folder, label_format)
    _check_folder(Path(folder))
    if Path(folder).exists():
        check_label_output(paths.labels, overwrite=overwrite)
        for path in (paths.scores, paths.objects, paths.prompts):
            check_replaceable(path, overwrite=overwrite)
    return _written_work(paths, labels, scores, prompts, dict(names or {}), overwrite=overwrite)


def _check_folder(folder: Path) -> None:
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise ImageFileError(f"{folder} is a file, and an export fills a folder. Choose another name.")
        if not folder.parent.is_dir():
            raise ImageFileError(f"There is no folder {folder.parent} to make {folder.name} in. Make it first.")


def _written_labels(
    path: Path, labels: LabelsToExport, scores: pd.DataFrame, names: Mapping[int, str], *, overwrite: bool
) -> Iterator[ExportProgress]:
    with _writer(path, labels, overwrite=overwrite) as writer:
        objects = yield from _written_frames(writer, labels, scores, names)
        if isinstance(writer, ZarrLabelWriter):
            writer.describe(objects)


def _written_work(
    paths: ExportPaths,
    labels: LabelsToExport,
    scores: pd.DataFrame,
    prompts: PromptFile,
    names: Mapping[int, str],
    *,
    overwrite: bool,
) -> Iterator[ExportProgress]:
    folder = paths.labels.parent
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"The folder {folder} cannot be made ({error}). Choose another.") from error
    with _writer(paths.labels, labels, overwrite=overwrite) as writer:
        objects = yield from _written_frames(writer, labels, scores, names)
        if isinstance(writer, ZarrLabelWriter):
            writer.describe(objects)
        write_table(paths.scores, scores, overwrite=overwrite)
        write_table(paths.objects, objects, overwrite=overwrite)
        write_prompts(paths.prompts, prompts, overwrite=overwrite)


def _writer(path: Path, labels: LabelsToExport, *, overwrite: bool) -> AnyLabelWriter:
    return open_label_writer(
        path,
        shape=tuple(labels.array.shape),
        dtype=labels.dtype,
        axes=labels.axes,
        pixel_size=labels.pixel_size,
        overwrite=overwrite,
    )


def _written_frames(
    writer: AnyLabelWriter, labels: LabelsToExport, scores: pd.DataFrame, names: Mapping[int, str]
) -> Generator[ExportProgress, None, pd.DataFrame]:
    """Write all frames and return the table of objects."""
    num_frames, area = Counter[int](), Counter[int]()
    for frame, plane in enumerate(_planes(labels.array)):
        writer.write(frame, plane)
        for object_id, count in zip(*(found.tolist() for found in np.unique(plane, return_counts=True)), strict=True):
            num_frames[object_id] += 1
            area[object_id] += count
        yield ExportProgress(frame + 1, len(writer))
    del num_frames[0]
    return _object_table(scores, names, num_frames, area)


def _planes(array: ArrayLike) -> Iterator[NDArray[np.integer]]:
    """Read an array plane by plane; planes that share chunks are read together, within limits."""
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
    """One row per object that was scored or is in the labels; what is not known of it stays empty.

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


def _frame_letter(name: str, unit: pint.Unit) -> str | None:
    """Letter of the axis of frames as its name says, else its unit; None if neither does."""
    named = _LETTERS.get(name.strip().casefold())
    return named or ("Z" if _is_length(unit) else "T" if _is_time(unit) else None)


def _pixel_size(axes: str, scales: Sequence[float], units: Sequence[pint.Unit]) -> dict[str, PixelSize]:
    known = {axis: size * unit for axis, size, unit in zip(axes, scales, units, strict=True)}
    lengths = {axis: size for axis, size in known.items() if axis != "T" and _is_length(size.units)}
    given = [f"{size.units:~}" for size in lengths.values()]
    unit = given[-1] if given and given[-1] in _LENGTHS else "\N{MICRO SIGN}m"
    # TIFF has one unit for all lengths.
    sizes = {axis: PixelSize(float(size.to(unit).magnitude), unit) for axis, size in lengths.items()}
    if "T" in known and _is_time(known["T"].units):
        sizes = {"T": PixelSize(float(known["T"].to("s").magnitude), "s"), **sizes}
    return sizes


def _is_size(unit: pint.Unit) -> bool:
    return _is_length(unit) or _is_time(unit)


def _is_time(unit: pint.Unit) -> bool:
    return bool(unit.is_compatible_with("s"))


def _is_length(unit: pint.Unit) -> bool:
    return bool(unit.is_compatible_with("m"))
