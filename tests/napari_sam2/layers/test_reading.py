import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Image, Labels, Points, Shapes

from napari_sam2.errors import FrameError, PromptError
from napari_sam2.layers.grid import grid_of
from napari_sam2.layers.labels_reader import LabelsReader
from napari_sam2.layers.reading import prompts_of_points, prompts_of_shapes
from napari_sam2.prompt_checks import check_prompts
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from tests.napari_sam2.conftest import DRAWING, drawn

FRAMES, HEIGHT, WIDTH = 5, 8, 12
STACK = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint16)
TOY = drawn(DRAWING)


@pytest.fixture
def image():
    return Image(STACK, name="cells")


@pytest.fixture
def grid(image):
    return grid_of(image)


def on_frame(frame, outline):
    """Vertices (V, 2) on one frame of a stack."""
    return np.insert(np.array(outline, float), 0, frame, axis=1)


def corners(y_min, x_min, y_max, x_max):
    return [(y_min, x_min), (y_min, x_max), (y_max, x_max), (y_max, x_min)]


def shapes_of(kind, *outlines, frame=2, **features):
    data = [on_frame(frame, outline) for outline in outlines]
    return Shapes(data, shape_type=kind, name="drawn", features=pd.DataFrame(features) if features else None)


# Points


def test_points_without_features_are_positive_clicks_on_the_default_object(image, grid):
    points = Points([(2, 3, 4), (0, 1.5, 2)])
    assert prompts_of_points(points, image, grid) == (PointPrompt(1, 2, 3, 4), PointPrompt(1, 0, 1.5, 2))
    assert {p.object_id for p in prompts_of_points(points, image, grid, default_object=7)} == {7}


@pytest.mark.parametrize(
    "features",
    [
        {"object_id": [3, 1, 3], "label": ["negative", "positive", "positive"]},
        {"object_id": [3.0, np.nan, 3.0], "label": ["negative", None, "positive"]},
        {"object_id": ["3", None, "3"], "label": ["negative", np.nan, ""]},
        {"object_id": pd.array([3, None, 3], dtype="Int64"), "label": pd.Categorical(["negative", None, "positive"])},
    ],
)
def test_features_name_object_and_polarity_of_points(image, grid, features):
    points = Points([(0, 1, 1), (0, 2, 2), (0, 3, 3)], features=pd.DataFrame(features))
    assert prompts_of_points(points, image, grid) == (
        PointPrompt(3, 0, 1, 1, positive=False),
        PointPrompt(1, 0, 2, 2),
        PointPrompt(3, 0, 3, 3),
    )


@pytest.mark.parametrize(
    "column",
    [
        [2, -1, 0, 1],
        [2.0, np.nan, 0.0, 1.0],
        ["2", "", "0", "1"],
        pd.array([2, None, 0, 1], dtype="Int64"),
    ],
)
def test_a_feature_names_the_mask_that_is_meant_by_a_point(image, grid, column):
    places = [(0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 4, 4)]
    labels = ["positive", "positive", "positive", "negative"]
    points = Points(places, features=pd.DataFrame({"candidate": column, "label": labels}))
    # Whoever turns a point into a negative one leaves its other features as they are.
    assert [one.candidate for one in prompts_of_points(points, image, grid)] == [2, None, 0, None]


@pytest.mark.parametrize("value", [3, -2, 0.5, "whole", np.inf])
def test_a_mask_that_there_is_not_is_named(image, grid, value):
    points = Points([(0, 1, 1)], features=pd.DataFrame({"candidate": [value]}), name="clicks")
    with pytest.raises(
        PromptError, match=r"Point 0 of layer 'clicks' has the candidate .* Use 0, 1 or 2, .* or rename"
    ):
        prompts_of_points(points, image, grid)


def test_an_empty_layer_gives_no_prompts(image, grid):
    assert prompts_of_points(Points(ndim=3), image, grid) == ()
    assert prompts_of_shapes(Shapes(ndim=3), image, grid) == ()
    assert LabelsReader(Labels(STACK), image, grid).read() == ()


