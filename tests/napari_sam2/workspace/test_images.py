"""Images that come and go, one workspace at a time, without a window."""

import queue

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.workspace.commands import KEYS
from napari_sam2.workspace.images import Tool, Workbench, layers_of
from napari_sam2.workspace.requests import Activity
from tests.napari_sam2.fake_predictor import FakePredictor

SHAPE = (6, 24, 30)


class Room:
    """A workbench whose answers are handed over when the test says so."""

    def __init__(self, *names, shape=SHAPE):
        self.viewer, self.posted, self.fakes = ViewerModel(), queue.Queue(), {}
        for name in names:
            self.add(name, shape)
        self.bench = Workbench(self.viewer, load_model=self.load, post=self.posted.put)

    def add(self, name, shape=SHAPE):
        return self.viewer.add_image(np.zeros(shape, np.uint8), contrast_limits=(0, 255), name=name)

    def load(self, source):
        return self.fakes.setdefault(source, FakePredictor())

    @property
    def work(self):
        return self.bench.workspace

    def settle(self):
        while self.work.status.activity is not Activity.READY:
            self.posted.get(timeout=10)()

    def click(self, frame, y, x):
        self.work.prompt_layers.points.add([(frame, y, x)])
        self.settle()

    def hand_over(self):
        while not self.posted.empty():
            self.posted.get()()

    def names(self):
        return [layer.name for layer in self.viewer.layers]


@pytest.fixture
def room():
    room = Room("stack")
    yield room
    room.bench.close()


def test_the_image_is_taken_at_once(room):
    assert room.bench.image.name == "stack"
    assert room.bench.tool is Tool.POINT_ON
    assert room.fakes == {}


def test_of_several_images_the_selected_one_is_taken_or_the_uppermost():
    room = Room("lower", "upper")
    assert room.bench.image.name == "upper"
    room.bench.close()
    room.viewer.layers.selection.active = room.viewer.layers["lower"]
    bench = Workbench(room.viewer, load_model=room.load, post=room.posted.put)
    assert bench.image.name == "lower"
    bench.close()


def test_an_image_that_comes_later_is_taken_when_napari_is_done_with_it():
    room = Room()
    assert room.work is None
    room.add("late")
    assert room.work is None
    room.hand_over()
    assert room.bench.image.name == "late"
    room.bench.close()


def test_an_image_with_too_many_axes_is_refused_in_a_sentence():
    room = Room("huge", shape=(2, 3, 4, 5))
    assert room.work is None
    assert "has 4 axes, and more than one of frames" in room.bench.message
    assert room.names() == ["huge"]
    room.bench.close()


def test_choosing_another_image_leaves_no_empty_layers_behind(room):
    other = room.add("other")
    room.bench.choose(other)
    assert room.names().count("point_prompts") == 1
    assert room.bench.image is other


def test_work_is_kept_while_another_image_is_chosen(room):
    stack, other = room.bench.image, room.add("other")
    room.click(1, 10, 12)
    first = room.work
    room.bench.choose(other)
    assert room.work is not first
    room.bench.choose(stack)
    assert room.work is first
    assert room.names().count("point_prompts") == 1


def test_selecting_a_layer_of_other_work_goes_on_with_that(room):
    other = room.add("other")
    room.click(1, 10, 12)
    first = room.work
    room.bench.choose(other)
    room.viewer.layers.selection.active = first.current
    assert room.work is first


@pytest.mark.parametrize("name", ["point_prompts", "prompts", "current_object", "committed_objects"])
def test_removing_a_layer_ends_the_work_and_says_so(room, name):
    room.click(1, 10, 12)
    room.viewer.layers.remove(name)
    assert room.work is None
    assert name in room.bench.message
    room.bench.begin_anew()
    assert room.work is not None


def test_removing_the_image_ends_the_work_and_the_next_image_is_taken(room):
    room.click(1, 10, 12)
    room.viewer.layers.remove("stack")
    assert (room.work, room.bench.image) == (None, None)
    room.add("next")
    room.hand_over()
    assert room.bench.image.name == "next"


def test_all_layers_may_go_at_once(room):
    room.click(1, 10, 12)
    room.viewer.layers.clear()
    assert (room.work, room.bench.image) == (None, None)


def test_replacing_the_data_ends_the_work_and_says_so(room):
    room.bench.image.data = np.ones(SHAPE, np.uint8)
    assert room.work is None
    assert "was replaced" in room.bench.message
    room.bench.begin_anew()
    assert room.work is not None


def test_an_image_in_use_is_left_alone_until_it_is_free(room):
    second = Workbench(room.viewer, load_model=room.load, post=room.posted.put)
    assert second.workspace is None
    assert "another SAM 2 panel" in second.message
    second.close()
    room.bench.close()
    third = Workbench(room.viewer, load_model=room.load, post=room.posted.put)
    assert third.workspace is not None
    third.close()


