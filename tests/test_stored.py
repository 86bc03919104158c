"""What users rely on stays: stored files open; doors, options, keys and names are those of before.

`tests/data/stored` was written by the version before the rooms (November 2026). A change there is a change for users.
"""

import argparse
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_sam2
import sam2_model
from napari_sam2.cli.parser import make_parser
from napari_sam2.cli.verbs import main
from napari_sam2.files.prompts import read_prompts
from napari_sam2.layers.prompt_layers import POINTS_NAME, SHAPES_NAME
from napari_sam2.sessions.storage import read_session
from napari_sam2.workbench.commands import KEYED
from napari_sam2.workspace.committed import COMMITTED_NAME
from napari_sam2.workspace.picture import CURRENT_NAME
from tests.napari_sam2.bench import Bench
from tests.napari_sam2.fake_predictor import FakePredictor

STORED = Path(__file__).parent / "data" / "stored"
DOORS = json.loads((STORED / "doors.json").read_text()) if (STORED / "doors.json").exists() else {}


PACKAGES = ("napari_sam2", "sam2_model")
MODULES = re.compile(r"\b(?:[a-z_0-9]+\.)+(?=[A-Za-z_])")
"""Where a type lives is not part of a signature."""


def doors_of(module):
    """Signatures of the public names of a package, and of the public methods of its classes."""
    found = {}
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value):
            own = re.findall(r"self\.([a-z]\w*)\b.*? = ", inspect.getsource(value))
            found[name] = sorted({one for one in (*vars(value), *own) if not one.startswith("_")})
            for method, function in vars(value).items():
                if not method.startswith("_") and inspect.isfunction(function):
                    found[f"{name}.{method}"] = MODULES.sub("", str(inspect.signature(function)))
        elif callable(value):
            found[name] = MODULES.sub("", str(inspect.signature(value)))
    return found


def options_of(parser, verb=""):
    """Option strings and defaults of a parser and of the parsers of its verbs."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found |= options_of(inner, f"{verb} {name}".strip())
        else:
            name = "/".join(action.option_strings) or action.dest
            found[f"{verb}: {name}"] = [str(action.default), str(action.nargs), str(action.choices)]
    return found


def doors_of_now():
    return {
        "napari_sam2": doors_of(napari_sam2),
        "sam2_model": doors_of(sam2_model),
        "command line": options_of(make_parser()),
        "keys": {command.shortcut: command.meaning for command in KEYED},
        "layers": [POINTS_NAME, SHAPES_NAME, CURRENT_NAME, COMMITTED_NAME],
    }


@pytest.mark.parametrize("kind", ["napari_sam2", "sam2_model", "command line", "keys", "layers"])
def test_the_doors_are_those_of_before(kind):
    now, before = doors_of_now()[kind], DOORS[kind]
    assert now.keys() >= before.keys() if isinstance(before, dict) else now == before
    for name, door in before.items() if isinstance(before, dict) else ():
        if kind in PACKAGES and isinstance(door, list):  # what a class offers: it may offer more
            assert set(door) <= set(now[name]), name
        else:
            assert now[name] == door, name


def test_stored_prompts_are_read():
    prompts = read_prompts(STORED / "prompts.json").prompts
    assert [type(one).__name__ for one in prompts.prompts] == ["PointPrompt", "PointPrompt", "BoxPrompt", "MaskPrompt"]
    assert prompts.prompts[0] == napari_sam2.PointPrompt(1, 0, 12, 8)
    assert prompts.prompts[3].mask.sum() == 16


@pytest.mark.parametrize("name", ["work.sam2session", "work"])
def test_a_stored_session_goes_on_in_a_viewer_as_it_was_left(name):
    bench = Bench(FakePredictor())
    bench.image.name = "stored"
    choices = bench.open_session(STORED / name)
    assert (choices.model, choices.direction, choices.threshold) == ("nano", "forward", 0.4)
    assert np.array_equal(bench.committed(), tifffile.imread(STORED / "committed.tif"))
    assert np.array_equal(bench.current(), tifffile.imread(STORED / "current.tif"))
    assert bench.names() == {1: "a cell", 3: "another"}
    assert bench.prompts.object_ids == (3, 4)
    bench.close()


@pytest.mark.parametrize("name", ["work.sam2session", "work"])
def test_a_stored_session_is_replayed(name, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((6, 24, 30), np.uint8), metadata={"axes": "TYX"})
    monkeypatch.setattr("napari_sam2.inference.sam2.load_predictor", lambda *_, **__: FakePredictor())
    arguments = ["replay", str(STORED / name), "--image", str(tmp_path / "stack.tif"), "--output"]
    assert main([*arguments, str(tmp_path / "labels.tif"), "--scores", str(tmp_path / "scores.csv")]) == 0
    assert np.array_equal(tifffile.imread(tmp_path / "labels.tif"), tifffile.imread(STORED / "replayed.tif"))
    assert (tmp_path / "scores.csv").read_text() == (STORED / "replayed.csv").read_text()


def test_the_commands_of_a_stored_session_are_those_of_its_steps():
    session = read_session(STORED / "work")
    assert [type(step).__name__ for step in session.steps] == ["Commit", "HandEdit", "Renumbering", "Commit"]
