"""The verbs of the shell, run in this process with a model that draws what it is told."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import zarr
from PIL import Image

from napari_sam2 import __version__
from napari_sam2.cli.verbs import main
from napari_sam2.errors import ModelError
from napari_sam2.files.images.reading import read_image
from napari_sam2.files.prompts import PromptFile, write_prompts
from napari_sam2.inference import models
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import PointPrompt, PromptSet
from napari_sam2.results import feature_table, score_table
from napari_sam2.sessions.document import Session
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.replay import replay
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, ModelUsed, PackedPlane
from napari_sam2.sessions.storage import write_document, write_session
from sam2_model.config import Framing
from tests.napari_sam2.conftest import FRAMES
from tests.napari_sam2.fake_predictor import FakePredictor

PROPAGATE = "propagate stack.tif --prompts prompts.json --output out.tif"
SEGMENT = "segment image.tif --prompts click.json --output out.tif"


# Labels and scores ---------------------------------------------------------------------------------------------------


def test_propagate_writes_labels_and_scores_of_every_frame(shell, toy_labels):
    assert shell.run(PROPAGATE, "--scores", "scores.csv") == 0
    np.testing.assert_array_equal(tifffile.imread("out.tif"), np.stack([toy_labels] * FRAMES))
    scores = pd.read_csv("scores.csv")
    assert scores.groupby("object_id")["frame"].apply(list).to_dict() == {i: [0, 1, 2, 3, 4] for i in (1, 2, 3)}
    assert re.fullmatch(r"3 objects followed over 5 frames by fake, mean confidence 1\.00: out\.tif\n", shell.out)
    assert shell.err == ""
    assert shell.loaded == [("nano", "auto", "auto")]


def test_segment_writes_labels_and_scores_of_the_image(shell):
    assert shell.run(SEGMENT, "--scores", "scores.csv") == 0
    labels = tifffile.imread("out.tif")
    assert (labels.shape, labels.dtype, labels[2, 1]) == ((8, 12), np.uint16, 7)
    assert pd.read_csv("scores.csv")["object_id"].tolist() == [7]
    assert shell.out == "1 of 1 objects found by fake: out.tif\n"


def test_label_images_are_prompts_on_the_frame_asked_for(shell, fake):
    assert shell.run("propagate stack.tif --prompts labels.tif --output out.tif --frame 3") == 0
    assert ("prompt", 3, (1, 2, 3)) in fake.calls
    expected = tifffile.imread("out.tif")
    assert shell.run("propagate stack.tif --prompts labels.tif --output zero.tif") == 0
    assert ("prompt", 0, (1, 2, 3)) in fake.calls
    np.testing.assert_array_equal(tifffile.imread("zero.tif"), expected)


def test_a_frame_is_refused_for_prompts_that_say_it_themselves(shell):
    for prompts in ("prompts.json", "stack.tif"):
        assert shell.run(f"propagate stack.tif --prompts {prompts} --output out.tif --frame 3") == 1
        assert "Leave the frame out" in shell.err
    assert shell.loaded == []


def test_a_folder_of_label_images_is_prompts_for_a_stack(shell, fake, toy_labels):
    Path("labels").mkdir()
    for frame in range(FRAMES):
        Image.fromarray((toy_labels * (frame == 2)).astype(np.uint8)).save(f"labels/{frame}.png")
    assert shell.run("propagate stack.tif --prompts labels --output out.tif") == 0
    assert ("prompt", 2, (1, 2, 3)) in fake.calls


def test_a_mask_of_many_objects_is_said_to_be_one_and_split_when_asked(shell, toy_labels):
    tifffile.imwrite("mask.tif", np.uint8(toy_labels > 0) * 255)
    assert shell.run("segment image.tif --prompts mask.tif --output one.tif") == 0
    assert "one id, 255, in 3 separate pieces on frame 0" in shell.err
    assert "--split" in shell.err
    assert np.unique(tifffile.imread("one.tif")).tolist() == [0, 255]
    assert shell.run("segment image.tif --prompts mask.tif --output three.tif --split") == 0
    assert shell.err == ""
    np.testing.assert_array_equal(tifffile.imread("three.tif"), toy_labels)


def test_a_mask_that_does_not_fit_the_image_is_refused_before_it_is_unpacked(shell):
    mask = {"kind": "mask", "object_id": 1, "frame": 0, "shape": [30_000, 30_000], "runs": [0, 9 * 10**8]}
    Path("huge.json").write_text(json.dumps({"format": "napari-sam2 prompts", "version": 1, "prompts": [mask]}))
    assert shell.run("segment image.tif --prompts huge.json --output out.tif") == 1
    assert "shape (30000, 30000) and the image (8, 12)" in shell.err


def test_labels_of_a_stack_are_prompts_on_every_labelled_frame(shell, fake, toy_labels):
    stack = np.zeros((FRAMES, 8, 12), np.uint8)
    stack[1], stack[4] = toy_labels, toy_labels == 1
    tifffile.imwrite("labelled.tif", stack, imagej=True, metadata={"axes": "TYX"})
    assert shell.run("propagate stack.tif --prompts labelled.tif --output out.tif") == 0
    assert [call for call in fake.calls if call[0] == "prompt"] == [("prompt", 1, (1, 2, 3)), ("prompt", 4, (1,))]


def test_direction_and_range_are_taken(shell):
    assert shell.run(PROPAGATE, *["--direction", "backward", "--start", "1", "--stop", "2"]) == 0
    assert tifffile.imread("out.tif").any((1, 2)).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "imagej.tif",
            {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "TYX", "unit": "um", "finterval": 9}},
        ),
        ("imagej.tif", {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", "unit": "um", "spacing": 3}}),
        (
            "stack.ome.tif",
            {"metadata": {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 3}},
        ),
        ("stack.ome.tif", {"metadata": {"axes": "TYX", "PhysicalSizeX": 0.25, "TimeIncrement": 2}}),
    ],
    ids=["ImageJ T", "ImageJ Z", "OME Z", "OME T"],
)
def test_axes_and_pixel_size_are_kept(shell, toy_movie, name, options):
    tifffile.imwrite(name, toy_movie, **options)
    assert shell.run(f"propagate {name} --prompts prompts.json --output out.tif") == 0
    before, after = read_image(name), read_image("out.tif")
    assert len(before.pixel_size) >= 2
    assert (after.axes, after.is_ome) == (before.axes, before.is_ome)
    assert after.pixel_size == before.pixel_size


def test_folders_of_pictures_and_npy_files_are_stacks(shell, toy_movie, toy_labels):
    Path("frames").mkdir()
    for frame in range(10):
        Image.fromarray(np.full((8, 12), frame, np.uint8)).save(f"frames/t{frame}.png")
    np.save("stack.npy", toy_movie)
    for source, count in (("frames", 10), ("stack.npy", FRAMES)):
        assert shell.run(f"propagate {source} --prompts prompts.json --output {source}.tif") == 0
        np.testing.assert_array_equal(tifffile.imread(f"{source}.tif"), np.stack([toy_labels] * count))


# OME-Zarr ------------------------------------------------------------------------------------------------------------

ZARR = "propagate stack.tif --prompts prompts.json --output out.zarr"


def zarr_labels(path):
    return zarr.open_array(f"{path}/0", mode="r")[:]


def zarr_objects(path):
    """What a label image says of its objects, one row for each."""
    properties = zarr.open_group(path, mode="r").attrs["ome"]["image-label"]["properties"]
    return pd.DataFrame(properties).rename(columns={"label-value": "index"})


@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr"])
def test_propagate_writes_the_same_labels_as_zarr_and_what_is_known_of_each_object(shell, name):
    assert shell.run(PROPAGATE, "--scores", "scores.csv") == 0
    assert shell.run(f"propagate stack.tif --prompts prompts.json --output {name}") == 0
    np.testing.assert_array_equal(zarr_labels(name), tifffile.imread("out.tif"))
    expected = feature_table(pd.read_csv("scores.csv"))
    pd.testing.assert_frame_equal(zarr_objects(name), expected, check_dtype=False)
    assert shell.out.endswith(f": {name}\n")


def test_segment_writes_a_zarr(shell):
    assert shell.run("segment image.tif --prompts click.json --output out.zarr --scores scores.csv") == 0
    labels, objects = zarr_labels("out.zarr"), zarr_objects("out.zarr")
    assert (labels.shape, labels.dtype, labels[2, 1]) == ((8, 12), np.uint16, 7)
    assert objects["index"].tolist() == [7]
    assert objects["mean_confidence"].tolist() == pytest.approx(pd.read_csv("scores.csv")["confidence"])


def test_axes_and_pixel_size_are_kept_in_a_zarr(shell, toy_movie):
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 3}
    tifffile.imwrite("stack.tif", toy_movie, imagej=True, resolution=(4, 2), metadata=metadata)
    assert shell.run(ZARR) == 0
    (image,) = zarr.open_group("out.zarr", mode="r").attrs["ome"]["multiscales"]
    assert [(axis["name"], axis["unit"]) for axis in image["axes"]] == [(axis, "micrometer") for axis in "zyx"]
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == pytest.approx([3, 0.5, 0.25])


def test_finished_frames_of_a_zarr_are_kept_after_ctrl_c(shell, fake, toy_labels, caplog):
    stop_with(KeyboardInterrupt(), fake, before_frame=4)
    assert shell.run(ZARR) == 130
    assert shell.err == "napari-sam2: Stopped. Finished frames are kept in out.zarr.partial.zarr.\n"
    assert not Path("out.zarr").exists()
    nothing = np.zeros_like(toy_labels)
    expected = [nothing, nothing, toy_labels, toy_labels, nothing]
    np.testing.assert_array_equal(zarr_labels("out.zarr.partial.zarr"), expected)
    fake.before_follow = lambda frame: None
    assert shell.run(ZARR) == 0
    assert "out.zarr.partial.zarr is left of an earlier run" in caplog.text
    np.testing.assert_array_equal(zarr_labels("out.zarr.partial.zarr"), expected)


def test_a_zarr_is_not_left_when_nothing_was_finished(shell, fake):
    stop_with(KeyboardInterrupt(), fake, before_frame=2)
    assert shell.run(ZARR) == 130
    assert not list(Path().glob("out*"))


def test_an_existing_zarr_is_replaced_only_when_allowed(shell):
    former = zarr.create_array("out.zarr/0", shape=(1, 2, 2), dtype="u1")
    zarr.create_group("out.zarr", attributes={"former": True})
    assert shell.run(ZARR) == 1
    assert shell.err == "napari-sam2: out.zarr exists already. Choose another name, or allow overwriting.\n"
    assert zarr_labels("out.zarr").shape == former.shape
    assert shell.loaded == []
    assert shell.run(ZARR, "--overwrite") == 0
    assert zarr_labels("out.zarr").shape == (FRAMES, 8, 12)
    assert "former" not in zarr.open_group("out.zarr", mode="r").attrs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--prompts prompts.json", "stack.tif is the image and lies in out.zarr"),
        ("--prompts out.zarr/prompts.json", "prompts.json is --prompts and lies in out.zarr"),
        ("--prompts prompts.json --scores out.zarr/a/scores.csv", "scores.csv is --scores and lies in out.zarr"),
    ],
)
def test_a_zarr_that_holds_an_input_or_another_output_is_not_replaced(shell, options, message):
    zarr.create_group("out.zarr")
    stack = Path("stack.tif")
    if "image" in message:
        stack = stack.rename("out.zarr/stack.tif")
    Path("out.zarr/prompts.json").write_bytes(Path("prompts.json").read_bytes())
    before = shell.files()
    assert shell.run(f"propagate {stack} {options} --output out.zarr --overwrite") == 1
    assert message in shell.err
    assert shell.err.count("\n") == 1
    assert shell.files() == before


def test_without_zarr_it_is_said_how_to_get_it(shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    before = shell.files()
    assert shell.run(ZARR) == 1
    assert shell.err.startswith("napari-sam2: out.zarr: zarr is not installed. Write a .tif, or install it: pip")
    assert shell.files() == before


# What the model sees -------------------------------------------------------------------------------------------------


@pytest.fixture
def seen(fake, monkeypatch):
    """The stacks that the model was given."""
    stacks = []
    opening = type(fake).open

    def open_and_keep(self, frames):
        stacks.append(frames)
        return opening(self, frames)

    monkeypatch.setattr(type(fake), "open", open_and_keep)
    return stacks


@pytest.mark.parametrize("limits", [(100, 2000), (-50.5, 1e5)])
def test_contrast_is_mapped_as_asked(shell, seen, limits):
    assert shell.run(PROPAGATE, "--contrast", *limits) == 0
    assert seen[0].contrast_limits == limits


def test_contrast_recorded_with_the_prompts_holds_unless_another_is_asked_for(shell, seen):
    prompts = PromptSet([PointPrompt(1, 0, 2, 1)])
    write_prompts("mine.json", PromptFile(prompts, contrast_limits=(5, 500)))
    assert shell.run("propagate stack.tif --prompts mine.json --output a.tif") == 0
    assert shell.run("propagate stack.tif --prompts mine.json --output b.tif --contrast 1 9") == 0
    assert [frames.contrast_limits for frames in seen] == [(5, 500), (1, 9)]


def test_one_channel_can_be_chosen_and_axes_be_named(shell, seen, toy_movie):
    np.save("two.npy", np.stack([np.zeros_like(toy_movie), toy_movie], 1))
    assert shell.run("propagate two.npy --prompts prompts.json --output out.tif --axes TCYX --channel 1") == 0
    assert (len(seen[0]), seen[0].contrast_limits[0]) == (FRAMES, 100)
    assert tifffile.imread("out.tif").shape == toy_movie.shape


def test_threads_are_set(shell, monkeypatch):
    counts = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    assert shell.run(PROPAGATE, "--threads", 3) == 0
    assert counts == [3]


def test_threads_out_of_all_proportion_are_refused_before_there_is_an_output(shell):
    before = shell.files()
    for count in (10**6, 2**31, 10**30):
        assert shell.run(PROPAGATE, "--threads", count) == 1
        assert shell.err.startswith("napari-sam2: The number of threads is")
    assert shell.files() == before


@pytest.mark.parametrize(
    ("recorded", "options", "loaded"),
    [
        ({}, "", ("nano", "auto", "auto")),
        ({}, "--model tiny --image-size 512 --device cpu", ("tiny", "cpu", 512)),
        ({"model_name": "small", "image_size": 256}, "", ("small", "auto", 256, Framing.SQUARE)),
        (
            {"model_name": "small", "image_size": 256, "framing": Framing.NATIVE},
            "",
            ("small", "auto", 256, Framing.NATIVE),
        ),
        ({"model_name": "small", "image_size": 256}, "--image-size 512", ("small", "auto", 512)),
        ({"model_name": "small", "image_size": 256}, "--model small", ("small", "auto", 256, Framing.SQUARE)),
        ({"model_name": "small", "image_size": 256}, "--model large", ("large", "auto", "auto")),
        ({"model_name": "small", "image_size": 256}, "--image-size 0", ("small", "auto", 0)),
    ],
)
def test_the_model_of_the_prompts_is_used_unless_another_is_asked_for(shell, recorded, options, loaded):
    write_prompts("mine.json", PromptFile(PromptSet([PointPrompt(1, 0, 2, 1)]), **recorded))
    assert shell.run(f"propagate stack.tif --prompts mine.json --output out.tif {options}") == 0
    assert shell.loaded == [loaded]


def test_options_of_a_fine_tuning_are_passed_on(shell, monkeypatch):
    seen = {}

    def finetune(*arguments, **options):
        seen.update(options, files=tuple(map(str, arguments)))
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_sam2.training.finetune.finetune", finetune)
    command = "finetune a.tif b.tif --output c.safetensors --base tiny --data stack --steps 7 --train-encoder"
    more = "--validation 0.5 --complete --seed 4 --device cpu --threads 2 --image-size 512"
    assert shell.run(f"{command} {more} --axes CTYX --channel 1 --contrast 1 9 --overwrite") == 130
    assert seen == {
        "files": ("a.tif", "b.tif", "c.safetensors"),
        "base": "tiny",
        "data": "stack",
        "steps": 7,
        "encoder": "trained",
        "validation": 0.5,
        "is_complete": True,
        "seed": 4,
        "device": "cpu",
        "threads": 2,
        "image_size": 512,
        "axes": "CTYX",
        "channel": 1,
        "contrast_limits": [1.0, 9.0],
        "overwrite": True,
    }


def test_the_demo_runs_with_the_model_asked_for(shell):
    assert shell.run("demo --output demo --model tiny --image-size 512 --device cpu") == 0
    assert shell.loaded == [("tiny", "cpu", 512)]
    assert Path("demo/overview.png").exists()


@pytest.mark.parametrize(("sha256", "warns"), [("a" * 64, True), ("f" * 64, False)])
@pytest.mark.parametrize(("verb", "data"), [("segment", "image.tif"), ("propagate", "stack.tif")])
def test_other_weights_than_the_prompts_were_given_for_are_mentioned(shell, verb, data, sha256, warns):
    recorded = PromptFile(PromptSet([PointPrompt(1, 0, 2, 1)]), model_name="nano", model_sha256=sha256)
    write_prompts("mine.json", recorded)
    assert shell.run(f"{verb} {data} --prompts mine.json --output out.tif") == 0
    assert ("given for other weights of nano" in shell.err) is warns


@pytest.mark.parametrize(("verb", "data"), [("segment", "image.tif"), ("propagate", "stack.tif")])
def test_small_objects_are_named_on_the_error_stream(shell, fake, verb, data):
    fake.size = 16
    tifffile.imwrite("dot.tif", np.pad(np.array([[9]], np.uint8), ((3, 4), (5, 6))))
    assert shell.run(f"{verb} {data} --prompts dot.tif --output out.tif") == 0
    assert shell.err.startswith("napari-sam2: Objects 9: only a few pixels remain")
    assert shell.err.count("\n") == 1


# Replay --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(shell, fake):
    """A session of two objects, one of them committed, beside the stack; the changes are to be made in it."""

    def save(*, name="work.sam2session", image=(), model=(), **choices):
        used = ModelUsed(
            "fake", fake.sha256, fake.size, **{"source": "nano", "contrast_limits": (5, 500), **dict(model)}
        )
        clicks = [PointPrompt(1, 2, 2, 2), PointPrompt(2, 0, 2, 8)]
        committed, held = (MaskSource(click.object_id, (click,), used, (0, 1, 2)) for click in clicks)
        session = Session(
            **{
                "image": ImageUsed(
                    **{"name": "stack", "shape": (FRAMES, 8, 12), "dtype": "uint16", "path": shell.folder / "stack.tif"}
                    | dict(image)
                ),
                "steps": (Commit((committed,), CommitPolicy.KEEP),),
                "sources": (held,),
                **choices,
            }
        )
        write_session(shell.folder / name, session, overwrite=True)
        return session

    return save


REPLAY = "replay work.sam2session --output out.tif"


def test_a_session_is_replayed(shell, saved, seen):
    session = saved()
    assert shell.run(REPLAY, "--scores", "scores.csv") == 0
    labels, written = tifffile.imread("out.tif"), pd.read_csv("scores.csv")
    expected = list(replay(session, lambda model: seen[0], lambda model: FakePredictor()))
    for done in expected:
        np.testing.assert_array_equal(labels[done.frame], done.labels)
        assert done.labels.any()
    assert labels.any((1, 2)).tolist() == [True, True, True, False, False]
    pd.testing.assert_frame_equal(written, score_table(one for done in expected for one in done.scores))
    assert shell.out == "2 objects on 3 frames, by fake: out.tif\n"
    assert shell.loaded == [("nano", "auto", 256, Framing.SQUARE)]
    assert seen[0].contrast_limits == (5, 500)


def test_a_folder_of_a_session_is_replayed(shell, saved):
    write_document(shell.folder / "work", saved())
    assert shell.run(REPLAY) == 0
    assert shell.run("replay work --output other.tif --device cpu") == 0
    assert Path("other.tif").read_bytes() == Path("out.tif").read_bytes()
    assert shell.loaded[-1] == ("nano", "cpu", 256, Framing.SQUARE)


def test_an_image_that_was_moved_is_found_beside_the_session_or_where_it_is_said_to_be(shell, saved):
    saved(image={"path": Path("C:\\data\\stack.tif")})
    assert shell.run(REPLAY) == 0
    Path("stack.tif").rename("elsewhere.tif")
    assert shell.run(REPLAY, "--overwrite") == 1
    assert "stack.tif nor beside the session" in shell.err
    assert shell.run(REPLAY, "--overwrite", "--image", "elsewhere.tif") == 0


def test_weights_that_were_moved_are_found_beside_the_session(shell, saved):
    saved(model={"source": "/gone/mine.safetensors"})
    assert shell.run(REPLAY) == 0
    Path("mine.safetensors").touch()
    assert shell.run(REPLAY, "--overwrite") == 0
    assert [str(model) for model, *_ in shell.loaded] == ["/gone/mine.safetensors", "mine.safetensors"]


@pytest.mark.parametrize("order", [None, (0, 1, 2), (1, 0, 2)])
def test_a_session_is_replayed_into_a_zarr(shell, saved, order):
    saved(image={"order": order})
    assert shell.run(REPLAY, "--scores", "scores.csv") == 0
    assert shell.run("replay work.sam2session --output out.zarr") == 0
    labels = zarr_labels("out.zarr")
    assert labels.any()
    np.testing.assert_array_equal(labels, tifffile.imread("out.tif"))
    expected = feature_table(pd.read_csv("scores.csv"))
    pd.testing.assert_frame_equal(zarr_objects("out.zarr"), expected, check_dtype=False)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_labels_lie_on_the_image_however_it_was_shown(shell, saved, order):
    shape = tuple((FRAMES, 8, 12)[axis] for axis in order)
    plane = np.arange(shape[1] * shape[2], dtype=np.uint16).reshape(shape[1:])
    saved(image={"order": order}, steps=(HandEdit({3: PackedPlane.pack(plane)}),), sources=())
    assert shell.run(REPLAY) == 0
    labels = tifffile.imread("out.tif")
    np.testing.assert_array_equal(labels.transpose(order)[3], plane)
    assert np.count_nonzero(labels) == plane.size - 1


def test_a_session_of_a_single_image_is_replayed(shell, saved):
    image = {"shape": (8, 12), "order": (1, 0), "path": shell.folder / "image.tif"}
    plane = np.arange(96, dtype=np.uint16).reshape(12, 8)
    saved(image=image, steps=(HandEdit({0: PackedPlane.pack(plane)}),), sources=())
    assert shell.run(REPLAY) == 0
    np.testing.assert_array_equal(tifffile.imread("out.tif"), plane.T)
    assert shell.out == "0 objects on 1 frames, by no model: out.tif\n"


def test_finished_frames_of_a_replay_are_kept_when_it_ends_early(shell, fake, saved):
    saved()
    visited = []

    def before_follow(frame):
        visited.append(frame)
        if visited.count(0) == 2:  # on the way back, when the other frames are complete
            raise KeyboardInterrupt

    fake.before_follow = before_follow
    assert shell.run(REPLAY, "--scores", "scores.csv") == 130
    assert "Finished frames are kept in out.tif.partial.tif. Their scores are in scores.csv.partial.csv." in shell.err
    labels = tifffile.imread("out.tif.partial.tif")
    assert labels.any((1, 2)).tolist() == [False, True, True, False, False]
    assert sorted(pd.read_csv("scores.csv.partial.csv")["frame"].unique()) == [1, 2]


REFUSED_SESSIONS = {
    "other weights": (
        {"model": {"source": "nano"}, "sha256": "a" * 64},
        "The session was made with the weights of fake",
    ),
    "another working size": ({"size": 512}, "at a working size of 512 px"),
    "another shape": ({"image": {"shape": (4, 8, 12)}}, r"has the shape \(5, 8, 12\) and the type uint16"),
    "another type": ({"image": {"dtype": "uint8"}}, "of shape .* and type uint8"),
    "no file": ({"image": {"path": None}}, "does not know the file of its image 'stack'"),
    "no labels": ({"steps": (), "sources": ()}, "holds no labels"),
    "no such channel": ({"model": {"channels": (4,)}}, "There is no channel 4"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED_SESSIONS.values(), ids=REFUSED_SESSIONS)
def test_a_session_that_does_not_fit_is_refused_in_a_sentence(shell, fake, saved, monkeypatch, changes, message):
    changes = dict(changes)
    with monkeypatch.context() as then:
        then.setattr(fake, "size", changes.pop("size", fake.size))
        then.setattr(type(fake), "sha256", changes.pop("sha256", fake.sha256))
        saved(**changes)
    before = shell.files()
    assert shell.run(REPLAY) == 1
    assert re.search(message, shell.err)
    assert shell.err.count("\n") == 1
    assert shell.files() == before
    assert fake.calls == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--output work.sam2session", "work.sam2session is the session and --output at once"),
        ("--output stack.tif", "stack.tif is the image and --output at once"),
        ("--output out.tif --scores work.sam2session", "work.sam2session is the session and --scores"),
    ],
)
def test_no_output_of_a_replay_replaces_what_it_is_made_of(shell, saved, options, message):
    saved()
    before = shell.files()
    assert shell.run(f"replay work.sam2session {options} --overwrite") == 1
    assert message in shell.err
    assert shell.files() == before


# Files that are in the way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [SEGMENT, PROPAGATE], ids=["segment", "propagate"])
@pytest.mark.parametrize("name", ["out.tif", "scores.csv"])
def test_existing_files_are_replaced_only_when_allowed(shell, command, name):
    Path(name).write_text("precious")
    before = shell.files()
    assert shell.run(command, "--scores", "scores.csv") == 1
    assert re.fullmatch(
        rf"napari-sam2: {name} exists already\. Choose another name, or allow overwriting\.\n", shell.err
    )
    assert shell.files() == before
    assert shell.loaded == []
    assert shell.run(command, "--scores", "scores.csv", "--overwrite") == 0
    assert tifffile.imread("out.tif").any()
    assert pd.read_csv("scores.csv")["area_px"].all()
    assert shell.files().keys() == before.keys() | {"out.tif", "scores.csv"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--prompts prompts.json --output stack.tif", "stack.tif is the image and --output at once"),
        ("--prompts labels.tif --output labels.tif", "labels.tif is --prompts and --output at once"),
        ("--prompts prompts.json --output out.tif --scores prompts.json", "prompts.json is --prompts and --scores"),
        ("--prompts prompts.json --output out.tif --scores stack.tif", "stack.tif is the image and --scores"),
        ("--prompts prompts.json --output out.tif --scores ./out.tif", "out.tif is --scores and --output"),
    ],
)
def test_no_output_replaces_an_input_or_another_output_even_when_overwriting(shell, options, message):
    before = shell.files()
    assert shell.run(f"propagate stack.tif {options} --overwrite") == 1
    assert message in shell.err
    assert shell.files() == before


# Refusals ------------------------------------------------------------------------------------------------------------

REFUSED = [
    ("propagate none.tif --prompts prompts.json --output out.tif", "There is no file none.tif"),
    ("propagate stack.tif --prompts none.json --output out.tif", "There is no file none.json"),
    ("propagate broken.tif --prompts prompts.json --output out.tif", "broken.tif is incomplete"),
    ("propagate empty.tif --prompts prompts.json --output out.tif", r"empty.tif is empty \(0 bytes\)"),
    ("propagate cells.nd2 --prompts prompts.json --output out.tif", ".nd2 files are not read. Open it in Fiji"),
    ("propagate cells.czi --prompts prompts.json --output out.tif", "save it as OME-TIFF"),
    ("propagate film.mp4 --prompts prompts.json --output out.tif", "Export its frames as a folder of PNG"),
    ("propagate cells.zarr --prompts prompts.json --output out.tif", "Save it as TIFF or NPY"),
    ("propagate stack.tif --prompts prompts.json --output out.png", "labels are written as TIFF or OME-Zarr"),
    ("propagate stack.tif --prompts prompts.json --output none/out.zarr", "There is no folder none"),
    (
        "propagate stack.tif --prompts prompts.json --output files.zarr --overwrite",
        "files.zarr is there and is no zarr",
    ),
    ("propagate stack.tif --prompts prompts.json --output none/out.tif", "There is no folder none"),
    (f"{PROPAGATE} --scores none/scores.csv", "There is no folder none"),
    ("propagate image.tif --prompts prompts.json --output out.tif", "is a single image. Use napari-sam2 segment"),
    ("segment stack.tif --prompts click.json --output out.tif", "is a stack of 5 frames. Use napari-sam2 propagate"),
    ("segment image.tif --prompts prompts.json --output out.tif", "there is no frame 2; the data has one image"),
    (f"{PROPAGATE} --axes TQX", "Axes are 'TQX'"),
    (f"{PROPAGATE} --channel 2", "There is no channel 2"),
    (f"{PROPAGATE} --contrast 9 3", "contrast_limits are"),
    (f"{PROPAGATE} --contrast nan 3", "contrast_limits are"),
    (f"{PROPAGATE} --start 9", "start is 9, and the stack has frames 0 to 4"),
    (f"{PROPAGATE} --start 3 --stop 1", "The range from 3 to 1 is empty"),
    (f"{PROPAGATE} --direction forward --stop 1", "No object can be followed forward"),
    (f"{PROPAGATE} --threads 0", "The number of threads is 0"),
    ("propagate stack.tif --prompts labels.tif --output out.tif --frame -1", "Frame is -1"),
    ("propagate stack.tif --prompts labels.tif --output out.tif --frame 5", "there is no frame 5"),
    ("propagate stack.tif --prompts wrong.json --output out.tif", "wrong.json: this JSON is not a prompt file"),
    ("propagate stack.tif --prompts image.txt --output out.tif", "this is not JSON"),
    ("finetune none.tif labels.tif --output w.safetensors", "There is no file or folder none.tif"),
    ("finetune stack.tif labels.tif --output w.safetensors", "labels.tif has 1 frame of 8 x 12 pixels, and stack.tif"),
    ("finetune stack.tif stack.tif --output w.pt", "weights are written as safetensors"),
    ("finetune stack.tif stack.tif --output none/w.safetensors", "There is no folder none"),
    ("finetune image.tif labels.tif --output w.safetensors", "3 outlines on 1 labelled frames, and at least 4 on 2"),
    ("finetune stack.tif stack.tif --output w.safetensors --steps 0", "The number of steps is 0"),
    ("finetune stack.tif stack.tif --output w.safetensors --validation 2", "held out for validation is 2.0"),
    ("replay none.sam2session --output out.tif", "There is no session none.sam2session"),
    ("replay image.txt --output out.tif", "image.txt is no session"),
    ("replay prompts.json --output out.tif", "prompts.json is no session"),
    ("models download huge", "'huge'"),
    ("models verify none.pt", "none.pt"),
    ("demo --output none/demo", "There is no folder none"),
    ("demo --output stack.tif", "stack.tif is a file, and the demo fills a folder"),
]


@pytest.mark.parametrize(("command", "message"), REFUSED, ids=[command for command, _ in REFUSED])
def test_refusals_are_one_sentence_before_any_work(shell, command, message):
    Path("broken.tif").write_bytes(b"II*\0 this is no TIFF")
    Path("wrong.json").write_text("{}")
    Path("image.txt").write_text("hello")
    Path("files.zarr").mkdir()
    Path("files.zarr/notes.txt").write_text("precious")
    for name in ("empty.tif", "cells.nd2", "cells.czi", "film.mp4"):
        Path(name).touch()
    before = shell.files()
    assert shell.run(command) == 1
    assert shell.out == ""
    assert re.match(r"napari-sam2: \S", shell.err)
    assert shell.err.count("\n") == 1
    assert re.search(message, shell.err)
    assert shell.loaded == []
    assert shell.files() == before


def test_what_libraries_log_of_a_damaged_file_is_not_shown_beside_the_sentence(shell):
    whole = Path("stack.tif").read_bytes()
    Path("cut.tif").write_bytes(whole[: len(whole) // 2])
    command = [
        sys.executable,
        "-m",
        "napari_sam2.cli",
        *["propagate", "cut.tif", "--prompts", "a.json", "--output", "out.tif"],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"napari-sam2: cut\.tif .*Copy or export it again\.\n", done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "fly",
        "propagate stack.tif",
        f"{PROPAGATE} --direction up",
        f"{PROPAGATE} --contrast 1",
        "replay work.sam2session",
        "replay work.sam2session --output out.tif --model tiny",
        "finetune stack.tif labels.tif",
        "finetune a b --output c --freeze-encoder --train-encoder",
        "models fly",
    ],
)
def test_a_wrong_command_line_is_explained(shell, command):
    assert shell.run(command) == 2
    assert shell.err.startswith("usage: napari-sam2")


# When work ends early ------------------------------------------------------------------------------------------------


def stop_with(error, fake, *, before_frame):
    def before_follow(frame):
        if frame == before_frame:
            raise error

    fake.before_follow = before_follow


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "Stopped."),
        (ModelError("The model has run out of memory."), 1, "The model has run out of memory."),
        (MemoryError(), 1, "The memory is full. Use a smaller --image-size or model"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "The memory is full. Use a smaller"),
    ],
    ids=["Ctrl-C", "model", "memory", "torch"],
)
def test_finished_frames_are_kept_when_the_work_ends_early(shell, fake, toy_labels, error, status, said):
    stop_with(error, fake, before_frame=4)
    before = shell.files().keys()
    assert shell.run(PROPAGATE, "--scores", "scores.csv") == status
    assert shell.err.startswith(f"napari-sam2: {said}")
    assert "Finished frames are kept in out.tif.partial.tif. Their scores are in scores.csv.partial.csv." in shell.err
    assert shell.files().keys() == before | {"out.tif.partial.tif", "scores.csv.partial.csv"}
    labels = tifffile.imread("out.tif.partial.tif")
    nothing = np.zeros_like(toy_labels)
    np.testing.assert_array_equal(labels, [nothing, nothing, toy_labels, toy_labels, nothing])
    assert sorted(pd.read_csv("scores.csv.partial.csv")["frame"].unique()) == [2, 3]


@pytest.mark.parametrize("allowed", ["", "--overwrite"])
def test_what_an_unfinished_run_left_is_said_and_stays_as_it_is(shell, fake, caplog, allowed):
    stop_with(KeyboardInterrupt(), fake, before_frame=4)
    shell.run(PROPAGATE, "--scores", "scores.csv")
    left = {name: content for name, content in shell.files().items() if "partial" in name}
    fake.before_follow = lambda frame: None
    assert shell.run(PROPAGATE, "--scores", "scores.csv", *allowed.split()) == 0
    assert "out.tif.partial.tif is left of an earlier run" in caplog.text
    assert {name: content for name, content in shell.files().items() if "partial" in name} == left


@pytest.mark.parametrize(
    "inputs", ["labels.tif.partial.tif --prompts labels.tif", "stack.tif --prompts out.tif.partial.tif"]
)
def test_an_input_named_as_a_partial_file_survives(shell, fake, toy_movie, toy_labels, inputs):
    tifffile.imwrite("labels.tif.partial.tif", toy_movie, metadata={"axes": "TYX"})
    for name in ("labels.tif", "out.tif.partial.tif"):
        tifffile.imwrite(name, toy_labels)
    before = shell.files()
    output = "labels2.tif" if "labels.tif.partial" in inputs else "out.tif"
    assert shell.run(f"propagate {inputs} --output {output} --overwrite") == 0
    assert {name: shell.files()[name] for name in before} == before


@pytest.mark.parametrize("spelling", ["./model.pt", "link.csv", "twin.csv"])
def test_the_model_is_no_output_under_any_name(shell, spelling):
    Path("model.pt").write_bytes(b"weights")
    Path("link.csv").symlink_to("model.pt")
    os.link("model.pt", "twin.csv")
    before = shell.files()
    assert shell.run(PROPAGATE, "--model", "model.pt", "--scores", spelling, "--overwrite") == 1
    assert "is the model and --scores at once, and would be lost" in shell.err
    assert shell.files() == before


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (ModelError("No."), 1)])
def test_nothing_is_left_when_nothing_was_finished(shell, fake, error, status):
    stop_with(error, fake, before_frame=2)
    before = shell.files()
    assert shell.run(PROPAGATE, "--scores", "scores.csv") == status
    assert "kept" not in shell.err
    assert shell.files() == before


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (ModelError("No."), 1), (MemoryError(), 1)])
def test_an_image_that_ends_early_leaves_nothing(shell, fake, monkeypatch, error, status):
    def fail(self, image, prompts):
        raise error

    monkeypatch.setattr(type(fake), "segment", fail)
    before = shell.files()
    assert shell.run(SEGMENT, "--scores", "scores.csv") == status
    assert shell.err.count("\n") == 1
    assert shell.files() == before


def test_a_full_disk_midway_is_a_sentence(shell, monkeypatch):
    monkeypatch.setattr("napari_sam2.tracking.batch.write_table", _full_disk)
    assert shell.run(PROPAGATE, "--scores", "scores.csv") == 1
    assert shell.err == "napari-sam2: scores.csv cannot be written (the disk is full).\n"
    assert tifffile.imread("out.tif").any()


def _full_disk(path, table, *, overwrite=False):
    from napari_sam2.errors import ImageFileError

    raise ImageFileError(f"{path} cannot be written (the disk is full).")


# Words ---------------------------------------------------------------------------------------------------------------


def test_the_version_is_told(shell):
    assert shell.run("--version") == 0
    assert shell.out == f"napari-sam2 {__version__}\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("replay --help", ["--output", "--scores", "--image", "--device", "--threads", "--overwrite"]),
        ("--help", ["segment", "propagate", "replay", "finetune", "demo", "models"]),
        (
            "propagate --help",
            ["--prompts", "--output", "--direction", "--start", "--stop", "--scores", "--model", "--device"],
        ),
        (
            "segment --help",
            ["--threads", "--image-size", "--contrast", "--axes", "--channel", "--frame", "--overwrite"],
        ),
        (
            "finetune --help",
            [
                "--base",
                "--output",
                "--data",
                "--steps",
                "--freeze-encoder",
                "--train-encoder",
                "--validation",
                "--seed",
            ],
        ),
        ("finetune --help", ["--device", "--threads", "--image-size", "--axes", "--contrast", "--overwrite"]),
        ("segment --help", [".tif or .zarr"]),
        ("propagate --help", [".tif or .zarr"]),
        ("replay --help", [".tif or .zarr"]),
        ("models --help", ["list", "download", "verify"]),
    ],
)
def test_help_names_every_verb_and_option(shell, command, words):
    assert shell.run(command) == 0
    assert [word for word in words if word not in shell.out] == []


@pytest.mark.parametrize("command", ["models", "models list"])
def test_models_are_listed_one_per_line(shell, command):
    assert shell.run(command) == 0
    lines = shell.out.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("nano")
    assert lines[0].endswith("nano.safetensors")
    (large,) = [line for line in lines if line.startswith("large ")]
    assert "898 MB" in large
    assert "SAM 2.1" in large


def test_a_download_says_where_the_weights_are(shell, monkeypatch):
    def download(name, progress):
        for done in (0, 50, 100):
            progress(done, 100)
        return Path("cache") / f"{name}.pt"

    monkeypatch.setattr(models, "download_model", download)
    assert shell.run("models download tiny") == 0
    assert shell.out == f"tiny: {Path('cache') / 'tiny.pt'}\n"


def test_a_sound_weight_file_is_described(shell):
    assert shell.run("models verify nano") == 0
    assert re.search(r"^SHA-256 +[0-9a-f]{64}$", shell.out, re.MULTILINE)
    assert re.search(r"^loads +yes$", shell.out, re.MULTILINE)


def test_a_weight_file_that_cannot_be_used_is_an_error(shell):
    Path("page.pt").write_text("<html>")
    assert shell.run("models verify page.pt") == 1
    assert re.search(r"^loads +no: .*web page", shell.out, re.MULTILINE)


def test_a_model_that_cannot_follow_is_refused_before_there_is_an_output(shell, fake, monkeypatch):
    def refuse(frames):
        raise ModelError("These weights have no memory.")

    monkeypatch.setattr(fake, "open", refuse)
    before = shell.files()
    assert shell.run(PROPAGATE) == 1
    assert "no memory" in shell.err
    assert shell.files() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_no_weight_file_and_not_waited_for(shell):
    os.mkfifo("pipe.pt")
    assert shell.run("models verify pipe.pt") == 1
    assert shell.err.startswith("napari-sam2: pipe.pt is a pipe")


def test_a_folder_of_weights_is_described(shell):
    Path("mine").mkdir()
    Path("mine/model.safetensors").write_bytes(models.list_models()[0].path.read_bytes())
    assert shell.run("models verify mine") == 0
    assert re.search(r"^loads +yes$", shell.out, re.MULTILINE)


@pytest.mark.parametrize("words", ["models list", "--help"])
def test_a_reader_who_stops_reading_causes_no_trace(words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "napari_sam2.cli", *words.split()]
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "command",
    [
        "segment image.tif --prompts NAME --output out.tif",
        "segment NAME --prompts prompts.json --output out.tif",
        "segment image.tif --prompts prompts.json --output NAME.tif",
        "segment image.tif --prompts prompts.json --output out.tif --scores NAME",
        "segment image.tif --prompts prompts.json --output out.tif --model NAME",
        "replay NAME --output out.tif",
        "finetune NAME labels.tif --output mine.safetensors",
        "finetune stack.tif labels.tif --output mine.safetensors --base NAME",
        "demo --output NAME",
        "models verify NAME",
    ],
)
@pytest.mark.parametrize("name", ["n" * 300, "a\0b"])
def test_a_name_that_the_system_does_not_take_is_refused_wherever_it_is_given(shell, command, name):
    before = shell.files()
    with pytest.raises(SystemExit, match="2"):
        main([word.replace("NAME", name) for word in command.split()])
    assert "is no name of a file here" in shell.capsys.readouterr().err
    assert shell.files() == before


@pytest.mark.parametrize("name", ["Zell\u00e9.tif", "o\udcff.tif"])
def test_a_terminal_that_lacks_letters_of_a_name_spoils_nothing(shell, monkeypatch, name):
    said = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", said)
    assert main(["segment", "image.tif", "--prompts", "click.json", "--output", name]) == 0
    assert Path(name).exists()
    assert said.buffer.getvalue().decode().endswith(f"{name}\n".encode("ascii", "backslashreplace").decode())
