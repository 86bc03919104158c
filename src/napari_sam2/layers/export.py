"""What is exported of a layer: its labels, with the axes and pixel sizes that the layer and its file give.

Runs on the viewer's thread; `files.results_folder` writes the result, on any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import FrameError
from napari_sam2.files.images.arrays import AxesView
from napari_sam2.files.pixel_sizes import PixelSize
from napari_sam2.files.results_folder import LabelsToExport
from napari_sam2.layers.source_axes import described, file_of

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pint
    from napari.layers import Labels

    from napari_sam2.frames import ArrayLike

_LETTERS = dict.fromkeys(("t", "time", "frame"), "T") | dict.fromkeys(("z", "depth", "slice"), "Z")
_LENGTHS = ("m", "cm", "mm", "\N{MICRO SIGN}m", "nm", "in")


def labels_to_export(
    layer: Labels, *, array: ArrayLike | None = None, path: str | os.PathLike[str] | None = None
) -> LabelsToExport:
    """Return what is written of a Labels layer, with its axes and pixel size; runs on the viewer's thread.

    The first of three axes is time or depth: as its name tells (t, z), else its unit, else the file, else time. Sizes
    and units of the layer come first; what it has no unit for is taken from the file, because napari opens many files
    without axes and pixel size. Sizes of the file are not taken for a layer that is scaled without a unit, since that
    scale is for the eye. Lengths of the layer are given in one unit, times in seconds.

    Parameters
    ----------
    layer : napari.layers.Labels
        Of rows and columns, or with one more axis; further ones are of length one. Of several resolutions, the finest
        is taken.
    array : ArrayLike, optional
        What is written in the place of its data, of the same shape.
    path : path, optional
        The file of the image that it lies on. None means the one it comes from or was made for, where there is one.

    Raises
    ------
    FrameError
        If more than one axis beside rows and columns is longer than one.
    """
    if array is None:
        array = layer.data[0] if layer.multiscale else layer.data
    kept = _kept_axes(layer, tuple(array.shape))
    if len(kept) < layer.ndim:
        array = AxesView(array, {axis: 0 for axis in range(layer.ndim) if axis not in kept}, kept)
    source = file_of(layer) if path is None else path
    scales, units = [abs(float(layer.scale[axis])) for axis in kept], [layer.units[axis] for axis in kept]
    letter = _frame_letter(layer.axis_labels[kept[0]], units[0]) if len(kept) == 3 else ""
    if source is None or (letter is not None and all(_is_size(unit) for unit in units)):
        axes = f"{letter or 'T'}YX" if len(kept) == 3 else "YX"
        return LabelsToExport(array, axes, _pixel_size(axes, scales, units))
    file = described(Path(source), tuple(array.shape))
    if letter is None:
        letter = "T" if file is None else file.axes[0]
    axes = f"{letter}YX"
    own = _pixel_size(axes, scales, units)
    if file is None:
        remark = f"Axes and pixel size are as the layer says: {source} could not be asked for them."
        return LabelsToExport(array, axes, own, remark)
    given = {axis: size for axis, size in file.pixel_size.items() if axis in axes}
    is_scaled = any(
        not _is_size(unit) and scale != 1 and not (axis in given and np.isclose(scale, given[axis].size))
        for axis, scale, unit in zip(axes, scales, units, strict=True)
    )
    return LabelsToExport(array, axes, own if is_scaled else {**given, **own})


def _kept_axes(layer: Labels, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes that are written, three at most; the first axes of length one are left out."""
    kept = list(range(layer.ndim))
    for axis in range(layer.ndim):
        if len(kept) > 3 and shape[axis] == 1:
            kept.remove(axis)
    if len(kept) > 3:
        raise FrameError(
            f"Labels layer {layer.name!r} of shape {shape} has {layer.ndim} axes, and labels are written with two or "
            "three that are longer than one. Take one position along the others: right-click the layer > Split Stack, "
            "or slice its array."
        )
    return tuple(kept)


def _frame_letter(name: str, unit: pint.Unit) -> str | None:
    """Return the letter of the axis of frames as its name tells, else its unit; None if neither does."""
    named = _LETTERS.get(name.strip().casefold())
    return named or ("Z" if _is_length(unit) else "T" if _is_time(unit) else None)


def _pixel_size(axes: str, scales: Sequence[float], units: Sequence[pint.Unit]) -> dict[str, PixelSize]:
    known = {axis: size * unit for axis, size, unit in zip(axes, scales, units, strict=True)}
    lengths = {axis: size for axis, size in known.items() if axis != "T" and _is_length(size.units)}
    given = [f"{size.units:~}" for size in lengths.values()]
    unit = given[-1] if given and given[-1] in _LENGTHS else "\N{MICRO SIGN}m"
    # TIFF has one unit for all lengths.
    sizes = {axis: PixelSize(float(size.to(unit).magnitude), unit) for axis, size in lengths.items()}
    if "T" in known and _is_time(known["T"].units):
        sizes = {"T": PixelSize(float(known["T"].to("s").magnitude), "s"), **sizes}
    return sizes


def _is_size(unit: pint.Unit) -> bool:
    return _is_length(unit) or _is_time(unit)


def _is_time(unit: pint.Unit) -> bool:
    return bool(unit.is_compatible_with("s"))


def _is_length(unit: pint.Unit) -> bool:
    return bool(unit.is_compatible_with("m"))
