"""How masks and prompts are drawn at the zoom of the canvas."""

import numpy as np
import pytest

from napari_sam2.workspace.display import MaskLook
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Room


@pytest.fixture
def room():
    room = Room("stack")
    yield room
    room.close()


def zoom(room, factor):
    room.viewer.scene.camera.zoom = factor


def contours(room):
    return {layer.contour for layer in (room.current_layer, room.committed_layer)}


def draw_box(room, object_id, frame, top, left, side=6):
    room.choose(object_id)
    corners = [
        (frame, top, left),
        (frame, top, left + side),
        (frame, top + side, left + side),
        (frame, top + side, left),
    ]
    room.shapes.add_rectangles([np.array(corners, float)])


@pytest.mark.parametrize(("factor", "width"), [(0.5, 0), (1.0, 0), (1.2, 1), (8.0, 1)])
def test_masks_are_outlined_where_one_has_zoomed_in_and_filled_where_an_outline_would_be_lost(room, factor, width):
    zoom(room, 0.5)
    zoom(room, factor)
    assert contours(room) == {width}


def test_between_both_masks_stay_filled_or_outlined(room):
    drawn = []
    for factor in (0.5, 1.0, 2.0, 1.0, 0.8):
        zoom(room, factor)
        drawn.append(contours(room))
    assert drawn == [{0}, {0}, {1}, {2}, {0}]  # pixels of the image


@pytest.mark.parametrize(
    ("look", "expected"),
    [(MaskLook.FILL, [0, 0]), (MaskLook.OUTLINE, [6, 1]), (MaskLook.AUTO, [0, 1])],
)
def test_fill_and_outline_are_a_choice_at_every_zoom(room, look, expected):
    room.set_choices(look=look)
    found = []
    for factor in (0.25, 4.0):
        zoom(room, factor)
        found.append(contours(room))
    assert found == [{one} for one in expected]


def test_pixels_of_another_size_count_as_they_are_on_the_screen():
    room = Room()
    room.viewer.add_image(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255), scale=(1, 0.1, 0.1))
    room.choose_image(room.viewer.layers[0])
    zoom(room, 5.0)
    assert contours(room) == {0}
    zoom(room, 20.0)
    assert contours(room) == {1}
    room.close()


def test_a_contour_that_the_user_has_set_is_left_alone_until_a_look_is_chosen(room):
    zoom(room, 4.0)
    room.current_layer.contour = 3
    for factor in (0.5, 4.0):
        zoom(room, factor)
    assert (room.current_layer.contour, room.committed_layer.contour) == (3, 1)
    room.set_choices(look=MaskLook.FILL)
    assert contours(room) == {0}


def test_in_three_dimensions_masks_are_filled(room):
    zoom(room, 4.0)
    room.viewer.dims.ndisplay = 3
    assert contours(room) == {0}
    room.viewer.dims.ndisplay = 2
    assert contours(room) == {1}


@pytest.mark.parametrize("factor", [0.2, 1.0, 12.0])
def test_points_and_edges_of_boxes_have_one_size_on_the_screen(room, factor):
    zoom(room, factor)
    room.points.add([(0, 5, 5)])
    draw_box(room, 2, 0, 10, 10)
    zoom(room, 3 * factor)
    zoom(room, factor)
    assert room.points.size[0] * factor == pytest.approx(10, rel=0.16)
    assert room.points.current_size * factor == pytest.approx(10, rel=0.16)
    assert room.shapes.edge_width[0] * factor == pytest.approx(2, rel=0.16)
    room.settle()


def test_a_box_steps_back_once_it_is_answered_and_its_object_is_not_the_chosen_one(room):
    zoom(room, 4.0)
    draw_box(room, 1, 0, 4, 4)
    room.settle()
    before = room.shapes.edge_width[0], room.shapes.edge_color[0][3]
    draw_box(room, 2, 0, 20, 20)
    room.settle()
    (first, second), alphas = room.shapes.edge_width, np.array(room.shapes.edge_color)[:, 3]
    assert (second, alphas[1]) == before == (0.5, 1.0)
    assert (first, alphas[0]) == (0.25, 0.5)
    room.choose(1)
    assert room.shapes.edge_width == [0.5, 0.25]


def test_a_box_without_an_answer_does_not_step_back(room):
    zoom(room, 4.0)
    draw_box(room, 1, 0, 4, 4)
    room.settle()
    room.hide(1)
    room.choose(2)
    room.clear_prompts()
    draw_box(room, 3, 1, 4, 4)
    assert room.shapes.edge_width[1] == 0.5
    room.settle()


def test_boxes_that_step_back_keep_their_colour(room):
    draw_box(room, 1, 0, 4, 4)
    draw_box(room, 2, 0, 20, 20)
    room.settle()
    np.testing.assert_allclose(room.shapes.edge_color[0][:3], room.colour_of(1)[:3], atol=1e-6)


def test_after_the_panel_is_closed_the_camera_is_followed_no_more(room):
    zoom(room, 4.0)
    layers = room.current_layer, room.committed_layer
    room.points.add([(0, 5, 5)])
    room.settle()
    room.close()
    zoom(room, 0.2)
    assert {layer.contour for layer in layers} == {1}


# Both ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def both(room):
    zoom(room, 4.0)
    room.set_choices(look=MaskLook.BOTH)
    return room


def outlines(room):
    return [layer for layer in room.viewer.layers if layer.name.endswith("outlines")]


def test_both_are_filled_masks_and_outlines_right_above_them(both):
    names = [layer.name for layer in both.viewer.layers]
    for masks in (both.current_layer, both.committed_layer):
        assert names.index(f"{masks.name} outlines") == names.index(masks.name) + 1
    assert contours(both) == {0}
    assert [layer.contour for layer in outlines(both)] == [1, 1]
    assert both.viewer.layers.selection.active == both.points


def test_outlines_show_what_the_masks_are_by_then(both):
    both.show(0)
    both.click(0, 10, 10)
    both.settle()
    above = next(layer for layer in outlines(both) if layer.name.startswith(both.current_layer.name))
    seen, mask = above._data_view, both.current()[0]
    assert set(np.unique(seen[mask > 0])) == {0, 1}  # inside it is empty
    assert not seen[mask == 0].any()
    both.current_layer.visible = False
    assert not above.visible


def test_outlines_go_when_something_else_is_chosen_and_with_the_work(both):
    both.set_choices(look=MaskLook.FILL)
    assert outlines(both) == []
    both.set_choices(look=MaskLook.BOTH)
    assert len(outlines(both)) == 2
    both.viewer.layers.remove(both.current_layer)
    assert outlines(both) == []


def test_outlines_that_the_user_removes_stay_away_and_nothing_else_ends(both):
    both.viewer.layers.remove(outlines(both)[0])
    zoom(both, 9.0)
    assert len(outlines(both)) == 1
    assert both.why_no_work == ""


def test_outlines_are_no_layers_to_read_or_to_commit_into(both):
    assert not set(outlines(both)) & set(both.bench.other_layers())


def test_outlines_go_with_the_layers_of_an_image_on_which_nothing_was_done(both):
    both.add("other")
    both.choose_image(both.viewer.layers["other"])
    assert set(outlines(both)) == set(both.work.display.outlines.layers)


def test_outlines_take_over_an_array_of_another_type(both):
    both.choose(70_000)
    both.click(0, 10, 10)
    both.settle()
    above = next(layer for layer in outlines(both) if layer.name.startswith("current"))
    assert above.data.dtype == both.current_layer.data.dtype == np.uint32
    assert above.data[0, 10, 10] == 70_000
