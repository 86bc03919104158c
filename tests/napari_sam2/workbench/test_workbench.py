"""Images that come and go, one workspace at a time, without a window."""

import numpy as np
import pytest

from napari_sam2.inference.speed import Activity
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.workbench.commands import CANCEL, KEYED
from napari_sam2.workbench.tools import Tool
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Room, WorkbenchDriver


@pytest.fixture
def room():
    room = Room("stack")
    yield room
    room.close()


def test_the_image_is_taken_at_once(room):
    assert room.chosen_image.name == "stack"
    assert room.tool is Tool.POINT_ON
    assert room.fakes == {}


def test_of_several_images_the_selected_one_is_taken_or_the_uppermost():
    room = Room("lower", "upper")
    assert room.chosen_image.name == "upper"
    room.close()
    room.viewer.layers.selection.active = room.viewer.layers["lower"]
    second = WorkbenchDriver(room.workbench())
    assert second.chosen_image.name == "lower"
    second.close()


def test_an_image_that_comes_later_is_taken_when_napari_is_done_with_it():
    room = Room()
    assert room.work is None
    room.add("late")
    assert room.work is None
    room.hand_over()
    assert room.chosen_image.name == "late"
    room.close()


def test_an_image_with_too_many_axes_is_refused_in_a_sentence():
    room = Room("huge", shape=(2, 3, 4, 5))
    assert room.work is None
    assert "has 4 axes, and more than one of frames" in room.why_no_work
    assert room.layer_names() == ["huge"]
    room.close()


def test_choosing_another_image_leaves_no_empty_layers_behind(room):
    other = room.add("other")
    room.choose_image(other)
    assert room.layer_names().count("point_prompts") == 1
    assert room.chosen_image is other


def test_work_is_kept_while_another_image_is_chosen(room):
    stack, other = room.chosen_image, room.add("other")
    room.click(1, 10, 12)
    first = room.work
    room.choose_image(other)
    assert room.work is not first
    room.choose_image(stack)
    assert room.work is first
    assert room.layer_names().count("point_prompts") == 1


def test_selecting_a_layer_of_other_work_goes_on_with_that(room):
    other = room.add("other")
    room.click(1, 10, 12)
    first, layer = room.work, room.current_layer
    room.choose_image(other)
    room.viewer.layers.selection.active = layer
    assert room.work is first


@pytest.mark.parametrize("name", ["point_prompts", "prompts", "current_object", "committed_objects"])
def test_removing_a_layer_ends_the_work_and_says_so(room, name):
    room.click(1, 10, 12)
    room.viewer.layers.remove(name)
    assert room.work is None
    assert name in room.why_no_work
    room.begin_anew()
    assert room.work is not None


def test_removing_the_image_ends_the_work_and_the_next_image_is_taken(room):
    room.click(1, 10, 12)
    room.viewer.layers.remove("stack")
    assert (room.work, room.chosen_image) == (None, None)
    room.add("next")
    room.hand_over()
    assert room.chosen_image.name == "next"


def test_all_layers_may_go_at_once(room):
    room.click(1, 10, 12)
    room.viewer.layers.clear()
    assert (room.work, room.chosen_image) == (None, None)


def test_replacing_the_data_ends_the_work_and_says_so(room):
    room.chosen_image.data = np.ones((FRAMES, HEIGHT, WIDTH), np.uint8)
    assert room.work is None
    assert "was replaced" in room.why_no_work
    room.begin_anew()
    assert room.work is not None


def test_an_image_in_use_is_left_alone_until_it_is_free(room):
    second = WorkbenchDriver(room.workbench())
    assert second.work is None
    assert "another SAM 2 panel" in second.why_no_work
    second.close()
    room.close()
    third = WorkbenchDriver(room.workbench())
    assert third.work is not None
    third.close()


def test_a_duplicate_of_an_image_in_use_is_free(room):
    first = room.work
    data, state, _ = room.chosen_image.as_layer_data_tuple()
    room.choose_image(room.viewer.add_image(data, **state | {"name": "duplicate"}))
    assert room.work is not None
    assert room.work is not first


def test_closing_takes_untouched_layers_away_and_leaves_the_others():
    for clicks, left in ((0, 1), (1, 5)):
        room = Room("stack")
        for _ in range(clicks):
            room.click(1, 10, 12)
        room.close()
        assert len(room.viewer.layers) == left
        assert room.work is None


