"""Everything in a frame by mouse and keys: the page Find, and the whole way in a real viewer, on a model of pieces."""

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_sam2.files.prompts import read_prompts
from napari_sam2.frames import FrameStack
from napari_sam2.prompts import MaskPrompt
from napari_sam2.sessions.replay import replay
from napari_sam2.sessions.storage import read_session
from napari_sam2.widgets.segment_widget import SegmentWidget
from napari_sam2.workbench.finding import Area
from tests.napari_sam2.bench import WorkbenchDriver
from tests.napari_sam2.fake_predictor import FakePredictor
from tests.napari_sam2.widgets.conftest import FRAMES, HEIGHT, WIDTH, Dock
from tests.napari_sam2.widgets.screen import Screen

CORNERS = ((4, 4), (4, 30), (24, 8), (24, 34))
SIDE = 9


def pieces():
    image = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for y, x in CORNERS:
        image[:, y : y + SIDE, x : x + SIDE] = 220
    return image


@pytest.fixture
def dock(qtbot, viewer, fake):
    viewer.add_image(pieces(), contrast_limits=(0, 255), name="pieces")
    return Dock(qtbot, viewer, fake)


@pytest.fixture
def page(dock):
    return dock.widget.finding


def find(dock):
    dock.widget.finding.search.click()
    dock.qtbot.waitUntil(lambda: not dock.work.finder.is_searching)
    dock.widget._refresh()


def test_before_a_search_nothing_can_be_added_or_discarded(dock, page):
    dock.widget._refresh()
    assert (page.add.text(), page.add.isEnabled(), page.discard.isEnabled()) == ("Add objects", False, False)
    assert page.search.isEnabled()
    assert not page.cancel.isEnabled()


def test_the_key_brings_the_page_and_the_buttons_say_how_many(dock, page):
    assert not page.isVisibleTo(dock.widget)
    dock.press("F")
    assert page.isVisibleTo(dock.widget)
    dock.qtbot.waitUntil(lambda: not dock.work.finder.is_searching)
    dock.widget._refresh()
    assert page.add.text() == "Add 4 objects"
    assert dock.widget.sentence.label.text().startswith("4 objects found. Add them?")
    dock.widget.sentence.button.click()
    dock.settle()
    assert dock.objects_with_masks == (1, 2, 3, 4)
    assert (page.add.isEnabled(), page.discard.isEnabled()) == (False, False)


def test_sliders_act_at_once_and_details_say_the_same_in_numbers(dock, page):
    find(dock)
    page.more.setValue(0)
    dock.qtbot.waitUntil(lambda: page.score.value() == 1.0)
    assert dock.work.finder.kept == ()
    page.score.setValue(0.4)
    assert (page.more.value(), len(dock.work.finder.kept)) == (60, 4)
    page.larger.setValue(-100)
    dock.qtbot.waitUntil(lambda: dock.choices.kept.size_bias == -1.0)
    assert {int(one.mask.sum()) for one in dock.work.finder.kept} == {(SIDE - 2) ** 2}
    page.smallest.setValue(60)
    page.larger.setValue(0)
    dock.qtbot.waitUntil(lambda: dock.choices.kept.size_bias == 0.0)
    assert {int(one.mask.sum()) for one in dock.work.finder.kept} == {SIDE**2}


def test_areas_that_keep_nothing_are_refused_with_a_sentence(dock, page):
    page.smallest.setValue(50)
    page.largest.setValue(20)
    assert "Areas from 50 to 20 px keep nothing" in dock.message
    assert dock.choices.kept.largest_px is None
    page.largest.setValue(0)
    page.largest.setValue(80)
    assert dock.choices.kept.largest_px == 80


def test_details_are_folded_until_they_are_asked_for(dock, page):
    assert not page.details.isVisibleTo(page)
    page.fold.click()
    assert page.details.isVisibleTo(page)


def test_layers_that_come_are_offered_and_chosen_by_themselves_when_they_go(dock, page, viewer):
    shapes = viewer.add_shapes([[(0, 0), (0, 20), (20, 20), (20, 0)]], shape_type="polygon", name="corner")
    points = viewer.add_points([(8, 8)], name="seeds")
    viewer.layers.selection.active = dock.points
    dock.widget._refresh()
    assert [page.area.itemText(i) for i in range(3)] == ["whole frame", "what is in view", "inside corner"]
    assert page.seeds.itemText(1) == "seeds (Points)"
    page.area.setCurrentIndex(2)
    page.area.activated.emit(2)
    assert dock.bench.places.area is shapes
    find(dock)
    assert page.add.text() == "Add 1 object"
    page.discard.click()
    page.seeds.setCurrentIndex(1)
    page.seeds.activated.emit(1)
    assert dock.bench.places.seeds is points
    viewer.layers.remove(shapes)
    dock.widget._refresh()
    assert (dock.bench.places.area, page.area.currentIndex()) == (Area.FRAME, 0)


