"""What may import what."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(code):
    """Run a program in a fresh interpreter that finds the packages where this one does."""
    found = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": found}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("napari_sam2", "torch napari qtpy magicgui sam2_model pandas scipy"),
        (
            "napari_sam2.tracking.stack, napari_sam2.tracking.propagation, napari_sam2.inference.background",
            "torch napari qtpy magicgui",
        ),
        ("napari_sam2.files.prompts, napari_sam2.files.label_tiff", "torch napari qtpy magicgui"),
        (
            "napari_sam2.sessions.storage, napari_sam2.sessions.replay, napari_sam2.sessions.sources",
            "torch napari qtpy magicgui",
        ),
        ("napari_sam2.workbench.choices", "torch napari qtpy magicgui"),
        ("napari_sam2.cli.verbs", "torch napari qtpy magicgui sam2_model numpy"),
        ("napari_sam2.training.finetune", "torch napari qtpy magicgui sam2_model pandas"),
        ("napari_sam2.sample_data", "torch napari qtpy magicgui"),
        ("sam2_model, sam2_model.video.predictor, sam2_model.image_predictor", "napari napari_sam2 qtpy magicgui"),
    ],
)
def test_importing_does_not_load(imported, unwanted):
    code = f"import sys, {imported}; print(*[name for name in {unwanted.split()} if name in sys.modules])"
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == []


def test_refusing_a_file_does_not_wait_for_torch():
    code = (
        "import sys; from napari_sam2.cli.verbs import main; "
        "status = main('propagate none.tif --prompts none.json --output none/none.tif'.split()); "
        "print(status, 'torch' in sys.modules)"
    )
    assert run(code).stdout.split() == ["1", "False"]


def test_the_contracts_are_kept():
    pytest.importorskip("importlinter")
    done = run("import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def drawn(package):
    """Names on each line of the picture in CONTRIBUTING, from the top."""
    (picture,) = re.findall(r"```\n(src/napari_sam2/.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL)
    part = picture[picture.index(f"src/{package}/") :].split("\n\n")[0]
    lines = [re.split(r"\s{2,}", line.strip()) for line in part.splitlines()[1:]]
    return [[name for name in line if re.fullmatch("[a-z_]+", name)] for line in lines]


@pytest.mark.parametrize("package", ["napari_sam2", "sam2_model"])
def test_the_picture_of_the_rooms_shows_the_packages_that_exist(package):
    names = {name for line in drawn(package) for name in line}
    here = ROOT / "src" / package
    rooms = {path.parent.name for path in here.glob("*/__init__.py")}
    assert rooms <= names
    assert names <= rooms | {path.stem for path in here.glob("*.py")}


@pytest.mark.parametrize("package", ["napari_sam2", "sam2_model"])
def test_the_picture_of_the_rooms_has_them_in_the_order_of_the_contract(package):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one.get("containers") == [package])
    height = {name.strip(): number for number, layer in enumerate(layers) for name in re.split(r"[|:]", layer)}
    floors = [height[name] for line in drawn(package) for name in line]
    assert floors == sorted(floors)


@pytest.mark.parametrize("package", ["napari_sam2", "sam2_model"])
def test_no_room_is_crowded_and_no_two_files_of_one_are_made_of_the_same_words(package):
    rooms = {}
    for path in (ROOT / "src" / package).rglob("*.py"):
        rooms.setdefault(path.parent, []).append(path.stem)
    assert {room.name: len(names) for room, names in rooms.items() if len(names) > 22} == {}
    for room, names in rooms.items():
        words = [tuple(sorted(word.rstrip("s") for word in name.split("_"))) for name in names]
        assert len(set(words)) == len(words), room


def test_what_how_it_works_names_is_there():
    named = re.findall(r"`([A-Za-z_./]+)`", (ROOT / "docs/development/architecture.md").read_text())
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    missing = []
    for name in named:
        if "/" in name or name.endswith((".py", ".toml")):
            places = (ROOT, ROOT / "src", ROOT / "src" / "napari_sam2", ROOT / "src" / "sam2_model")
            is_there = any((place / name).exists() for place in places)
        else:
            is_there = all(re.search(rf"\b{part}\b", source) for part in name.split("."))
        missing += [] if is_there else [name]
    assert len(named) > 60
    assert missing == []
