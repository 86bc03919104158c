"""Points and Shapes layers as prompts, always as a whole snapshot: what is not kept cannot drift.

Points and shapes may be scaled, rotated and moved against the image. A layer with fewer axes than the image is shown on
every frame; what is drawn there belongs to the frame that is current.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from skimage import draw

from napari_sam2.errors import PromptError
from napari_sam2.layers.places import in_frames
from napari_sam2.prompts import MAX_OBJECT_ID, NUM_CANDIDATES, BoxPrompt, MaskPrompt, PointPrompt, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from napari.layers import Image, Points, Shapes
    from numpy.typing import NDArray

    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.prompts import Prompt

OBJECT_ID = "object_id"
"""Feature that names the object of a point or a shape."""

POLARITY = "label"
"""Feature that tells whether a point or a scribble is on the object."""

POSITIVE, NEGATIVE = "positive", "negative"

CANDIDATE = "candidate"
"""Feature that tells which of the model's masks a point is for."""

BEST = -1
"""Value of that feature where the choice is the model's: a column of whole numbers has none for nothing."""

SCRIBBLE_POINTS = 8
"""Most points a scribble stands for: the model was shown no more of them in training."""

SCRIBBLE_SPACING = 4.0
"""Pixels of a scribble per point, as long as there are fewer."""

_polygon: Callable[..., tuple[NDArray[np.intp], NDArray[np.intp]]] = draw.polygon  # which has no types of its own


class _OutsideError(PromptError):
    """Something lies nowhere in the image: beside it, on no frame of it, or between its pixels."""

    def __init__(self, fact: str, cure: str) -> None:
        super().__init__(f"{fact} {cure}")
        self.fact = fact


def prompts_of_points(
    points: Points,
    image: Image,
    grid: LayerGrid,
    *,
    current_frame: int = 0,
    default_object: int = 1,
    outside: dict[int, str] | None = None,
) -> tuple[PointPrompt, ...]:
    """Read every point of a layer as a click.

    Parameters
    ----------
    points : napari.layers.Points
        The layer. Its features `object_id`, `label` ("positive", "negative") and `candidate` (0, 1, 2, or -1 for what
        the model thinks best) are used where it has them.
    image : napari.layers.Image
        The image that is segmented.
    grid : LayerGrid
        How the image is read.
    current_frame : int
        Frame of the points, if the layer has fewer axes than the image.
    default_object : int
        Object of points that name none. A point without polarity is positive.
    outside : dict, optional
        Receives points outside the image or the stack, which are left out: their numbers, and where they lie, in a
        sentence. None means that they are an error.

    Raises
    ------
    PromptError
        If a point lies outside the image or the stack, or a feature makes no sense.
    FrameError
        If the layer has fewer axes than the image, and those are not rows and columns.
    """
    name = points.name
    where = in_frames(points.data, points, image, grid, current_frame=current_frame)
    chosen = _column(points.features, CANDIDATE, len(where))
    prompts = []
    for number, ((frame, y, x), meaning) in enumerate(
        zip(where, _meanings(points.features, len(where), "Point", name, default_object), strict=True)
    ):
        what = f"Point {number} of layer {name!r}"
        with _leaving_out(number, outside):
            if not _is_inside(y, x, grid):
                raise _OutsideError(
                    f"{what} lies outside the image, at y {y:.1f}, x {x:.1f} of {grid.height} x {grid.width} pixels.",
                    "Move it inside or delete it.",
                )
            target = Target(meaning.object_id, _frame(frame, grid, what))
            # A point that was turned into a negative one keeps its row of features, and a choice means nothing there.
            candidate = _candidate(chosen[number], what) if meaning.positive else None
            prompts.append(
                PointPrompt(
                    target.object_id,
                    target.frame,
                    float(y),
                    float(x),
                    positive=meaning.positive,
                    candidate=candidate,
                )
            )
    return tuple(prompts)


@contextmanager
def _leaving_out(number: int, outside: dict[int, str] | None) -> Iterator[None]:
    try:
        yield
    except _OutsideError as error:
        if outside is None:
            raise
        outside[number] = error.fact