@settings(max_examples=25, deadline=None)
@given(
    scale=st.tuples(*[st.floats(0.1, 9)] * 3),
    translate=st.tuples(*[st.floats(-90, 90)] * 3),
    rotate=st.floats(-180, 180),
    order=st.permutations(range(3)),
)
def test_points_of_a_layer_in_world_units_land_on_their_pixels(scale, translate, rotate, order):
    image = Image(STACK, scale=scale, translate=translate, rotate=rotate)
    at = (2, 3, 4)
    points = Points([image.data_to_world(at)])
    (prompt,) = prompts_of_points(points, image, grid_of(image, order))
    assert (prompt.frame, *np.round((prompt.y, prompt.x), 6)) == tuple(at[axis] for axis in order)


def test_points_belong_to_the_nearest_frame(image, grid):
    points = Points([(z, 0, 0) for z in (1.4, 1.6, -0.4, 4.4)])
    assert [prompt.frame for prompt in prompts_of_points(points, image, grid)] == [1, 2, 0, 4]


def test_points_on_every_frame_belong_to_the_one_shown(image, grid):
    assert prompts_of_points(Points([(3, 4)]), image, grid, current_frame=3) == (PointPrompt(1, 3, 3, 4),)


def test_points_on_every_frame_of_a_rolled_stack_are_refused(image):
    with pytest.raises(FrameError, match="Use a layer with 3 axes"):
        prompts_of_points(Points([(3, 4)]), image, grid_of(image, (1, 0, 2)))


def test_points_on_a_single_image_are_on_frame_0():
    image = Image(STACK[0])
    assert prompts_of_points(Points([(3, 4)]), image, grid_of(image)) == (PointPrompt(1, 0, 3, 4),)
    assert prompts_of_points(Points([(9, 3, 4)]), image, grid_of(image)) == (PointPrompt(1, 0, 3, 4),)


def test_points_on_a_coarse_level_are_in_its_pixels():
    image = Image([np.zeros((5, 16, 24)), STACK], multiscale=True)
    (prompt,) = prompts_of_points(Points([(2, 6.5, 8.5)]), image, grid_of(image, level=1))
    assert prompt == PointPrompt(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("points", "features", "message"),
    [
        ([(0, 1, 1), (0, 7.6, 1)], {}, "Point 1 of layer 'clicks' lies outside the image, at y 7.6, x 1.0 of 8 x 12"),
        ([(0, 1, -0.6)], {}, "Point 0 of layer 'clicks' lies outside"),
        ([(0, np.nan, 1)], {}, "Point 0 of layer 'clicks' lies outside"),
        ([(5, 1, 1)], {}, "Point 0 of layer 'clicks' stands on frame 5.0, and the stack has frames 0 to 4"),
        ([(np.nan, 1, 1)], {}, "Point 0 of layer 'clicks' lies outside the image, at y nan"),
        ([(0, 1, 1)], {"object_id": [0]}, "Point 0 of layer 'clicks' has the object_id 0. Use a whole number from 1"),
        ([(0, 1, 1)], {"object_id": [1.5]}, "has the object_id 1.5"),
        ([(0, 1, 1)], {"object_id": ["cell"]}, "has the object_id 'cell'"),
        ([(0, 1, 1)], {"object_id": [np.inf]}, "has the object_id inf"),
        ([(0, 1, 1)], {"label": ["nucleus"]}, "has the label 'nucleus'. Use 'positive' or 'negative'"),
    ],
)
def test_a_bad_point_is_named(image, grid, points, features, message):
    layer = Points(points, features=pd.DataFrame(features) if features else None, name="clicks")
    with pytest.raises(PromptError, match=message):
        prompts_of_points(layer, image, grid)


# Shapes


@pytest.mark.parametrize("kind", ["rectangle", "ellipse"])
def test_rectangles_and_ellipses_are_boxes(image, grid, kind):
    shapes = shapes_of(kind, corners(1, 2, 4, 6))
    assert prompts_of_shapes(shapes, image, grid) == (BoxPrompt(1, 2, 1, 2, 4, 6),)


def test_a_rotated_rectangle_is_the_upright_box_round_it(image, grid):
    shapes = shapes_of("rectangle", [(1, 4), (3, 6), (5, 4), (3, 2)])
    assert prompts_of_shapes(shapes, image, grid) == (BoxPrompt(1, 2, 1, 2, 5, 6),)


