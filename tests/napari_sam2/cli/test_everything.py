"""Everything in an image from the shell, with a model that finds what is bright."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam2.cli.parser import make_parser
from napari_sam2.errors import ModelError
from napari_sam2.files.prompts import PromptFile, write_prompts
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from napari_sam2.proposals import ProposalFilter

EVERYTHING = "everything grains.tif --output out.tif"


@pytest.fixture(autouse=True)
def grains(shell):
    """A file of three bright squares, of 10, 6 and 6 px a side, the second the brightest; and channels."""
    image = np.full((30, 40), 10, np.uint16)
    for y, x, side, value in ((2, 2, 10, 200), (4, 25, 6, 255), (20, 2, 6, 200)):
        image[y : y + side, x : x + side] = value
    tifffile.imwrite("grains.tif", image, imagej=True, resolution=(4, 2), metadata={"axes": "YX", "unit": "um"})
    nuclei = np.zeros_like(image)
    nuclei[22:24, 4:6] = 900
    tifffile.imwrite("channels.tif", np.stack([image, nuclei, image, image]), imagej=True, metadata={"axes": "CYX"})
    return image


def labels_at(*places, name="out.tif"):
    labels = tifffile.imread(name)
    return [int(labels[place]) for place in places]


CORNERS = ((3, 3), (5, 26), (21, 3))


def test_labels_and_scores_of_everything_are_written(shell, grains):
    assert shell.run(EVERYTHING, "--scores", "scores.csv") == 0
    np.testing.assert_array_equal(tifffile.imread("out.tif") > 0, grains > 100)
    assert labels_at(*CORNERS) == [1, 2, 3]
    scores = pd.read_csv("scores.csv")
    assert scores[["object_id", "area_in_labels_px"]].to_numpy().tolist() == [[1, 100], [2, 36], [3, 36]]
    assert (shell.out, shell.err) == ("3 objects found by fake: out.tif\n", "")
    assert shell.loaded == [("nano", "auto", "auto")]


def test_a_zarr_holds_what_is_known_of_each_object(shell):
    assert shell.run("everything grains.tif --output out.zarr") == 0
    attributes = zarr.open_group("out.zarr", mode="r").attrs["ome"]["image-label"]["properties"]
    assert [one["label-value"] for one in attributes] == [1, 2, 3]


def test_what_is_kept_can_be_chosen(shell):
    assert shell.run(EVERYTHING, "--largest-px", 50) == 0
    assert labels_at(*CORNERS) == [0, 1, 2]
    assert shell.run(EVERYTHING, "--overwrite", "--size-bias", -1, "--smallest-px", 50) == 0
    assert labels_at((3, 3), *CORNERS) == [1, 1, 0, 0]


def test_the_numbers_in_the_help_are_those_that_are_used(shell):
    assert shell.run("everything --help") == 0
    text = " ".join(shell.out.split()).split("options: ")[1]
    for field in fields(ProposalFilter):
        option = "--" + field.name.replace("_", "-")
        told = re.search(rf"{option} [A-Z]+ .*?\(default: ([^)]+)\)", text)
        assert told is not None, option
        assert told[1] == ("no limit" if field.default is None else str(field.default))


# Seeds ---------------------------------------------------------------------------------------------------------------


def write_seeds(kind):
    """The first and the third square, as seeds of a kind."""
    path = Path(f"seeds.{'json' if kind in ('points', 'boxes') else kind}")
    match kind:
        case "csv":
            path.write_text("index,axis-0,axis-1\n0,5.5,6.0\n1,22,4\n")
        case "points":
            write_prompts(path, PromptFile(PromptSet([PointPrompt(1, 0, 5, 6), PointPrompt(2, 0, 22, 4)])))
        case "boxes":
            write_prompts(path, PromptFile(PromptSet([BoxPrompt(1, 0, 2, 2, 9, 9), BoxPrompt(2, 0, 20, 2, 25, 7)])))
        case _:
            labels = np.zeros((30, 40), np.uint8)
            labels[4:7, 4:7], labels[21:23, 3:5] = 9, 4
            Image.fromarray(labels).save(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "points", "boxes", "png", "tif"])
def test_seeds_come_from_tables_prompts_and_label_images(shell, kind):
    assert shell.run(EVERYTHING, "--seeds", write_seeds(kind)) == 0
    assert labels_at(*CORNERS) == [1, 0, 2]
    assert shell.err == ""


def test_a_mask_of_many_objects_is_many_seeds_when_split(shell):
    tifffile.imwrite("mask.tif", np.uint8(tifffile.imread("grains.tif") > 100) * 255)
    assert shell.run(EVERYTHING, "--seeds", "mask.tif", "--split") == 0
    assert labels_at(*CORNERS) == [1, 2, 3]
    assert shell.run(EVERYTHING, "--seeds", "mask.tif", "--overwrite") == 0
    assert "one id, 255, in 3 separate pieces" in shell.err


def test_bright_spots_of_another_channel_are_seeds(shell):
    assert shell.run("everything channels.tif --output out.tif --channel 0 --seed-channel 1 --seed-spacing 4") == 0
    assert labels_at(*CORNERS) == [0, 0, 1]


# Examples ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def example(grains):
    """A file of prompts: the second square, of 6 px, is an example."""
    mask = MaskPrompt(5, 0, grains == 255)
    write_prompts("like.json", PromptFile(PromptSet([mask])))
    return "like.json"


def test_what_is_like_an_example_is_found(shell, example):
    assert shell.run(EVERYTHING, "--like", example, "--least-likeness", 0.9) == 0
    assert labels_at(*CORNERS) == [0, 1, 2]


def test_examples_may_be_on_another_image(shell, example, grains):
    tifffile.imwrite("next.tif", np.flipud(grains)[:24])
    command = f"everything next.tif --output out.tif --like {example} --like-image grains.tif --least-likeness 0.9"
    assert shell.run(command) == 0
    labels = tifffile.imread("out.tif")
    assert (labels.shape, labels.max(), labels[8, 3], labels[23, 26]) == ((24, 40), 1, 1, 0)


def test_an_example_that_is_like_nothing_else_is_found_alone_and_a_sentence_says_so(shell, grains, caplog):
    write_prompts("like.json", PromptFile(PromptSet([MaskPrompt(5, 0, grains < 100)])))
    assert shell.run(EVERYTHING, "--like", "like.json", "--least-likeness", 0.9) == 0
    assert shell.out == "1 object found by fake: out.tif\n"
    assert "Nothing else was found that is like the examples" in caplog.text


# What goes wrong -----------------------------------------------------------------------------------------------------


def test_nothing_found_is_a_label_image_of_nothing_and_a_sentence(shell, caplog):
    assert shell.run(EVERYTHING, "--least-score", 0.99, "--scores", "scores.csv") == 0
    assert not tifffile.imread("out.tif").any()
    scores = pd.read_csv("scores.csv")
    assert (len(scores), list(scores)[:3]) == (0, ["object_id", "frame", "predicted_iou"])
    assert "Of 6 masks that were proposed none is kept" in caplog.text


TABLES = {
    "names.csv": "a,b\n1,2\n",
    "nothing.csv": "",
    "header.csv": "y,x\n",
    "words.csv": "y,x\n1,2\n3,three\n",
    "short.csv": "y,x\n1\n",
    "frames.csv": "index,axis-0,axis-1,axis-2\n0,0,1,2\n",
    "outside.csv": "y,x\n1,40\n",
    "nan.csv": "y,x\n1,nan\n",
    "binary.csv": b"\xff\xfe\x00\x80",
}

REFUSED = [
    ("everything none.tif --output out.tif", "There is no file none.tif"),
    ("everything stack.tif --output out.tif", "is a stack of 5 frames, and everything is found in one image. Save a"),
    (f"{EVERYTHING} --least-score 2", "least_score is 2.0. Use a number from 0 to 1"),
    (f"{EVERYTHING} --smallest-px 0", "Areas from 0 to None px"),
    (f"{EVERYTHING} --seeds none.csv", "There is no file none.csv"),
    (f"{EVERYTHING} --seeds names.csv", "names.csv: there are no points in this table. Name their columns"),
    (f"{EVERYTHING} --seeds nothing.csv", "nothing.csv: there are no points in this table"),
    (f"{EVERYTHING} --seeds header.csv", "header.csv: there are no points in this table"),
    (f"{EVERYTHING} --seeds words.csv", "words.csv: line 3 has 'three' where a number should be"),
    (f"{EVERYTHING} --seeds short.csv", "short.csv: line 2 has None where a number should be"),
    (f"{EVERYTHING} --seeds frames.csv", "frames.csv: the points have three axes"),
    (f"{EVERYTHING} --seeds outside.csv", r"The seed \(y 1, x 40\) lies outside the image of 30 x 40"),
    (f"{EVERYTHING} --seeds nan.csv", r"The seed \(y 1, x nan\) lies outside"),
    (f"{EVERYTHING} --seeds binary.csv", "binary.csv: this is no table of text"),
    (f"{EVERYTHING} --seeds labels.tif", "the labels have 8 x 12 pixels, and the image has 30 x 40"),
    (f"{EVERYTHING} --seeds prompts.json", "the mask has shape|and the image"),
    (f"{EVERYTHING} --seed-channel 3", "There is no channel 3"),
    (f"{EVERYTHING} --seed-spacing 3", "Give --seed-channel, too"),
    (f"{EVERYTHING} --like none.json", "There is no file none.json"),
    (f"{EVERYTHING} --like-image image.tif", "Say with --like which objects"),
    (f"{EVERYTHING} --like click.json --like-image stack.tif", "is a stack of 5 frames"),
    (f"{EVERYTHING} --like labels.tif", "the labels have 8 x 12 pixels, and the image has 30 x 40"),
    ("everything grains.tif --output grains.tif --overwrite", "grains.tif is the image and --output at once"),
    (f"{EVERYTHING} --seeds nan.csv --scores nan.csv --overwrite", r"lies outside"),
    (f"{EVERYTHING} --like click.json --scores click.json --overwrite", "click.json is --like and --scores"),
    (
        f"{EVERYTHING} --like click.json --like-image image.tif --scores image.tif --overwrite",
        "image.tif is --like-image and --scores",
    ),
    ("everything grains.tif --output out.png", "labels are written as TIFF or OME-Zarr"),
]


@pytest.mark.parametrize(("command", "message"), REFUSED, ids=[command for command, _ in REFUSED])
def test_refusals_are_one_sentence_before_any_work(shell, command, message):
    for name, content in TABLES.items():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = shell.files()
    assert shell.run(command) == 1
    assert shell.out == ""
    assert re.match(r"napari-sam2: \S", shell.err)
    assert shell.err.count("\n") == 1
    assert re.search(message, shell.err)
    assert shell.loaded == []
    assert shell.files() == before


@pytest.mark.parametrize("options", ["", "--output a.tif --seeds a --seed-channel 1"])
def test_a_wrong_command_line_is_explained(shell, options):
    assert shell.run(f"everything grains.tif {options}") == 2
    assert shell.err.startswith("usage: napari-sam2 everything")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "Stopped."),
        (ModelError("The model has run out of memory."), 1, "The model has run out of memory."),
        (MemoryError(), 1, "The memory is full."),
    ],
)
def test_a_search_that_ends_early_leaves_nothing(shell, fake, error, status, said):
    def fail(part):
        if part == 1:
            raise error

    fake.before_part = fail
    before = shell.files()
    assert shell.run(EVERYTHING, "--scores", "scores.csv") == status
    assert shell.err.startswith(f"napari-sam2: {said}")
    assert shell.files() == before


def test_progress_counts_parts(shell, monkeypatch):
    seen = []

    class Bar:
        def __init__(self, unit):
            self.unit = unit

        def __enter__(self):
            return lambda done, total: seen.append((self.unit, done, total))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("napari_sam2.cli.verbs.progress_bar", Bar)
    assert shell.run(EVERYTHING) == 0
    assert seen == [("parts", 1, 2), ("parts", 2, 2)]


def test_model_and_machine_are_those_asked_for(shell):
    assert shell.run(EVERYTHING, *["--model", "small", "--device", "cpu", "--image-size", "512"]) == 0
    assert shell.loaded == [("small", "cpu", 512)]


def test_the_verb_is_listed(shell):
    assert "find all objects of one image, without prompts" in " ".join(make_parser().format_help().split())
