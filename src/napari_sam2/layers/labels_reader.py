"""Labels layers as prompts: every id on every frame is a mask, and only frames that were touched are read again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import PromptError
from napari_sam2.labels.prompts import masks_of_frame
from napari_sam2.layers.places import is_aligned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike
    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.prompts import MaskPrompt


class LabelsReader:
    """Every id of a Labels layer, on every frame, as a mask prompt.

    Frames are read once and again when they are touched. Of each, the packed prompts and a checksum are kept: a frame
    that was touched and is the same costs no more than reading it.

    Parameters
    ----------
    labels : napari.layers.Labels
        The layer. It lies on the image pixel by pixel; with fewer axes, on the frame that is current.
    image : napari.layers.Image
        The image that is segmented.
    grid : LayerGrid
        How the image is read.
    """

    def __init__(self, labels: Labels, image: Image, grid: LayerGrid) -> None:
        self._labels = labels
        self._image = image
        self._grid = grid
        self._known: dict[int, _FrameOfLabels] = {}
        self._touched: set[int] = set()
        self._array = labels.data

    def touch(self, frames: Iterable[int] | None = None) -> None:
        """Mark frames on which something may have been painted since the last reading; None means all of them.

        New data of the layer is noticed without it.
        """
        self._touched |= self._known.keys() if frames is None else set(frames)

    def read(self, *, current_frame: int = 0) -> tuple[MaskPrompt, ...]:
        """Read what is new.

        Parameters
        ----------
        current_frame : int
            Frame of the masks, if the layer has fewer axes than the image.

        Returns
        -------
        tuple of MaskPrompt
            By frame, then by ascending id; empty if nothing is painted.

        Raises
        ------
        PromptError
            If the layer does not lie on the image pixel by pixel, or holds negative numbers.
        """
        labels, grid = self._labels, self._grid
        if labels.data is not self._array:
            self._array = labels.data
            self.touch()
        array = _array_on(labels, self._image, grid, current_frame)
        is_flat = grid.frame_axis is not None and grid.frame_axis < len(grid.shape) - len(array.shape)
        frames = (current_frame,) if is_flat else range(grid.num_frames)
        self._known = {frame: self._known[frame] for frame in frames if frame in self._known}
        for frame in frames:
            known = self._known.get(frame)
            if known is None or is_flat or frame in self._touched:
                self._known[frame] = _read_frame(_plane(array, grid, frame), frame, labels.name, known)
        self._touched.clear()
        return tuple(prompt for frame in frames for prompt in self._known[frame].prompts)


def plane_on(labels: Labels, image: Image, grid: LayerGrid, frame: int) -> NDArray[np.integer]:
    """Return the labels of a layer on one frame of an image, (Y, X); one with fewer axes is on every frame.

    Raises
    ------
    PromptError
        If the layer does not lie on the image pixel by pixel.
    """
    return _plane(_array_on(labels, image, grid, frame), grid, frame)


def _array_on(labels: Labels, image: Image, grid: LayerGrid, current_frame: int) -> ArrayLike:
    """Return the data of a layer on the level that is read of an image, if it lies on that."""
    array: ArrayLike = labels.data[min(grid.level, len(labels.data) - 1)] if labels.multiscale else labels.data
    if not is_aligned(labels, tuple(array.shape), image, grid, current_frame=current_frame):
        raise PromptError(
            f"Labels layer {labels.name!r} of shape {tuple(array.shape)} does not lie on image {image.name!r} of shape "
            f"{grid.shape} pixel by pixel. Make one that does: New Labels Layer, with the image selected."
        )
    return array


def _plane(array: ArrayLike, grid: LayerGrid, frame: int) -> NDArray[np.integer]:
    first, missing = (0,) * (len(array.shape) - len(grid.shape)), max(0, len(grid.shape) - len(array.shape))
    plane: NDArray[np.integer] = np.asarray(array[(*first, *grid.key(frame)[missing:])])
    return grid.oriented(plane)


@dataclass(frozen=True, slots=True)
class _FrameOfLabels:
    checksum: bytes
    prompts: tuple[MaskPrompt, ...]


def _read_frame(plane: NDArray[np.integer], frame: int, name: str, known: _FrameOfLabels | None) -> _FrameOfLabels:
    checksum = hashlib.blake2b(plane.tobytes()).digest()
    if known is not None and known.checksum == checksum:
        return known
    try:
        return _FrameOfLabels(checksum, masks_of_frame(plane, frame))
    except PromptError as error:
        raise PromptError(f"Labels layer {name!r}, frame {frame}: {error}") from error
