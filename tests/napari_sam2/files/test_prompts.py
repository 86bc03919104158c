import json
import re
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from napari_sam2.errors import BinaryMaskWarning, ImageFileError, NapariSam2Error, PromptError
from napari_sam2.files.prompts import PromptFile, read_prompts, write_prompts
from napari_sam2.labels.prompts import prompts_from_labels
from napari_sam2.prompts import BoxPrompt, MaskPrompt, ModelScores, PointPrompt, PromptSet
from sam2_model.config import Framing
from tests.napari_sam2.any_json import ANY_JSON

ids, frames = st.integers(1, 2**32 - 1), st.integers(0, 10**6)
coordinates = st.floats(allow_nan=False, allow_infinity=False)
ascending = st.tuples(coordinates, coordinates).map(sorted).filter(lambda pair: pair[0] < pair[1])
points = st.builds(PointPrompt, ids, frames, coordinates, coordinates, positive=st.booleans()) | st.builds(
    PointPrompt, ids, frames, coordinates, coordinates, candidate=st.integers(0, 2)
)
boxes = st.builds(
    lambda object_id, frame, y, x: BoxPrompt(object_id, frame, y[0], x[0], y[1], x[1]),
    ids,
    frames,
    ascending,
    ascending,
)
shapes = arrays.array_shapes(min_dims=2, max_dims=2, max_side=6)
scores = st.builds(ModelScores, *[st.floats(0, 1)] * 3, coordinates)
masks = st.builds(MaskPrompt, ids, frames, arrays.arrays(bool, shapes).filter(np.any), found=st.none() | scores)
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
        framing=draw(st.sampled_from(Framing)),
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


def test_a_candidate_is_written_where_one_was_chosen(tmp_path):
    path = tmp_path / "prompts.json"
    write_prompts(path, PromptFile(PromptSet([PointPrompt(1, 0, 2, 3, candidate=0), PointPrompt(1, 0, 4, 5)])))
    first, second = json.loads(path.read_text())["prompts"]
    assert first["candidate"] == 0
    assert "candidate" not in second  # versions without the choice read it


