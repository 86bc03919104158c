"""The whole way in a real viewer, by mouse and keys, with the embedded model: from a click to an exported stack."""

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_sam2.cli.verbs import main as shell
from napari_sam2.sample_data import cells_timelapse_image
from napari_sam2.widgets.segment_widget import SegmentWidget
from tests.napari_sam2.bench import WorkbenchDriver

CELL = (14, 95, 165)
"""Frame, y and x of a cell of the sample that neither divides nor leaves."""


class Screen(WorkbenchDriver):
    """A viewer with the sample time-lapse and the panel, and the hands of a user."""

    def __init__(self, qtbot, viewer, path):
        self.qtbot, self.viewer = qtbot, viewer
        tifffile.imwrite(path, cells_timelapse_image(), metadata={"axes": "TYX"}, imagej=True)
        viewer.open(path)
        viewer.window.resize(1200, 900)
        self.widget = SegmentWidget(viewer)
        viewer.window.add_dock_widget(self.widget, name="SAM 2 Segment")
        self.canvas = viewer.window._qt_viewer.canvas.native
        with qtbot.waitExposed(viewer.window._qt_window):
            pass
        viewer.reset_view()
        viewer.screenshot(canvas_only=False, flash=False)  # after which everything is laid out and drawn

    @property
    def bench(self):
        return self.widget.bench

    def go_to(self, frame):
        self.viewer.dims.set_point(0, frame)

    def pixel(self, y, x):
        """Where on the canvas a place of the image is."""
        _, middle_y, middle_x = (0, *self.viewer.camera.center)[-3:]
        zoom = self.viewer.camera.zoom
        return QPoint(
            round(self.canvas.width() / 2 + (x - middle_x) * zoom),
            round(self.canvas.height() / 2 + (y - middle_y) * zoom),
        )

    def click(self, y, x):
        where = self.pixel(y, x)
        QTest.mouseMove(self.canvas, where)
        QTest.mouseClick(self.canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)
        self.settle()

    def press(self, key, modifier=Qt.KeyboardModifier.NoModifier):
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key, modifier)

    def settle(self):
        self.qtbot.waitUntil(lambda: self.is_idle, timeout=120_000)
        self.qtbot.waitUntil(lambda: self.is_ready)

    def written(self):
        self.qtbot.waitUntil(lambda: self.widget.files.progress is None, timeout=60_000)
        return self.widget.files.message


@pytest.fixture
def screen(qtbot, make_napari_viewer, npe2pm, tmp_path):
    with npe2pm.tmp_plugin(package="napari"):  # which opens files
        yield Screen(qtbot, make_napari_viewer(show=True), tmp_path / "cells.tif")


def test_the_whole_way(screen, make_napari_viewer, qtbot, tmp_path):
    frame, y, x = CELL
    screen.go_to(frame)

    # Two actions to a mask, three to a stack.
    screen.click(y, x)
    assert screen.current()[frame, y, x] == 1
    assert not screen.current()[frame + 1].any()
    screen.press(Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: screen.frames_done >= 3, timeout=120_000)
    screen.widget.propagation.cancel.click()
    screen.settle()
    done = {number for number in range(len(screen.current())) if number in screen.frames_with_masks}
    assert 3 <= len(done) < len(screen.current())
    before = {number: screen.current()[number].copy() for number in done}

    # Resume where it stopped: what is finished is not computed again.
    screen.press(Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    screen.settle()
    assert screen.message == ""
    assert screen.frames_with_masks == tuple(range(len(screen.current())))
    assert all((screen.current()[number] == plane).all() for number, plane in before.items())

    # A correction on another frame: T, and a click on what does not belong to the cell.
    other = frame + 4
    screen.go_to(other)
    inside = np.argwhere(screen.current()[other] == 1)
    edge = inside[inside[:, 1].argmax()]
    screen.press(Qt.Key.Key_T)
    screen.click(*edge.tolist())
    assert screen.current()[other, edge[0], edge[1]] == 0

    # Another object, and undo of the click that made it.
    screen.press(Qt.Key.Key_M)
    assert screen.object_id == 2
    screen.click(182, 14)
    assert 2 in screen.prompts.object_ids
    screen.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    screen.settle()
    assert screen.prompts.object_ids == (1,)
    assert not (screen.current() == 2).any()

    # Commit, undo, and commit again.
    screen.press(Qt.Key.Key_C)
    screen.settle()
    committed = screen.committed().copy()
    assert (committed == 1).any((1, 2)).all()
    screen.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    screen.settle()
    assert not screen.committed().any()
    screen.press(Qt.Key.Key_C)
    screen.settle()
    np.testing.assert_array_equal(screen.committed(), committed)

    # Export, save, open in another viewer, replay without one: always the same labels.
    screen.widget.files.export(tmp_path / "out")
    assert "Exported" in screen.written()
    exported = tifffile.imread(tmp_path / "out" / "labels.tif")
    np.testing.assert_array_equal(exported, committed)
    screen.widget.files.save(tmp_path / "work.sam2session")
    assert "Saved" in screen.written()
    viewer = make_napari_viewer()
    again = SegmentWidget(viewer)
    viewer.window.add_dock_widget(again, name="SAM 2 Segment")
    assert again.files.open(tmp_path / "work.sam2session"), again.files.message
    np.testing.assert_array_equal(WorkbenchDriver(again.bench).committed(), committed)
    assert shell(["replay", str(tmp_path / "work.sam2session"), "--output", str(tmp_path / "replayed.tif")]) == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "replayed.tif"), committed)