def test_closing_gives_napari_its_keys_back(room):
    layers = room.made_layers
    assert all(len(layer.keymap) == len(KEYED) for layer in layers)
    room.close()
    assert not any(layer.keymap for layer in layers)


def test_another_model_is_asked_for_every_prompt(room):
    room.click(1, 10, 12)
    room.use_model("tiny")
    room.settle()
    assert room.fakes["tiny"].count("prompt") == 1
    assert room.working_size == 256


def test_what_is_chosen_is_done(room):
    room.click(2, 10, 12)
    room.set_choices(direction="forward", stop=4)
    room.propagate()
    room.propagate()  # while it is being done, once more changes nothing
    room.settle()
    assert [frame for frame in range(FRAMES) if room.current()[frame].any()] == [2, 3, 4]
    room.set_choices(threshold=0.99)
    room.show(2)
    room.next_doubtful()
    assert room.frame == 3
    room.set_choices(policy=CommitPolicy.OVERWRITE)
    room.commit()
    assert room.committed()[4].any()


def test_a_new_object_begins_with_what_is_on_it(room):
    room.click(2, 10, 12)
    room.take(Tool.POINT_OFF)
    room.new_object()
    assert room.tool is Tool.POINT_ON


@pytest.mark.parametrize("tool", Tool)
def test_a_tool_that_is_taken_is_in_hand(room, tool):
    room.take(tool)
    assert room.tool is tool


def test_an_idle_workbench_does_nothing():
    room = Room()
    room.press_every_key()
    room.take(Tool.BOX)
    room.bench.run(CANCEL)
    room.bench.do(lambda work: work.show(0))
    assert room.tool is None
    room.close()
    room.close()


def test_the_images_of_a_viewer_share_a_model():
    room = Room("one", "two")
    room.click(1, 10, 12)
    room.choose_image(room.viewer.layers["one"])
    room.click(1, 10, 12)
    assert room.loads == ["nano"]
    room.use_model("tiny")
    room.settle()
    assert room.loads[-1] == "tiny"
    room.close()


def click(room, position=(2, 8, 8), *, moves=0, **how):
    """Press, move and let go, as napari tells the viewer."""
    room.mouse(position, *[position] * moves, **how)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda room: room.chosen_image, "layer 'stack' is active, which takes no prompts now"),
        (lambda room: room.viewer.add_points(name="mine"), "layer 'mine' is active"),
        (lambda room: room.shapes, "layer 'prompts' is set to move the view"),
        (lambda room: None, "no layer is active"),
    ],
)
def test_a_click_that_does_nothing_says_so_until_a_tool_is_taken(room, prepare, reason):
    room.viewer.layers.selection.active = prepare(room)
    click(room)
    assert f"That click did nothing: {reason}" in room.message
    assert "Take a tool in the panel, Include or Box" in room.message
    room.take(Tool.BOX)
    assert room.message == ""


@pytest.mark.parametrize(
    "how",
    [{"moves": 2}, {"button": 2}, {"modifiers": ("Shift",)}, {"position": (2, -5, 8)}, {"position": (2, 8, 99)}],
    ids=str,
)
def test_a_drag_another_button_and_a_click_beside_the_image_are_left_alone(room, how):
    room.viewer.layers.selection.active = room.chosen_image
    click(room, **how)
    assert room.message == ""


@pytest.mark.parametrize("tool", Tool)
def test_a_click_with_a_tool_in_hand_is_left_alone(room, tool):
    room.take(tool)
    click(room)
    assert "did nothing" not in room.message


def test_a_closed_workbench_does_not_listen_for_clicks(room):
    before = len(room.viewer.mouse_drag_callbacks)
    room.close()
    assert len(room.viewer.mouse_drag_callbacks) == before - 1


def test_the_times_of_work_that_goes_on_in_another_panel_are_written_down_there(room):
    room.click(2, 10, 8)
    first = room.bench.speeds
    before = first.typical("fake", Activity.ANSWERING)
    assert before is not None
    room.close()
    room.bench = room.workbench()
    assert room.bench.speeds.typical("fake", Activity.ANSWERING) is None
    room.click(3, 10, 8)
    assert room.bench.speeds.typical("fake", Activity.ANSWERING) is not None
    assert first.typical("fake", Activity.ANSWERING) == before