def test_a_cancelled_search_keeps_what_was_found(qtbot, viewer):
    viewer.add_image(pieces(), contrast_limits=(0, 255), name="pieces")
    dock = Dock(qtbot, viewer, FakePredictor())
    page = dock.widget.finding
    page.search.click()
    qtbot.waitUntil(lambda: dock.work.finder.done >= 1)
    dock.widget._refresh()
    assert page.cancel.isEnabled() == dock.work.finder.is_searching
    page.cancel.click()
    qtbot.waitUntil(lambda: not dock.work.finder.is_searching)
    dock.widget._refresh()
    assert page.add.text() in ("Add 2 objects", "Add 4 objects")


# The whole way -------------------------------------------------------------------------------------------------------


@pytest.fixture
def screen(qtbot, make_napari_viewer, npe2pm, tmp_path):
    with npe2pm.tmp_plugin(package="napari"):  # which opens files
        path, viewer = tmp_path / "pieces.tif", make_napari_viewer(show=True)
        tifffile.imwrite(path, pieces(), metadata={"axes": "TYX"}, imagej=True)
        viewer.open(path)
        yield Screen(qtbot, viewer, load_model=lambda source: FakePredictor())


def test_everything_of_a_frame_from_the_key_to_the_replay(screen, qtbot, make_napari_viewer, tmp_path):
    screen.viewer.layers[0].contrast_limits = (0, 255)
    screen.go_to(2)

    # One key finds everything, one press adds it.
    screen.press(Qt.Key.Key_F)
    qtbot.waitUntil(lambda: not screen.work.finder.is_searching and bool(screen.work.finder.kept))
    screen.widget._refresh()
    assert not screen.current().any()
    QTest.mouseClick(screen.widget.finding.add, Qt.MouseButton.LeftButton)
    screen.settle()
    assert screen.objects_with_masks == (1, 2, 3, 4)
    assert all(screen.area(one, 2) == SIDE**2 for one in screen.objects_with_masks)

    # A click corrects one: what does not belong is gone, and the rest stays.
    object_id = int(screen.current()[2, 8, 8])
    screen.click(8, 8)
    screen.click(5, 5, Qt.MouseButton.RightButton)
    assert screen.current()[2, 5, 5] == 0
    assert screen.current()[2, 12, 12] == object_id
    assert [len(screen.prompts.by_object()[one]) for one in (1, 2, 3, 4)].count(1) == 3

    # Followed as any other, committed, undone, made again.
    screen.press(Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    screen.settle()
    assert screen.frames_with_masks == tuple(range(FRAMES))
    followed = screen.current().copy()
    screen.widget.files.export(tmp_path / "out")
    assert screen.written().startswith("4 objects, not committed, are in ")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "labels.tif"), followed)
    written = read_prompts(tmp_path / "out" / "prompts.json").prompts
    assert written == screen.prompts
    assert sum(isinstance(one, MaskPrompt) and one.found is not None for one in written.prompts) == 4
    screen.press(Qt.Key.Key_C)
    screen.settle()
    np.testing.assert_array_equal(screen.committed(), followed)
    for _ in range(2):
        screen.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        screen.settle()
    assert not screen.committed().any()
    assert screen.frames_with_masks == (2,)
    for _ in range(2):
        screen.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
        screen.settle()
    np.testing.assert_array_equal(screen.committed(), followed)

    # Saved, opened in another viewer, replayed without one: always the same labels.
    screen.widget.files.save(tmp_path / "work.sam2session")
    assert "Saved" in screen.written()
    again = SegmentWidget(make_napari_viewer(), load_model=lambda source: FakePredictor())
    assert again.files.open(tmp_path / "work.sam2session"), again.files.message
    np.testing.assert_array_equal(WorkbenchDriver(again.bench).committed(), followed)
    again.bench.close()
    frames = FrameStack(pieces(), contrast_limits=(0, 255))
    session = read_session(tmp_path / "work.sam2session")
    for done in replay(session, lambda model: frames, lambda model: FakePredictor()):
        np.testing.assert_array_equal(done.labels, followed[done.frame])
