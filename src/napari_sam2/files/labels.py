"""Label images on disk in the format that their name asks for: TIFF or OME-Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.errors import ImageFileError
from napari_sam2.files.label_tiff import LABEL_SUFFIXES, LabelWriter, check_label_path
from napari_sam2.files.label_zarr import ZARR_SUFFIX, ZarrLabelWriter, check_zarr_path

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.files.pixel_sizes import PixelSize

AnyLabelWriter = LabelWriter | ZarrLabelWriter


def check_label_output(
    path: str | os.PathLike[str], *, source: ImageFile | None = None, overwrite: bool = False
) -> Path:
    """Return a path that `open_label_writer` may write; nothing is made yet.

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
    check = check_zarr_path if _checked_suffix(path) == ZARR_SUFFIX else check_label_path
    return check(path, source=source, overwrite=overwrite)


def open_label_writer(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    source: ImageFile | None = None,
    axes: str | None = None,
    pixel_size: Mapping[str, PixelSize] | None = None,
    overwrite: bool = False,
) -> AnyLabelWriter:
    """Make a label image on disk, to be written frame by frame.

    Parameters
    ----------
    path : path
        The file to become: `.tif` or `.tiff`, or `.zarr` for OME-Zarr.
    shape, dtype, source, axes, pixel_size, overwrite
        As in `LabelWriter`.

    Raises
    ------
    ImageFileError, OptionError
        As the writers do.
    """
    writer = ZarrLabelWriter if _checked_suffix(path) == ZARR_SUFFIX else LabelWriter
    return writer(path, shape=shape, dtype=dtype, source=source, axes=axes, pixel_size=pixel_size, overwrite=overwrite)


def _checked_suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (*LABEL_SUFFIXES, ZARR_SUFFIX):
        raise ImageFileError(
            f"{path}: labels are written as TIFF or OME-Zarr. Use a name that ends in .tif or {ZARR_SUFFIX}."
        )
    return suffix
