"""Labels layers for results: made to lie on the image, with the table of objects on them, and their colours."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from skimage.color import hsv2rgb

from napari_sam2.errors import OptionError
from napari_sam2.frames import ArrayLike
from napari_sam2.layers.grid import grid_of
from napari_sam2.layers.label_edits import check_writable
from napari_sam2.layers.places import lies_on
from napari_sam2.layers.source_axes import FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import numpy.typing as npt
    import pandas as pd
    from napari.layers import Image, Labels
    from napari.layers.base import Layer
    from napari.utils.colormaps import CyclicLabelColormap
    from numpy.typing import NDArray

    from napari_sam2.files.images.arrays import Key
    from napari_sam2.layers.grid import LayerGrid


class WritableArray(ArrayLike, Protocol):
    """An array of which frames are read and written: numpy or zarr."""

    def __setitem__(self, key: Key, value: NDArray[np.generic], /) -> None:
        """Write a part."""


NUM_COLOURS = 24
"""Objects after which colours come again."""

_FIRST_HUE, _GOLDEN_ANGLE = 0.53, 0.381966

MAX_BYTES_IN_MEMORY = 2**30
"""Size of a label array beyond which it is kept on disk."""


def new_labels_layer(
    image: Image, grid: LayerGrid | None = None, *, name: str, dtype: npt.DTypeLike = np.uint16
) -> Labels:
    """Make an empty Labels layer that lies on an image pixel by pixel.

    Parameters
    ----------
    image : napari.layers.Image
        The image. The layer takes over its scale, position, rotation, shear, affine, units and axis labels.
    grid : LayerGrid, optional
        How it is read; on a coarse level, the layer has the pixels of that level. None means the finest.
    name : str
        Name of the layer.
    dtype : dtype
        Its type, unsigned.

    Returns
    -------
    napari.layers.Labels
        Not added to a viewer. Its data is in memory up to `MAX_BYTES_IN_MEMORY`; beyond, it is a zarr array in a
        temporary folder, with a chunk for each frame.

    Raises
    ------
    OptionError
        If the labels are too large for memory and zarr is not installed.
    """
    from napari.layers import Labels

    grid = grid or grid_of(image)
    # The corner of the first pixel stays where it is, so the centre of a larger pixel moves.
    shift = (np.array(grid.downsampling) - 1) / 2
    world_shift = np.subtract(image.data_to_world(shift), image.data_to_world(np.zeros(image.ndim)))
    return Labels(
        _empty(grid, np.dtype(dtype)),
        name=name,
        colormap=_bright_colours(),
        scale=np.multiply(image.scale, grid.downsampling),
        translate=image.translate + np.linalg.solve(image.affine.linear_matrix, world_shift),
        rotate=image.rotate,
        shear=image.shear,
        affine=image.affine,
        units=image.units,
        axis_labels=image.axis_labels,
        metadata={} if image.source.path is None else {FILE: image.source.path},
    )


def set_features(layer: Labels, features: pd.DataFrame, names: Mapping[int, str] | None = None) -> None:
    """Show a table of objects on a Labels layer: on hover, and in napari's table of features.

    Parameters
    ----------
    layer : napari.layers.Labels
        The layer. Its features are replaced.
    features : DataFrame
        One row per object, from `results.feature_table`.
    names : mapping of int to str, optional
        Names of objects by id; also of objects that have no row yet.
    """
    names = dict(names or {})
    ids = [0, *sorted({*features["index"].astype(int), *names} - {0})]
    # A row for the background: without one, napari calls it an object without properties. Whole numbers become objects,
    # or the empty cells of that row would make them floats.
    whole = {name: object for name, dtype in features.dtypes.items() if dtype.kind in "iu"}
    table = features.astype(whole).set_index("index").reindex(ids).reset_index()
    table.insert(1, "name", [names.get(object_id) for object_id in ids])
    layer.features = table.astype({"index": int})


def targets_for(image: Image, grid: LayerGrid, layers: Iterable[Layer]) -> tuple[Labels, ...]:
    """Choose from layers those that objects may be committed into: Labels that lie on an image, with one level."""
    from napari.layers import Labels as LabelsLayer

    labels = (layer for layer in layers if isinstance(layer, LabelsLayer) and not layer.multiscale)
    return tuple(layer for layer in labels if lies_on(layer, image, grid))


def check_target(layer: Labels, image: Image, grid: LayerGrid) -> None:
    """Refuse a layer that objects of an image cannot be committed into.

    Raises
    ------
    OptionError
        If it does not lie on the image pixel by pixel.
    FrameError
        If its data cannot be written.
    """
    if layer.multiscale or not lies_on(layer, image, grid):
        shape = layer.level_shapes[0].tolist() if layer.multiscale else list(layer.data.shape)
        raise OptionError(
            f"Labels layer {layer.name!r} of shape {tuple(shape)} cannot take the objects of {image.name!r} of shape "
            f"{grid.shape}. Choose one that lies on it pixel by pixel."
        )
    check_writable(layer, grid.shape)


def shared_id(layer: Labels, grid: LayerGrid, object_ids: Collection[int]) -> int | None:
    """Find an object that a Labels layer of the grid's shape has pixels of, among some; None if it has none of them."""
    wanted = np.array(sorted(object_ids), np.int64)
    for frame in range(grid.num_frames) if wanted.size else ():
        plane = grid.plane(layer.data, frame)
        found = plane[np.isin(plane, wanted)]
        if found.size:
            return int(found[0])
    return None


