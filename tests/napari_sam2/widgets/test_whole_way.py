"""The whole way in a real viewer, by mouse and keys, with the embedded model: from a click to an exported stack."""

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt

from napari_sam2.cli.verbs import main as shell
from napari_sam2.sample_data import cells_timelapse_image
from napari_sam2.widgets.segment_widget import SegmentWidget
from tests.napari_sam2.bench import WorkbenchDriver
from tests.napari_sam2.widgets.screen import Screen

CELL = (14, 95, 165)
"""Frame, y and x of a cell of the sample that neither divides nor leaves."""


@pytest.fixture
def screen(qtbot, make_napari_viewer, npe2pm, tmp_path):
    with npe2pm.tmp_plugin(package="napari"):  # which opens files
        path, viewer = tmp_path / "cells.tif", make_napari_viewer(show=True)
        tifffile.imwrite(path, cells_timelapse_image(), metadata={"axes": "TYX"}, imagej=True)
        viewer.open(path)
        yield Screen(qtbot, viewer)


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
    assert screen.written().startswith("1 object is in ")
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
