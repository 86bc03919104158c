"""What a microscopist does in the first hour, by mouse and keys alone in a real viewer, with its actions counted."""

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label, regionprops

from napari_sam2.sample_data import cells_timelapse_image, nuclei_2d_image
from napari_sam2.workbench.tools import Tool
from tests.napari_sam2.widgets.screen import Screen

TO_CHOOSE_A_FOLDER = 2
"""Actions in the dialog of the system: a name, and Enter."""


class Person(Screen):
    """A screen that counts what is done to it."""

    actions = 0

    def click(self, y, x, *button):
        self.actions += 1
        super().click(y, x, *button)

    def go_to(self, frame):
        self.actions += 1  # a click on the slider or the timeline
        super().go_to(frame)

    def press(self, key, *modifier):
        self.actions += 1
        super().press(key, *modifier)

    def export(self, monkeypatch, folder):
        """Press the key of the export and choose a folder."""
        self.actions += TO_CHOOSE_A_FOLDER
        monkeypatch.setattr(
            "napari_sam2.widgets.session_panel.QFileDialog.getExistingDirectory", lambda *args, **how: str(folder)
        )
        self.press(Qt.Key.Key_E)
        return self.written()


@pytest.fixture
def person(qtbot, make_napari_viewer):
    def sit_down(image):
        viewer = make_napari_viewer(show=True)
        viewer.add_image(image, name="image")
        return Person(qtbot, viewer)

    return sit_down


def middles(image, count):
    """Middles of the largest bright things of an image, (y, x)."""
    smooth = gaussian(image.astype(float), 2)
    found = sorted(regionprops(label(smooth > threshold_otsu(smooth))), key=lambda one: -one.area)
    return [one.centroid for one in found[:count]]


def test_twenty_nuclei_are_a_table_after_27_actions_at_most(person, monkeypatch, tmp_path):
    image = nuclei_2d_image()
    hands = person(image)
    nuclei = middles(image, 20)
    assert len(nuclei) == 20
    for y, x in nuclei:
        hands.click(y, x)
    message = hands.export(monkeypatch, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "objects.csv")
    assert len(table) == 20
    assert "20 objects" in message
    assert hands.actions <= 27, hands.actions


def test_six_cells_of_a_time_lapse_one_corrected_are_exported_after_16_actions_at_most(person, monkeypatch, tmp_path):
    image = cells_timelapse_image()
    hands = person(image)
    hands.go_to(14)
    for y, x in middles(image[14], 6):
        hands.click(y, x)
    assert len(hands.prompts.object_ids) == 6
    hands.press(Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    hands.settle()
    hands.press(Qt.Key.Key_N)
    frame, doubtful = hands.frame, hands.object_id
    inside = np.argwhere(hands.current()[frame] == doubtful)
    y, x = inside[np.abs(inside - inside.mean(0)).sum(1).argmin()]
    hands.click(y, x)
    assert (doubtful, frame) in {(p.object_id, p.frame) for p in hands.prompts.prompts}
    hands.press(Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    hands.settle()
    hands.export(monkeypatch, tmp_path / "out")
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert scores.groupby("object_id").size().tolist() == [len(image)] * 6
    assert hands.actions <= 16, hands.actions


def test_on_the_canvas_a_drag_draws_a_box_a_right_click_excludes_and_the_view_stays(person):
    hands = person(nuclei_2d_image())
    view = hands.viewer.camera.center, hands.viewer.camera.zoom
    (y, x), *_ = middles(nuclei_2d_image(), 1)
    hands.drag((y - 12, x - 12), (y, x), (y + 12, x + 12))
    hands.click(y + 8, x + 8, Qt.MouseButton.RightButton)
    point, box = hands.prompts.prompts
    assert (hands.viewer.camera.center, hands.viewer.camera.zoom) == view
    assert box.y_max - box.y_min == pytest.approx(24, abs=2)
    assert (point.object_id, point.positive) == (1, False)


def test_every_tool_and_mode_is_taken_by_a_key_of_the_keyboard(person):
    image = nuclei_2d_image()
    hands = person(image)
    (y, x), (v, u), (b, a), *_ = middles(image, 3)
    key = Qt.Key
    hands.press(key.Key_B)
    hands.drag((y - 12, x - 12), (y + 12, x + 12))
    hands.press(key.Key_L)
    hands.drag((v - 9, u - 9), (v - 9, u + 9), (v + 9, u + 9), (v + 9, u - 9))
    box, outline = sorted(hands.prompts.prompts, key=lambda one: one.object_id)
    assert (type(box).__name__, type(outline).__name__) == ("BoxPrompt", "MaskPrompt")
    hands.press(key.Key_P)
    assert hands.tool is Tool.BRUSH
    hands.press(key.Key_T)
    assert hands.tool is Tool.POINT_ON
    hands.press(key.Key_Comma)
    assert hands.object_id == 1
    hands.press(key.Key_Period)
    assert hands.object_id == 2
    hands.press(key.Key_R)
    hands.click(b, a)  # far from object 2: it asks
    assert hands.prompts.object_ids == (1, 2)
    hands.widget._refresh()
    hands.widget.sentence.button.click()
    hands.settle()
    assert hands.prompts.object_ids == (1, 2, 3)
    hands.press(key.Key_A)
    hands.settle()
    assert "mask" in hands.message
    hands.press(key.Key_R)


def test_the_space_bar_lets_a_drag_move_the_view(person):
    hands = person(nuclei_2d_image())
    QTest.keyPress(hands.canvas, Qt.Key.Key_Space)
    assert hands.viewer.scene.camera.mouse_pan
    QTest.keyRelease(hands.canvas, Qt.Key.Key_Space)
    assert not hands.viewer.scene.camera.mouse_pan
    assert hands.tool is Tool.POINT_ON