def refresh_pixels(layer: Labels) -> None:
    """Show what is in the data of a layer now."""
    layer.refresh(extent=False, thumbnail=False, highlight=False)


def object_colour(layer: Labels, object_id: int) -> tuple[float, float, float, float]:
    """Colour of an object in a Labels layer: red, green, blue and alpha in [0, 1], also while only another is shown."""
    colormap = layer.colormap
    if colormap.use_selection:
        colormap = colormap.model_copy(update={"use_selection": False})
    red, green, blue, alpha = colormap.map(np.array([object_id], _wide_enough(layer.data.dtype, object_id)))[0].tolist()
    return red, green, blue, alpha


def widen(layer: Labels, grid: LayerGrid, object_id: int) -> bool:
    """Give a Labels layer a type that holds the number of an object; return whether it had none.

    Its data is another array then, with the same labels: in memory, or on disk as `new_labels_layer` keeps it.

    Parameters
    ----------
    layer : napari.layers.Labels
        Of the shape of the grid.
    grid : LayerGrid
        How its data is read as frames.
    object_id : int
        The number.

    Raises
    ------
    OptionError
        If there is no such type, or the labels are too large for memory and zarr is not installed.
    """
    given = np.dtype(layer.data.dtype)
    dtype = _wide_enough(given, object_id)
    if dtype == given:
        return False
    wider = _empty(grid, dtype)
    for frame in range(grid.num_frames):
        key = grid.key(frame)
        plane = np.asarray(layer.data[key])
        if plane.any():  # empty frames take no space on disk
            wider[key] = plane
    layer.data = wider
    return True


def _wide_enough(given: np.dtype[np.integer], object_id: int) -> np.dtype[np.integer]:
    """Type that holds all that a type holds, and a number."""
    wider: tuple[np.dtype[np.integer], ...] = (np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.int64))
    for dtype in (given, *wider):
        if np.can_cast(given, dtype) and object_id <= np.iinfo(dtype).max:
            return dtype
    raise OptionError(f"There is no type of labels that holds object {object_id}. Renumber it.")


def _bright_colours() -> CyclicLabelColormap:
    """Colours that are seen on a dark image, neighbours far apart: hues by the golden angle, full and pale in turn."""
    from napari.utils.colormaps import CyclicLabelColormap

    hues = (_FIRST_HUE + _GOLDEN_ANGLE * np.arange(NUM_COLOURS)) % 1
    saturations = np.where(np.arange(NUM_COLOURS) % 2, 0.5, 0.8)
    colours = hsv2rgb(np.stack([hues, saturations, np.ones(NUM_COLOURS)], -1))
    background = np.zeros((1, 4))
    return CyclicLabelColormap(colors=np.vstack((background, np.column_stack((colours, np.ones(NUM_COLOURS))))))


def _empty(grid: LayerGrid, dtype: np.dtype[np.generic]) -> WritableArray:
    size = math.prod(grid.shape) * dtype.itemsize
    if size <= MAX_BYTES_IN_MEMORY:
        zeros: NDArray[np.generic] = np.zeros(grid.shape, dtype)
        return zeros
    try:
        import zarr
    except ImportError as error:
        raise OptionError(
            f"Labels of shape {grid.shape} take {size / 2**30:.1f} GB, more than the "
            f"{MAX_BYTES_IN_MEMORY / 2**30:.1f} GB kept in memory. Install zarr to keep them on disk: "
            "pip install 'napari-sam2[zarr]'."
        ) from error
    folder = Path(tempfile.mkdtemp(prefix="napari-sam2-"))
    chunks = tuple(1 if axis == grid.frame_axis else length for axis, length in enumerate(grid.shape))
    # Empty frames take no space.
    array: WritableArray = zarr.create_array(
        store=str(folder / "labels.zarr"), shape=grid.shape, chunks=chunks, dtype=dtype, fill_value=0
    )
    weakref.finalize(array, shutil.rmtree, folder, ignore_errors=True)
    return array