def prompts_of_shapes(
    shapes: Shapes,
    image: Image,
    grid: LayerGrid,
    *,
    current_frame: int = 0,
    default_object: int = 1,
    outside: dict[int, str] | None = None,
) -> tuple[Prompt, ...]:
    """Read every shape of a layer.

    A rectangle or an ellipse is a box: the upright one round it. A polygon, or a path whose ends meet, is a mask;
    several of one object on one frame are parts of one mask. Lines and other paths are scribbles: points evenly along
    them. Boxes and masks are cut off at the border of the image, and so are scribbles.

    Parameters
    ----------
    shapes : napari.layers.Shapes
        The layer, with features as in `prompts_of_points`.
    image, grid, current_frame, default_object
        As in `prompts_of_points`.
    outside : dict, optional
        Receives shapes outside the image or the stack, or between its pixels, as in `prompts_of_points`.

    Returns
    -------
    tuple of Prompt
        Boxes and points in the order of the shapes, then masks.

    Raises
    ------
    PromptError
        If a shape lies outside the image or the stack, runs through several frames, covers no pixel, is negative and
        no scribble, or if a feature makes no sense.
    FrameError
        If the layer has fewer axes than the image, and those are not rows and columns.
    """
    if not len(shapes.data):
        return ()
    name = shapes.name
    vertices = in_frames(np.concatenate(shapes.data), shapes, image, grid, current_frame=current_frame)
    outlines = np.split(vertices, np.cumsum([len(shape) for shape in shapes.data])[:-1])
    prompts: list[Prompt] = []
    pixels: dict[Target, list[NDArray[np.intp]]] = {}
    features = _meanings(shapes.features, len(outlines), "Shape", name, default_object)
    for number, (where, kind, meaning) in enumerate(zip(outlines, shapes.shape_type, features, strict=True)):
        what = f"Shape {number} ({kind}) of layer {name!r}"
        with _leaving_out(number, outside):
            frames = {_frame(frame, grid, what) for frame in where[:, 0]}
            if len(frames) > 1:
                raise PromptError(f"{what} runs through frames {min(frames)} to {max(frames)}. Draw it on one.")
            target, outline = Target(meaning.object_id, frames.pop()), where[:, 1:]
            if kind == "line" or (kind == "path" and not _is_closed(outline)):
                prompts += _scribble(target, outline, grid, what, positive=meaning.positive)
                continue
            if not meaning.positive:
                raise PromptError(
                    f"{what} is negative, and only points and lines can be. Draw a line over what does not belong to "
                    f"the object, or make its feature {POLARITY!r} {POSITIVE!r}."
                )
            if kind in ("rectangle", "ellipse"):
                prompts.append(_box(target, outline, grid, what))
            else:
                filled = _filled(outline, grid, what)
                pixels.setdefault(target, []).append(filled)
    return (*prompts, *(_mask(target, np.hstack(parts), grid) for target, parts in pixels.items()))


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the features of a point or a shape mean."""

    object_id: int
    positive: bool


def _meanings(features: pd.DataFrame, count: int, kind: str, name: str, default_object: int) -> Iterator[_Meaning]:
    ids, polarities = (_column(features, column, count) for column in (OBJECT_ID, POLARITY))
    for number, (given, polarity) in enumerate(zip(ids, polarities, strict=True)):
        what = f"{kind} {number} of layer {name!r}"
        if polarity not in (None, POSITIVE, NEGATIVE):
            raise PromptError(
                f"{what} has the {POLARITY} {polarity!r}. Use {POSITIVE!r} or {NEGATIVE!r}, or rename that feature."
            )
        yield _Meaning(default_object if given is None else _whole(given, what), polarity != NEGATIVE)


def _column(features: pd.DataFrame, name: str, count: int) -> list[object]:
    """Values of a feature, None where there is none."""
    if name not in features:
        return [None] * count
    column = features[name].astype(object)
    return list(column.where(column.notna() & (column != ""), None))


def _whole(value: object, what: str) -> int:
    """Read an object id. Tables store whole numbers as floats, or as text, when a value is missing."""
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not number.is_integer() or not 1 <= number <= MAX_OBJECT_ID:
        raise PromptError(f"{what} has the {OBJECT_ID} {value!r}. Use a whole number from 1 to {MAX_OBJECT_ID}.")
    return int(number)


def _candidate(value: object, what: str) -> int | None:
    """Read which mask is chosen; None where that is left to the model."""
    try:
        number = BEST if value is None else float(str(value))
    except ValueError:
        number = math.nan
    if number not in range(BEST, NUM_CANDIDATES):
        raise PromptError(
            f"{what} has the {CANDIDATE} {value!r}. Use 0, 1 or 2, one of the model's masks, or {BEST} for the one "
            "that it thinks best; or rename that feature."
        )
    return None if number == BEST else int(number)


def _frame(position: float, grid: LayerGrid, what: str) -> int:
    if not math.isfinite(position):
        raise _OutsideError(f"{what} lies beside the image, on none of its frames.", "Move it to one or delete it.")
    frame = math.floor(position + 0.5)
    if not 0 <= frame < grid.num_frames:
        raise _OutsideError(
            f"{what} stands on frame {position:.1f}, and the stack has frames 0 to {grid.num_frames - 1}.",
            "Move it to one of them or delete it.",
        )
    return frame


def _is_inside(y: float, x: float, grid: LayerGrid) -> bool:
    return bool(-0.5 <= y <= grid.height - 0.5 and -0.5 <= x <= grid.width - 0.5)


def _is_closed(line: NDArray[np.float64]) -> bool:
    """Whether the ends of a path meet within a pixel, and it goes round something."""
    return len(line) > 3 and bool(np.linalg.norm(line[0] - line[-1]) < 1)


def _box(target: Target, outline: NDArray[np.float64], grid: LayerGrid, what: str) -> BoxPrompt:
    corners = (*outline.min(axis=0).tolist(), *outline.max(axis=0).tolist())
    try:
        return BoxPrompt(target.object_id, target.frame, *corners).inside(grid.height, grid.width)
    except PromptError as error:
        raise _OutsideError(
            f"{what} has no extent inside the image.", "Drag it over the object, or delete it."
        ) from error


def _filled(outline: NDArray[np.float64], grid: LayerGrid, what: str) -> NDArray[np.intp]:
    """Rows and columns of the pixels whose centres lie inside a polygon, (2, P)."""
    pixels = np.array(_polygon(outline[:, 0], outline[:, 1], (grid.height, grid.width)), np.intp)
    if not pixels.size:
        raise _OutsideError(f"{what} covers no pixel of the image.", "Draw it larger and inside, or delete it.")
    return pixels


def _mask(target: Target, pixels: NDArray[np.intp], grid: LayerGrid) -> MaskPrompt:
    corner = pixels.min(axis=1)
    y, x = pixels - corner[:, np.newaxis]
    mask = np.zeros((y.max() + 1, x.max() + 1), np.bool_)
    mask[y, x] = True
    place = (int(corner[0]), int(corner[1]))
    return MaskPrompt(target.object_id, target.frame, mask, corner=place, shape=(grid.height, grid.width))


def _scribble(
    target: Target, line: NDArray[np.float64], grid: LayerGrid, what: str, *, positive: bool
) -> Iterator[PointPrompt]:
    """Points in the middle of equal pieces of a line: its ends overshoot more easily."""
    lengths = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))))
    count = min(SCRIBBLE_POINTS, max(1, math.ceil(lengths[-1] / SCRIBBLE_SPACING)))
    stops = (np.arange(count) + 0.5) / count * lengths[-1]
    places = np.column_stack([np.interp(stops, lengths, line[:, axis]) for axis in (0, 1)]).tolist()
    inside = [(y, x) for y, x in places if _is_inside(y, x, grid)]
    if not inside:
        raise _OutsideError(f"{what} lies outside the image.", "Move it inside or delete it.")
    for y, x in inside:
        yield PointPrompt(target.object_id, target.frame, y, x, positive=positive)
