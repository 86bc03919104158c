"""Clicks and drags on the canvas become prompts of the object that is meant."""

import numpy as np
import pytest

from napari_sam2.layers.reading import NEGATIVE
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.workbench.choices import ClickMode
from napari_sam2.workbench.tools import Tool
from tests.napari_sam2.bench import Room


@pytest.fixture
def room(plugin_settings):
    room = Room("stack", shape=(6, 40, 60))
    room.show(0)
    yield room
    room.close()


@pytest.fixture
def refining(room):
    """The second mode, with one object in work."""
    room.press("R")
    click(room, 10, 10)
    return room


def click(room, *place, **how):
    room.mouse(place, **how)
    room.settle()


def drag(room, *path, **how):
    room.mouse(*path, **how)
    room.settle()


def points(room):
    return [(p.object_id, p.y, p.x, p.positive) for p in room.prompts.prompts if isinstance(p, PointPrompt)]


def boxes(room):
    return {p.object_id: (p.y_min, p.x_min, p.y_max, p.x_max) for p in room.prompts.prompts if isinstance(p, BoxPrompt)}


# Each click is a new object ------------------------------------------------------------------------------------------


def test_at_first_every_click_beside_all_masks_is_a_new_object(room):
    for number in range(4):
        click(room, 10, 8 + 12 * number)
    assert [one for one, *_ in points(room)] == [1, 2, 3, 4]
    assert sorted(set(np.unique(room.current()[0]))) == [0, 1, 2, 3, 4]


def test_a_click_on_the_mask_of_the_selected_object_refines_it(room):
    click(room, 10, 10)
    click(room, 10, 30)
    click(room, 11, 31)
    assert points(room) == [(1, 10, 10, True), (2, 10, 30, True), (2, 11, 31, True)]


def test_a_click_on_the_mask_of_another_object_selects_it_and_is_no_prompt(room):
    click(room, 10, 10)
    click(room, 10, 30)
    click(room, 10, 11)
    assert room.object_id == 1
    assert len(points(room)) == 2
    assert "Object 1 is selected" in room.message
    click(room, 10, 11)
    assert points(room)[-1] == (1, 10, 11, True)


def test_what_was_said_of_a_selected_object_goes_when_another_is_selected(room):
    click(room, 10, 10)
    click(room, 10, 30)
    click(room, 10, 10)
    assert room.message.startswith("Object 1 is selected")
    room.press(".")
    assert room.message == ""


def test_an_object_that_is_hidden_is_not_selected_by_a_click(room):
    click(room, 10, 10)
    click(room, 10, 30)
    room.hide(1)
    click(room, 10, 11)
    assert [one for one, *_ in points(room)] == [1, 2, 3]


def test_a_click_on_a_committed_object_selects_it_while_its_layer_is_to_be_seen(room):
    click(room, 10, 10)
    room.commit()
    click(room, 10, 10)
    assert room.object_id == 1
    assert points(room) == []
    room.committed_layer.visible = False
    click(room, 10, 30)
    click(room, 10, 10)
    assert [one for one, *_ in points(room)] == [2, 3]


def test_who_selects_a_committed_object_is_told_that_it_stays_as_it_is(room):
    click(room, 10, 10)
    room.press("C")
    room.settle()
    click(room, 10, 10)
    assert room.message.startswith("Object 1 is committed, and stays as it is")
    click(room, 10, 10)
    assert points(room) == []


def test_a_click_beside_the_image_makes_no_object_and_says_so(room):
    click(room, 10, 10)
    click(room, -3, 10)
    assert room.object_ids == (1,)
    assert room.message == "That click was beside the image."


def test_undoing_the_first_click_of_a_new_object_selects_the_one_before(room):
    click(room, 10, 10)
    click(room, 10, 30)
    room.undo()
    room.settle()
    assert room.object_id == 1
    click(room, 11, 11)
    assert room.prompts.object_ids == (1,)


def test_a_double_click_is_no_second_object(room):
    room.mouse((10, 10))
    room.mouse((10, 10))
    room.settle()
    assert [one for one, *_ in points(room)] == [1, 1]


