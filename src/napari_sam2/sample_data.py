"""Sample data, small enough to be part of the package. Provenance: `data/README.md`."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_sam2.frames import FrameStack

if TYPE_CHECKING:
    from numpy.typing import NDArray

LayerData = tuple["NDArray[np.generic]", dict[str, object], str]
"""What napari makes a layer of: pixels, options, kind of layer."""


def nuclei_2d_image() -> NDArray[np.uint8]:
    """Return an image of nuclei, (256, 256) uint8."""
    return _read("nuclei2d.tif").astype(np.uint8, copy=False)


def cells_timelapse_image() -> NDArray[np.uint8]:
    """Return a generated time-lapse of moving, dividing nuclei, (24, 192, 192) uint8."""
    return _read("cells.tif").astype(np.uint8, copy=False)


def nuclei_stack_image() -> NDArray[np.uint16]:
    """Return a synthetic z-stack of crowded nuclei, (31, 61, 57) uint16."""
    return _read("nuclei3d.tif").astype(np.uint16, copy=False)


def nuclei_stack_labels() -> NDArray[np.uint16]:
    """Return the nuclei of that stack, outlined, (31, 61, 57) uint16."""
    return _read("nuclei3d_labels.tif").astype(np.uint16, copy=False)


def nuclei_image() -> list[LayerData]:
    """Return the image as napari's sample data: one image layer."""
    return [_layer(nuclei_2d_image(), "nuclei", "yx")]


def cells_timelapse() -> list[LayerData]:
    """Return the time-lapse as napari's sample data: one image layer."""
    return [_layer(cells_timelapse_image(), "cells (time-lapse)", "tyx")]


def nuclei_stack() -> list[LayerData]:
    """Return the z-stack as napari's sample data: one image layer."""
    return [_layer(nuclei_stack_image(), "nuclei (z-stack)", "zyx")]


def _layer(image: NDArray[np.generic], name: str, axes: str) -> LayerData:
    """Return an image layer that is shown as the functions and the shell see the image; its pixel size is not known."""
    limits = FrameStack(image, single_image=image.ndim == 2).contrast_limits
    return image, {"name": name, "axis_labels": tuple(axes), "contrast_limits": limits}, "image"


def _read(name: str) -> NDArray[np.generic]:
    with files("napari_sam2").joinpath("data", name).open("rb") as file:
        return np.asarray(tifffile.imread(file))
