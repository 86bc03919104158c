"""Choosing, fetching and knowing models, with tasks that the test holds up."""

import queue
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog

from napari_sam2.errors import ModelError
from napari_sam2.inference.machine import Machine
from napari_sam2.inference.models import find_model
from napari_sam2.inference.speed import Activity, FrameTime
from napari_sam2.inference.time_left import Pace
from napari_sam2.widgets.model_chooser import CHOOSE_FILE
from napari_sam2.widgets.model_details import ModelDetails
from napari_sam2.widgets.model_panel import ModelPanel, ModelTasks
from napari_sam2.workbench.workbench import Workbench
from tests.napari_sam2.bench import WorkbenchDriver
from tests.napari_sam2.fake_predictor import FakePredictor

ABSENT = "tiny (156 MB, not downloaded)"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Folder of the downloads, empty."""
    for name in ("HF_HUB_CACHE", "HF_ASSETS_CACHE"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", str(tmp_path / name))
    folder = tmp_path / "HF_ASSETS_CACHE" / "napari-sam2"
    folder.mkdir(parents=True)
    return folder


class Hub:
    """Stands where the network stands: sends one megabyte, waits, and sends the rest."""

    def __init__(self, folder):
        self.folder, self.error = folder, None
        self.reached, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()

    def download(self, name, progress):
        try:
            progress(1_000_000, 156_000_000)
            self.reached.set()
            assert self.go_on.wait(20)
            if self.error is not None:
                raise self.error
            progress(156_000_000, 156_000_000)
            path = self.folder / "sam2.1_hiera_tiny.pt"
            path.write_bytes(b"weights")
            return path
        finally:
            self.ended.set()

    def check(self, source):
        if self.error is not None:
            raise self.error
        info = find_model(source)
        return replace(info, release="2.1", working_sizes=(512,)) if isinstance(source, Path) else info


@pytest.fixture
def hub(cache):
    hub = Hub(cache)
    yield hub
    hub.go_on.set()


@pytest.fixture
def bench():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((300, 300), np.uint8), contrast_limits=(0, 255))
    bench = WorkbenchDriver(
        Workbench(viewer, load_model=lambda source, device="auto": FakePredictor(), post=lambda function: None)
    )
    yield bench
    bench.close()


@pytest.fixture
def panel(qtbot, bench, hub):
    panel = ModelPanel(bench.bench, ModelTasks(hub.download, hub.check, lambda: Machine(("cpu",), 50e9)))
    qtbot.addWidget(panel)
    qtbot.addWidget(panel.details)
    return panel


@pytest.fixture
def measured(panel, qtbot):
    """A panel whose details are open, on a machine that has been timed."""
    panel.more.click()
    qtbot.waitUntil(lambda: "estimated" in panel.details.speed.text())
    return panel


def choose(panel, text):
    panel.chooser.setCurrentText(text)
    panel.chooser.activated.emit(panel.chooser.currentIndex())


def choose_file(panel, monkeypatch, path):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *arguments: (str(path), ""))
    choose(panel, CHOOSE_FILE)


def begin_download(panel, hub):
    choose(panel, ABSENT)
    panel.details.download.click()
    assert hub.reached.wait(20)


# Choosing ------------------------------------------------------------------------------------------------------------


def test_all_models_are_listed_and_files_come_last(panel):
    texts = [panel.chooser.itemText(i) for i in range(panel.chooser.count())]
    assert texts[0] == panel.chooser.currentText() == "nano"
    assert ABSENT in texts
    assert len(texts) == 10
    assert texts[-1] == CHOOSE_FILE


def test_a_model_that_is_here_is_tried_and_then_used(panel, bench, cache, qtbot):
    (cache / "sam2.1_hiera_tiny.pt").write_bytes(b"weights")
    panel.chooser.list_models()
    choose(panel, "tiny")
    assert bench.model == "nano"
    qtbot.waitUntil(lambda: bench.model == "tiny")
    assert panel.chooser.currentText() == "tiny"
    assert panel.details.message.text() == ""


def test_a_file_is_used_and_stays_in_the_list(panel, bench, tmp_path, monkeypatch, qtbot):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    choose_file(panel, monkeypatch, path)
    qtbot.waitUntil(lambda: bench.model == path)
    assert panel.chooser.currentText() == "mine.safetensors"
    choose(panel, "nano")
    qtbot.waitUntil(lambda: bench.model == "nano")
    choose(panel, "mine.safetensors")
    assert bench.model == path  # at once: it has been tried
    panel.more.click()
    assert panel.details.weights.text() == "mine.safetensors: SAM 2.1, 0 MB, licence not stated"
    assert panel.details.path.text() == str(path)
    assert panel.details.model_input.text().startswith("512 x 512 px")


def test_a_dialog_that_is_cancelled_changes_nothing(panel, bench, monkeypatch):
    choose_file(panel, monkeypatch, "")
    assert bench.model == "nano"
    assert panel.chooser.currentText() == "nano"


def test_a_broken_file_is_told_and_changes_nothing_else(panel, bench, hub, tmp_path, monkeypatch, qtbot):
    (tmp_path / "page.pt").write_text("<html>")
    hub.error = ModelError("page.pt is a web page. Download it again.")
    choose_file(panel, monkeypatch, tmp_path / "page.pt")
    qtbot.waitUntil(lambda: panel.details.message.text() == "page.pt is a web page. Download it again.")
    assert panel.more.isChecked()
    assert bench.model == "nano"
    assert panel.chooser.currentText() == "nano"
    assert panel.details.weights.text().startswith("nano: ")


def test_a_file_that_is_gone_is_told_and_changes_nothing_else(panel, bench, tmp_path, monkeypatch, qtbot):
    path = tmp_path / "mine.pt"
    path.write_bytes(b"weights")
    choose_file(panel, monkeypatch, path)
    qtbot.waitUntil(lambda: bench.model == path)
    choose(panel, "nano")
    qtbot.waitUntil(lambda: bench.model == "nano")
    path.unlink()
    choose(panel, "mine.pt")
    assert str(path) in panel.details.message.text()
    assert bench.model == "nano"
    assert panel.chooser.currentText() == "nano"


def test_who_chooses_again_while_a_model_is_tried_gets_the_last_one(panel, bench, cache, qtbot):
    (cache / "sam2.1_hiera_tiny.pt").write_bytes(b"weights")
    (cache / "sam2.1_hiera_small.pt").write_bytes(b"weights")
    panel.chooser.list_models()
    used = []
    bench.bench.use_choices = lambda choices: used.append(choices.model)
    choose(panel, "tiny")
    choose(panel, "small")
    qtbot.waitUntil(lambda: used != [])
    assert used == ["small"]


def test_a_model_chosen_elsewhere_is_shown(panel, bench, tmp_path):
    bench.model = tmp_path / "restored.pt"
    bench.announce_status()
    assert panel.chooser.currentText() == "restored.pt"


# Downloading ---------------------------------------------------------------------------------------------------------


def test_choosing_a_model_that_is_not_here_opens_its_details_and_fetches_nothing(panel, bench, hub):
    choose(panel, ABSENT)
    assert panel.more.isChecked()
    assert panel.chooser.currentText() == ABSENT
    assert panel.details.download.text() == "Download 156 MB"
    assert not panel.details.download.isHidden()
    assert panel.details.path.text() == "not on this machine"
    assert "nano answers" in panel.details.message.text()
    assert bench.model == "nano"
    assert not hub.reached.is_set()


def test_closing_the_details_ends_looking_at_a_model_that_is_not_here(panel):
    choose(panel, ABSENT)
    panel.more.click()
    assert panel.chooser.currentText() == "nano"
    assert panel.details.message.text() == ""


def test_a_download_shows_its_progress_and_the_model_is_used(panel, bench, hub, qtbot):
    begin_download(panel, hub)
    qtbot.waitUntil(lambda: panel.details.progress.value() == 1)
    assert panel.details.progress.maximum() == 156
    assert not panel.details.progress.isHidden()
    assert panel.details.download.isHidden()
    hub.go_on.set()
    qtbot.waitUntil(lambda: bench.model == "tiny")
    assert panel.chooser.currentText() == "tiny"
    assert panel.details.progress.isHidden()
    assert panel.details.cancel.isHidden()
    assert panel.details.download.isHidden()
    assert panel.details.path.text().endswith("sam2.1_hiera_tiny.pt")


def test_a_download_tells_how_long_it_takes(qtbot):
    details, times = ModelDetails(), iter(range(0, 1000, 5))
    qtbot.addWidget(details)
    details.pace = Pace(lambda: next(times))
    for done, total in ((0, 0), (1, 156), (40, 156), (79, 156)):
        details.show_download("tiny", done * 1_000_000, total * 1_000_000)
    assert details.progress.text() == "tiny: 79 of 156 MB, about 15 s left"
    details.show_download("tiny", 0, 0)
    details.show_download("tiny", 80_000_000, 156_000_000)
    assert details.progress.text() == "tiny: 80 of 156 MB, a few seconds left"  # as fast as this download is


def test_a_download_in_the_background_does_not_change_the_model(panel, bench, hub, qtbot):
    begin_download(panel, hub)
    choose(panel, "nano")
    hub.go_on.set()
    qtbot.waitUntil(lambda: "tiny is on this machine now" in panel.details.message.text())
    assert bench.model == "nano"
    assert panel.chooser.findText("tiny") >= 0


def test_a_download_is_cancelled_and_can_be_begun_again(panel, bench, hub, qtbot):
    begin_download(panel, hub)
    panel.details.cancel.click()
    hub.go_on.set()
    assert hub.ended.wait(20)
    assert "cancelled" in panel.details.message.text()
    assert panel.details.progress.isHidden()
    assert not panel.details.download.isHidden()
    assert not list(hub.folder.iterdir())
    panel.details.download.click()
    qtbot.waitUntil(lambda: bench.model == "tiny")


def test_a_download_that_fails_is_told_and_changes_nothing(panel, bench, hub, qtbot):
    hub.error = ModelError("Could not download 'tiny': no network. Check the network and try again.")
    begin_download(panel, hub)
    hub.go_on.set()
    qtbot.waitUntil(lambda: "no network" in panel.details.message.text())
    assert not panel.details.download.isHidden()
    assert bench.model == "nano"


def test_an_unexpected_error_is_told_too(panel, hub, qtbot):
    hub.error = ZeroDivisionError("division by zero")
    begin_download(panel, hub)
    hub.go_on.set()
    qtbot.waitUntil(lambda: "ZeroDivisionError: division by zero" in panel.details.message.text())


def test_closing_during_a_download_stops_it_and_raises_nothing(panel, bench, hub, qtbot):
    begin_download(panel, hub)
    bench.detach()
    panel.deleteLater()
    panel.details.deleteLater()
    hub.go_on.set()
    assert hub.ended.wait(20)
    assert not list(hub.folder.iterdir())
    qtbot.waitUntil(lambda: not [t for t in threading.enumerate() if t.name == "napari-sam2 errand"])


# Device and speed ----------------------------------------------------------------------------------------------------


def test_nothing_is_measured_before_the_details_are_open(qtbot, bench, hub):
    asked = []
    panel = ModelPanel(
        bench.bench, ModelTasks(hub.download, hub.check, lambda: asked.append(1) or Machine(("cpu",), 50e9))
    )
    qtbot.addWidget(panel)
    qtbot.addWidget(panel.details)
    bench.announce_status()
    assert asked == []
    panel.more.click()
    assert "timing" in panel.details.speed.text()
    qtbot.waitUntil(lambda: "estimated" in panel.details.speed.text())
    panel.more.click()
    panel.more.click()
    assert asked == [1]


def test_facts_of_the_embedded_model(measured):
    assert measured.details.weights.text().startswith("nano: SAM 2.1, ")
    assert measured.details.weights.text().endswith("BSD-3-Clause")
    assert measured.details.path.text() == "part of the package"
    assert measured.details.path.toolTip() == str(find_model("nano").path)
    assert measured.details.model_input.text().startswith("256, 512 or 1024 px")
    # 8.6 thousand million multiply-adds at 512 px, at 65 % of 50 thousand million a second.
    assert measured.details.speed.text().startswith("about 300 ms a frame with 1 object at 512 px: estimated")


def test_what_was_measured_takes_the_place_of_the_estimate(measured, bench):
    bench.record_speed(FrameTime("nano", "cpu", Activity.ANSWERING, 512, 1, 0.2))
    bench.announce_status()
    assert measured.details.speed.text().startswith("200 ms an answer")
    assert "estimated" in measured.details.speed.text()
    bench.record_speed(FrameTime("nano", "cpu", Activity.FOLLOWING, 512, 3, 0.5))
    bench.announce_status()
    assert measured.details.speed.text() == ("500 ms a frame with 3 objects at 512 px, 200 ms an answer: measured here")


def test_nothing_is_estimated_for_another_device(panel, qtbot):
    panel._tasks = replace(panel._tasks, measure=lambda: Machine(("cuda:0", "cpu"), 50e9))
    panel.more.click()
    qtbot.waitUntil(lambda: "computes on cuda:0" in panel.details.device_in_use.text())
    assert "not known" in panel.details.speed.text()


def test_only_devices_that_are_there_are_offered(measured):
    combo = measured.details.device
    assert [combo.itemText(i) for i in range(combo.count())] == ["auto", "cpu"]
    assert measured.details.device_in_use.text() == "computes on cpu"


def test_a_device_is_chosen(measured, bench):
    measured.details.device.setCurrentText("cpu")
    measured.details.device.textActivated.emit("cpu")
    assert bench.device == "cpu"
    assert measured.details.device_in_use.text() == ""


def test_a_device_that_was_set_elsewhere_is_shown_though_it_is_not_there(measured, bench):
    bench.use_device("mps")
    bench.announce_status()
    assert measured.details.device.currentText() == "mps"


def test_the_model_is_loaded_on_the_chosen_device_and_says_where_it_is(qtbot):
    loaded, posted, may_load = queue.Queue(), queue.Queue(), threading.Event()
    may_load.set()

    def load(source, **chosen):
        assert may_load.wait(20)
        fake = FakePredictor()
        fake.device = chosen.get("device", "cuda:0")
        loaded.put((source, chosen))
        return fake

    viewer = ViewerModel()
    viewer.add_image(np.zeros((30, 30), np.uint8), contrast_limits=(0, 255))
    bench = WorkbenchDriver(Workbench(viewer, load_model=load, post=posted.put))
    bench.points.add([(5, 5)])
    assert loaded.get(timeout=20) == ("nano", {})
    qtbot.waitUntil(lambda: bench.device_in_use == "cuda:0")
    may_load.clear()
    bench.use_device("cpu")
    assert bench.device_in_use == ""
    may_load.set()
    assert loaded.get(timeout=20) == ("nano", {"device": "cpu"})
    qtbot.waitUntil(lambda: bench.device_in_use == "cpu")
    bench.close()
