"""The README's Python is run as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def namespace() -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, str(README), "exec"), variables)
    return variables


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


def test_the_prompt_file_shown_is_one_that_is_read(tmp_path: Path) -> None:
    from napari_sam2.files.prompts import read_prompts

    (shown,) = re.findall(r"```json\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "prompts.json"
    path.write_text(shown, encoding="utf-8")
    assert read_prompts(path).prompts.object_ids == (1, 2)


def test_every_link_into_the_repository_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
