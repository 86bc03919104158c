"""The dock widget in a real viewer, with a model that draws discs."""

import gc
import threading
import weakref

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox, QDoubleSpinBox, QMessageBox, QSpinBox

from napari_sam2.widgets.object_table import DOUBT, PROMPTS
from napari_sam2.workbench.commands import KEYED
from napari_sam2.workbench.tools import Tool
from tests.napari_sam2.fake_predictor import FakePredictor
from tests.napari_sam2.widgets.conftest import FRAMES, HEIGHT, WIDTH, Dock


def press(viewer, key):
    """A key on the canvas."""
    viewer.window._qt_viewer.canvas._key_map_handler.press_key(key)
    viewer.window._qt_viewer.canvas._key_map_handler.release_key(key)


class Gate:
    """Holds a model up on frame 3."""

    def __init__(self):
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, frame):
        if frame == 3:
            self.reached.set()
            assert self.go_on.wait(20)


@pytest.fixture
def following(qtbot, viewer, stack):
    """A dock whose model is held up on frame 3 while it propagates."""
    gate = Gate()
    dock = Dock(qtbot, viewer, FakePredictor(before_follow=gate))
    dock.gate = gate
    dock.click(0, 10, 12)
    dock.widget.propagation.propagate.click()
    qtbot.waitUntil(gate.reached.is_set)
    yield dock
    gate.go_on.set()


def inference_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("napari-sam2")]


def test_it_is_ready_for_a_click_when_there_is_an_image(dock, viewer, fake):
    assert dock.widget.propagation.direction.currentText() == dock.choices.direction
    assert dock.widget.policy.currentData() is dock.choices.policy
    assert dock.widget.images.currentText() == "stack"
    assert dock.widget.model.chooser.currentText() == "nano"
    assert viewer.layers.selection.active == dock.points
    assert dock.widget.tools.buttons[Tool.POINT_ON].isChecked()
    assert dock.widget.sentence.label.text().startswith("Click each object once")
    assert fake.count("prompt") == 0


def test_without_an_image_it_says_so_and_takes_the_first_that_comes(qtbot, viewer, fake):
    dock = Dock(qtbot, viewer, fake)
    assert dock.work is None
    assert dock.widget.middle.isHidden()
    assert "Open an image" in dock.widget.sentence.label.text()
    viewer.add_image(np.zeros((HEIGHT, WIDTH)), name="late")
    qtbot.waitUntil(lambda: dock.work is not None)
    assert dock.widget.images.currentText() == "late"
    assert not dock.widget.middle.isHidden()
    assert viewer.layers[0].name == "late"


def test_a_click_on_the_canvas_becomes_a_mask(dock):
    dock.show(2)
    dock.mouse((20, 30))
    dock.settle()
    assert dock.current()[2, 20, 30] == 1
    rows = dock.widget.objects.table.objects
    assert rows.index(0, PROMPTS).data() == "2"
    assert rows.index(0, DOUBT).data().endswith("on 2")


def test_propagate_fills_every_frame(dock):
    dock.click(2, 20, 30)
    dock.propagate()
    assert (dock.current()[:, 20, 30] == 1).all()
    assert "confidence" in dock.widget.propagation.timeline.sentence_at(5, 25)


def test_the_range_and_the_direction_are_heeded(dock):
    dock.click(2, 20, 30)
    dock.widget.propagation.last.setValue(4)
    dock.widget.propagation.direction.setCurrentText("forward")
    dock.propagate()
    assert [frame for frame in range(FRAMES) if dock.current()[frame].any()] == [2, 3, 4]


def test_it_is_cancelled_and_resumed(following):
    panel = following.widget.propagation
    following.widget._refresh()
    assert panel.cancel.isEnabled()
    assert not panel.propagate.isEnabled()
    panel.cancel.click()
    following.gate.go_on.set()
    following.settle()
    assert not panel.cancel.isEnabled()
    assert [frame for frame in range(FRAMES) if following.current()[frame].any()] == [0, 1, 2, 3]
    following.propagate()
    assert following.current().any((1, 2)).all()


