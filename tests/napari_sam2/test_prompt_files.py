import json

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from napari_sam2.errors import ImageFileError, PromptError
from napari_sam2.label_prompts import prompts_from_labels
from napari_sam2.prompt_files import PromptFile, read_prompts, write_prompts
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet

ids, frames = st.integers(1, 2**32 - 1), st.integers(0, 10**6)
coordinates = st.floats(allow_nan=False, allow_infinity=False)
ascending = st.tuples(coordinates, coordinates).map(sorted).filter(lambda pair: pair[0] < pair[1])
points = st.builds(PointPrompt, ids, frames, coordinates, coordinates, positive=st.booleans())
boxes = st.builds(
    lambda object_id, frame, y, x: BoxPrompt(object_id, frame, y[0], x[0], y[1], x[1]),
    ids,
    frames,
    ascending,
    ascending,
)
shapes = arrays.array_shapes(min_dims=2, max_dims=2, max_side=6)
masks = st.builds(MaskPrompt, ids, frames, arrays.arrays(bool, shapes).filter(np.any))
limits = ascending.map(tuple)


@st.composite
def prompt_files(draw):
    prompts = draw(st.lists(points)) + draw(st.lists(boxes | masks, unique_by=lambda p: (type(p), p.target)))
    return PromptFile(
        PromptSet(draw(st.permutations(prompts))),
        model_name=draw(st.none() | st.text()),
        model_sha256=draw(st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)),
        contrast_limits=draw(st.none() | limits | st.lists(limits, min_size=1, max_size=3).map(tuple)),
        image_size=draw(st.none() | st.integers(1, 4096)),
        policy=draw(st.none() | st.text()),
    )


@given(prompt_files())
def test_what_is_written_is_read_back_exactly(tmp_path_factory, contents):
    path = tmp_path_factory.mktemp("prompts") / "prompts.json"
    write_prompts(path, contents)
    again = read_prompts(path)
    assert again == contents
    assert again.prompts.prompts == contents.prompts.prompts


MASK = np.array([[0, 0, 1, 1], [1, 1, 1, 0], [0, 1, 0, 1]], bool)


def test_the_file_is_readable_json_with_masks_as_runs(tmp_path):
    path = tmp_path / "prompts.json"
    prompts = PromptSet([PointPrompt(1, 0, 2.5, 3), BoxPrompt(1, 4, 0, 1, 2, 3), MaskPrompt(2, 0, MASK)])
    write_prompts(path, PromptFile(prompts, model_name="nano", contrast_limits=(np.float32(0.5), 7)))
    assert json.loads(path.read_text()) == {
        "format": "napari-sam2 prompts",
        "version": 1,
        "model": {"name": "nano"},
        "contrast_limits": [0.5, 7.0],
        "prompts": [
            {"kind": "point", "object_id": 1, "frame": 0, "y": 2.5, "x": 3.0, "positive": True},
            {"kind": "box", "object_id": 1, "frame": 4, "y_min": 0, "x_min": 1, "y_max": 2, "x_max": 3},
            {"kind": "mask", "object_id": 2, "frame": 0, "shape": [3, 4], "runs": [2, 5, 2, 1, 1, 1]},
        ],
    }
    assert len(path.read_text().splitlines()) == 5 + 2 + 4


def document(**changes):
    point = {"kind": "point", "object_id": 1, "frame": 0, "y": 1, "x": 2}
    return {"format": "napari-sam2 prompts", "version": 1, "prompts": [point], **changes}


def entry(**fields):
    return document(prompts=[*document()["prompts"], fields])


def test_points_are_positive_unless_said_otherwise_and_empty_runs_do_no_harm(tmp_path):
    path = tmp_path / "by_hand.json"
    mask = {"kind": "mask", "object_id": 2, "frame": 0, "shape": [3, 4], "runs": [0, 0, 2, 5, 2, 1, 0, 0, 1, 1, 0]}
    path.write_text(json.dumps(document(prompts=[*document()["prompts"], mask])))
    assert read_prompts(path).prompts.prompts == (PointPrompt(1, 0, 1, 2), MaskPrompt(2, 0, MASK))


