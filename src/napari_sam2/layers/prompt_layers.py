"""The Points and Shapes layers that the plugin makes: coloured by object, marked by polarity, undoable as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_sam2.layers.drawing import Kind
from napari_sam2.layers.places import in_frames, placement
from napari_sam2.layers.prompt_looks import POINT_PX
from napari_sam2.layers.reading import (
    BEST,
    CANDIDATE,
    NEGATIVE,
    OBJECT_ID,
    POLARITY,
    POSITIVE,
    prompts_of_points,
    prompts_of_shapes,
)
from napari_sam2.prompts import BoxPrompt, PointPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari.layers import Image, Points, Shapes
    from numpy.typing import NDArray

    from napari_sam2.layers.drawing import Drawing
    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.prompts import Prompt, Target

POINTS_NAME, SHAPES_NAME = "point_prompts", "prompts"
BORDER_COLOURS = {POSITIVE: "#00FF00", NEGATIVE: "#FF0000"}

Colour = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class LayersState:
    """What both layers hold at one moment; `num_bytes` is the memory it takes, about."""

    points: NDArray[np.float64]
    point_features: pd.DataFrame
    shapes: tuple[NDArray[np.float64], ...]
    shape_types: tuple[str, ...]
    shape_features: pd.DataFrame
    num_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        num_bytes = self.points.nbytes + sum(one.nbytes + 64 for one in self.shapes) + 64 * len(self.points)
        object.__setattr__(self, "num_bytes", num_bytes)

    def is_same(self, other: LayersState) -> bool:
        """Whether two moments hold the same prompts."""
        return (
            np.array_equal(self.points, other.points)
            and self.shape_types == other.shape_types
            and all(np.array_equal(a, b) for a, b in zip(self.shapes, other.shapes, strict=True))
            # As objects, because napari gives empty tables other types than those with rows.
            and self.point_features.astype(object).equals(other.point_features.astype(object))
            and self.shape_features.astype(object).equals(other.shape_features.astype(object))
        )


class PromptLayers:
    """A Points and a Shapes layer for the prompts on one image.

    Parameters
    ----------
    image : napari.layers.Image
        The image; the layers lie on it and have its axes.
    colour_of : callable
        Colour of an object, RGBA in [0, 1].
    """

    def __init__(self, image: Image, colour_of: Callable[[int], Colour]) -> None:
        from napari.layers import Points, Shapes

        self._colour_of = colour_of
        self.points: Points = Points(
            ndim=image.ndim,
            features=_point_features([], []),
            name=POINTS_NAME,
            # Sizes follow the zoom by steps (`PromptLooks`). No lower limit: napari draws a point of size zero at the
            # origin while there are none on a frame, and the limit would make a white dot of it.
            canvas_size_limits=(0, POINT_PX),
            border_width=0.2,
            **placement(image),
        )
        self.shapes: Shapes = Shapes(
            ndim=image.ndim,
            features=_features([], []),
            name=SHAPES_NAME,
            face_color="transparent",
            **placement(image),
        )
        self.object_id = 1
        self.polarity = POSITIVE
        self._has_sketch = False
        self._set_defaults()

    def choose_object(self, object_id: int) -> None:
        """Set the object that the next prompt is of."""
        self.object_id = object_id
        self._set_defaults()

    def toggle_polarity(self) -> None:
        """Switch between points on the object and points off it, for the next ones."""
        self.polarity = NEGATIVE if self.polarity == POSITIVE else POSITIVE
        self._set_defaults()

    def add(self, drawing: Drawing, *, instead_of: Sequence[int] = ()) -> None:
        """Add what was drawn, as a prompt of the object that is chosen, instead of some shapes."""
        self.hide_sketch()
        if instead_of:
            with self.shapes.events.data.blocker():  # one edit, not two
                self.shapes.remove(list(instead_of))
        polarity = POSITIVE if drawing.is_positive else NEGATIVE
        self._set_defaults(polarity, polarity)
        try:
            if drawing.kind is Kind.POINT:
                self.points.add(drawing.outline)
            else:
                self.shapes.add(drawing.outline, shape_type=drawing.kind.value)
        finally:
            self._set_defaults()

    def boxes_of(self, target: Target, image: Image, grid: LayerGrid) -> tuple[int, ...]:
        """Return the numbers of the shapes that are boxes of an object on a frame."""
        corners = np.array([one[0] for one in self.shapes.data]).reshape(-1, self.shapes.ndim)
        is_of_object = self.shapes.features[OBJECT_ID].to_numpy(int) == target.object_id
        is_here = is_of_object & (in_frames(corners, self.shapes, image, grid)[:, 0].round() == target.frame)
        boxes = (Kind.BOX.value, "ellipse")
        return tuple(number for number in np.flatnonzero(is_here).tolist() if self.shapes.shape_type[number] in boxes)

    def show_sketch(self, drawing: Drawing) -> None:
        """Show what is being drawn, which is no prompt yet."""
        self.hide_sketch()
        with self.shapes.events.data.blocker():
            self.shapes.add(drawing.outline, shape_type=drawing.kind.value)
        self._has_sketch = True

    def hide_sketch(self) -> None:
        """Take what is being drawn out of the layer."""
        if self._has_sketch:
            self._has_sketch = False
            with self.shapes.events.data.blocker():
                self.shapes.remove([len(self.shapes.data) - 1])
            self._set_defaults()

    def read(
        self, image: Image, grid: LayerGrid, *, current_frame: int, outside: tuple[dict[int, str], dict[int, str]]
    ) -> tuple[Prompt, ...]:
        """Return all prompts.

        Parameters
        ----------
        image, grid, current_frame
            As in `prompts_of_points`.
        outside : (dict, dict)
            Receive the points, and the shapes, that lie nowhere in the image, as in `prompts_of_points`.

        Raises
        ------
        PromptError
            If one of them makes no sense; the message names it.
        """
        self.hide_sketch()
        common = {"current_frame": current_frame, "default_object": self.object_id}
        of_points, of_shapes = outside
        return (
            *prompts_of_points(self.points, image, grid, outside=of_points, **common),
            *prompts_of_shapes(self.shapes, image, grid, outside=of_shapes, **common),
        )

    def state(self) -> LayersState:
        """Return a copy of what both layers hold."""
        self.hide_sketch()
        return LayersState(
            np.array(self.points.data),
            self.points.features.copy(),
            tuple(np.array(vertices) for vertices in self.shapes.data),
            tuple(self.shapes.shape_type),
            self.shapes.features.copy(),
        )

    def state_of(self, prompts: Iterable[PointPrompt | BoxPrompt], grid: LayerGrid) -> LayersState:
        """Return the state in which the layers hold these points and boxes, and nothing else."""
        points: list[PointPrompt] = []
        boxes: list[BoxPrompt] = []
        for prompt in prompts:
            if isinstance(prompt, PointPrompt):
                points.append(prompt)
            else:
                boxes.append(prompt)
        places = [(p.frame, p.y, p.x) for p in points]
        corners = [
            [
                (b.frame, b.y_min, b.x_min),
                (b.frame, b.y_min, b.x_max),
                (b.frame, b.y_max, b.x_max),
                (b.frame, b.y_max, b.x_min),
            ]
            for b in boxes
        ]
        return LayersState(
            grid.to_data(places) if points else np.zeros((0, self.points.ndim)),
            _point_features(
                [p.object_id for p in points],
                [POSITIVE if p.positive else NEGATIVE for p in points],
                [p.candidate for p in points],
            ),
            tuple(grid.to_data(one) for one in corners),
            ("rectangle",) * len(boxes),
            _features([b.object_id for b in boxes], [POSITIVE] * len(boxes)),
        )

    def restore(self, state: LayersState) -> None:
        """Replace what both layers hold."""
        self.points.selected_data = set()
        self.shapes.selected_data = set()
        self.points.data = state.points
        self.points.features = state.point_features
        self.shapes.data = []
        if state.shapes:
            self.shapes.add(list(state.shapes), shape_type=list(state.shape_types))
        self.shapes.features = state.shape_features  # of no shapes, too: napari would keep those that were there
        self._set_defaults()
        self.colour()

    def without(self, state: LayersState, keep: Callable[[int], bool]) -> LayersState:
        """Return a state with the prompts of some objects only."""
        # Arrays, because an empty list would choose no columns rather than no rows.
        of_points, of_shapes = (
            np.array([keep(int(i)) for i in features[OBJECT_ID]], np.bool_)
            for features in (state.point_features, state.shape_features)
        )
        return _chosen(state, of_points, of_shapes)

    def without_numbers(self, state: LayersState, points: Iterable[int], shapes: Iterable[int]) -> LayersState:
        """Return a state without some points and shapes."""
        of_points, of_shapes = np.ones(len(state.points), np.bool_), np.ones(len(state.shapes), np.bool_)
        of_points[list(points)] = of_shapes[list(shapes)] = False
        return _chosen(state, of_points, of_shapes)

    def remove(self, points: Sequence[int], shapes: Sequence[int]) -> None:
        """Remove some points and shapes from the layers."""
        if points:
            self.points.remove(list(points))
        if shapes:
            self.shapes.remove(list(shapes))
        self._set_defaults()

    def state_with_absence(self, state: LayersState, target: Target, image: Image, grid: LayerGrid) -> LayersState:
        """Return a state in which the only prompt of a target is one negative point, in the middle of the frame."""
        corners = np.array([one[0] for one in state.shapes]).reshape(-1, self.shapes.ndim)
        of_points, of_shapes = (
            ~(
                (features[OBJECT_ID].to_numpy(int) == target.object_id)
                & (in_frames(places, layer, image, grid)[:, 0].round() == target.frame)
            )
            for places, layer, features in (
                (state.points, self.points, state.point_features),
                (corners, self.shapes, state.shape_features),
            )
        )
        middle = grid.to_data([(target.frame, (grid.height - 1) / 2, (grid.width - 1) / 2)])
        return LayersState(
            np.concatenate((state.points[of_points], middle)),
            pd.concat(
                (state.point_features[of_points], _point_features([target.object_id], [NEGATIVE])), ignore_index=True
            ),
            tuple(one for one, kept in zip(state.shapes, of_shapes, strict=True) if kept),
            tuple(one for one, kept in zip(state.shape_types, of_shapes, strict=True) if kept),
            state.shape_features[of_shapes].reset_index(drop=True),
        )

    def state_with_candidate(
        self, state: LayersState, click: PointPrompt, candidate: int | None, image: Image, grid: LayerGrid
    ) -> LayersState | None:
        """Return a state in which another mask is chosen at a click; None if no point of the layer is that click."""
        places = in_frames(state.points, self.points, image, grid).tolist()
        of_object = state.point_features[OBJECT_ID].to_numpy(int) == click.object_id
        for number in reversed(range(len(places))):
            frame, y, x = places[number]
            is_on_frame = -0.5 <= frame - click.frame < 0.5
            if of_object[number] and is_on_frame and (y, x) == (click.y, click.x):
                features = state.point_features.copy()
                features.loc[number, CANDIDATE] = BEST if candidate is None else candidate
                return replace(state, point_features=features)
        return None

    def colour(self) -> None:
        """Colour every prompt by its object, and the border of points by polarity."""
        if len(self.points.data):
            features = self.points.features
            self.points.face_color = np.array([self._colour_of(int(i)) for i in features[OBJECT_ID]])
            self.points.border_color = [BORDER_COLOURS[str(label)] for label in features[POLARITY]]
        if len(self.shapes.data):
            colours = np.array([self._colour_of(int(i)) for i in self.shapes.features[OBJECT_ID]])
            colours[:, 3] = np.asarray(self.shapes.edge_color)[:, 3]  # how faint they are is up to `PromptLooks`
            self.shapes.edge_color = colours

    def _set_defaults(self, of_points: str = "", of_shapes: str = POSITIVE) -> None:
        """Set what the next prompt is; napari forgets it whenever features are set."""
        of_points = of_points or self.polarity
        for layer, meaning in (
            (self.points, {POLARITY: of_points, CANDIDATE: BEST}),
            (self.shapes, {POLARITY: of_shapes}),
        ):
            layer.selected_data = set()  # the current colour would be given to what is selected
            layer.feature_defaults = {OBJECT_ID: self.object_id, **meaning}
        colour = self._colour_of(self.object_id)
        self.points.current_face_color = colour
        self.points.current_border_color = BORDER_COLOURS[of_points]
        self.shapes.current_edge_color = colour


def _chosen(state: LayersState, of_points: NDArray[np.bool_], of_shapes: NDArray[np.bool_]) -> LayersState:
    return LayersState(
        state.points[of_points] if len(state.points) else state.points,
        state.point_features[of_points].reset_index(drop=True),
        tuple(one for one, kept in zip(state.shapes, of_shapes, strict=True) if kept),
        tuple(one for one, kept in zip(state.shape_types, of_shapes, strict=True) if kept),
        state.shape_features[of_shapes].reset_index(drop=True),
    )


def _features(object_ids: Sequence[int], polarities: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({OBJECT_ID: pd.Series(object_ids, dtype=int), POLARITY: pd.Series(polarities, dtype=str)})


def _point_features(
    object_ids: Sequence[int], polarities: Sequence[str], candidates: Sequence[int | None] | None = None
) -> pd.DataFrame:
    chosen = [None] * len(object_ids) if candidates is None else candidates
    column = pd.Series([BEST if one is None else one for one in chosen], dtype=int)
    return _features(object_ids, polarities).assign(**{CANDIDATE: column})
