"""All objects of a workspace as one label array: the committed ones, and among them those that are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.labels.merging import exported_plane

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_sam2.files.images.arrays import Key
    from napari_sam2.frames import ArrayLike
    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.layers.grid import LayerGrid


@dataclass(frozen=True, slots=True, eq=False)
class MergedLabels:
    """An array that is put together where it is read, frame by frame.

    Attributes
    ----------
    committed, current : ArrayLike
        Arrays of the two layers, not copied; the picture of the masks has to be up to date.
    grid : LayerGrid
        How they are read as frames.
    confidences : mapping of int to mapping of int to float
        By frame and object; objects that are not in it are certain.
    policy : CommitPolicy
        Who gets a pixel.
    locked : frozenset of int
        Committed objects that keep theirs.
    """

    committed: ArrayLike
    current: ArrayLike
    grid: LayerGrid
    confidences: Mapping[int, Mapping[int, float]]
    policy: CommitPolicy
    locked: frozenset[int]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layers."""
        return self.grid.shape

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """Type of the labels."""
        return np.dtype(np.promote_types(self.committed.dtype, self.current.dtype))

    def frame(self, frame: int) -> NDArray[np.integer]:
        """Labels of one frame, (Y, X)."""
        key = self.grid.key(frame)
        committed, current = (self.grid.oriented(np.asarray(one[key])) for one in (self.committed, self.current))
        confidence_of = self.confidences.get(frame)
        merged = exported_plane(committed, current, self.policy, confidence_of=confidence_of, locked=self.locked)
        return merged.astype(self.dtype)

    def __getitem__(self, key: Key, /) -> NDArray[np.integer]:
        """Read along the first axis of the data, whatever the axis of the frames is."""
        grid = self.grid
        if grid.frame_axis is None:
            whole: NDArray[np.integer] = grid.oriented(self.frame(0))
            return whole[key]
        axis, given = grid.frame_axis, key if isinstance(key, tuple) else (key,)
        keys = [*given, *(slice(None),) * (len(self.shape) - len(given))]
        frames = np.arange(grid.num_frames)[keys[axis]]
        planes = [grid.oriented(self.frame(frame)) for frame in np.atleast_1d(frames).tolist()]
        keys[axis] = slice(None) if frames.ndim else 0
        part: NDArray[np.integer] = np.expand_dims(
            np.stack(planes, axis=sorted(grid.axes).index(axis)), grid.spare_axes
        )
        return part[tuple(keys)]