def test_a_duplicate_of_an_image_in_use_is_free(room):
    first = room.work
    data, state, _ = room.bench.image.as_layer_data_tuple()
    room.bench.choose(room.viewer.add_image(data, **state | {"name": "duplicate"}))
    assert room.work is not None
    assert room.work is not first


def test_closing_takes_untouched_layers_away_and_leaves_the_others():
    for clicks, left in ((0, 1), (1, 5)):
        room = Room("stack")
        for _ in range(clicks):
            room.click(1, 10, 12)
        room.bench.close()
        assert len(room.viewer.layers) == left
        assert room.work is None


def test_closing_gives_napari_its_keys_back(room):
    layers = layers_of(room.work)
    assert all(len(layer.keymap) == len(KEYS) for layer in layers)
    room.bench.close()
    assert not any(layer.keymap for layer in layers)


def test_another_model_is_asked_for_every_prompt(room):
    room.click(1, 10, 12)
    room.bench.use_model("tiny")
    room.settle()
    assert room.fakes["tiny"].count("prompt") == 1
    assert room.work.working_size == 256


def test_what_is_chosen_is_done(room):
    room.click(2, 10, 12)
    room.bench.direction, room.bench.stop = "forward", 4
    room.bench.propagate()
    room.bench.propagate()  # while it is being done, once more changes nothing
    room.settle()
    assert [frame for frame in range(SHAPE[0]) if room.work.current.data[frame].any()] == [2, 3, 4]
    room.bench.threshold = 0.99
    room.bench.show(2)
    room.bench.next_doubtful()
    assert room.work.frame == 3
    room.bench.policy = CommitPolicy.OVERWRITE
    room.bench.commit()
    assert room.work.committed.data[4].any()


def test_a_new_object_begins_with_what_is_on_it(room):
    room.click(2, 10, 12)
    room.bench.take(Tool.POINT_OFF)
    room.bench.new_object()
    assert room.bench.tool is Tool.POINT_ON


@pytest.mark.parametrize("tool", Tool)
def test_a_tool_that_is_taken_is_in_hand(room, tool):
    room.bench.take(tool)
    assert room.bench.tool is tool


def test_an_idle_workbench_does_nothing():
    bench = Room().bench
    for key in KEYS:
        getattr(bench, key.command)()
    bench.take(Tool.BOX)
    bench.show(0)
    bench.choose_object(2)
    bench.cancel()
    assert bench.tool is None
    bench.close()
    bench.close()


def test_the_images_of_a_viewer_share_a_model():
    room, loads = Room("one", "two"), []
    room.bench._load_model = lambda source: loads.append(source) or FakePredictor()
    room.click(1, 10, 12)
    room.bench.choose(room.viewer.layers["one"])
    room.click(1, 10, 12)
    assert loads == ["nano"]
    room.bench.use_model("tiny")
    room.settle()
    assert loads[-1] == "tiny"
    room.bench.close()


class Mouse:
    """What napari tells of the mouse."""

    def __init__(self, position, button=1, modifiers=()):
        self.position, self.button, self.modifiers = position, button, modifiers
        self.type, self.handled, self.is_dragging = "mouse_press", False, True


def click(room, position=(2, 8, 8), *, moves=0, **how):
    """Press, move and let go, as napari tells the viewer."""
    event = Mouse(position, **how)
    mouse_press_callbacks(room.viewer, event)
    event.type = "mouse_move"
    for _ in range(moves):
        mouse_move_callbacks(room.viewer, event)
    event.type = "mouse_release"
    mouse_release_callbacks(room.viewer, event)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda room: room.bench.image, "layer 'stack' is active, which takes no prompts now"),
        (lambda room: room.viewer.add_points(name="mine"), "layer 'mine' is active"),
        (lambda room: room.work.prompt_layers.shapes, "layer 'prompts' is set to move the view"),
        (lambda room: None, "no layer is active"),
    ],
)
def test_a_click_that_does_nothing_says_so_until_a_tool_is_taken(room, prepare, reason):
    room.viewer.layers.selection.active = prepare(room)
    click(room)
    assert f"That click did nothing: {reason}" in room.work.status.message
    assert "Take a tool in the panel, Include or Box" in room.work.status.message
    room.bench.take(Tool.BOX)
    assert room.work.status.message == ""


@pytest.mark.parametrize(
    "how",
    [{"moves": 2}, {"button": 2}, {"modifiers": ("Shift",)}, {"position": (2, -5, 8)}, {"position": (2, 8, 99)}],
    ids=str,
)
def test_a_drag_another_button_and_a_click_beside_the_image_are_left_alone(room, how):
    room.viewer.layers.selection.active = room.bench.image
    click(room, **how)
    assert room.work.status.message == ""


@pytest.mark.parametrize("tool", Tool)
def test_a_click_with_a_tool_in_hand_is_left_alone(room, tool):
    room.bench.take(tool)
    click(room)
    assert room.work.status.message == ""


def test_a_closed_workbench_does_not_listen_for_clicks(room):
    before = len(room.viewer.mouse_drag_callbacks)
    room.bench.close()
    assert len(room.viewer.mouse_drag_callbacks) == before - 1
