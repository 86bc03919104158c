"""Label arrays as frames, and all objects of a workspace as one label array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.labels.merging import exported_plane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_sam2.files.images.arrays import Key
    from napari_sam2.frames import ArrayLike
    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.layers.grid import LayerGrid


class Planes(Mapping[int, "NDArray[np.integer]"]):
    """The frames of a label array, read one at a time.

    Parameters
    ----------
    array : ArrayLike
        The array, not copied.
    grid : LayerGrid
        How it is read as frames.
    """

    def __init__(self, array: ArrayLike, grid: LayerGrid) -> None:
        self._array, self._grid = array, grid
        self._frames = range(grid.num_frames)

    def __getitem__(self, frame: int) -> NDArray[np.integer]:
        return self._grid.plane(self._array, frame)

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


@dataclass(frozen=True, slots=True, eq=False)
class MergedLabels:
    """Committed objects, and among them those that are shown, put together where they are read, frame by frame.

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
    shape, dtype
        Of the layers, and wide enough for both.
    """

    committed: ArrayLike
    current: ArrayLike
    grid: LayerGrid
    confidences: Mapping[int, Mapping[int, float]]
    policy: CommitPolicy
    locked: frozenset[int]
    shape: tuple[int, ...] = field(init=False)
    dtype: np.dtype[np.integer] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", self.grid.shape)
        object.__setattr__(self, "dtype", np.promote_types(self.committed.dtype, self.current.dtype))

    def frame(self, frame: int) -> NDArray[np.integer]:
        """Labels of one frame, (Y, X)."""
        committed, current = (self.grid.plane(one, frame) for one in (self.committed, self.current))
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