POINT = {"kind": "point", "object_id": 1, "frame": 0, "y": 1}
BOX = {"kind": "box", "object_id": 1, "frame": 0, "y_min": 9, "x_min": 0, "y_max": 2, "x_max": 3}
RUNS = {"kind": "mask", "object_id": 2, "frame": 0, "shape": [3, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "this is not JSON"),
        ("y,x\n1,2\n", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        (b"\xff\xfe\x00", "this is not JSON"),
        ([], 'must say "format": "napari-sam2 prompts"'),
        ({"prompts": []}, 'must say "format"'),
        (document(format="something else"), "is not a prompt file"),
        (document(version=2), "version 2, and this program reads up to 1. Update"),
        (document(version="1"), "\"version\" is '1'"),
        (document(version=0), '"version" is 0'),
        ({"format": "napari-sam2 prompts", "version": 1}, '"prompts" is missing'),
        (document(prompts={}), '"prompts" is not a list'),
        (document(contrast_limit=[0, 1]), '"contrast_limit" is not a field here'),
        (document(contrast_limits=[1, 0]), r"contrast_limits are \[1, 0\]"),
        (document(contrast_limits=[0, 1, 2]), "contrast_limits are"),
        (document(contrast_limits=[]), "contrast_limits are"),
        (document(contrast_limits=[[0, 1], [0, None]]), "contrast_limits are"),
        (document(contrast_limits="auto"), "contrast_limits are 'auto'"),
        (document(image_size=True), "image_size is True"),
        (document(image_size=0), "image_size is 0"),
        (document(policy=3), "policy is 3"),
        (document(model="nano"), "\"model\" is 'nano'"),
        (document(model={"sha256": "12"}), "model_sha256 is '12'"),
        (document(model={"size": 3}), '"size" is not a field here'),
        (document(prompts=[3]), "entry 0 of the prompts: this is 3"),
        (entry(kind="circle"), 'entry 1 of the prompts: "kind" is \'circle\'. Use "point", "box" or "mask"'),
        (entry(), '"kind" is None'),
        (entry(**POINT), 'entry 1 of the prompts: "x" is missing'),
        (entry(**POINT, x="4"), "entry 1 of the prompts: Point coordinate x is '4'"),
        (entry(**POINT, x=float("nan")), "Point coordinate x is nan"),
        (entry(**POINT, x=2, positve=False), '"positve" is not a field here'),
        (entry(**POINT, x=2, positive=0), "positive is 0"),
        (entry(**{**POINT, "object_id": True}, x=2), "Object id is True"),
        (entry(**BOX), "is upside down"),
        (entry(**RUNS, runs=[2, 5]), r"add up to 7 pixels, and the mask has 3 x 4 = 12"),
        (entry(**RUNS, runs=[12]), "hold no pixel"),
        (entry(**RUNS, runs=[-1, 13]), "not a list of whole numbers"),
        (entry(**RUNS, runs=[2.0, 10]), "not a list of whole numbers"),
        (entry(**RUNS, runs="all"), "not a list of whole numbers"),
        (entry(**{**RUNS, "shape": [3]}, runs=[0, 3]), r'"shape" is \[3\]'),
        (entry(**{**RUNS, "shape": [0, 4]}, runs=[]), r'"shape" is \[0, 4\]'),
        (entry(**{**RUNS, "shape": [10**9, 10**9]}, runs=[0, 10**18]), "larger than any frame"),
        (document(prompts=[{**RUNS, "runs": [0, 12]}] * 2), "Object 2 has 2 masks on frame 0"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_the_entry_and_the_cure(tmp_path, content, message):
    path = tmp_path / "mine.json"
    data = content if isinstance(content, bytes | str) else json.dumps(content)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(PromptError, match=message) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ImageFileError, match="There is no file"):
        read_prompts(tmp_path / "none.json")
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_prompts(tmp_path)


def test_an_existing_file_is_replaced_only_when_allowed(tmp_path):
    path = tmp_path / "prompts.json"
    first, second = (PromptFile(PromptSet([PointPrompt(1, 0, y, 0)])) for y in (1, 2))
    write_prompts(path, first)
    with pytest.raises(ImageFileError, match="exists already"):
        write_prompts(path, second)
    assert read_prompts(path) == first
    write_prompts(path, second, overwrite=True)
    assert read_prompts(path) == second


def test_a_failed_write_leaves_nothing_and_keeps_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "prompts.json"
    former = PromptFile(PromptSet([PointPrompt(1, 0, 1, 0)]))
    write_prompts(path, former)

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(ImageFileError, match="No space left"):
        write_prompts(path, PromptFile(PromptSet()), overwrite=True)
    assert read_prompts(path) == former
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/prompts.json", "prompts.tif"])
def test_prompts_are_not_written_where_they_cannot_be_read_again(tmp_path, name):
    with pytest.raises(ImageFileError):
        write_prompts(tmp_path / name, PromptFile(PromptSet()))


LABELS = np.array([[0, 3, 3], [1, 0, 0]], np.uint16)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("labels.tif", tifffile.imwrite),
        ("labels.npy", np.save),
        ("labels.png", lambda path, labels: Image.fromarray(labels).save(path)),
    ],
)
def test_the_ids_of_a_label_image_become_mask_prompts_on_the_frame(tmp_path, name, write):
    write(tmp_path / name, LABELS)
    assert read_prompts(tmp_path / name, frame=4).prompts.prompts == prompts_from_labels(LABELS, 4)
    assert read_prompts(tmp_path / name).contrast_limits is None


def test_a_label_stack_gives_every_labelled_frame(tmp_path):
    stack = np.stack([LABELS, 0 * LABELS, LABELS])
    tifffile.imwrite(tmp_path / "labels.tif", stack, compression="zlib", photometric="minisblack")
    assert read_prompts(tmp_path / "labels.tif", frame=9).prompts == PromptSet(prompts_from_labels(stack))


def test_the_axes_of_a_label_image_may_be_named(tmp_path):
    stack = np.stack([LABELS, LABELS])
    tifffile.imwrite(tmp_path / "labels.tif", stack, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(PromptError, match="axes CYX, and a label image has no channels"):
        read_prompts(tmp_path / "labels.tif")
    assert read_prompts(tmp_path / "labels.tif", axes="TYX").prompts == PromptSet(prompts_from_labels(stack))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS * 0.5, "float64"),
        (-LABELS.astype(int), "negative value -3"),
        (LABELS * 0, "every value is 0"),
        (LABELS > 0, "boolean"),
    ],
)
def test_a_label_image_without_usable_ids_is_refused_with_its_name(tmp_path, labels, message):
    path = tmp_path / "labels.npy"
    np.save(path, labels)
    with pytest.raises(PromptError, match=message) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}: ")