def test_a_box_in_a_transposed_view_is_transposed(image):
    shapes = shapes_of("rectangle", corners(1, 2, 4, 6))
    assert prompts_of_shapes(shapes, image, grid_of(image, (0, 2, 1))) == (BoxPrompt(1, 2, 2, 1, 6, 4),)


def test_a_box_that_reaches_over_the_border_is_cut_off(image, grid):
    shapes = shapes_of("rectangle", corners(-3, 2, 4, 40))
    assert prompts_of_shapes(shapes, image, grid) == (BoxPrompt(1, 2, -0.5, 2, 4, 11.5),)


def test_a_polygon_is_the_mask_of_the_pixels_inside(image, grid):
    (prompt,) = prompts_of_shapes(shapes_of("polygon", corners(1, 2, 3, 5)), image, grid)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[1:4, 2:6] = True
    assert prompt == MaskPrompt(1, 2, expected)


def test_a_polygon_that_reaches_over_the_border_is_cut_off(image, grid):
    (prompt,) = prompts_of_shapes(shapes_of("polygon", corners(6, -4, 20, 3)), image, grid)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[6:, :4] = True
    assert prompt == MaskPrompt(1, 2, expected)


def test_polygons_of_one_object_on_one_frame_are_parts_of_one_mask(image, grid):
    outlines = [corners(0, 0, 1, 1), corners(5, 5, 6, 7), corners(3, 3, 4, 4)]
    shapes = shapes_of("polygon", *outlines, object_id=[1, 1, 2])
    first, second = prompts_of_shapes(shapes, image, grid)
    assert (first.object_id, np.count_nonzero(first.mask)) == (1, 4 + 6)
    assert (second.object_id, np.count_nonzero(second.mask)) == (2, 4)
    check_prompts(PromptSet([first, second]), FRAMES, HEIGHT, WIDTH)


def test_a_path_whose_ends_meet_is_a_mask(image, grid):
    outline = [*corners(1, 2, 3, 5), (1.2, 2.3)]
    (prompt,) = prompts_of_shapes(shapes_of("path", outline), image, grid)
    assert isinstance(prompt, MaskPrompt)
    assert prompt.mask[2, 3]


@pytest.mark.parametrize(
    ("kind", "line"), [("line", [(1, 0), (1, 8)]), ("path", [(1, 0), (1, 4), (1, 8)]), ("path", [(1, 0), (1, 8)])]
)
def test_an_open_line_is_a_scribble_of_points_along_it(image, grid, kind, line):
    assert prompts_of_shapes(shapes_of(kind, line), image, grid) == (PointPrompt(1, 2, 1, 2), PointPrompt(1, 2, 1, 6))


@pytest.mark.parametrize(("length", "count"), [(0, 1), (0.5, 1), (4, 1), (5, 2), (8, 2), (30, 8), (10_000, 8)])
def test_a_scribble_has_at_most_eight_points(length, count):
    image = Image(np.zeros((2, 20_000), np.uint8))
    shapes = Shapes([[(1, 3), (1, 3 + length)]], shape_type="line")
    prompts = prompts_of_shapes(shapes, image, grid_of(image))
    assert len(prompts) == count
    assert all(3 <= prompt.x <= 3 + length for prompt in prompts)


def test_a_scribble_can_be_negative_and_loses_what_is_outside(image, grid):
    shapes = shapes_of("line", [(1, 6), (1, 22)], label=["negative"], object_id=[4])
    assert prompts_of_shapes(shapes, image, grid) == (PointPrompt(4, 2, 1, 8, positive=False),)