def test_what_the_model_said_is_written_of_masks_that_it_found_alone(tmp_path):
    path = tmp_path / "prompts.json"
    said = ModelScores(0.5, 0.75, 1.0, 4.5)
    write_prompts(path, PromptFile(PromptSet([MaskPrompt(1, 0, MASK, found=said), MaskPrompt(2, 0, MASK)])))
    first, second = json.loads(path.read_text())["prompts"]
    assert first["found"] == {"predicted_iou": 0.5, "object_score": 0.75, "stability": 1.0, "mean_logit": 4.5}
    assert "found" not in second  # versions without found masks read it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stability": 1.5}, '"stability" is 1.5. Use a number from 0 to 1.'),
        ({"mean_logit": "much"}, "\"mean_logit\" is 'much'. Use a finite number."),
        ({"certainty": 1}, "certainty"),
    ],
)
def test_scores_of_a_found_mask_that_make_no_sense_are_refused(tmp_path, change, message):
    said = {"predicted_iou": 0.5, "object_score": 0.75, "stability": 1.0, "mean_logit": 4.5} | change
    mask = {"kind": "mask", "object_id": 1, "frame": 0, "shape": [1, 2], "runs": [0, 1, 1], "found": said}
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(document(prompts=[mask])))
    with pytest.raises(PromptError, match=re.escape(message)):
        read_prompts(path)


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
        (document(framing="oval"), "\"framing\" is 'oval'. Use one of: square, whole, native"),
        (document(framing=3), '"framing" is 3'),
        (document(model="nano"), "\"model\" is 'nano'"),
        (document(model={"sha256": "12"}), "model_sha256 is '12'"),
        (document(model={"size": 3}), '"size" is not a field here'),
        (document(prompts=[3]), "entry 0 of the prompts: this is 3"),
        (entry(kind="circle"), 'entry 1 of the prompts: "kind" is \'circle\'. Use "point", "box" or "mask"'),
        (entry(), '"kind" is None'),
        (entry(**POINT), 'entry 1 of the prompts: "x" is missing'),
        (entry(**POINT, x="4"), "entry 1 of the prompts: Point coordinate x is '4'"),
        (entry(**POINT, x=float("nan")), r"this is not JSON \(it holds the number NaN, which is not finite\)"),
        (entry(**POINT, x=2, positve=False), '"positve" is not a field here'),
        (entry(**POINT, x=2, positive=0), "positive is 0"),
        (entry(**{**POINT, "object_id": True}, x=2), "Object id is True"),
        (entry(**POINT, x=2, candidate=3), "entry 1 of the prompts: candidate is 3. Use 0, 1 or 2"),
        (entry(**POINT, x=2, candidate="1"), "candidate is '1'"),
        (entry(**POINT, x=2, candidate=1, positive=False), "Candidate 1 is chosen with a negative point"),
        (entry(**BOX, candidate=1), '"candidate" is not a field here'),
        (entry(**BOX), "is upside down"),
        (entry(**RUNS, runs=[2, 5]), r"add up to 7 pixels, and the mask has 3 x 4 = 12"),
        (entry(**RUNS, runs=[12]), "hold no pixel"),
        (entry(**RUNS, runs=[-1, 13]), "not a list of whole numbers"),
        (entry(**RUNS, runs=[2.0, 10]), "not a list of whole numbers"),
        (entry(**RUNS, runs="all"), "not a list of whole numbers"),
        (entry(**{**RUNS, "shape": [3]}, runs=[0, 3]), r'"shape" is \[3\]'),
        (entry(**{**RUNS, "shape": [0, 4]}, runs=[]), r'"shape" is \[0, 4\]'),
        (entry(**{**RUNS, "shape": [10**9, 10**9]}, runs=[0, 10**18]), "larger than any frame"),
        (entry(**{**RUNS, "shape": [2**32, 10**29]}, runs=[0, 10**29]), "larger than any frame"),
        (
            entry(**{**RUNS, "shape": [30_000, 30_000]}, runs=[0, 900_000_000]),
            "900,000,000 pixels, and up to 268,435,456",
        ),
        (entry(**RUNS, runs=[10**29, 3]), "add up to"),
        (
            document(prompts=[{**RUNS, "object_id": i, "shape": [1, 2**28], "runs": [0, 2**28]} for i in range(1, 20)]),
            "entry 16 of the prompts: with it, the masks have more than 4,294,967,296 pixels together",
        ),
        ('{"format": "napari-sam2 prompts", "format": "x"}', "not JSON .the key 'format' occurs twice"),
        (json.dumps(document(contrast_limits=[0, 10**400])), "it holds a number of 401 digits"),
        (json.dumps(document()).replace(": 2", ": 1e999"), "it holds the number 1e999, which is not finite"),
        (b"\xef\xbb\xbf[" * 2, "this is not JSON"),
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


def test_a_missing_file_and_a_folder_without_images_are_refused(tmp_path):
    with pytest.raises(ImageFileError, match="There is no file"):
        read_prompts(tmp_path / "none.json")
    with pytest.raises(ImageFileError, match="holds no TIFF, PNG or JPEG files"):
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
    assert read_prompts(tmp_path / "labels.tif").prompts == PromptSet(prompts_from_labels(stack))
    with pytest.raises(PromptError, match="frame 9 is asked for, and this is a stack of 3 label images"):
        read_prompts(tmp_path / "labels.tif", frame=9)


def test_label_images_with_channels_are_refused(tmp_path):
    stack = np.stack([LABELS, LABELS])
    tifffile.imwrite(tmp_path / "labels.tif", stack, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(PromptError, match="axes CYX, and a label image has no channels"):
        read_prompts(tmp_path / "labels.tif")


def test_a_file_with_a_field_that_was_meant_for_later_opens(tmp_path):
    (tmp_path / "prompts.json").write_text(json.dumps(document(prompts=[{**POINT, "x": 3}], policy="x")))
    assert len(read_prompts(tmp_path / "prompts.json").prompts) == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS * 0.5, "hold the value 1.5, and object ids are whole numbers"),
        (-LABELS.astype(int), "hold the value -3, and object ids go from 1"),
        (LABELS * 0, "every value is 0"),
        (LABELS * 1j, "of dtype complex128"),
    ],
)
def test_a_label_image_without_usable_ids_is_refused_with_its_name(tmp_path, labels, message):
    path = tmp_path / "labels.npy"
    np.save(path, labels)
    with pytest.raises(PromptError, match=message) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_label_image_stored_as_a_stack_of_one_frame_stands_on_the_frame(tmp_path):
    labels = np.pad(LABELS, 4)
    tifffile.imwrite(tmp_path / "labels.tif", labels[None], metadata={"axes": "TYX"})
    np.save(tmp_path / "labels.npy", labels[None])
    for name in ("labels.tif", "labels.npy"):
        assert read_prompts(tmp_path / name, frame=4).prompts.prompts == prompts_from_labels(labels, 4)
        assert read_prompts(tmp_path / name).prompts.prompts == prompts_from_labels(labels, 0)


