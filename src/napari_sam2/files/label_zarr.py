"""Write label images as OME-Zarr, frame by frame, with what is known of each object as properties."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_sam2.errors import ImageFileError, OptionError
from napari_sam2.files.atomic import check_folder_of
from napari_sam2.files.label_tiff import check_not_source, check_plane, checked_axes, checked_frame
from napari_sam2.files.partial import check_not_being_written, claim, keep, remove, tidy, writing
from napari_sam2.files.pixel_sizes import ngff_scale
from napari_sam2.files.sources import reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import numpy.typing as npt
    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.files.pixel_sizes import PixelSize

ZARR_SUFFIX = ".zarr"

NGFF_VERSION = "0.5"
"""Version of the OME-Zarr specification that is written; its arrays are Zarr version 3."""

LONGEST_CHUNK = 1024
"""Pixels, along rows and columns. A chunk never holds more than one frame."""

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


class ZarrLabelWriter:
    """A label image on disk, written and read frame by frame in any order, as `label_files.LabelWriter` is.

    The file is a folder: one OME-Zarr image that is a label image (`image-label`), of one resolution. It is made at
    once, as `partial_path`, all background, and is readable at every moment. `close` gives it its name. As a context
    manager it closes at the end; left by an exception, it keeps the partial file if a frame was written to it.

    Parameters
    ----------
    path : path
        The file to become; it ends in `.zarr`, by custom in `.ome.zarr`.
    shape, dtype, source, axes, pixel_size
        As in `LabelWriter`.
    overwrite : bool
        Whether an existing zarr may be replaced, and one that another run is writing now.

    Attributes
    ----------
    path, partial_path : Path
        The file to become, and where it lives until `close`; see `partial_files`.
    shape : tuple of int
        As given.
    dtype : dtype
        As given.

    Raises
    ------
    ImageFileError
        If the file exists, is being written, has another suffix, or cannot be made there.
    OptionError
        If zarr is not installed, or the shape, the dtype or the axes are not those of a label image.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        source: ImageFile | None = None,
        axes: str | None = None,
        pixel_size: Mapping[str, PixelSize] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = check_zarr_path(path, source=source, overwrite=overwrite)
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        axes = checked_axes(self.shape, self.dtype, source, axes)
        if pixel_size is None:
            pixel_size = {} if source is None else source.pixel_size
        self._overwrite = overwrite
        self._written = self._is_closed = False
        self._metadata: dict[str, object] = {
            "version": NGFF_VERSION,
            "multiscales": [_multiscale(self.path, axes, pixel_size)],
            "image-label": {},
        }
        tidy(self.path, ZARR_SUFFIX, _holds_labels)
        self.partial_path = claim(self.path, ZARR_SUFFIX, is_folder=True, overwrite=overwrite)
        try:
            with writing(self.path):
                self._make(axes)
        except BaseException:
            remove(self.partial_path)
            raise

    def _make(self, axes: str) -> None:
        import zarr

        self._group = zarr.create_group(store=str(self.partial_path), zarr_format=3, attributes={"ome": self._metadata})
        self._array = self._group.create_array(
            "0",
            shape=self.shape,
            chunks=(1,) * (len(self.shape) - 2) + tuple(min(side, LONGEST_CHUNK) for side in self.shape[-2:]),
            dtype=self.dtype,
            fill_value=0,
            dimension_names=tuple(axes.lower()),
        )

    def __len__(self) -> int:
        return self.shape[0] if len(self.shape) == 3 else 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        if self._is_closed:
            return
        self._is_closed = True
        if self._written:
            self.partial_path = keep(self.partial_path, self.path, ZARR_SUFFIX)
        else:
            remove(self.partial_path)

    def write(self, frame: int, labels: NDArray[np.integer]) -> None:
        """Store the labels of one frame; as `LabelWriter.write`."""
        key = self._key(frame)
        check_plane(labels, self.shape, self.dtype)
        with writing(self.partial_path):
            self._array[key] = labels.astype(self.dtype)
        self._written = True

    def read(self, frame: int) -> NDArray[np.unsignedinteger]:
        """Give the labels of one frame; as `LabelWriter.read`."""
        key = self._key(frame)
        with reading(self.partial_path):
            return np.asarray(self._array[key])

    def describe(self, objects: pd.DataFrame) -> None:
        """Store what is known of each object, as the label image's `properties`.

        Parameters
        ----------
        objects : DataFrame
            One row per object. The column `index` holds its label; each other column is a property. Empty cells are
            left out.

        Raises
        ------
        ImageFileError
            If the disk refuses, or the file was closed.
        """
        self._check_open()
        # As objects, for numbers that JSON knows.
        properties = [
            {"label-value": int(row["index"])} | row.drop("index").dropna().to_dict()
            for _, row in objects.astype(object).iterrows()
        ]
        # The specification has no empty list of properties.
        self._metadata["image-label"] = {"properties": properties} if properties else {}
        with writing(self.partial_path):
            self._group.update_attributes({"ome": self._metadata})

    def close(self) -> None:
        """Give the file its final name; does nothing the second time.

        Raises
        ------
        ImageFileError
            If the disk refuses, or a file of that name has appeared; the partial file stays.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            _check_replaceable(self.path, overwrite=self._overwrite)
            _replace_folder(self.path, self.partial_path)
        except ImageFileError as error:
            self.partial_path = keep(self.partial_path, self.path, ZARR_SUFFIX)
            raise ImageFileError(f"{error} The labels are complete in {self.partial_path}.") from None
        except OSError as error:
            raise ImageFileError(f"{self.path} could not be finished ({error}). See {self.partial_path}.") from error

    def _key(self, frame: int) -> int | tuple[()]:
        self._check_open()
        index = checked_frame(frame, len(self))
        return index if len(self.shape) == 3 else ()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ImageFileError(f"{self.path} is closed. Open another writer.")


def check_zarr_path(path: str | os.PathLike[str], *, source: ImageFile | None = None, overwrite: bool = False) -> Path:
    """Return a path that a `ZarrLabelWriter` may write; nothing is made yet.

    Parameters
    ----------
    path, source, overwrite
        As in `ZarrLabelWriter`.

    Raises
    ------
    ImageFileError
        If the file exists, is no zarr, has another suffix, or its folder does not exist.
    OptionError
        If zarr is not installed.
    """
    path = Path(path)
    if path.suffix.lower() != ZARR_SUFFIX:
        raise ImageFileError(f"{path}: OME-Zarr has the suffix .zarr. Use a name that ends in .ome.zarr.")
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"{path}: zarr is not installed. Write a .tif, or install it: pip install 'napari-sam2[zarr]'."
        ) from error
    check_not_source(path, source)
    _check_replaceable(path, overwrite=overwrite)
    if not overwrite:
        check_not_being_written(path, ZARR_SUFFIX)
    return path


def _check_replaceable(path: Path, *, overwrite: bool) -> None:
    check_folder_of(path)
    # A whole folder is replaced, so it must be one that holds nothing else.
    if path.exists() and not _is_zarr(path):
        raise ImageFileError(f"{path} is there and is no zarr. Choose another name.")
    if path.exists() and not overwrite:
        raise ImageFileError(f"{path} exists already. Choose another name, or allow overwriting.")


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in _MARKS)


def _holds_labels(partial: Path) -> bool:
    """Whether a label image that was not finished shows an object: empty chunks are not stored."""
    return any(entry.is_file() for entry in (partial / "0" / "c").rglob("*"))


def _replace_folder(path: Path, partial: Path) -> None:
    """Give a folder its final name. No system replaces a full folder in one step: the former one steps aside."""
    if not path.exists():
        partial.rename(path)
        return
    former = path.with_name(f"{path.name}.former.{os.getpid()}")
    path.rename(former)
    try:
        partial.rename(path)
    except OSError:
        former.rename(path)
        raise
    shutil.rmtree(former)


def _multiscale(path: Path, axes: str, pixel_size: Mapping[str, PixelSize]) -> dict[str, object]:
    described: list[dict[str, str]] = []
    scale = []
    for letter in axes:
        axis = {"name": letter.lower(), "type": "time" if letter == "T" else "space"}
        size = 1.0
        if letter in pixel_size:
            size, axis["unit"] = ngff_scale(letter, pixel_size[letter])
        described.append(axis)
        scale.append(size)
    return {
        "name": path.name.removesuffix(path.suffix).removesuffix(".ome"),
        "axes": described,
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
    }
