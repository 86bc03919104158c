"""The combo box of models."""

import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog

from napari_sam2.widgets.model_panel import CHOOSE_FILE, ModelChooser
from napari_sam2.workbench import Workbench


@pytest.fixture
def bench():
    bench = Workbench(ViewerModel(), load_model=lambda source: None, post=lambda function: None)
    yield bench
    bench.close()


@pytest.fixture
def chooser(qtbot, bench):
    chooser = ModelChooser(bench)
    qtbot.addWidget(chooser)
    return chooser


def choose(chooser, text):
    chooser.setCurrentText(text)
    chooser.activated.emit(chooser.currentIndex())


def test_the_embedded_model_comes_first_and_files_last(chooser):
    assert chooser.itemText(0) == "nano"
    assert chooser.itemText(chooser.count() - 1) == CHOOSE_FILE


def test_a_file_is_used_and_stays_in_the_list(chooser, bench, tmp_path, monkeypatch):
    path = tmp_path / "mine.safetensors"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *arguments: (str(path), ""))
    choose(chooser, CHOOSE_FILE)
    assert bench.model == path
    assert chooser.currentText() == "mine.safetensors"
    choose(chooser, "nano")
    assert bench.model == "nano"
    choose(chooser, "mine.safetensors")
    assert bench.model == path


def test_a_dialog_that_is_cancelled_changes_nothing(chooser, bench, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *arguments: ("", ""))
    choose(chooser, CHOOSE_FILE)
    assert bench.model == "nano"
    assert chooser.currentText() == "nano"
