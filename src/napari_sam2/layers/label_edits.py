"""Edits of Labels layers, frame by frame, each kept as a small patch that can be undone.

Pixels are written straight into the layer's array, numpy or zarr; refreshing the layer is left to the caller. Which
pixels may be written is decided on plain arrays, by `labels.merging.merged_plane`.
"""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import FrameError, OptionError
from napari_sam2.labels.merging import CommitPolicy, merged_plane

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_sam2.files.images.arrays import Key
    from napari_sam2.layers.grid import LayerGrid


@dataclass(frozen=True, slots=True, eq=False)
class LabelPatch:
    """The pixels that one edit changed on one frame of a Labels layer; a `history.Change`.

    Undone or made again, it touches only pixels that are still as it left them: what was painted over it since stays.

    Attributes
    ----------
    layer : napari.layers.Labels
        The layer, not copied.
    frame : int
        The frame.
    key : tuple
        Its index in the array of the layer.
    shape : tuple of int
        Shape of the array; a patch does not fit another one.
    dtype : dtype
        Type of the values; the layer may have been converted to a wider one since.
    positions, before, after : bytes
        Distances between changed pixels in row-major order (uint32), and their values before and after; compressed.
    num_bytes : int
        Memory taken: in proportion to the changed pixels, and far less where they form objects.
    """

    layer: Labels
    frame: int
    key: Key
    shape: tuple[int, ...]
    dtype: np.dtype[np.integer]
    positions: bytes
    before: bytes
    after: bytes
    num_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_bytes", len(self.positions) + len(self.before) + len(self.after))

    def undo(self) -> None:
        """Restore the values that the edit replaced.

        Raises
        ------
        FrameError
            If the data of the layer was replaced by an array of another shape or a narrower type, or cannot be written.
        """
        self._replace(self.after, self.before)

    def redo(self) -> None:
        """Write the values of the edit again.

        Raises
        ------
        FrameError
            As for `undo`.
        """
        self._replace(self.before, self.after)

    def _replace(self, old: bytes, new: bytes) -> None:
        check_writable(self.layer, self.shape)
        plane = np.array(self.layer.data[self.key], order="C")
        if not np.can_cast(self.dtype, plane.dtype):
            raise FrameError(
                f"Labels layer {self.layer.name!r} is of dtype {plane.dtype} now, and an edit of {self.dtype} may not "
                "fit it. Right-click the layer > Convert data type."
            )
        pixels = plane.reshape(-1)
        positions = np.cumsum(np.frombuffer(zlib.decompress(self.positions), np.uint32), dtype=np.int64)
        old_values, new_values = (np.frombuffer(zlib.decompress(values), self.dtype) for values in (old, new))
        untouched = pixels[positions] == old_values
        pixels[positions[untouched]] = new_values[untouched]
        self.layer.data[self.key] = plane


def check_writable(layer: Labels, shape: tuple[int, ...]) -> None:
    """Refuse a layer that cannot be written frame by frame.

    Raises
    ------
    FrameError
        If its data is of another shape, multiscale, read-only or a dask array (which would remember every edit).
    """
    if layer.multiscale:
        raise FrameError(
            f"Labels layer {layer.name!r} is multiscale and cannot be edited. Use one with a single level."
        )
    if tuple(layer.data.shape) != shape:
        raise FrameError(
            f"Labels layer {layer.name!r} has shape {tuple(layer.data.shape)}, and {shape} is needed. "
            "Use a layer that was made for this image."
        )
    flags = getattr(layer.data, "flags", None)
    is_fixed = getattr(layer.data, "read_only", False) or (flags is not None and not flags.writeable)
    if is_fixed or hasattr(layer.data, "__dask_graph__"):
        raise FrameError(
            f"The data of Labels layer {layer.name!r} ({type(layer.data).__name__}) cannot be written. "
            "Use a layer of a numpy array, or of a zarr array opened for writing."
        )


