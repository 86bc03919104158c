"""The panel for stacks: range on the strip and in the boxes, what is doubtful and hidden, what the timeline shows."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_sam2.prompts import Target
from napari_sam2.workbench.choices import Choices
from napari_sam2.workspace.confidence import UNSEEN
from tests.napari_sam2.widgets.conftest import FRAMES, HEIGHT, WIDTH


@pytest.fixture
def panel(dock):
    return dock.widget.propagation


def strip(panel):
    return panel.timeline._strip


def test_all_frames_are_the_range_at_first(dock, panel):
    assert (panel.first.value(), panel.last.value()) == (0, FRAMES - 1)
    assert (dock.choices.start, dock.choices.stop) == (0, FRAMES - 1)


def test_a_handle_moves_the_box_and_the_box_moves_the_handle(dock, panel, qtbot):
    timeline = panel.timeline
    timeline.resize(60, 40)
    qtbot.mousePress(timeline, Qt.MouseButton.LeftButton, pos=QPoint(59, 20))
    qtbot.mouseMove(timeline, pos=QPoint(40, 20))
    qtbot.mouseRelease(timeline, Qt.MouseButton.LeftButton, pos=QPoint(40, 20))
    assert panel.last.value() == dock.choices.stop == 3
    panel.first.setValue(2)
    assert timeline._range == (2, 3)


def test_an_end_of_the_range_pushes_the_other(dock, panel):
    panel.last.setValue(3)
    panel.first.setValue(5)
    assert (dock.choices.start, dock.choices.stop) == (5, 5)
    panel.last.setValue(1)
    assert (panel.first.value(), panel.last.value()) == (1, 1)


def test_the_timeline_shows_prompts_before_and_masks_after_the_answer(dock, panel):
    dock.click(2, 20, 30)
    assert strip(panel).table.object_ids == (1,)
    assert list(strip(panel).prompted) == [Target(1, 2)]
    assert strip(panel).table.values[0, 3] == UNSEEN
    dock.propagate()
    assert (strip(panel).table.values < 1).all()


def test_the_timeline_is_drawn_anew_only_when_there_is_something_new(dock, panel):
    dock.click(2, 20, 30)
    dock.propagate()
    before = strip(panel)
    dock.show(4)
    dock.widget._refresh()
    assert strip(panel) is before
    assert panel.timeline._frame == 4


def test_masks_that_are_older_than_a_prompt_are_hatched_until_they_are_followed_again(dock, panel):
    dock.click(2, 20, 30)
    dock.propagate()
    assert not strip(panel).outdated.any()
    dock.click(4, 20, 32)
    assert np.flatnonzero(strip(panel).outdated[0]).tolist() == [0, 1, 3, 5]
    assert strip(panel).reach == {1: range(FRAMES)}
    panel.first.setValue(3)
    assert strip(panel).reach == {1: range(3, FRAMES)}
    panel.first.setValue(0)
    dock.propagate()
    assert not strip(panel).outdated.any()


def test_next_doubtful_chooses_the_object_and_says_why(dock, panel):
    dock.click(2, 20, 30)
    dock.new_object()
    dock.click(2, 8, 8)
    dock.propagate()
    dock.choose(1)
    panel.threshold.setValue(0.99)
    panel.doubtful.click()
    assert (dock.object_id, dock.frame) == (2, 2)
    assert dock.message.startswith("Object 2 is doubtful on frame 2 (0.")
    panel.doubtful.click()
    assert (dock.object_id, dock.frame) == (1, 3)
    panel.threshold.setValue(0.01)
    panel.doubtful.click()
    assert dock.message == "No object is less certain than 0.01 on any frame."


def test_approved_frames_names_and_hidden_objects_reach_the_timeline(dock, panel):
    dock.click(2, 20, 30)
    dock.approve()
    dock.rename(1, "mother")
    dock.hide(1)
    dock.settle()
    assert strip(panel).approved == {Target(1, 2)}
    assert strip(panel).names == {1: "mother"}
    assert strip(panel).shown.hidden == {1}


def test_doubtful_masks_are_hidden_come_back_and_are_not_committed(dock, panel):
    dock.click(2, 20, 30)
    dock.propagate()
    scores = dock.scores()
    between = float(scores.confidence.mean())
    panel.threshold.setValue(min(between + 0.1, 1))
    assert dock.current()[2].any()
    panel.hide_doubtful.click()
    assert not dock.current()[2].any()
    assert len(dock.scores()) == len(scores)
    panel.threshold.setValue(0.1)
    assert dock.current()[2].any()
    panel.threshold.setValue(1)
    assert not dock.current()[2].any()
    dock.widget.commit.click()
    dock.settle()
    assert not dock.committed().any()
    panel.hide_doubtful.click()
    assert dock.current()[2].any()


def test_what_is_hidden_stays_hidden_on_another_image(dock, panel, viewer, stack):
    panel.threshold.setValue(0.75)
    panel.hide_doubtful.click()
    other = viewer.add_image(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255), name="other")
    dock.choose_image(other)
    assert dock.least_confidence == 0.75
    panel.hide_doubtful.click()
    dock.choose_image(stack)
    assert dock.least_confidence == 0


def test_when_the_work_ends_the_timeline_lets_go_of_it(dock, panel, viewer, stack):
    dock.click(2, 20, 30)
    viewer.layers.remove(stack)
    assert strip(panel).table.object_ids == ()
    assert not list(strip(panel).prompted)
    panel.timeline.grab()
    panel.first.setValue(1)
    panel.hide_doubtful.click()


def test_what_a_session_has_chosen_is_shown(dock, panel):
    dock.recall_choices(Choices(direction="backward", start=1, stop=4, threshold=0.25))
    assert panel.direction.currentText() == "backward"
    assert (panel.first.value(), panel.last.value()) == (1, 4)
    assert panel.timeline._range == (1, 4)
    assert panel.threshold.value() == 0.25
