"""What pages show is tried as it stands: their Python is run, their commands, files and names are there."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam2.cli.parser import make_parser
from napari_sam2.files.prompts import PromptFile
from napari_sam2.files.results_folder import LabelFormat, LabelsToExport, export_all
from napari_sam2.inference.models import list_models
from napari_sam2.prompts import PromptSet
from napari_sam2.results import score_table

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
EVERYTHING = README.parent / "docs" / "everything.md"


def blocks(language: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def run(page: Path) -> dict[str, Any]:
    """What is there after the Python of a page, which is one program."""
    variables: dict[str, Any] = {}
    for block in blocks("python", page.read_text(encoding="utf-8")):
        exec(compile(block, str(page), "exec"), variables)
    return variables


def section(heading: str) -> str:
    _, _, rest = TEXT.partition(f"{heading}\n")
    return re.split(r"^#+ ", rest, flags=re.MULTILINE)[0]


@pytest.fixture(scope="module")
def namespace() -> dict[str, Any]:
    return run(README)


def test_the_python_example_gives_what_it_says(namespace: dict[str, Any]) -> None:
    result = namespace["result"]
    assert result.labels.shape == namespace["stack"].shape == (31, 61, 57)
    assert set(result.scores["object_id"]) == {1, 2}
    assert set(result.scores["frame"]) == set(range(12, 19))
    assert list(result.features["index"]) == [1, 2]


def test_the_napari_example_turns_painted_labels_into_followed_ones(namespace: dict[str, Any]) -> None:
    class Layer:
        def __init__(self, data: Any) -> None:
            self.data = data

    class Viewer:
        def __init__(self) -> None:
            painted = namespace["result"].labels[:4] * 0
            painted[1, 20:30, 20:30] = 7
            self.layers = {"image": Layer(namespace["stack"][:4]), "painted": Layer(painted)}

        def add_labels(self, labels: Any, features: Any) -> None:
            self.added = (labels, features)

    viewer = Viewer()
    namespace["follow"](viewer, "image", "painted")
    labels, features = viewer.added
    assert labels.shape == (4, 61, 57)
    assert (labels[1, 20:30, 20:30] == 7).all()
    assert list(features["index"]) == [7]


def test_everything_in_an_image_is_found_as_shown(namespace: dict[str, Any]) -> None:
    everything = namespace["everything"]
    assert everything.labels.shape == (256, 256)
    assert everything.labels.max() == len(everything.features) > 10


def test_seeds_and_examples_are_used_as_shown() -> None:
    shown = run(EVERYTHING)
    assert 0 < len(shown["cells"].features) <= len(shown["seeds"])
    assert (len(shown["examples"]), len(shown["others"].features) > 1) == (2, True)


def test_the_prompt_file_shown_is_one_that_is_read(tmp_path: Path) -> None:
    from napari_sam2.files.prompts import read_prompts

    (shown,) = blocks("json")
    path = tmp_path / "prompts.json"
    path.write_text(shown, encoding="utf-8")
    assert read_prompts(path).prompts.object_ids == (1, 2)


def test_every_command_shown_is_one_that_the_shell_takes() -> None:
    text = TEXT + EVERYTHING.read_text(encoding="utf-8")
    shown = [line for block in blocks("sh", text) for line in block.splitlines() if line.startswith("napari-sam2 ")]
    verbs = {make_parser().parse_args(shlex.split(line, comments=True)[1:]).verb for line in shown}
    assert verbs == {"segment", "propagate", "everything", "replay", "finetune", "models", "demo"}


def test_the_first_command_of_all_opens_napari() -> None:
    assert blocks("sh")[0].strip().endswith("make napari")


def test_every_target_and_every_extra_that_is_named_is_there() -> None:
    targets = set(re.findall(r"(?:`|&& |: )make (\w+)", TEXT))
    assert targets >= {"napari", "demo", "test"}
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^(\w+):", makefile, flags=re.MULTILINE))
    extras = {one for given in re.findall(r"\"\.\[([\w,]+)\]\"", TEXT) for one in given.split(",")}
    assert extras == {"all", "napari", "zarr"}
    project = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extras <= set(project["optional-dependencies"])


def test_an_export_holds_the_files_of_the_table_and_no_other(tmp_path: Path) -> None:
    named = set(re.findall(r"`([\w.]+\.(?:tif|zarr|csv|json))`", section("### What an export contains")))
    labels = LabelsToExport(np.zeros((2, 3), np.uint16), "YX", {})
    written = set()
    for label_format in LabelFormat:
        folder = tmp_path / label_format.name
        for _ in export_all(
            folder, labels, scores=score_table([]), prompts=PromptFile(PromptSet()), label_format=label_format
        ):
            pass
        written |= {path.name for path in folder.iterdir()}
    assert named == written


def test_the_table_of_models_has_every_published_one() -> None:
    named = set(re.findall(r"`([\w.-]+)`", section("## Models")))
    assert {info.name for info in list_models()} <= named
