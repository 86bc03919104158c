"""The demo, run once with the embedded model, without network."""

import socket
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_sam2.cli.demo import FILES, PROMPTED_SLICE, dice
from napari_sam2.cli.verbs import main
from napari_sam2.files.prompts import read_prompts
from napari_sam2.sample_data import nuclei_stack, nuclei_stack_image, nuclei_stack_labels


@dataclass(frozen=True)
class Run:
    status: int
    out: str
    err: str
    folder: Path


def run_demo(folder, *more):
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = main(["demo", "--device", "cpu", "--output", str(folder), *more])
    return Run(status, out.getvalue(), err.getvalue(), folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with pytest.MonkeyPatch.context() as offline:
        offline.setattr(socket.socket, "connect", lambda *_: pytest.fail("the demo went to the network"))
        return run_demo(tmp_path_factory.mktemp("here") / "demo")


def test_the_demo_writes_its_files_and_nothing_else(demo):
    assert (demo.status, demo.err) == (0, "")
    assert sorted(path.name for path in demo.folder.iterdir()) == sorted(FILES)


def test_the_labels_are_those_given_on_the_prompted_slice(demo):
    labels, annotated = tifffile.imread(demo.folder / "labels.tif"), nuclei_stack_labels()
    assert labels.shape == nuclei_stack_image().shape
    np.testing.assert_array_equal(labels[PROMPTED_SLICE], annotated[PROMPTED_SLICE])


def test_every_nucleus_is_scored_on_every_slice(demo):
    scores = pd.read_csv(demo.folder / "scores.csv")
    nuclei = set(np.unique(nuclei_stack_labels()[PROMPTED_SLICE])) - {0}
    assert set(zip(scores["object_id"], scores["frame"], strict=True)) == {(i, z) for i in nuclei for z in range(31)}
    assert scores["confidence"].between(0, 1).all()


def test_the_dice_that_is_printed_is_that_of_the_labels(demo):
    features = pd.read_csv(demo.folder / "features.csv")
    labels, annotated = tifffile.imread(demo.folder / "labels.tif"), nuclei_stack_labels()
    others = np.arange(len(labels)) != PROMPTED_SLICE
    expected = [dice(labels[others] == i, annotated[others] == i) for i in features["index"]]
    np.testing.assert_allclose(features["dice"], expected)
    there = [others & (annotated == i).any((1, 2)) for i in features["index"]]
    inside = [dice(labels[on] == i, annotated[on] == i) for i, on in zip(features["index"], there, strict=True)]
    np.testing.assert_allclose(features["dice_inside"], inside)
    assert f"{np.mean(inside):.2f} on the slices that hold the nucleus, {np.mean(expected):.2f} on all" in demo.out
    assert str(demo.folder) in demo.out
    header, *rows = demo.out.split("\n\n")[0].splitlines()
    assert header.split()[0] == "nucleus"
    assert [int(row.split()[0]) for row in rows] == features["index"].tolist()


def test_the_prompts_say_what_the_result_depends_on(demo, nano):
    recorded = read_prompts(demo.folder / "prompts.json")
    assert len(recorded.prompts) == len(pd.read_csv(demo.folder / "features.csv"))
    assert (recorded.model_name, recorded.model_sha256) == ("nano", nano.sha256)
    assert recorded.image_size == 256
    assert recorded.contrast_limits is not None


def test_the_overview_is_a_picture(demo):
    with Image.open(demo.folder / "overview.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1800, 1380))


def test_a_second_demo_is_refused_and_changes_nothing(demo):
    before = {path.name: path.read_bytes() for path in demo.folder.iterdir()}
    again = run_demo(demo.folder)
    assert again.status == 1
    assert "labels.tif exists already" in again.err
    assert {path.name: path.read_bytes() for path in demo.folder.iterdir()} == before


def test_an_unusable_model_leaves_no_folder(tmp_path):
    run = run_demo(tmp_path / "demo", "--model", "huge")
    assert (run.status, list(tmp_path.iterdir())) == (1, [])
    assert "'huge'" in run.err


@pytest.mark.parametrize(
    ("found", "annotated", "expected"),
    [("110", "110", 1.0), ("110", "011", 0.5), ("100", "011", 0.0), ("000", "000", 1.0), ("000", "010", 0.0)],
)
def test_dice_is_twice_what_is_shared_over_what_there_is(found, annotated, expected):
    assert dice(*(np.array([sign == "1" for sign in text]) for text in (found, annotated))) == expected


def test_the_sample_stack_is_an_image_layer_with_labels_to_match():
    ((image, options, kind),) = nuclei_stack()
    assert (image.shape, image.dtype, kind) == ((31, 61, 57), np.uint16, "image")
    assert options["name"] == "nuclei (z-stack)"
    assert nuclei_stack_labels().shape == image.shape
