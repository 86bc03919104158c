"""Label images on disk in the format that their name asks for, TIFF or OME-Zarr, and what all writers can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from napari_sam2.errors import ImageFileError
from napari_sam2.files.label_tiff import LABEL_SUFFIXES, TiffLabelWriter
from napari_sam2.files.label_zarr import ZARR_SUFFIX, ZarrLabelWriter

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType

    import numpy.typing as npt
    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.files.label_writer import LabelFileWriter
    from napari_sam2.files.pixel_sizes import PixelSize

_FORMATS: dict[str, type[LabelFileWriter]] = {
    **dict.fromkeys(LABEL_SUFFIXES, TiffLabelWriter),
    ZARR_SUFFIX: ZarrLabelWriter,
}
"""Writers by the suffix of the file."""


class LabelSink(Protocol):
    """Where labels go, frame by frame; as a context manager it completes itself at the end."""

    @property
    def partial_path(self) -> Path | None:
        """Where finished frames are kept after an error; None if they are not."""

    def write(self, frame: int, labels: NDArray[np.integer]) -> None:
        """Store the labels of one frame, shape (Y, X)."""

    def describe(self, objects: pd.DataFrame) -> None:
        """Store what is known of each object, one row each with its label in `index`; a TIFF leaves it out."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class LabelWriter(LabelSink, Protocol):
    """A label image on disk, written frame by frame in any order."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.unsignedinteger]
    partial_path: Path
    """Where the label image is until `close` gives it its name."""

    def __len__(self) -> int:
        """Return the number of frames; 1 for a single image."""

    def close(self) -> None:
        """Finish the file and give it its final name; does nothing the second time."""


class TurnedWriter:
    """Labels whose frames lie along another axis than the first of their file: kept in memory, written at the end.

    Parameters
    ----------
    writer : LabelWriter
        Of the file.
    order : tuple of int
        Axes of the file that are frames (where there are any), rows and columns.
    """

    def __init__(self, writer: LabelWriter, order: tuple[int, ...]) -> None:
        self._writer = writer
        self._labels = np.zeros(writer.shape, writer.dtype)
        turned = self._labels.transpose(order)  # a view: what is written to it is in the labels
        self._frames = turned if len(order) > 2 else turned[np.newaxis]
        self.describe = writer.describe

    @property
    def partial_path(self) -> Path:
        """Where the labels are until they are complete."""
        return self._writer.partial_path

    def write(self, frame: int, labels: NDArray[np.integer]) -> None:
        """Keep the labels of one frame, shape (Y, X)."""
        self._frames[frame] = labels

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What is finished is written, too, when the work ends early.
        for number, plane in enumerate(self._labels if self._labels.ndim > 2 else self._labels[np.newaxis]):
            if plane.any():
                self._writer.write(number, plane)
        self._writer.__exit__(kind, error, traceback)


def check_label_output(
    path: str | os.PathLike[str], *, source: ImageFile | None = None, overwrite: bool = False
) -> Path:
    """Return a path that `open_label_writer` can write; nothing is made yet.

    Parameters
    ----------
    path, source, overwrite
        As in `open_label_writer`.

    Raises
    ------
    ImageFileError
        If the file exists, is the source itself, has a suffix that is not written, or its folder does not exist.
    OptionError
        If it is a zarr, and zarr is not installed.
    """
    return _format_of(path).checked_path(path, source=source, overwrite=overwrite)


def open_label_writer(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    source: ImageFile | None = None,
    axes: str | None = None,
    pixel_size: Mapping[str, PixelSize] | None = None,
    overwrite: bool = False,
) -> LabelWriter:
    """Make a label image on disk, and return its writer.

    Parameters
    ----------
    path : path
        The file to become: `.tif` or `.tiff`, or `.zarr` for OME-Zarr.
    shape, dtype, source, axes, pixel_size, overwrite
        As in `LabelFileWriter`.

    Raises
    ------
    ImageFileError, OptionError
        As in `LabelFileWriter`.
    """
    return _format_of(path)(
        path, shape=shape, dtype=dtype, source=source, axes=axes, pixel_size=pixel_size, overwrite=overwrite
    )


def _format_of(path: str | os.PathLike[str]) -> type[LabelFileWriter]:
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise ImageFileError(
            f"{path}: labels are written as TIFF or OME-Zarr. Use a name that ends in .tif or {ZARR_SUFFIX}."
        )
    return _FORMATS[suffix]
