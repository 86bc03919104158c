"""The buttons for sessions and exports, and the offer of left-over work."""

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from tests.napari_sam2.widgets.conftest import Dock


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """What file dialogs answer: a session, and a folder."""
    session = tmp_path / "work"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(session), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *args: (f"{session}.sam2session", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: str(tmp_path / "out"))
    return tmp_path


def written(dock):
    dock.settle()
    dock.qtbot.waitUntil(lambda: dock.widget.files.progress is None)


def test_work_is_saved_and_opened_by_its_buttons(dock, chosen, make_napari_viewer, fake, qtbot):
    dock.click(2, 20, 30)
    dock.propagate()
    dock.widget.session.save.click()
    written(dock)
    dock.qtbot.waitUntil(lambda: dock.widget.sentence.label.text().startswith("Saved"))
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros(dock.current().shape, np.uint8), contrast_limits=(0, 255), name="stack")
    again = Dock(qtbot, viewer, fake)
    again.widget.session.open.click()
    np.testing.assert_array_equal(again.current(), dock.current())


FILES = {"labels.tif", "measurements.csv", "scores.csv", "objects.csv", "prompts.json"}


@pytest.mark.parametrize(
    "export",
    [
        lambda dock: dock.widget.session.export.click(),
        lambda dock: dock.widget.session.formats.menu().actions()[0].trigger(),
        lambda dock: dock.press("E"),
    ],
    ids=["button", "menu", "key"],
)
def test_work_is_exported_by_its_button_the_menu_and_a_key(dock, chosen, export):
    dock.click(2, 20, 30)
    export(dock)
    written(dock)
    assert {path.name for path in (chosen / "out").iterdir()} == FILES
    said = f"1 object, not committed, is in {chosen / 'out'}: labels.tif"
    dock.qtbot.waitUntil(lambda: dock.widget.sentence.label.text().startswith(said))


def test_as_ome_zarr_it_is_exported_from_the_menu(dock, chosen):
    pytest.importorskip("zarr")
    dock.click(2, 20, 30)
    dock.widget.session.formats.menu().actions()[1].trigger()
    written(dock)
    assert (chosen / "out" / "labels.ome.zarr").is_dir()


def test_files_of_an_earlier_export_are_replaced_after_a_question_alone(dock, chosen, monkeypatch):
    dock.click(2, 20, 30)
    dock.widget.session.export.click()
    written(dock)
    before = (chosen / "out" / "objects.csv").stat().st_mtime_ns
    asked = []
    for answer in (QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes):
        monkeypatch.setattr(QMessageBox, "question", lambda *args, answer=answer: asked.append(args[2]) or answer)
        dock.widget.session.export.click()
        written(dock)
        is_same = (chosen / "out" / "objects.csv").stat().st_mtime_ns == before
        assert is_same == (answer == QMessageBox.StandardButton.No)
    assert all("measurements.csv" in question for question in asked)


def test_without_an_object_nobody_is_asked_for_a_folder(dock, chosen, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: pytest.fail("there is nothing to export"))
    dock.widget.session.export.click()
    assert "Click an object" in dock.widget.files.message


def test_work_that_was_exported_is_still_offered_with_where_and_when(
    dock, chosen, viewer, make_napari_viewer, fake, qtbot
):
    dock.click(2, 20, 30)
    dock.widget.commit.click()
    dock.settle()
    dock.widget.session.export.click()
    written(dock)
    viewer.window.remove_dock_widget(dock.dock)
    panel = Dock(qtbot, make_napari_viewer(), fake).widget.left_over
    assert f"1 object, committed; exported to {chosen / 'out'} at " in panel.text.text()
    assert not panel.isHidden()


def test_the_offer_is_one_line_however_long_its_text_is(dock, viewer, make_napari_viewer, fake, qtbot):
    dock.click(2, 20, 30)
    viewer.window.remove_dock_widget(dock.dock)
    panel = Dock(qtbot, make_napari_viewer(), fake).widget.left_over
    height, width = panel.sizeHint().height(), panel.minimumSizeHint().width()
    panel.text.setText("long " * 100)
    assert (panel.sizeHint().height(), panel.minimumSizeHint().width()) == (height, width)
    assert panel.text.toolTip() == "long " * 100
    assert height < 2.5 * panel.restore.sizeHint().height()


