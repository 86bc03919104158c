"""The widget as napari opens it, with the model that is part of the package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from napari._app_model import get_app_model
from npe2 import PluginManifest

from napari_sam2.workbench.choices import Choices, read_preferences
from tests.napari_sam2.bench import WorkbenchDriver

PLUGIN, WIDGET = "napari-sam2", "SAM 2 Segment"
MANIFEST = Path(__file__).parents[3] / "src" / "napari_sam2" / "napari.yaml"


@pytest.fixture
def plugin(npe2pm):
    with npe2pm.tmp_plugin(manifest=str(MANIFEST)):
        yield


def blobs():
    """Two bright discs that stay where they are, (4, 72, 100)."""
    y, x = np.mgrid[:72, :100]
    image = np.full((72, 100), 20, np.uint8)
    image[(y - 24) ** 2 + (x - 70) ** 2 < 13**2] = 200
    image[(y - 50) ** 2 + (x - 22) ** 2 < 11**2] = 170
    return np.stack([image] * 4)


def test_from_a_click_to_a_propagated_stack_with_the_embedded_model(plugin, make_napari_viewer_proxy, qtbot):
    """Through napari's proxy, which refuses what is not public and whatever is done on another thread."""
    viewer = make_napari_viewer_proxy()
    viewer.add_image(blobs(), contrast_limits=(0, 255))
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    panel = WorkbenchDriver(widget.bench)
    panel.show(1)
    panel.points.add([(1, 24, 70)])
    qtbot.waitUntil(lambda: panel.is_ready, timeout=60_000)
    assert panel.message == ""
    assert panel.current()[1, 24, 70] == 1
    assert panel.working_size == 256
    panel.propagate()
    qtbot.waitUntil(lambda: panel.is_ready, timeout=60_000)
    labels = panel.current()
    assert (labels[:, 24, 70] == 1).all()
    assert not labels[:, 50, 22].any()


def contributions():
    return PluginManifest.from_file(MANIFEST).contributions


@pytest.mark.parametrize("menu", contributions().menus)
def test_each_menu_it_is_in_opens_it(menu, plugin, make_napari_viewer):
    viewer = make_napari_viewer()
    viewer.add_image(blobs(), contrast_limits=(0, 255))
    (entry,) = (one for one in get_app_model().menus.get_menu(menu) if one.command.id.startswith(PLUGIN))
    assert entry.command.title == f"{WIDGET} (SAM 2 for napari)"
    get_app_model().commands.execute_command(entry.command.id).result()
    (title,) = (name for name in viewer.window.dock_widgets if WIDGET in name)
    assert WorkbenchDriver(viewer.window.dock_widgets[title].bench).work is not None


@pytest.mark.parametrize("sample", contributions().sample_data, ids=lambda sample: sample.key)
def test_each_sample_opens_from_the_menu_and_can_be_worked_on(sample, plugin, make_napari_viewer):
    viewer = make_napari_viewer()
    entries = get_app_model().menus.get_menu(f"napari/file/samples/{PLUGIN}")
    (entry,) = (one for one in entries if one.command.title == sample.display_name)
    get_app_model().commands.execute_command(entry.command.id).result()
    (image,) = viewer.layers
    assert image.ndim == len(image.axis_labels)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    panel = WorkbenchDriver(widget.bench)
    assert panel.chosen_image == image
    assert panel.current_layer.axis_labels == image.axis_labels


@pytest.mark.parametrize("sample", contributions().sample_data, ids=lambda sample: sample.key)
def test_each_sample_opens_by_its_key(sample, plugin, make_napari_viewer_proxy):
    (image,) = make_napari_viewer_proxy().open_sample(PLUGIN, sample.key)
    assert image.data.max() > image.contrast_limits[0]


def test_the_page_of_preferences_shows_each_of_them(plugin, plugin_settings, qtbot):
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog
    from napari.settings import get_plugin_settings
    from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLineEdit, QListWidget, QStackedWidget

    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    pages = dialog.findChild(QListWidget)
    (row,) = (i for i in range(pages.count()) if pages.item(i).text() == "SAM 2 for napari")
    page = dialog.findChild(QStackedWidget).widget(row)
    assert page.findChild(QLineEdit).text() == "nano"
    devices = page.findChild(QComboBox)
    assert [devices.itemText(i) for i in range(devices.count())] == ["auto", "cpu", "cuda", "mps"]
    threshold = page.findChild(QDoubleSpinBox)
    assert (threshold.minimum(), threshold.value(), threshold.maximum()) == (0.0, 0.5, 1.0)
    devices.setCurrentText("cpu")
    threshold.setValue(0.75)
    assert read_preferences() == (Choices("nano", "cpu", threshold=0.75), ())
    dialog.reject()
    assert get_plugin_settings(PLUGIN).sam2.threshold == 0.5


def test_torch_comes_with_the_first_prompt_and_not_before():
    program = """
import sys
import numpy as np
from napari.components import ViewerModel
from napari_sam2.inference.machine import load_beside_viewer
from napari_sam2.workbench.workbench import Workbench
import napari_sam2.sample_data
import napari_sam2.widgets.segment_widget
viewer = ViewerModel()
viewer.add_image(np.zeros((4, 20, 20)))
bench = Workbench(viewer, load_model=load_beside_viewer, post=lambda function: None)
assert "point_prompts" in viewer.layers
assert "torch" not in sys.modules
bench.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_images_are_changed_through_the_proxy_too(plugin, make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    first, second = (viewer.add_image(blobs(), contrast_limits=(0, 255), name=name) for name in ("first", "second"))
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    panel = WorkbenchDriver(widget.bench)
    assert widget.images.currentText() == "second"
    panel.choose_image(first)
    assert widget.images.currentText() == "first"
    assert [layer.name for layer in viewer.layers].count("point_prompts") == 1
    viewer.layers.remove(second)
    assert panel.work is not None
    viewer.layers.remove(first)
    assert panel.work is None
