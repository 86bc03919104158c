"""Layers of the user's own in the panel."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_sam2.widgets.layers_panel import LayersPanel
from napari_sam2.widgets.parts import GuiThread
from napari_sam2.workbench.workbench import Workbench
from tests.napari_sam2.bench import WorkbenchDriver
from tests.napari_sam2.widgets.conftest import FRAMES, HEIGHT, WIDTH

SHAPE = (FRAMES, HEIGHT, WIDTH)


class Choice(WorkbenchDriver):
    """A panel over a workbench, and what a user does with it."""

    def __init__(self, qtbot, viewer, fake):
        self.qtbot, self.viewer = qtbot, viewer
        self.gui_thread = GuiThread()
        super().__init__(Workbench(viewer, load_model=lambda source: fake, post=self.gui_thread.post))
        self.panel = LayersPanel(self.bench)
        qtbot.addWidget(self.panel)

    def settle(self):
        self.qtbot.waitUntil(lambda: self.is_ready)
        self.panel.refresh()

    def add_labels(self, name, value=0):
        data = np.zeros(SHAPE, np.uint16)
        data[2, 10:20, 10:20] = value
        layer = self.viewer.add_labels(data, name=name)
        self.panel.refresh()
        return layer

    def item(self, name):
        (item,) = self.panel.sources.findItems(name, Qt.MatchFlag.MatchStartsWith)
        return item

    def tick(self, name, state=Qt.CheckState.Checked):
        self.item(name).setCheckState(state)
        self.settle()

    def listed(self):
        return [self.panel.sources.item(row).text() for row in range(self.panel.sources.count())]

    def targets(self):
        return [self.panel.target.itemText(i) for i in range(self.panel.target.count())]

    def commit_to(self, name):
        self.panel.target.setCurrentText(name)
        self.panel.target.activated.emit(self.panel.target.currentIndex())


@pytest.fixture
def viewer():
    """A viewer without a window: panels ask for no more."""
    return ViewerModel()


@pytest.fixture
def choice(qtbot, viewer, stack, fake):
    choice = Choice(qtbot, viewer, fake)
    yield choice
    choice.close()


def test_without_layers_of_ones_own_it_says_how_to_get_them(choice):
    assert choice.panel.sources.isHidden()
    assert "Add a Points, Shapes or Labels layer" in choice.panel.heading.text()
    assert choice.targets() == ["committed_objects"]


def test_layers_of_the_user_are_listed_and_ours_are_not(choice, viewer):
    viewer.add_points(ndim=3, name="seeds")
    viewer.add_shapes(ndim=3, name="boxes")
    viewer.add_image(np.zeros(SHAPE), name="other")
    choice.add_labels("rough")
    choice.qtbot.waitUntil(lambda: choice.listed() == ["rough (Labels)", "boxes (Shapes)", "seeds (Points)"])
    assert not choice.panel.sources.isHidden()
    states = [choice.panel.sources.item(row).checkState() for row in range(3)]
    assert states == [Qt.CheckState.Unchecked] * 3


def test_a_layer_that_is_ticked_is_read_until_it_is_unticked(choice):
    layer = choice.add_labels("rough", 4)
    choice.tick("rough")
    assert choice.layers_read == (layer,)
    assert (choice.current()[2, 10:20, 10:20] == 4).all()
    choice.tick("rough", Qt.CheckState.Unchecked)
    assert choice.layers_read == ()
    assert not choice.current().any()


def test_a_layer_that_cannot_be_read_does_not_stay_ticked(choice, viewer):
    viewer.add_labels(np.ones((9, 9), np.uint16), name="small")
    choice.panel.refresh()
    choice.tick("small")
    assert choice.item("small").checkState() == Qt.CheckState.Unchecked
    assert "'small' of shape (9, 9) does not lie on image" in choice.message


def test_names_are_those_of_now_and_the_tick_stays_with_the_layer(choice, viewer):
    layer = choice.add_labels("rough", 4)
    choice.tick("rough")
    layer.name = "better"
    choice.qtbot.waitUntil(lambda: choice.listed() == ["better (Labels)"])
    assert choice.item("better").checkState() == Qt.CheckState.Checked
    viewer.add_points(ndim=3, name="seeds")
    choice.qtbot.waitUntil(lambda: choice.listed() == ["seeds (Points)", "better (Labels)"])
    assert choice.item("better").checkState() == Qt.CheckState.Checked
    assert choice.item("seeds").checkState() == Qt.CheckState.Unchecked


def test_a_layer_that_is_removed_is_listed_no_more(choice, viewer):
    layer = choice.add_labels("rough", 4)
    choice.tick("rough")
    viewer.layers.remove(layer)
    choice.qtbot.waitUntil(lambda: choice.listed() == [])
    choice.settle()
    assert not choice.current().any()


def test_objects_are_committed_where_it_is_chosen(choice):
    mine = choice.add_labels("mine", 4)
    assert choice.targets() == ["committed_objects", "mine"]
    choice.commit_to("mine")
    assert choice.committed_layer is mine
    assert choice.panel.target.currentText() == "mine"
    choice.points.add([(2, 30, 30)])
    choice.settle()
    choice.commit()
    assert mine.data[2, 30, 30] == 5


def test_only_labels_that_lie_on_the_image_can_be_committed_into(choice, viewer):
    viewer.add_labels(np.zeros((9, 9), np.uint16), name="small")
    viewer.add_labels(np.zeros(SHAPE, np.uint16), name="moved", translate=(0, 5, 0))
    viewer.add_points(ndim=3, name="seeds")
    choice.panel.refresh()
    assert choice.targets() == ["committed_objects"]


def test_a_layer_serves_one_purpose_at_a_time(choice):
    choice.add_labels("first", 4)
    choice.add_labels("second")
    choice.tick("first")
    assert choice.targets() == ["committed_objects", "second"]
    choice.commit_to("second")
    assert choice.listed() == ["first (Labels)"]


def test_what_is_refused_is_said_and_shown_as_it_was(choice):
    choice.points.add([(2, 30, 30)])
    choice.settle()
    choice.add_labels("mine", 1)
    choice.commit_to("mine")
    assert "'mine' has an object 1 already" in choice.message
    assert choice.panel.target.currentText() == "committed_objects"


def test_another_image_has_choices_of_its_own(choice, viewer):
    choice.add_labels("rough", 4)
    choice.tick("rough")
    choice.choose_image(viewer.add_image(np.zeros(SHAPE), name="other"))
    choice.panel.refresh()
    assert choice.listed() == ["rough (Labels)"]
    assert choice.item("rough").checkState() == Qt.CheckState.Unchecked
    choice.choose_image(viewer.layers["stack"])
    choice.panel.refresh()
    assert choice.item("rough").checkState() == Qt.CheckState.Checked