def test_a_frame_or_splitting_is_refused_for_json_which_says_it_itself(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(document()))
    for options in ({"frame": 0}, {"split": True}):
        with pytest.raises(PromptError, match="which is for label images"):
            read_prompts(path, **options)


def test_a_folder_of_label_images_gives_the_prompts_of_each_frame(tmp_path):
    for frame in range(3):
        Image.fromarray(LABELS * (frame != 1)).save(tmp_path / f"{frame}.png")
    stack = np.stack([LABELS, LABELS * 0, LABELS])
    assert read_prompts(tmp_path).prompts == PromptSet(prompts_from_labels(stack))


def test_the_indices_of_an_indexed_png_are_the_ids(tmp_path):
    image = Image.fromarray(LABELS.astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    image.save(tmp_path / "0.png")
    for path in (tmp_path, tmp_path / "0.png"):
        assert read_prompts(path, frame=2).prompts.prompts == prompts_from_labels(LABELS, 2)


def test_labels_may_be_whole_numbers_in_floats(tmp_path):
    tifffile.imwrite(tmp_path / "labels.tif", LABELS.astype(np.float32), imagej=True)
    assert read_prompts(tmp_path / "labels.tif").prompts.prompts == prompts_from_labels(LABELS)


def test_jpeg_is_no_file_of_labels(tmp_path):
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "labels.jpg")
    for path in (tmp_path, tmp_path / "labels.jpg"):
        with pytest.raises(PromptError, match="change the values of pixels"):
            read_prompts(path)


def test_a_mask_of_many_objects_is_split_when_asked(tmp_path):
    mask = np.uint8([[255, 0, 255], [255, 0, 0]])
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.warns(BinaryMaskWarning, match="2 separate pieces"):
        assert read_prompts(tmp_path / "mask.png").prompts.object_ids == (255,)
    assert read_prompts(tmp_path / "mask.png", split=True).prompts.object_ids == (1, 2)


def test_masks_and_labels_of_another_shape_than_the_image_are_refused_before_they_are_unpacked(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(entry(**{**RUNS, "shape": [30_000, 30_000]}, runs=[0, 900_000_000])))
    with pytest.raises(PromptError, match=r"entry 1 .* shape \(30000, 30000\) and the image \(3, 4\)"):
        read_prompts(path, shape=(3, 4))
    np.save(tmp_path / "labels.npy", LABELS)
    with pytest.raises(PromptError, match="the labels have 2 x 3 pixels, and the image has 3 x 4"):
        read_prompts(tmp_path / "labels.npy", shape=(3, 4))
    assert read_prompts(tmp_path / "labels.npy", shape=(2, 3)).prompts


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(document()), encoding="utf-8-sig")
    assert read_prompts(path).prompts.prompts == (PointPrompt(1, 0, 1, 2),)


def mutated(draw, original):
    """A document of which one place, or several, hold anything."""
    changed = json.loads(json.dumps(original))
    for _ in range(draw(st.integers(1, 3))):
        place = changed
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if not (isinstance(inner, dict | list) and inner) or draw(st.integers(0, 3)) == 0:
                place[key] = draw(ANY_JSON)
                break
            place = inner
    return changed


VALID = document(
    model={"name": "nano", "sha256": "a" * 64},
    contrast_limits=[0, 9],
    image_size=256,
    policy="x",
    prompts=[
        {**POINT, "x": 3, "positive": False},
        {**BOX, "y_max": 12},
        {**RUNS, "runs": [2, 5, 2, 1, 1, 1]},
    ],
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_only_errors_of_ours_leave_whatever_a_prompt_file_says(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "hostile.json"
    if data.draw(st.integers(0, 3)):
        content = json.dumps(mutated(data.draw, VALID)).encode()
    else:
        content = bytearray(json.dumps(VALID).encode())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(NapariSam2Error):
        read_prompts(path, shape=data.draw(st.none() | st.just((3, 4))))