def test_a_click_on_another_frame_of_the_stack_is_a_new_object_there(room):
    click(room, 10, 10)
    room.show(3)
    click(room, 10, 10)
    assert [(p.object_id, p.frame) for p in room.prompts.prompts] == [(1, 0), (2, 3)]


def test_one_click_is_one_step_to_undo(room):
    click(room, 10, 10)
    click(room, 10, 30)
    room.undo()
    room.settle()
    assert [one for one, *_ in points(room)] == [1]
    click(room, 30, 30)
    assert [one for one, *_ in points(room)] == [1, 2]


# What does not belong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", [Tool.POINT_ON, Tool.POINT_OFF, Tool.BOX, Tool.LASSO, Tool.SCRIBBLE])
def test_a_right_click_says_what_does_not_belong(room, tool):
    click(room, 10, 10)
    room.take(tool)
    click(room, 10, 12, button=2)
    assert points(room)[-1] == (1, 10, 12, False)
    assert (room.polarity == NEGATIVE) == (tool is Tool.POINT_OFF)


def test_a_right_drag_is_left_to_napari(room):
    click(room, 10, 10)
    drag(room, (10, 30), (20, 40), button=2)
    assert len(room.prompts.prompts) == 1


def test_a_right_click_while_painting_is_no_prompt(room):
    click(room, 10, 10)
    room.take(Tool.BRUSH)
    room.viewer.layers.selection.active.mouse_drag_callbacks.clear()  # what napari paints is not looked at here
    click(room, 10, 12, button=2)
    assert len(points(room)) == 1


def test_with_exclude_a_click_is_of_the_selected_object_wherever_it_is(room):
    click(room, 10, 10)
    click(room, 10, 30)
    room.take(Tool.POINT_OFF)
    click(room, 10, 10)
    click(room, 30, 50)
    assert points(room)[-2:] == [(2, 10, 10, False), (2, 30, 50, False)]


def test_with_exclude_a_drag_is_a_line_over_what_does_not_belong(room):
    click(room, 10, 10)
    room.take(Tool.POINT_OFF)
    drag(room, (20, 10), (20, 14), (20, 20))
    assert {(one, positive) for one, *_, positive in points(room)[1:]} == {(1, False)}


# Clicks refine the selected object -----------------------------------------------------------------------------------


def test_in_the_other_mode_a_click_near_the_mask_is_of_the_selected_object(refining):
    click(refining, 10, 14)
    assert points(refining) == [(1, 10, 10, True), (1, 10, 14, True)]


def test_a_click_well_outside_the_mask_is_asked_about_and_changes_nothing(refining):
    before = refining.current()
    click(refining, 30, 50)
    assert "Is that another object? M makes a new one" in refining.message
    assert len(points(refining)) == 1
    np.testing.assert_array_equal(refining.current(), before)


def test_the_question_is_answered_by_one_key(refining):
    click(refining, 30, 50)
    refining.press("M")
    refining.settle()
    assert points(refining) == [(1, 10, 10, True), (2, 30, 50, True)]


def test_the_question_is_answered_by_another_click_at_the_place(refining):
    click(refining, 30, 50)
    click(refining, 30, 51)
    assert points(refining) == [(1, 10, 10, True), (1, 30, 51, True)]


def test_a_hand_that_misses_the_place_by_little_has_answered_the_question(refining):
    click(refining, 30, 50)
    refining.mouse((30, 51.5))  # 15 pixels of the screen
    refining.settle()
    assert points(refining)[1:] == [(1, 30, 51.5, True)]


def test_a_question_about_a_committed_object_is_asked_too(refining):
    refining.press("C")
    refining.settle()
    refining.choose(1)
    click(refining, 30, 50)
    assert points(refining) == []
    assert "Is that another object?" in refining.message


@pytest.mark.parametrize("go_on", [lambda room: room.press("T"), lambda room: room.show(2)])
def test_a_question_is_not_to_be_read_any_more_after_something_else(refining, go_on):
    click(refining, 30, 50)
    go_on(refining)
    assert "Is that another object?" not in refining.message
    refining.press("M")
    refining.settle()
    assert len(points(refining)) == 1