def test_commit_moves_everything_and_undo_brings_it_back(dock):
    dock.click(2, 20, 30)
    dock.propagate()
    dock.widget.commit.click()
    dock.settle()
    assert not dock.current().any()
    assert dock.committed().any((1, 2)).all()
    assert dock.object_id == 2
    assert dock.objects_with_masks == ()
    dock.widget.undo.click()
    dock.settle()
    assert dock.current().any((1, 2)).all()
    assert not dock.committed().any()
    dock.widget.redo.click()
    dock.settle()
    assert not dock.current().any()


def test_the_table_chooses_the_object(dock):
    dock.click(2, 20, 10)
    dock.widget.objects.new_object.click()
    dock.click(2, 20, 40)
    assert dock.widget.objects.table.objects.rowCount() == 2
    dock.widget.objects.table.selectRow(0)
    assert dock.object_id == 1
    dock.click(2, 12, 10)
    assert dock.current()[2, 12, 10] == 1


def test_a_click_on_the_timeline_goes_to_the_frame(dock, qtbot):
    timeline = dock.widget.propagation.timeline
    timeline.resize(60, 40)
    qtbot.mouseClick(timeline, Qt.MouseButton.LeftButton, pos=timeline.rectangle_of(0, 4).center().toPoint())
    assert dock.frame == 4
    dock.widget._refresh()
    qtbot.keyClick(timeline, Qt.Key.Key_Left)
    assert dock.frame == 3


def test_tools_take_their_layer(dock, viewer):
    dock.widget.tools.buttons[Tool.BOX].click()
    assert viewer.layers.selection.active == dock.shapes
    assert dock.shapes.mode == "add_rectangle"
    dock.widget.tools.buttons[Tool.POINT_OFF].click()
    assert dock.polarity == "negative"
    dock.widget._refresh()
    assert [tool for tool, one in dock.widget.tools.buttons.items() if one.isChecked()] == [Tool.POINT_OFF]
    dock.widget.tools.buttons[Tool.BRUSH].click()
    assert viewer.layers.selection.active == dock.current_layer


def test_keys_work_on_every_layer_of_ours(dock, viewer):
    dock.click(2, 20, 30)
    viewer.layers.selection.active = dock.points
    press(viewer, "T")
    assert dock.polarity == "negative"
    viewer.layers.selection.active = dock.current_layer
    press(viewer, "M")
    assert dock.object_id == 2
    assert dock.polarity == "positive"
    viewer.layers.selection.active = dock.shapes
    press(viewer, "Shift-S")
    dock.settle()
    assert dock.current().any((1, 2)).all()
    press(viewer, "N")
    viewer.layers.selection.active = dock.committed_layer
    press(viewer, "C")
    dock.settle()
    assert not dock.current().any()
    press(viewer, "Control-Z")
    dock.settle()
    assert dock.current().any((1, 2)).all()
    press(viewer, "Control-Shift-Z")
    dock.settle()
    assert not dock.current().any()


def test_next_doubtful_goes_where_confidence_is_low(dock):
    dock.click(2, 20, 30)
    dock.propagate()
    dock.show(0)
    dock.widget.propagation.threshold.setValue(0.99)
    dock.widget.propagation.doubtful.click()
    assert dock.frame == 1


def test_clear_and_approve(dock):
    dock.click(2, 20, 30)
    dock.widget.objects.approve.click()
    dock.settle()
    assert dock.is_approved(1, 2)
    dock.widget.objects.clear.click()
    dock.settle()
    assert not dock.current().any()


def test_an_error_is_shown_in_full(dock, viewer):
    press(viewer, "Shift-S")
    dock.widget._refresh()
    assert "There is nothing to follow yet" in dock.widget.sentence.label.text()