def write_frame(layer: Labels, grid: LayerGrid, frame: int, plane: NDArray[np.integer]) -> LabelPatch | None:
    """Write the pixels of one frame that are different.

    Parameters
    ----------
    layer : napari.layers.Labels
        The layer, of the shape of the grid. It is not refreshed.
    grid : LayerGrid
        How its data is read as frames.
    frame : int
        Which frame.
    plane : ndarray of int, shape (Y, X)
        Its labels.

    Returns
    -------
    LabelPatch or None
        To undo it; None if nothing was different.

    Raises
    ------
    FrameError
        If the layer cannot be written or has another shape, or its type does not hold a label.
    """
    check_writable(layer, grid.shape)
    key = grid.key(frame)
    current = np.array(layer.data[key], order="C")
    wanted = plane.T if grid.is_turned else plane
    if wanted.shape != current.shape:
        raise FrameError(
            f"Labels of shape {plane.shape} were given for frame {frame} of Labels layer {layer.name!r}, which has "
            f"{grid.height} x {grid.width} pixels. Make them of that shape."
        )
    positions = np.flatnonzero(current != wanted)
    if not positions.size:
        return None
    pixels, values = current.reshape(-1), wanted.reshape(-1)[positions]
    limits = np.iinfo(current.dtype)
    for label in (values.min(), values.max()):
        if not limits.min <= label <= limits.max:
            raise FrameError(
                f"Label {label} does not fit Labels layer {layer.name!r} of dtype {current.dtype}. "
                "Right-click the layer > Convert data type, or renumber the object."
            )
    before, after = pixels[positions], values.astype(current.dtype)
    distances = np.diff(positions, prepend=0).astype(np.uint32)
    # Level 1: objects are runs of equal numbers, which any level finds, and the user is waiting.
    packed = [zlib.compress(numbers.tobytes(), 1) for numbers in (distances, before, after)]
    pixels[positions] = after
    layer.data[key] = current
    return LabelPatch(layer, frame, key, grid.shape, current.dtype, *packed)


def commit(
    current: Labels,
    target: Labels,
    grid: LayerGrid,
    frames: Iterable[int],
    policy: CommitPolicy,
    *,
    confidences: Mapping[int, Mapping[int, float]] | None = None,
    locked: Collection[int] = (),
) -> list[LabelPatch]:
    """Move objects from one Labels layer into another. One step for the history.

    Parameters
    ----------
    current, target : napari.layers.Labels
        Where uncommitted objects are, and where they go. Locked objects stay in `current`; of the others nothing is
        left there, including what the policy did not let through.
    grid : LayerGrid
        How both are read as frames.
    frames : iterable of int
        Frames to commit; leave out those whose target may not change.
    policy : CommitPolicy
        See `labels.merging.merged_plane`.
    confidences : mapping, optional
        Confidence by frame and object id, for BY_SCORE.
    locked : collection of int
        See `labels.merging.merged_plane`.

    Returns
    -------
    list of LabelPatch
        In the order in which they were made.

    Raises
    ------
    FrameError
        If a layer cannot be written. Nothing has changed then.
    OptionError
        If both are the same layer.
    """
    check_writable(current, grid.shape)
    if current.data is target.data:
        raise OptionError(f"Labels layer {current.name!r} cannot be committed into itself. Choose another layer.")
    with _all_or_nothing() as patches:
        for frame in frames:
            incoming = grid.plane(current.data, frame)
            stays = np.where(np.isin(incoming, list(locked)), incoming, 0)
            if np.array_equal(stays, incoming):
                continue
            of_frame = None if confidences is None else confidences.get(frame)
            committed = grid.plane(target.data, frame)
            merged = merged_plane(committed, incoming, policy, confidence_of=of_frame, locked=locked)
            # The target first: whatever fails, an object is in one of the two.
            for layer, plane in ((target, merged), (current, stays)):
                patch = write_frame(layer, grid, frame, plane)
                patches += [patch] if patch else []
    return patches


def delete_object(
    layer: Labels, grid: LayerGrid, object_id: int, frames: Iterable[int] | None = None
) -> list[LabelPatch]:
    """Take an object out of a Labels layer, on the given frames or on all. Parameters and errors as in `commit`."""
    return _renumber(layer, grid, object_id, 0, frames)


def merge_objects(
    layer: Labels, grid: LayerGrid, into: int, other: int, frames: Iterable[int] | None = None
) -> list[LabelPatch]:
    """Make the pixels of `other` pixels of `into`, on the given frames or on all. Else as in `commit`."""
    if into < 1:
        raise OptionError(f"Object {other} cannot be merged into {into}: object ids start at 1. Delete it instead.")
    return _renumber(layer, grid, other, into, frames)


def _renumber(layer: Labels, grid: LayerGrid, old: int, new: int, frames: Iterable[int] | None) -> list[LabelPatch]:
    if old < 1:
        raise OptionError(f"There is no object {old}: 0 is the background, and object ids start at 1.")
    check_writable(layer, grid.shape)
    with _all_or_nothing() as patches:
        for frame in range(grid.num_frames) if frames is None else frames:
            plane = grid.plane(layer.data, frame)
            patch = write_frame(layer, grid, frame, np.where(plane == old, new, plane))
            patches += [patch] if patch else []
    return patches


@contextmanager
def _all_or_nothing() -> Iterator[list[LabelPatch]]:
    """Collect patches; if an error comes in between, those already made are undone."""
    patches: list[LabelPatch] = []
    try:
        yield patches
    except BaseException:
        for patch in reversed(patches):
            patch.undo()
        raise