@pytest.mark.parametrize(
    "go_on",
    [lambda room: click(room, 10, 11), lambda room: room.show(2), lambda room: room.choose(7)],
    ids=["a click", "another frame", "another object"],
)
def test_who_goes_on_with_something_else_is_not_asked_any_more(refining, go_on):
    click(refining, 30, 50)
    go_on(refining)
    refining.press("M")
    refining.settle()
    assert not any((y, x) == (30, 50) for _, y, x, _ in points(refining))


def test_on_a_frame_without_a_mask_of_it_a_click_is_of_the_selected_object(refining):
    refining.show(4)
    click(refining, 30, 50)
    assert [(p.object_id, p.frame) for p in refining.prompts.prompts] == [(1, 0), (1, 4)]


def test_a_click_on_another_mask_selects_in_this_mode_too(refining):
    refining.press("M")
    click(refining, 10, 30)
    click(refining, 10, 10)
    assert refining.object_id == 1
    assert len(points(refining)) == 2


# The switch ----------------------------------------------------------------------------------------------------------


def test_only_the_key_turns_the_switch(room):
    assert room.choices.click_mode is ClickMode.NEW_OBJECT
    click(room, 10, 10)
    room.commit()
    room.press("M")
    assert room.choices.click_mode is ClickMode.NEW_OBJECT
    room.press("R")
    assert room.choices.click_mode is ClickMode.REFINE
    room.press("R")
    assert room.choices.click_mode is ClickMode.NEW_OBJECT


# Drags ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", [Tool.POINT_ON, Tool.BOX])
def test_a_drag_draws_a_box(room, tool):
    room.take(tool)
    drag(room, (5, 6), (9, 9), (15, 20))
    assert boxes(room) == {1: (5, 6, 15, 20)}
    assert room.tool is tool


def test_every_box_is_of_a_new_object_unless_it_goes_round_the_clicks_of_the_selected_one(room):
    drag(room, (5, 6), (15, 16))
    drag(room, (5, 26), (15, 36))
    click(room, 30, 30)
    drag(room, (36, 36), (24, 24))
    assert boxes(room) == {1: (5, 6, 15, 16), 2: (5, 26, 15, 36), 3: (24, 24, 36, 36)}


def test_a_box_round_the_click_of_another_object_is_of_that_object(room):
    click(room, 10, 10)
    click(room, 10, 40)
    drag(room, (4, 4), (16, 16))
    assert boxes(room) == {1: (4, 4, 16, 16)}
    assert room.object_id == 1


def test_a_box_round_several_objects_is_a_new_one(room):
    click(room, 10, 10)
    click(room, 10, 20)
    click(room, 30, 40)
    drag(room, (4, 4), (16, 26))
    assert boxes(room) == {4: (4, 4, 16, 26)}


def test_another_box_of_an_object_takes_the_place_of_the_first_in_one_step(room):
    drag(room, (5, 6), (15, 12))
    drag(room, (4, 5), (16, 20))
    assert boxes(room) == {1: (4, 5, 16, 20)}
    assert len(room.shapes.data) == 1
    assert room.message == ""
    room.undo()
    room.settle()
    assert boxes(room) == {1: (5, 6, 15, 12)}


def test_a_drag_without_area_is_no_box_and_changes_nothing(room):
    drag(room, (5, 6), (15, 16))
    drag(room, (30, 30), (30, 45))
    assert boxes(room) == {1: (5, 6, 15, 16)}
    assert room.object_id == 1
    assert room.message.startswith("That box has no area")


def test_a_box_round_a_hidden_object_is_of_another(room):
    click(room, 10, 10)
    click(room, 10, 40)
    room.hide(1)
    drag(room, (4, 4), (16, 16))
    assert boxes(room) == {3: (4, 4, 16, 16)}


def test_a_box_on_another_frame_leaves_the_first_one_there(room):
    drag(room, (5, 6), (15, 16))
    room.show(2)
    room.press("R")
    drag(room, (5, 6), (15, 16))
    assert len(room.shapes.data) == 2
    assert room.prompts.object_ids == (1,)


def test_in_the_other_mode_a_box_far_from_the_mask_is_asked_about(refining):
    drag(refining, (25, 40), (35, 50))
    assert boxes(refining) == {}
    refining.press("M")
    refining.settle()
    assert boxes(refining) == {2: (25, 40, 35, 50)}