def test_a_single_image_has_no_stack_controls(qtbot, viewer, fake):
    viewer.add_image(np.zeros((HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255))
    dock = Dock(qtbot, viewer, fake)
    assert dock.widget.propagation.isHidden()
    dock.points.add([(20, 30)])
    dock.settle()
    assert dock.current()[20, 30] == 1


def test_images_that_come_go_and_are_renamed_are_followed(dock, viewer, stack):
    other = viewer.add_image(np.zeros((HEIGHT, WIDTH)), name="other")
    combo = dock.widget.images
    assert [combo.itemText(i) for i in range(combo.count())] == ["stack", "other"]
    other.name = "renamed"
    assert combo.itemText(1) == "renamed"
    assert combo.currentText() == "stack"
    viewer.layers.remove(other)
    assert combo.count() == 1


@pytest.mark.parametrize("name", ["stack", "current_object"])
def test_removing_a_layer_while_following_stops_the_work(following, viewer, name, qtbot):
    viewer.layers.remove(name)
    following.gate.go_on.set()
    assert following.work is None
    qtbot.waitUntil(lambda: not inference_threads())
    following.widget._refresh()
    assert following.widget.middle.isHidden()
    if name != "stack":
        assert name in following.widget.sentence.label.text()
        following.widget.begin.click()
        assert following.work is not None


def test_closing_the_dock_while_following_stops_and_frees(following, viewer, qtbot):
    dead = weakref.ref(following.bench)
    viewer.window.remove_dock_widget(following.dock)
    following.gate.go_on.set()
    qtbot.waitUntil(lambda: not inference_threads())
    press(viewer, "M")
    following.widget = following.dock = None

    def is_freed():
        gc.collect()
        return dead() is None

    qtbot.waitUntil(is_freed)
    assert "point_prompts" in viewer.layers


def test_another_panel_goes_on_with_the_work_of_one_that_was_closed(dock, viewer, fake, qtbot):
    dock.click(2, 20, 30)
    dock.propagate()
    before, layers = dock.current().copy(), list(viewer.layers)
    viewer.window.remove_dock_widget(dock.dock)
    again = Dock(qtbot, viewer, fake)
    assert list(viewer.layers) == layers
    np.testing.assert_array_equal(again.current(), before)
    again.click(2, 30, 10)
    assert again.current()[2, 30, 10] == 1
    again.widget.undo.click()
    again.settle()
    np.testing.assert_array_equal(again.current(), before)


def test_closing_the_viewer_while_following_raises_nothing(qtbot, make_napari_viewer):
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255))
    gate = Gate()
    dock = Dock(qtbot, viewer, FakePredictor(before_follow=gate))
    dock.click(0, 10, 12)
    dock.widget.propagation.propagate.click()
    qtbot.waitUntil(gate.reached.is_set)
    viewer.close()
    gate.go_on.set()
    qtbot.waitUntil(lambda: not inference_threads())
    assert dock.work is None


def test_two_viewers_work_at_once(qtbot, make_napari_viewer):
    docks = []
    for _ in range(2):
        viewer = make_napari_viewer()
        viewer.add_image(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255))
        docks.append(Dock(qtbot, viewer, FakePredictor()))
    docks[0].click(1, 20, 10)
    docks[1].click(3, 20, 40)
    for dock in docks:
        dock.propagate()
    assert (docks[0].current()[:, 20, 10] == 1).all()
    assert not docks[0].current()[:, 20, 40].any()
    assert (docks[1].current()[:, 20, 40] == 1).all()


def test_it_is_painted_in_both_themes(dock, viewer):
    dock.click(2, 20, 30)
    dock.propagate()
    brightness = []
    for theme in ("dark", "light"):
        viewer.theme = theme
        brightness.append(dock.widget.grab().toImage().pixelColor(2, 2).lightness())
    assert brightness[0] < 100 < brightness[1]


def test_everything_says_what_it_does_and_can_be_reached_by_keyboard(dock):

    for kind in (QAbstractButton, QComboBox, QSpinBox, QDoubleSpinBox):
        for child in dock.widget.findChildren(kind):
            if child.parent() is not dock.widget.objects.table:
                assert child.toolTip(), child
                assert child.focusPolicy() & Qt.FocusPolicy.TabFocus, child

    dock.widget.help.click()
    (box,) = dock.widget.findChildren(QMessageBox)
    assert all(key.meaning in box.text() for key in KEYED)
    box.close()


def test_a_colour_image_is_taken(qtbot, viewer, fake):
    viewer.add_image(np.zeros((HEIGHT, WIDTH, 3), np.float32), rgb=True)
    dock = Dock(qtbot, viewer, fake)
    assert dock.work is not None
