"""Real microscopy, small enough to be part of the package. Provenance: `data/README.md`."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import tifffile

if TYPE_CHECKING:
    from numpy.typing import NDArray


def nuclei_stack_image() -> NDArray[np.uint16]:
    """Read a z-stack of crowded nuclei, (31, 61, 57) uint16."""
    return _read("nuclei3d.tif")


def nuclei_stack_labels() -> NDArray[np.uint16]:
    """Read the nuclei of that stack as annotated by hand, (31, 61, 57) uint16."""
    return _read("nuclei3d_labels.tif")


def nuclei_stack() -> list[tuple[NDArray[np.generic], dict[str, object], str]]:
    """Give the z-stack as napari's sample data: one image layer."""
    return [(nuclei_stack_image(), {"name": "nuclei (z-stack)"}, "image")]


def _read(name: str) -> NDArray[np.uint16]:
    with files("napari_sam2").joinpath("data", name).open("rb") as file:
        return np.asarray(tifffile.imread(file), dtype=np.uint16)
