"""The manifest, by which napari finds the plugin."""

import importlib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

CONTRIBUTABLE_MENUS = {
    "napari/layers/segment",
    "napari/layers/track",
    "napari/layers/annotate",
    "napari/file/io_utilities",
}
"""Those of napari's menus that plugins may add to and that are ours to use; it ignores any other in silence."""

ROOT = Path(__file__).parents[1]
INSIDE = ROOT / "src" / "napari_sam2" / "napari.yaml"


def test_the_manifest_at_the_top_is_the_one_in_the_package():
    assert (ROOT / "napari.yaml").read_bytes() == INSIDE.read_bytes()


def test_the_manifest_is_valid():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(INSIDE)
    assert (manifest.name, manifest.display_name) == ("napari-sam2", "SAM 2 for napari")


def contributions():
    return yaml.safe_load(INSIDE.read_text())["contributions"]


def test_every_command_can_be_imported():
    pytest.importorskip("qtpy")
    for command in contributions()["commands"]:
        module, _, attribute = command["python_name"].partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))


def test_every_command_that_is_used_exists_and_every_command_is_used():
    kinds = contributions()
    used = [one["command"] for kind in ("widgets", "sample_data") for one in kinds[kind]]
    in_menus = [one["command"] for entries in kinds["menus"].values() for one in entries]
    commands = [one["id"] for one in kinds["commands"]]
    assert set(used) == set(commands)
    assert set(in_menus) <= set(commands)
    assert len(commands) == len(set(commands))


def test_menus_are_ones_that_napari_lets_plugins_add_to():
    assert set(contributions()["menus"]) <= CONTRIBUTABLE_MENUS