def test_shapes_of_every_kind_are_read_from_one_layer_in_order(image, grid):
    outlines = [corners(1, 2, 4, 6), [(1, 1), (1, 4)], [(0, 0), (0, 3), (3, 0)], corners(5, 5, 7, 7)]
    kinds = ["rectangle", "line", "polygon", "ellipse"]
    shapes = Shapes(
        [on_frame(frame, outline) for frame, outline in enumerate(outlines)],
        shape_type=kinds,
        features=pd.DataFrame({"object_id": [4, 3, 2, 1], "label": ["positive", "negative", None, "positive"]}),
    )
    box, point, other_box, mask = prompts_of_shapes(shapes, image, grid)
    assert (box, other_box) == (BoxPrompt(4, 0, 1, 2, 4, 6), BoxPrompt(1, 3, 5, 5, 7, 7))
    assert point == PointPrompt(3, 1, 1, 2.5, positive=False)
    assert (mask.object_id, mask.frame, np.count_nonzero(mask.mask)) == (2, 2, 10)


def test_shapes_on_every_frame_belong_to_the_one_shown(image, grid):
    shapes = Shapes([np.array(corners(1, 2, 4, 6))], shape_type="rectangle")
    assert prompts_of_shapes(shapes, image, grid, current_frame=4) == (BoxPrompt(1, 4, 1, 2, 4, 6),)


def test_shapes_of_a_layer_in_world_units_are_found():
    image = Image(STACK, scale=(10, 0.5, 0.25), translate=(0, 100, -100))
    vertices = [image.data_to_world(vertex) for vertex in on_frame(3, corners(1, 2, 4, 6))]
    (prompt,) = prompts_of_shapes(Shapes([vertices], shape_type="rectangle"), image, grid_of(image))
    assert prompt.frame == 3
    # Shapes are stored in single precision.
    np.testing.assert_allclose((prompt.y_min, prompt.x_min, prompt.y_max, prompt.x_max), (1, 2, 4, 6), atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Shapes([[(0, 1, 1), (0, 1, 3), (2, 4, 3)]], shape_type="polygon", name="drawn"),
            r"Shape 0 \(polygon\) of layer 'drawn' runs through frames 0 to 2",
        ),
        (lambda: shapes_of("line", [(1, 1), (2, 2)], frame=7), r"Shape 0 \(line\) of layer 'drawn' stands on frame 7"),
        (
            lambda: shapes_of("rectangle", corners(1, 1, 3, 3), corners(9, 1, 12, 3)),
            r"Shape 1 \(rectangle\).*no extent",
        ),
        (lambda: shapes_of("polygon", corners(20, 20, 30, 30)), r"Shape 0 \(polygon\).*covers no pixel"),
        (lambda: shapes_of("polygon", corners(1.2, 1.2, 1.7, 1.7)), "covers no pixel"),
        (lambda: shapes_of("line", [(-5, 1), (-5, 9)]), r"Shape 0 \(line\) of layer 'drawn' lies outside"),
        (lambda: shapes_of("ellipse", corners(1, 1, 3, 3), label=["negative"]), r"Shape 0 \(ellipse\).*is negative"),
        (lambda: shapes_of("polygon", corners(1, 1, 3, 3), label=["negative"]), "only points and lines can be"),
        (lambda: shapes_of("line", [(1, 1), (2, 2)], object_id=[-2]), "Shape 0 of layer 'drawn' has the object_id -2"),
    ],
)
def test_a_bad_shape_is_named(image, grid, make, message):
    with pytest.raises(PromptError, match=message):
        prompts_of_shapes(make(), image, grid)


# Labels


@pytest.fixture
def painted():
    """Labels of the toy drawing on frames 1 and 3 of a stack."""
    labels = np.zeros(STACK.shape, np.uint16)
    labels[1] = TOY
    labels[3] = TOY * (TOY == 3)
    return labels


def assert_masks(prompts, expected):
    assert [(p.frame, p.object_id) for p in prompts] == [(frame, object_id) for frame, object_id, _ in expected]
    for prompt, (_, _, mask) in zip(prompts, expected, strict=True):
        np.testing.assert_array_equal(prompt.mask, mask)


@pytest.mark.parametrize("store", [np.asarray, da.from_array, lambda labels: zarr.array(labels, chunks=(1, 8, 12))])
def test_every_id_on_every_frame_is_a_mask(image, grid, painted, store):
    prompts = LabelsReader(Labels(store(painted)), image, grid).read()
    assert_masks(prompts, [(1, 1, TOY == 1), (1, 2, TOY == 2), (1, 3, TOY == 3), (3, 3, TOY == 3)])


