"""The manifest, by which napari finds the plugin."""

import importlib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
INSIDE = ROOT / "src" / "napari_sam2" / "napari.yaml"


def test_the_manifest_at_the_top_is_the_one_in_the_package():
    assert (ROOT / "napari.yaml").read_bytes() == INSIDE.read_bytes()


def test_the_manifest_is_valid():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(INSIDE)
    assert (manifest.name, manifest.display_name) == ("napari-sam2", "SAM 2 for napari")


def test_every_command_can_be_imported():
    for command in yaml.safe_load(INSIDE.read_text())["contributions"]["commands"]:
        module, _, attribute = command["python_name"].partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))
