"""The manifest, by which napari finds the plugin."""

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from napari_sam2.workbench.choices import DEFAULTS

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


def test_every_menu_entry_and_every_sample_is_there_once():
    kinds = contributions()
    for entries in kinds["menus"].values():
        assert len({one["command"] for one in entries}) == len(entries)
    assert [one["key"] for one in kinds["sample_data"]] == ["nuclei_image", "cells_timelapse", "nuclei_stack"]
    for one in kinds["sample_data"]:
        assert one["command"] == f"napari-sam2.{one['key']}"


def test_the_page_of_preferences_sets_what_the_plugin_reads():
    ((name, page),) = contributions()["configurations"].items()
    assert name == "sam2"
    defaults = {one: setting["default"] for one, setting in page["properties"].items()}
    assert defaults.pop("clicks") == DEFAULTS.click_mode.value
    assert defaults == {name: getattr(DEFAULTS, name) for name in ("model", "device", "threshold")}


DISCOVERY = """
import importlib.util, sys, site
site.addsitedir(sys.argv[1])  # reads .pth files, as pip's folder is read
sys.path.insert(0, sys.argv[1])
from npe2 import PluginManifest
found = PluginManifest.from_distribution("napari-sam2")
print(importlib.util.find_spec("napari_sam2").origin)
print(*[sample.key for sample in found.contributions.sample_data], *found.contributions.menus)
assert not {"napari_sam2", "torch", "napari", "qtpy"} & set(sys.modules)
"""


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_napari_finds_the_plugin_however_it_is_installed(kind, tmp_path):
    pytest.importorskip("npe2")
    pytest.importorskip("hatchling")
    built, installed = tmp_path / "built", tmp_path / "installed"
    build = f"import hatchling.build; hatchling.build.build_{kind}({str(built)!r})"
    built.mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (file,) = built.iterdir()
    with zipfile.ZipFile(file) as archive:
        archive.extractall(installed)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", DISCOVERY, str(installed)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    origin, found = done.stdout.splitlines()
    assert Path(origin).is_relative_to(installed if kind == "wheel" else ROOT / "src")
    kinds = contributions()
    assert found.split() == [*(one["key"] for one in kinds["sample_data"]), *kinds["menus"]]