def test_labels_of_a_rolled_stack_are_read_as_they_are_shown(image, painted):
    prompts = LabelsReader(Labels(painted), image, grid_of(image, (2, 1, 0))).read()
    rolled = painted.transpose(2, 1, 0)
    assert {(p.frame, p.object_id) for p in prompts} == {(x, rolled[x, y, z]) for x, y, z in np.argwhere(rolled)}
    for prompt in prompts:
        np.testing.assert_array_equal(prompt.mask, rolled[prompt.frame] == prompt.object_id)


def test_labels_on_every_frame_belong_to_the_one_shown(image, grid):
    reader = LabelsReader(Labels(TOY), image, grid)
    assert {prompt.frame for prompt in reader.read(current_frame=2)} == {2}
    assert {prompt.frame for prompt in reader.read(current_frame=4)} == {4}
    assert reader.read(current_frame=4)[0].mask.shape == (HEIGHT, WIDTH)


def test_labels_of_a_single_image_are_on_frame_0():
    image = Image(STACK[0])
    assert [p.object_id for p in LabelsReader(Labels(TOY), image, grid_of(image)).read()] == [1, 2, 3]


def test_only_frames_that_were_touched_are_read_again(image, grid, painted):
    labels = Labels(painted)
    reader = LabelsReader(labels, image, grid)
    before = reader.read()
    labels.data[1][TOY == 2] = 9
    labels.data[3] = 0
    assert reader.read() == before
    reader.touch([1])
    assert [(p.frame, p.object_id) for p in reader.read()] == [(1, 1), (1, 3), (1, 9), (3, 3)]
    reader.touch()
    assert [(p.frame, p.object_id) for p in reader.read()] == [(1, 1), (1, 3), (1, 9)]


def test_a_touched_frame_that_is_the_same_keeps_its_prompts(image, grid, painted):
    reader = LabelsReader(Labels(painted), image, grid)
    before = reader.read()
    reader.touch([1])
    assert all(new is old for new, old in zip(reader.read(), before, strict=True))


def test_a_touched_frame_that_cannot_be_read_is_read_again_next_time(image, grid):
    labels = Labels(np.zeros(STACK.shape, np.int16), name="painted")
    reader = LabelsReader(labels, image, grid)
    reader.read()
    labels.data[2, 1, 1] = -4
    reader.touch([2])
    for _ in range(2):
        with pytest.raises(PromptError, match=r"Labels layer 'painted', frame 2: .*value -4"):
            reader.read()
    labels.data[2, 1, 1] = 4
    assert [prompt.object_id for prompt in reader.read()] == [4]


def test_new_data_of_the_layer_is_noticed_without_being_told(image, grid, painted):
    labels = Labels(painted)
    reader = LabelsReader(labels, image, grid)
    reader.read()
    labels.data = np.roll(painted, 1, axis=0)
    assert {prompt.frame for prompt in reader.read()} == {2, 4}


def test_labels_on_the_grid_of_a_coarse_level_are_read():
    image = Image([np.zeros((5, 16, 24)), STACK], multiscale=True)
    labels = Labels(np.stack([TOY] * FRAMES), scale=(1, 2, 2), translate=(0, 0.5, 0.5))
    assert len(LabelsReader(labels, image, grid_of(image, level=1)).read()) == 3 * FRAMES


@pytest.mark.parametrize(
    "make",
    [
        lambda: Labels(STACK[:2], name="painted"),
        lambda: Labels(STACK[0, :4], name="painted"),
        lambda: Labels(STACK, scale=(1, 2, 2), name="painted"),
        lambda: Labels(np.stack([STACK] * 2), name="painted"),
    ],
)
def test_labels_that_do_not_lie_on_the_image_are_refused(image, grid, make):
    with pytest.raises(PromptError, match=r"Labels layer 'painted' of shape .* does not lie on image 'cells'"):
        LabelsReader(make(), image, grid).read()


def test_labels_on_every_frame_of_a_rolled_stack_are_refused(image):
    with pytest.raises(PromptError, match="does not lie on"):
        LabelsReader(Labels(STACK[0]), image, grid_of(image, (1, 0, 2))).read()