def test_left_over_work_is_put_off_until_the_next_panel(dock, viewer, make_napari_viewer, fake, qtbot):
    dock.click(2, 20, 30)
    viewer.window.remove_dock_widget(dock.dock)
    panel = Dock(qtbot, make_napari_viewer(), fake).widget.left_over
    panel.later.click()
    assert panel.isHidden()
    assert not Dock(qtbot, make_napari_viewer(), fake).widget.left_over.isHidden()


def test_tracks_are_added_from_the_menu(dock, viewer):
    dock.click(2, 20, 30)
    dock.propagate()
    dock.widget.session.formats.menu().actions()[2].trigger()
    dock.qtbot.waitUntil(lambda: "tracks" in viewer.layers)


def test_nothing_is_offered_where_nothing_was_left_over(dock):
    assert dock.widget.left_over.isHidden()


def test_left_over_work_is_offered_and_brought_back(dock, viewer, make_napari_viewer, fake, qtbot):
    dock.click(2, 20, 30)
    dock.propagate()
    before = dock.current().copy()
    viewer.window.remove_dock_widget(dock.dock)  # which writes down what there is
    other = make_napari_viewer()
    other.add_image(np.zeros(before.shape, np.uint8), contrast_limits=(0, 255), name="stack")
    again = Dock(qtbot, other, fake)
    assert not again.widget.left_over.isHidden()
    assert "'stack'" in again.widget.left_over.text.text()
    again.widget.left_over.restore.click()
    np.testing.assert_array_equal(again.current(), before)
    assert again.widget.left_over.isHidden()


def test_left_over_work_is_discarded_for_good_after_a_question(
    dock, viewer, make_napari_viewer, fake, qtbot, monkeypatch
):
    dock.click(2, 20, 30)
    viewer.window.remove_dock_widget(dock.dock)
    panel = Dock(qtbot, make_napari_viewer(), fake).widget.left_over
    monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.No)
    panel.discard.click()
    assert not panel.isHidden()
    monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.Yes)
    panel.discard.click()
    assert Dock(qtbot, make_napari_viewer(), fake).widget.left_over.isHidden()


def test_work_that_goes_on_in_another_panel_is_not_offered(dock, viewer, fake, qtbot):
    dock.click(2, 20, 30)
    viewer.window.remove_dock_widget(dock.dock)
    again = Dock(qtbot, viewer, fake)
    assert again.widget.left_over.isHidden()
    assert again.current()[2, 20, 30] == 1


def test_committed_objects_are_counted_in_the_offer(dock, viewer, make_napari_viewer, fake, qtbot):
    dock.click(2, 20, 30)
    dock.widget.commit.click()
    dock.settle()
    viewer.window.remove_dock_widget(dock.dock)
    panel = Dock(qtbot, make_napari_viewer(), fake).widget.left_over
    assert "1 object, committed" in panel.text.text()


def test_what_cannot_be_opened_is_said_where_nobody_overlooks_it(
    dock, viewer, make_napari_viewer, fake, qtbot, monkeypatch
):
    dock.click(2, 20, 30)
    viewer.window.remove_dock_widget(dock.dock)
    said = []
    monkeypatch.setattr("napari_sam2.widgets.segment_widget.show_warning", said.append)
    Dock(qtbot, make_napari_viewer(), fake).widget.left_over.restore.click()
    assert "open that image" in said[-1]


def test_while_it_is_written_it_is_shown_how_far_it_is_and_how_long_it_takes(dock):
    files, panel = dock.widget.files, dock.widget.session
    files.progress, files.seconds_left = (12, 60), 19.0
    panel.show_state()
    assert panel.progress.text() == "12 of 60 frames, about 20 s left"
    files.progress = files.seconds_left = None
    panel.show_state()
    assert not panel.progress.isVisibleTo(panel)
    assert panel.save.isVisibleTo(panel)