def test_a_lasso_is_a_mask_and_a_scribble_is_clicks(room):
    room.take(Tool.LASSO)
    drag(room, (5, 5), (5, 15), (15, 15), (15, 5))
    (mask,) = room.prompts.prompts
    assert isinstance(mask, MaskPrompt)
    room.take(Tool.SCRIBBLE)
    drag(room, (30, 30), (30, 35), (30, 45))
    assert {one for one, *_ in points(room)} == {2}


def test_a_scribble_that_begins_on_the_selected_mask_is_of_that_object(room):
    click(room, 10, 10)
    room.take(Tool.SCRIBBLE)
    drag(room, (10, 10), (10, 14), (10, 20))
    assert {one for one, *_ in points(room)} == {1}


def test_a_click_with_a_tool_that_is_dragged_says_so(room):
    room.take(Tool.BOX)
    click(room, 10, 10)
    assert "Keep the button down and drag" in room.message
    assert not room.prompts


def test_what_is_being_drawn_is_shown_but_is_no_prompt(room):
    seen = []
    shapes = room.shapes
    shapes.events.set_data.connect(lambda: seen.append(len(shapes.data)))
    drag(room, (5, 6), (9, 9), (15, 20))
    assert max(seen) == 1
    assert len(room.prompts.prompts) == 1
    room.undo()
    assert len(shapes.data) == 0


def test_prompts_that_are_read_in_the_middle_of_a_drag_are_without_it(room):
    click(room, 30, 30)
    read = []

    def read_at_every_move(viewer, event):
        yield
        while event.type == "mouse_move":
            read.append(len(room.work.sources.read().prompts))
            yield

    room.viewer.mouse_drag_callbacks.append(read_at_every_move)
    drag(room, (5, 6), (7, 8), (9, 9))
    assert read == [1, 1]
    assert boxes(room) == {2: (5, 6, 9, 9)}


@pytest.mark.parametrize("how", [{"modifiers": ("Shift",)}, {"button": 3}], ids=str)
def test_other_buttons_and_modified_clicks_are_left_to_napari(room, how):
    click(room, 10, 10, **how)
    assert not room.prompts


def test_nothing_is_drawn_in_a_view_of_three_dimensions(room):
    room.viewer.dims.ndisplay = 3
    room.mouse((0, 10, 10))
    assert "Leave the 3-D view" in room.message
    assert len(room.points.data) == 0


def test_space_moves_the_view_and_gives_the_tool_back(room):
    room.points.mode = "pan_zoom"
    drag(room, (5, 6), (15, 16))
    assert not room.prompts
    assert room.points.mouse_pan
    room.points.mode = "add"
    click(room, 10, 10)
    assert len(points(room)) == 1
    assert not room.points.mouse_pan


def test_a_closed_panel_leaves_the_mouse_to_napari(room):
    click(room, 10, 10)
    layer = room.points
    room.close()
    layer.mode = "add"
    assert [one.__module__.split(".")[0] for one in layer.mouse_drag_callbacks] == ["napari"]


# Keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "tool"), [("B", Tool.BOX), ("L", Tool.LASSO), ("P", Tool.BRUSH)])
def test_tools_have_keys(room, key, tool):
    room.press(key)
    assert room.tool is tool


@pytest.mark.parametrize("key", ["B", "L", "P"])
def test_the_key_of_a_tool_gives_it_back(room, key):
    room.press(key)
    room.press(key)
    assert room.tool is Tool.POINT_ON


def test_what_was_said_of_one_tool_goes_with_it(room):
    room.take(Tool.BOX)
    click(room, 10, 10)
    assert room.message.startswith("Keep the button down")
    room.press("T")
    assert room.message == ""


def test_keys_go_to_the_previous_and_the_next_object(room):
    for number in range(3):
        click(room, 10, 8 + 12 * number)
    visited = []
    for key in (".", ".", ","):
        room.press(key)
        visited.append(room.object_id)
    assert visited == [1, 2, 1]


def test_one_key_changes_between_include_and_exclude_and_comes_back_from_other_tools(room):
    tools = []
    for key in ("T", "T", "B", "T", "T"):
        room.press(key)
        tools.append(room.tool)
    assert tools == [Tool.POINT_OFF, Tool.POINT_ON, Tool.BOX, Tool.POINT_ON, Tool.POINT_OFF]
