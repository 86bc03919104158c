"""Label images as OME-Zarr, with what is known of each object as properties."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from napari_sam2.errors import ImageFileError, OptionError
from napari_sam2.files.atomic import check_folder_of
from napari_sam2.files.label_writer import LabelFileWriter
from napari_sam2.files.partial import writing
from napari_sam2.files.pixel_sizes import ngff_scale

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.pixel_sizes import PixelSize

ZARR_SUFFIX = ".zarr"

NGFF_VERSION = "0.5"
"""Version of the OME-Zarr specification that is written; its arrays are Zarr version 3."""

LONGEST_CHUNK = 1024
"""Pixels, along rows and columns. A chunk never holds more than one frame."""

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


class ZarrLabelWriter(LabelFileWriter):
    """A label image as OME-Zarr; see `LabelFileWriter`.

    The file is a folder whose name ends in `.zarr`, by custom in `.ome.zarr`: one OME-Zarr image that is a label image
    (`image-label`), of one resolution. An existing zarr can be replaced, any other folder cannot.

    Raises
    ------
    OptionError
        Also if zarr is not installed.
    """

    _suffix = ZARR_SUFFIX
    _is_folder = True

    def describe(self, objects: pd.DataFrame) -> None:
        """Store what is known of each object, as the label image's `properties`; see `LabelFileWriter.describe`."""
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

    @staticmethod
    def _check_format(path: Path) -> None:
        if path.suffix.lower() != ZARR_SUFFIX:
            raise ImageFileError(f"{path}: OME-Zarr has the suffix .zarr. Use a name that ends in .ome.zarr.")
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise OptionError(
                f"{path}: zarr is not installed. Write a .tif, or install it: pip install 'napari-sam2[zarr]'."
            ) from error

    @staticmethod
    def _check_replaceable(path: Path, *, overwrite: bool) -> None:
        check_folder_of(path)
        # A whole folder is replaced, so it must be one that holds nothing else.
        if path.exists() and not any((path / name).is_file() for name in _MARKS):
            raise ImageFileError(f"{path} is there and is no zarr. Choose another name.")
        if path.exists() and not overwrite:
            raise ImageFileError(f"{path} exists already. Choose another name, or allow overwriting.")

    @staticmethod
    def _holds_labels(partial: Path) -> bool:
        return any(entry.is_file() for entry in (partial / "0" / "c").rglob("*"))  # empty chunks are not stored

    def _make(self, axes: str, pixel_size: Mapping[str, PixelSize], *, is_ome: bool) -> None:
        import zarr

        self._metadata: dict[str, object] = {
            "version": NGFF_VERSION,
            "multiscales": [_multiscale(self.path, axes, pixel_size)],
            "image-label": {},
        }
        self._group = zarr.create_group(store=str(self.partial_path), zarr_format=3, attributes={"ome": self._metadata})
        self._array = self._group.create_array(
            "0",
            shape=self.shape,
            chunks=(1,) * (len(self.shape) - 2) + tuple(min(side, LONGEST_CHUNK) for side in self.shape[-2:]),
            dtype=self.dtype,
            fill_value=0,
            dimension_names=tuple(axes.lower()),
        )

    def _store(self, frame: int, labels: NDArray[np.integer]) -> None:
        with writing(self.partial_path):
            self._array[self._key(frame)] = labels.astype(self.dtype)

    def _key(self, frame: int) -> int | tuple[()]:
        return frame if len(self.shape) == 3 else ()

    def _release(self) -> None:
        """Nothing is open between two frames."""

    def _replace(self) -> None:
        if not self.path.exists():
            self.partial_path.rename(self.path)
            return
        # No system replaces a full folder in one step: the former one steps aside.
        former = self.path.with_name(f"{self.path.name}.former.{os.getpid()}")
        self.path.rename(former)
        try:
            self.partial_path.rename(self.path)
        except OSError:
            former.rename(self.path)
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
