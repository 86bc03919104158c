"""A real viewer with real weights, driven by the mouse and the keys that Qt sends."""

from functools import partial

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam2.widgets.segment_widget import SegmentWidget
from tests.napari_sam2.bench import WorkbenchDriver


class Screen(WorkbenchDriver):
    """A viewer that shows an image, the panel with the embedded model unless another is given, and a user's hands."""

    def __init__(self, qtbot, viewer, **model):
        self.qtbot, self.viewer = qtbot, viewer
        viewer.window.resize(1200, 900)
        self.widget = SegmentWidget(viewer, **model)
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
        middle_y, middle_x = self.viewer.camera.center[-2:]
        zoom = self.viewer.camera.zoom
        return QPoint(
            round(self.canvas.width() / 2 + (x - middle_x) * zoom),
            round(self.canvas.height() / 2 + (y - middle_y) * zoom),
        )

    def click(self, y, x, button=Qt.MouseButton.LeftButton):
        where = self.pixel(y, x)
        QTest.mouseMove(self.canvas, where)
        QTest.mouseClick(self.canvas, button, Qt.KeyboardModifier.NoModifier, where)
        self.settle()

    def drag(self, *path):
        places = [self.pixel(*place) for place in path]
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(self.canvas, places[0])
        QTest.mousePress(self.canvas, left, none, places[0])
        for place, at in zip(places[1:], path[1:], strict=True):
            # `QTest.mouseMove` moves the pointer of the screen, and the news of it may come after the release.
            self.canvas._last_time = 0  # vispy drops what follows a move within 10 ms
            where = QPointF(place), QPointF(self.canvas.mapToGlobal(place))
            QApplication.sendEvent(self.canvas, QMouseEvent(QEvent.Type.MouseMove, *where, left, left, none))
            self.qtbot.waitUntil(partial(self.is_pointing_at, at))  # napari passes moves on some ms later
        QTest.mouseRelease(self.canvas, left, none, places[-1])
        self.settle()

    def is_pointing_at(self, place):
        return np.allclose(self.viewer.cursor.position[-2:], place, atol=1)

    def press(self, key, modifier=Qt.KeyboardModifier.NoModifier):
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key, modifier)

    def settle(self):
        self.qtbot.waitUntil(lambda: self.is_idle, timeout=120_000)
        self.qtbot.waitUntil(lambda: self.is_ready)

    def written(self):
        self.qtbot.waitUntil(lambda: self.widget.files.progress is None, timeout=60_000)
        return self.widget.files.message
