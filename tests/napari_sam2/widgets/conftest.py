"""A real viewer with a stack, and the widget on it with a model that draws discs."""

import numpy as np
import pytest

from napari_sam2.widgets.segment_widget import SegmentWidget
from tests.napari_sam2.bench import WorkbenchDriver
from tests.napari_sam2.fake_predictor import FakePredictor

FRAMES, HEIGHT, WIDTH = 6, 40, 50


@pytest.fixture(autouse=True)
def no_traces_of_the_user(plugin_settings, monkeypatch, tmp_path):
    """Neither the settings of whoever runs the tests are read, nor is anything left among their files."""
    monkeypatch.setattr("napari_sam2.saving.work_files.user_data_path", lambda *args, **how: tmp_path / "data")


class Dock(WorkbenchDriver):
    """The widget in the dock of a viewer, and what a user does with it."""

    def __init__(self, qtbot, viewer, fake):
        self.qtbot, self.viewer, self.fake = qtbot, viewer, fake
        self.widget = SegmentWidget(viewer, load_model=lambda source: fake)
        self.dock = viewer.window.add_dock_widget(self.widget, name="SAM 2")

    @property
    def bench(self):  # not held here: the widget must be freed when its dock is closed
        return self.widget.bench

    def settle(self):
        self.qtbot.waitUntil(lambda: self.is_ready)
        self.widget._refresh()

    def click(self, frame, y, x):
        self.show(frame)
        self.points.add([(frame, y, x)])
        self.settle()

    def propagate(self):
        self.widget.propagation.propagate.click()
        self.settle()


@pytest.fixture
def fake():
    return FakePredictor()


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def stack(viewer):
    return viewer.add_image(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255), name="stack")


@pytest.fixture
def dock(qtbot, viewer, stack, fake):
    return Dock(qtbot, viewer, fake)
