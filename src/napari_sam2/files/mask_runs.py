"""Masks as lengths of background and object in turn: row by row, beginning with background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import PromptError
from napari_sam2.files.json_fields import brief, is_whole
from napari_sam2.prompts import MaskPrompt, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.prompts import ModelScores

LARGEST_MASK = 2**32
"""Pixels of an image beyond which its size is taken for a mistake."""

LARGEST_CROP = 2**28
"""Pixels from the first to the last row of an object beyond which a mask is not read, if the image is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskRuns:
    """A mask prompt whose pixels are not unpacked yet.

    Attributes
    ----------
    object_id, frame : int
        As in `MaskPrompt`.
    shape : tuple of int
        Rows and columns of the image.
    starts, ends : ndarray
        First pixel of each run of the object in row-major order, and the one after its last; at least one run.
    found : ModelScores or None
        As in `MaskPrompt`.
    """

    object_id: int
    frame: int
    shape: tuple[int, int]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    found: ModelScores | None = None

    @property
    def rows(self) -> tuple[int, int]:
        """First row that holds the object, and the one after the last."""
        width = self.shape[1]
        return int(self.starts[0]) // width, (int(self.ends[-1]) - 1) // width + 1

    @property
    def num_pixels(self) -> int:
        """Pixels of these rows."""
        first, end = self.rows
        return (end - first) * self.shape[1]

    def unpacked(self) -> MaskPrompt:
        """Return the mask; no more than the rows that hold it is built."""
        first, end = self.rows
        width = self.shape[1]
        gaps = self.starts - np.concatenate([[first * width], self.ends[:-1]])
        lengths = np.column_stack([gaps, self.ends - self.starts]).ravel()
        filled = np.repeat(np.tile([False, True], self.starts.size), lengths)
        mask = np.zeros((end - first, width), np.bool_)
        mask.ravel()[: filled.size] = filled
        return MaskPrompt(self.object_id, self.frame, mask, corner=(first, 0), shape=self.shape, found=self.found)


def runs_from(
    object_id: object, frame: object, shape: object, runs: object, *, expected: tuple[int, int] | None
) -> MaskRuns:
    """Read a mask of its fields in JSON, without unpacking it.

    Parameters
    ----------
    object_id, frame, shape, runs : object
        As they are in the file.
    expected : (int, int) or None
        Shape of the image that it must have; None if the image is not known, and then a mask has an upper limit.

    Raises
    ------
    PromptError
        If one is wrong or missing, or the mask is empty, does not fit or is too large.
    """
    if not isinstance(shape, list) or len(shape) != 2 or not all(is_whole(side) and side > 0 for side in shape):
        raise PromptError(f'"shape" is {brief(shape)}. Write [height, width], in pixels.')
    height, width = shape
    if height * width > LARGEST_MASK:
        raise PromptError(f'"shape" {shape} is larger than any frame. Write [height, width], in pixels.')
    if expected is not None and (height, width) != expected:
        raise PromptError(
            f"the mask has shape {(height, width)} and the image {expected}. Give a mask of the image's own shape."
        )
    if not isinstance(runs, list) or not all(is_whole(run) and run >= 0 for run in runs):
        raise PromptError('"runs" is not a list of whole numbers from 0. Write the lengths of background and object.')
    if sum(runs) != height * width:
        raise PromptError(
            f'"runs" add up to {sum(runs)} pixels, and the mask has {height} x {width} = {height * width}. '
            "Write the runs of the whole mask, row by row."
        )
    bounds = np.cumsum(runs, dtype=np.int64)
    ends = bounds[1::2]
    starts = bounds[:-1:2][: ends.size]
    starts, ends = starts[starts < ends], ends[starts < ends]
    if not starts.size:
        raise PromptError('"runs" hold no pixel of the object: the mask is empty. Remove the entry.')
    found = MaskRuns(
        whole_number(object_id, "Object id", least=1),
        whole_number(frame, "Frame", least=0),
        (height, width),
        starts,
        ends,
    )
    if expected is None and found.num_pixels > LARGEST_CROP:
        raise PromptError(
            f"the rows that hold the object have {found.num_pixels:,} pixels, and up to {LARGEST_CROP:,} are unpacked "
            "as long as the size of the image is not known. Give the shape of the image, too."
        )
    return found


def runs_of(prompt: MaskPrompt) -> list[int]:
    """Return the lengths of background and object in turn, in row-major order, beginning with background."""
    height, width = prompt.shape
    rows, columns = np.nonzero(np.diff(prompt.crop, axis=1, prepend=False, append=False))
    edges = (rows + prompt.corner[0]) * width + columns + prompt.corner[1]
    starts, ends = edges[::2], edges[1::2]
    # A run that reaches the last column goes on in the next row if that begins with the object.
    apart = starts[1:] != ends[:-1]
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    bounds = np.concatenate([[0], np.column_stack([starts, ends]).ravel(), [height * width]])
    runs: list[int] = np.diff(bounds).tolist()
    return runs if runs[-1] else runs[:-1]
