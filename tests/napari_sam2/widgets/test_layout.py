"""Where things are in the panel, in a window of 1280 x 720: what is always in reach, and that nothing jumps."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QRect
from qtpy.QtWidgets import QAbstractScrollArea, QApplication, QWidget

from napari_sam2.widgets.tool_row import TOOLS
from napari_sam2.workbench.tools import Tool
from tests.napari_sam2.fake_predictor import FakePredictor
from tests.napari_sam2.widgets.conftest import FRAMES, HEIGHT, WIDTH, Dock
from tests.napari_sam2.widgets.test_segment_widget import Gate

NINE = [(y, x) for y in (8, 20, 32) for x in (8, 24, 40)]
LONG = "A sentence that goes on and on, because there is much to be told. " * 12


def lay_out():
    """Let layouts that depend on each other agree: each round of events reaches one level more."""
    for _ in range(5):
        QApplication.processEvents()


class Window:
    """A window of some size, with a stack and the panel, and what is seen of it."""

    def __init__(self, qtbot, make_viewer, fake, size=(1280, 720), shape=(FRAMES, HEIGHT, WIDTH)):
        self.qtbot = qtbot
        self.viewer = make_viewer(show=True)
        self.viewer.window.resize(*size)
        self.viewer.add_image(np.zeros(shape, np.uint8), contrast_limits=(0, 255), name="stack")
        self.panel = Dock(qtbot, self.viewer, fake)
        with qtbot.waitExposed(self.viewer.window._qt_window):
            pass
        self.drawn()

    @property
    def widget(self):
        return self.panel.widget

    @property
    def pinned(self):
        """What has to be in reach at any moment."""
        widget, run = self.widget, self.widget.propagation
        return {
            "tools": widget.tools,
            "timeline": run.timeline,
            "propagate": run.progress if run.propagate.isHidden() else run.propagate,
            "cancel": run.cancel,
            "next doubtful": run.doubtful,
            "commit": widget.commit,
            "undo": widget.undo,
            "redo": widget.redo,
            "export": widget.session.export,
            "sentence": widget.sentence,
        }

    def drawn(self):
        """Wait until everything is laid out."""
        self.widget._refresh()
        lay_out()
        self.viewer.screenshot(canvas_only=False, flash=False)

    def place(self, part):
        """Where a part of the panel is, in the panel."""
        return QRect(part.mapTo(self.widget, QPoint(0, 0)), part.size())

    def seen(self, part):
        """What of a part is seen: nothing that scrolls or ends before it hides the rest."""
        rest = self.place(part)
        while part is not self.widget:
            part = part.parentWidget()
            rest &= QRect(part.mapTo(self.widget, QPoint(0, 0)), part.size())
        window = self.viewer.window._qt_window
        return rest & QRect(self.widget.mapFrom(window, QPoint(0, 0)), window.size())

    def places(self):
        self.drawn()
        return {name: self.place(part) for name, part in self.pinned.items()}

    def click_nine(self):
        for number, (y, x) in enumerate(NINE, 1):
            self.panel.choose(number)
            self.panel.click(0, y, x)

    def bars(self):
        """The scroll bars that are seen, with what scrolls by them."""
        areas = [area for area in self.widget.findChildren(QAbstractScrollArea) if area.isVisible()]
        return [(area, area.verticalScrollBar()) for area in areas if area.verticalScrollBar().isVisible()]


@pytest.fixture
def window(qtbot, make_napari_viewer, fake):
    return Window(qtbot, make_napari_viewer, fake)


@pytest.fixture
def leftover(dock, viewer):
    """Work that another panel has left over, so that a banner offers it."""
    dock.click(2, 20, 30)
    viewer.window.remove_dock_widget(dock.dock)


def is_in_reach(window):
    window.drawn()
    for name, part in window.pinned.items():
        assert part.isVisible(), name
        assert window.seen(part) == window.place(part), name


def test_with_nine_objects_and_the_banner_everything_pinned_is_in_reach_on_every_page(
    leftover, qtbot, make_napari_viewer, fake
):
    window = Window(qtbot, make_napari_viewer, fake)
    window.click_nine()
    assert window.widget.left_over.isVisible()
    for height in (720, 660):
        window.viewer.window.resize(1280, height)
        for page in window.widget.pages.buttons:
            page.click()
            is_in_reach(window)
            assert window.widget.height() <= height


def test_it_is_in_reach_in_a_panel_300_px_wide(window):
    window.viewer.window._qt_window.resizeDocks([window.panel.dock], [300], window_direction())
    is_in_reach(window)
    assert window.widget.width() <= 320


def window_direction():
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


def test_nothing_moves_or_grows_when_objects_come_and_are_followed(window):
    before, width = window.places(), window.widget.width()
    window.click_nine()
    assert window.places() == before
    header = window.widget.objects.table.horizontalHeader()
    assert header.length() <= window.widget.objects.table.viewport().width()
    assert header.sectionSize(3) > 0
    window.panel.propagate()
    assert window.places() == before
    assert window.widget.width() == width


def test_nothing_moves_while_it_propagates_nor_after(qtbot, make_napari_viewer):
    gate = Gate()
    window = Window(qtbot, make_napari_viewer, FakePredictor(before_follow=gate))
    window.panel.click(0, 10, 12)
    before = window.places()
    window.widget.propagation.propagate.click()
    qtbot.waitUntil(gate.reached.is_set)
    during = window.places()
    progress = window.widget.propagation.progress
    assert progress.isVisible()
    gate.go_on.set()
    window.panel.settle()
    after = window.places()
    assert not progress.isVisible()
    assert after == before
    for name in before.keys() - {"propagate"}:
        assert during[name] == before[name], name
    assert before["propagate"].contains(during["propagate"].center())


def test_cancel_is_not_where_propagate_was(qtbot, make_napari_viewer):
    """A second click of a hasty hand would cancel."""
    gate = Gate()
    window = Window(qtbot, make_napari_viewer, FakePredictor(before_follow=gate))
    window.panel.click(0, 10, 12)
    clicked = window.places()["propagate"].center()
    window.widget.propagation.propagate.click()
    qtbot.waitUntil(gate.reached.is_set)
    window.drawn()
    assert not window.place(window.widget.propagation.cancel).contains(clicked)
    gate.go_on.set()
    window.panel.settle()


def test_a_long_sentence_scrolls_and_moves_nothing_and_a_short_one_needs_no_bar(window):
    before = window.places()
    window.panel.work.asker.tell(LONG)
    assert window.places() == before
    assert window.widget.sentence.area.verticalScrollBar().isVisible()
    assert window.widget.sentence.label.height() > window.widget.sentence.height()
    window.panel.work.asker.tell("One line.")
    window.drawn()
    assert not window.widget.sentence.area.verticalScrollBar().isVisible()


def test_only_the_table_scrolls_and_nothing_is_below_a_bar(window):
    for number in range(1, 31):
        window.panel.note_name(number, f"object {number}")
        window.panel.choose(number)
        window.panel.work.sources.own.points.add([(0, NINE[number % 9][0], NINE[number % 9][1])])
    window.panel.settle()
    window.drawn()
    table = window.widget.objects.table
    assert [area for area, _ in window.bars()] == [table]
    for page in range(4):
        window.widget.pages.buttons[page].click()
        window.drawn()
        areas = [area for area, _ in window.bars()]
        assert not [(one, other) for one in areas for other in areas if one is not other and one.isAncestorOf(other)]
        for area, bar in window.bars():
            taken = window.place(bar)
            for child in area.viewport().findChildren(QWidget):
                if child.isVisible():
                    assert not window.seen(child).intersects(taken), child


def test_details_of_the_model_take_the_place_of_the_pages(window):
    before = window.places()
    window.widget.model.more.click()
    window.drawn()
    assert window.widget.model.details.isVisible()
    assert not window.widget.pages.isVisible()
    assert window.places() == before
    window.widget.model.more.click()
    assert window.widget.pages.isVisible()


def test_an_image_that_is_refused_shows_the_reason_and_nothing_that_cannot_work(qtbot, make_napari_viewer, fake):
    window = Window(qtbot, make_napari_viewer, fake, shape=(3, 4, HEIGHT, WIDTH))
    widget = window.widget
    shown = {
        part
        for part in (widget.images, widget.begin, widget.session, widget.model, *pinned_parts(widget))
        if part.isVisible()
    }
    assert shown == {widget.images, widget.sentence}
    assert "4 axes" in widget.sentence.label.text()
    assert window.seen(widget.sentence) == window.place(widget.sentence)
    window.viewer.layers.clear()
    window.drawn()
    assert "Open an image" in widget.sentence.label.text()


def pinned_parts(widget):
    run = widget.propagation
    return (
        widget.tools,
        widget.pages,
        run.timeline,
        run.propagate,
        run.cancel,
        run.doubtful,
        widget.commit,
        widget.undo,
        widget.redo,
        widget.session.export,
        widget.session.save,
        widget.sentence,
    )


def test_a_single_image_has_the_room_of_the_timeline_for_its_objects(qtbot, make_napari_viewer, fake):
    window = Window(qtbot, make_napari_viewer, fake, shape=(HEIGHT, WIDTH))
    assert not window.widget.propagation.isVisible()
    assert not window.widget.objects.absent.isVisible()
    window.widget.pages.buttons[2].click()
    assert not window.widget.propagation.options.isVisible()
    assert window.widget.policy.isVisible()


# The first picture ---------------------------------------------------------------------------------------------------


def corners_on_canvas(viewer):
    """Where two corners of the layers are on the canvas, in pixels, y and x."""
    camera, displayed = viewer.scene.camera, list(viewer.dims.displayed)
    extent = viewer.layers.extent.world[:, displayed]
    return (extent - np.array(camera.center[-2:])) * camera.zoom + np.array(viewer.canvas.size) / 2


def opened(qtbot, viewer, fake):
    with qtbot.waitExposed(viewer.window._qt_window):
        pass
    viewer.screenshot(canvas_only=False, flash=False)
    panel = Dock(qtbot, viewer, fake)
    lay_out()
    viewer.screenshot(canvas_only=False, flash=False)
    return panel


def test_opening_the_panel_keeps_the_whole_image_in_view(qtbot, make_napari_viewer, fake):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 720)
    viewer.add_image(np.zeros((FRAMES, 72, 128), np.uint8), contrast_limits=(0, 255))
    viewer.dims.set_point(0, 4)
    before = viewer.canvas.size
    opened(qtbot, viewer, fake)
    assert viewer.canvas.size[1] < before[1] - 200
    first, last = corners_on_canvas(viewer)
    assert (first >= 0).all()
    assert (last <= viewer.canvas.size).all()
    assert viewer.dims.point[0] == 4


def test_opening_the_panel_leaves_a_view_that_was_chosen(qtbot, make_napari_viewer, fake):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 720)
    viewer.add_image(np.zeros((FRAMES, 72, 128), np.uint8), contrast_limits=(0, 255))
    viewer.scene.camera.zoom, viewer.scene.camera.center = 31.0, (0.0, 20.0, 40.0)
    panel = opened(qtbot, viewer, fake)
    panel.click(0, 20, 40)
    assert viewer.scene.camera.zoom == 31.0
    assert viewer.scene.camera.center == (0.0, 20.0, 40.0)


def test_a_view_that_was_moved_after_opening_is_left_alone(qtbot, make_napari_viewer, fake):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 720)
    viewer.add_image(np.zeros((FRAMES, 72, 128), np.uint8), contrast_limits=(0, 255))
    opened(qtbot, viewer, fake)
    viewer.scene.camera.zoom = 25.0
    viewer.window.resize(1000, 720)
    viewer.screenshot(canvas_only=False, flash=False)
    assert viewer.scene.camera.zoom == 25.0


def test_no_dot_is_drawn_on_a_frame_without_prompts(qtbot, make_napari_viewer, fake):
    """napari draws a point of size zero at the origin, which a least size on the screen would make visible."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(800, 600)
    viewer.add_image(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255))
    panel = opened(qtbot, viewer, fake)
    panel.click(0, 20, 30)
    assert bright_pixels(viewer) > 0
    panel.show(3)
    assert bright_pixels(viewer) == 0


def bright_pixels(viewer):
    return int((viewer.screenshot(canvas_only=True, flash=False)[..., :3].max(-1) > 128).sum())


def test_every_tool_has_a_button():
    assert set(TOOLS) == set(Tool)
