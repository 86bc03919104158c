"""Preferences, as napari keeps them and as its dialog sets them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from napari_sam2.inference.models import list_models
from napari_sam2.workbench.choices import DEFAULTS, Choices, read_preferences

MANIFEST = Path(__file__).parents[3] / "src" / "napari_sam2" / "napari.yaml"


@pytest.fixture
def plugin(plugin_settings, npe2pm):
    """The plugin, known to a napari whose settings are in an empty folder."""
    with npe2pm.tmp_plugin(manifest=str(MANIFEST)):
        yield


@pytest.fixture
def settings(plugin):
    """What the page in napari's preferences changes."""
    from napari.settings import get_plugin_settings

    return get_plugin_settings("napari-sam2").sam2


def test_the_defaults_stand_before_anything_is_set(plugin):
    assert read_preferences() == (DEFAULTS, ())
    assert Choices("nano", "auto", threshold=0.5) == DEFAULTS


def test_the_defaults_stand_where_napari_does_not_know_the_plugin(plugin_settings):
    assert read_preferences() == (DEFAULTS, ())


def test_the_defaults_stand_without_napari(monkeypatch):
    monkeypatch.setitem(sys.modules, "napari.settings", None)
    assert read_preferences() == (DEFAULTS, ())


def test_the_defaults_stand_with_a_napari_that_has_no_settings_for_plugins(monkeypatch):
    monkeypatch.delattr("napari.settings.get_plugin_settings")
    assert read_preferences() == (DEFAULTS, ())


def test_what_is_set_is_read(settings):
    settings.device, settings.threshold = "cpu", 0.75
    assert read_preferences() == (Choices("nano", "cpu", threshold=0.75), ())


def test_what_is_set_is_there_again_in_the_next_session(settings, tmp_path):
    from napari.settings import _clear_plugin_settings_cache

    settings.threshold = 0.25
    assert "threshold: 0.25" in (tmp_path / "napari-sam2.yaml").read_text()
    _clear_plugin_settings_cache()
    assert read_preferences()[0].threshold == 0.25


@pytest.mark.parametrize(("name", "value"), [("device", "tpu"), ("threshold", 1.5), ("threshold", -0.1)])
def test_the_page_refuses_what_cannot_be(settings, name, value):
    with pytest.raises(ValueError, match=str(value)):
        setattr(settings, name, value)


@pytest.mark.parametrize(
    "text", ["sam2: {device: tpu}", "sam2: {threshold: .nan}", "sam2: {model: [3]}", "sam2: 5", "sam2: {{{", "sams: {}"]
)
def test_the_defaults_stand_for_what_is_wrong_in_the_file(plugin, tmp_path, text):
    (tmp_path / "napari-sam2.yaml").write_text(text)
    assert read_preferences() == (DEFAULTS, ())


def test_a_file_that_napari_cannot_take_is_remarked_on(plugin, tmp_path):
    (tmp_path / "napari-sam2.yaml").write_text("- nano")
    read, remarks = read_preferences()
    assert (read.model, read.device, read.threshold) == ("nano", "auto", 0.5)
    assert "- nano" in remarks[0]


def test_the_environment_overrules_the_file(plugin, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM2_THRESHOLD", "0.9")
    assert read_preferences()[0].threshold == 0.9


def test_a_wrong_environment_is_remarked_on(plugin, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM2_DEVICE", "tpu")
    read, remarks = read_preferences()
    assert read.device == "auto"
    assert "tpu" in remarks[0]
    assert "NAPARI_SAM2_" in remarks[0]


@pytest.fixture
def models(monkeypatch):
    """Three models, of which one has to be fetched."""
    nano = list_models()[0]
    known = (nano, replace(nano, name="here"), replace(nano, name="elsewhere", path=None))
    monkeypatch.setattr("napari_sam2.workbench.choices.list_models", lambda: known)


def test_a_model_on_this_machine_is_taken(settings, models):
    settings.model = " here "
    assert read_preferences() == (Choices("here"), ())


def test_a_weight_file_is_taken(settings, models, tmp_path):
    file = tmp_path / "mine.safetensors"
    file.touch()
    settings.model = str(file)
    assert read_preferences() == (Choices(file), ())


def test_a_model_that_has_to_be_fetched_is_not_taken_and_not_fetched(settings, models):
    settings.model = "elsewhere"
    read, remarks = read_preferences()
    assert read.model == "nano"
    assert "napari-sam2 models download elsewhere" in remarks[0]


@pytest.mark.parametrize("wanted", ["huge", "", "no/such/file.pt", "~nobody-of-this-name/file.pt", "x" * 5000, "\0"])
def test_what_is_no_model_is_remarked_on(settings, models, wanted):
    settings.model, settings.threshold = wanted, 0.6
    read, remarks = read_preferences()
    assert (read.model, read.threshold) == ("nano", 0.6)
    assert repr(wanted) in remarks[0]
    assert "nano, here, elsewhere" in remarks[0]


def test_reading_them_loads_neither_torch_nor_qt():
    program = """
import sys
from napari_sam2.workbench.choices import read_preferences
read_preferences()
assert not {"torch", "qtpy"} & set(sys.modules), set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
