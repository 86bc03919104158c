"""Fine-tuning a toy model from files, in Python and in the shell."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from napari_sam2 import finetune
from napari_sam2.cli.verbs import main
from napari_sam2.errors import FrameError, ImageFileError, ModelError, OptionError
from napari_sam2.training.annotations import read_annotations
from napari_sam2.training.finetune import Amount
from sam2_model.sam2 import Sam2
from sam2_model.training import finetune as model_finetune
from sam2_model.weights.loading import load_model, save_model
from tests.sam2_model.toy import TOY, toy_labels, toy_model, toy_stack

COUNT = 6


@pytest.fixture(scope="module")
def toy_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    save_model(path, toy_model(), name="toy")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch, toy_weights):
    """A folder with an annotated stack, the same as folders of images, and a tiny model."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(toy_weights, "toy.safetensors")
    grey, labels = (toy_stack(COUNT)[..., 0].astype(np.uint16) * 50, toy_labels(COUNT).astype(np.uint16))
    for name, data in (("stack.tif", grey), ("labels.tif", labels)):
        tifffile.imwrite(name, data, imagej=True, metadata={"axes": "TYX"})
    for folder, data in (("images", grey), ("outlines", labels)):
        Path(folder).mkdir()
        for frame in range(COUNT):
            tifffile.imwrite(f"{folder}/f{frame}.tif", data[frame])
    return tmp_path


def quick(images="stack.tif", labels="labels.tif", output="mine.safetensors", **options):
    return finetune(images, labels, output, **({"base": "toy.safetensors", "steps": 2, "device": "cpu"} | options))


# Data ----------------------------------------------------------------------------------------------------------------


def test_a_stack_is_one_series_under_one_mapping(here):
    (stack,) = read_annotations("stack.tif", "labels.tif")
    assert (len(stack.frames), stack.is_series, stack.outlines) == (COUNT, True, (2,) * COUNT)
    np.testing.assert_array_equal(stack.labels[3], toy_labels(COUNT)[3])


def test_folders_are_images_by_themselves_each_under_its_own_mapping(here):
    tifffile.imwrite("images/f0.tif", np.arange(24, dtype=np.uint16).reshape(4, 6))
    tifffile.imwrite("outlines/f0.tif", np.ones((4, 6), np.uint8))
    each = read_annotations("images", "outlines")
    assert [(len(a.frames), a.is_series) for a in each] == [(1, False)] * COUNT
    assert (each[0].frames.height, each[0].frames.width) == (4, 6)
    assert each[0].frames.contrast_limits != each[1].frames.contrast_limits


@pytest.mark.parametrize("labels", ["outlines", "labels.tif"])
def test_a_folder_of_frames_is_one_series_when_that_is_said(here, labels):
    (stack,) = read_annotations("images", labels, data="stack")
    assert (len(stack.frames), stack.is_series) == (COUNT, True)


def test_frames_of_a_file_stand_alone_when_that_is_said(here):
    (stack,) = read_annotations("stack.tif", "labels.tif", data="images")
    assert not stack.is_series


def test_images_without_labels_are_left_out_and_endings_may_differ(here):
    for frame in range(3):
        Path(f"outlines/f{frame}.tif").unlink()
    Path("outlines/f3.tif").unlink()
    Image.fromarray(toy_labels(COUNT)[3].astype(np.uint8)).save("outlines/f3.png")
    assert [a.path.name for a in read_annotations("images", "outlines")] == ["f3.tif", "f4.tif", "f5.tif"]


def test_contrast_axes_and_channel_are_taken(here):
    grey = tifffile.imread("stack.tif")
    np.save("two.npy", np.stack([grey * 0, grey], 1))
    (stack,) = read_annotations("two.npy", "labels.tif", axes="TCYX", channel=1, contrast_limits=(5, 500))
    assert stack.frames.contrast_limits == (5, 500)
    assert stack.frames[0].any()


def test_a_model_without_memory_is_no_base(here):
    network = Sam2(replace(TOY, has_memory=False))
    save_model("images.safetensors", network, name="images")
    with pytest.raises(ModelError, match=r"images\.safetensors has no memory.*fine-tuning teaches both"):
        quick(base="images.safetensors")
    assert not Path("mine.safetensors").exists()


@pytest.mark.parametrize(("option", "value"), [("threads", 10**9), ("image_size", 10**9), ("image_size", 100)])
def test_numbers_out_of_all_proportion_are_refused_before_the_model_is_loaded(here, monkeypatch, option, value):
    for place in ("napari_sam2.inference.sam2.load_model", "sam2_model.weights.loading.load_model"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(OptionError, match=str(value)):
        quick(**{option: value})


def test_a_folder_of_weights_is_a_base(here):
    Path("base").mkdir()
    shutil.copy("toy.safetensors", "base/model.safetensors")
    assert quick(base="base", steps=1).base == "base"
    with pytest.raises(OptionError, match="base"):
        quick(base="base", output="base/model.safetensors", overwrite=True)


# Results -------------------------------------------------------------------------------------------------------------


def test_the_written_model_follows_objects_in_the_shell(here, capsys):
    command = "finetune stack.tif labels.tif --base toy.safetensors --output mine.safetensors --steps 2 --device cpu"
    assert main(command.split()) == 0
    out = capsys.readouterr().out
    assert "Held out: 4 outlines on 2 frames" in out
    assert all(word in out for word in ("click", "box", "next frame", "before", "after", "toy, step "))
    command = "propagate stack.tif --prompts labels.tif --output out.tif --model mine.safetensors --device cpu"
    assert main(command.split()) == 0
    assert tifffile.imread("out.tif").shape == (COUNT, 48, 60)
    assert load_model("mine.safetensors").config == load_model("toy.safetensors").config


def test_the_report_says_what_was_learnt_from_and_tested_on(here):
    done = quick()
    assert (done.base, done.steps, done.path) == ("toy", 2, Path("mine.safetensors"))
    assert (done.training, done.held_out) == (Amount(4, 8), Amount(2, 4))
    assert done.best_step in (1, 2)
    assert done.is_better == (done.after.overall > done.before.overall)
    assert done.table.shape == (2, 4)
    assert done.table.loc["before", "box"] == done.before.box


def test_images_are_not_tested_for_following(here):
    done = quick("images", "outlines", validation=0.5)
    assert done.held_out == Amount(3, 6)
    assert list(done.table.columns) == ["click", "3 clicks", "box"]


def test_the_size_asked_for_travels_with_the_weights(here):
    quick(image_size=96, steps=1)
    assert load_model("mine.safetensors").config.image_size == 96


@pytest.mark.parametrize(("encoder", "moves"), [("auto", False), ("frozen", False), ("trained", True)])
def test_the_trunk_is_trained_when_asked_for(here, encoder, moves):
    quick(encoder=encoder)
    before, after = (load_model(name).network.state_dict() for name in ("toy.safetensors", "mine.safetensors"))
    trunk = [name for name in before if name.startswith("image_encoder.trunk.")]
    assert any(not torch.equal(before[name], after[name]) for name in trunk) is moves
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_the_same_seed_gives_the_same_file(here):
    quick(seed=3), quick(output="again.safetensors", seed=3)
    first, again = (load_model(name).network.state_dict() for name in ("mine.safetensors", "again.safetensors"))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_a_model_that_got_no_better_is_written_and_called_so(here, capsys, monkeypatch):
    monkeypatch.setattr("napari_sam2.training.finetune.FineTuned.is_better", property(lambda self: False))
    command = "finetune stack.tif labels.tif --base toy.safetensors --output mine.safetensors --steps 1 --device cpu"
    assert main(command.split()) == 0
    assert "On the held-out frames it is no better than toy." in capsys.readouterr().err
    assert Path("mine.safetensors").exists()


# When work ends early ------------------------------------------------------------------------------------------------


def stop_after(monkeypatch, steps, error):
    whole = model_finetune.fine_tune

    def fine_tune(*arguments, **options):
        for progress in whole(*arguments, **options):
            yield progress
            if progress.step == steps:
                raise error

    monkeypatch.setattr(model_finetune, "fine_tune", fine_tune)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(KeyboardInterrupt(), 130, "Stopped."), (MemoryError(), 1, "The model has run out of memory")],
)
def test_the_best_so_far_is_kept_when_the_work_ends_early(here, capsys, monkeypatch, error, status, said):
    stop_after(monkeypatch, 2, error)
    command = "finetune stack.tif labels.tif --base toy.safetensors --output mine.safetensors --steps 9 --device cpu"
    assert main(command.split()) == status
    err = capsys.readouterr().err
    assert f"napari-sam2: {said}" in err
    assert "The best weights so far are kept in mine.safetensors.partial.safetensors." in err
    assert not Path("mine.safetensors").exists()
    assert load_model("mine.safetensors.partial.safetensors").config == load_model("toy.safetensors").config
    monkeypatch.undo()
    monkeypatch.chdir(here)
    quick()
    files = sorted(path.name for path in Path().glob("mine*"))
    assert files == ["mine.safetensors", "mine.safetensors.partial.safetensors"]


def test_the_best_so_far_is_on_disk_while_the_work_goes_on(here, monkeypatch):
    """A computer that is switched off runs no handler."""
    real, seen = model_finetune.fine_tune, []

    def fine_tune(*args, **options):
        for progress in real(*args, **options):
            yield progress
            on_disk = any(path.stat().st_size for path in Path().glob("mine.safetensors.partial.*"))
            seen.append((progress.best is not None, on_disk))

    monkeypatch.setattr(model_finetune, "fine_tune", fine_tune)
    quick(steps=3)
    assert (True, True) in seen
    assert (True, False) not in seen
    assert sorted(path.name for path in here.glob("mine*")) == ["mine.safetensors"]


def test_a_file_that_appears_meanwhile_is_not_replaced_and_the_weights_are_kept(here, monkeypatch):
    real = model_finetune.fine_tune

    def fine_tune(*args, **options):
        yield from real(*args, **options)
        Path("mine.safetensors").write_text("precious")

    monkeypatch.setattr(model_finetune, "fine_tune", fine_tune)
    with pytest.raises(ImageFileError, match="exists already") as caught:
        quick()
    assert caught.value.__notes__ == ["The best weights so far are kept in mine.safetensors.partial.safetensors."]
    assert Path("mine.safetensors").read_text() == "precious"
    assert load_model("mine.safetensors.partial.safetensors").config == load_model("toy.safetensors").config


def test_what_is_left_of_an_earlier_attempt_is_a_base_for_the_next_under_the_same_name(here):
    left = shutil.copy("toy.safetensors", "mine.safetensors.partial.safetensors")
    quick(base=left)
    assert load_model(left).config == load_model("mine.safetensors").config == load_model("toy.safetensors").config


@pytest.mark.parametrize("name", ["base", "images", "labels"])
def test_no_input_is_replaced_under_any_name(here, name):
    shutil.copy("toy.safetensors", "input.safetensors")
    os.link("input.safetensors", "mine.safetensors")
    inputs = {"images": "stack.tif", "labels": "labels.tif", "base": "toy.safetensors"} | {name: "input.safetensors"}
    with pytest.raises(OptionError, match="at once, and would be lost"):
        finetune(**inputs, output="mine.safetensors", overwrite=True)


def test_a_folder_that_cannot_be_written_into_is_refused_before_any_work(here, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr(model_finetune, "fine_tune", None)
    with pytest.raises(ImageFileError, match="may not be written into"):
        quick()


def test_nothing_is_left_when_nothing_was_learnt(here, monkeypatch):
    stop_after(monkeypatch, 0, KeyboardInterrupt())
    before = sorted(here.iterdir())
    with pytest.raises(KeyboardInterrupt) as caught:
        quick()
    assert not getattr(caught.value, "__notes__", [])
    assert sorted(here.iterdir()) == before


# Refusals ------------------------------------------------------------------------------------------------------------


def spoil(name):
    """Write a label file with one fault."""
    labels = toy_labels(COUNT)
    faulty = {
        "cut.tif": labels[:, :-1],
        "short.tif": labels[:-1],
        "real.tif": labels.astype(np.float32) + 0.5,
        "negative.tif": labels.astype(np.int16) - 1,
        "empty.tif": labels.astype(np.uint8) * 0,
        "one.tif": np.where(np.arange(COUNT)[:, None, None] == 2, labels, 0).astype(np.uint8),
        "few.tif": np.where(np.arange(COUNT)[:, None, None] < 2, labels == 1, 0).astype(np.uint8),
        "binary.tif": (labels > 0).astype(np.uint8) * 255,
        "dots.tif": np.pad(np.full((COUNT, 2, 2), [[1, 2], [3, 4]], np.uint8), ((0, 0), (0, 46), (0, 58))),
    }
    if name in faulty:
        tifffile.imwrite(name, faulty[name], metadata={"axes": "TYX"})


REFUSED = [
    ({"labels": "n" * 300}, ImageFileError, "cannot be read"),
    ({"images": "none.tif"}, ImageFileError, "There is no file or folder none.tif"),
    ({"labels": "none.tif"}, ImageFileError, "There is no file or folder none.tif"),
    ({"labels": "outlines"}, ImageFileError, "outlines is a folder and stack.tif a file"),
    ({"images": "images"}, ImageFileError, 'images is a folder and labels.tif a file.*data "stack"'),
    ({"images": "images", "labels": "others"}, ImageFileError, "No file in others has the name of one in images"),
    ({"images": "images", "labels": "more"}, ImageFileError, "g.tif belongs to no image in images"),
    ({"images": "images", "labels": "twice"}, ImageFileError, "have one name"),
    (
        {"labels": "cut.tif"},
        FrameError,
        "cut.tif has 6 frames of 47 x 60 pixels, and stack.tif has 6 frames of 48 x 60",
    ),
    ({"labels": "short.tif"}, FrameError, "short.tif has 5 frames"),
    ({"labels": "real.tif"}, FrameError, "real.tif, frame 0: The labels hold the value 0.5, and object ids are whole"),
    ({"labels": "negative.tif"}, FrameError, "negative.tif, frame 0: The labels hold the value -1"),
    ({"labels": "colour.png"}, FrameError, "colour.png has axes YXS"),
    ({"labels": "empty.tif"}, FrameError, "0 outlines on 0 labelled frames"),
    ({"labels": "one.tif"}, FrameError, "2 outlines on 1 labelled frames, and at least 4 on 2 are needed"),
    ({"labels": "few.tif"}, FrameError, "2 outlines on 2 labelled frames"),
    ({"labels": "binary.tif"}, FrameError, "one label, 255, on several separate objects"),
    ({"labels": "dots.tif"}, FrameError, "at least 16 px at the working size: 0"),
    ({"data": "film"}, OptionError, "data is 'film'. Use one of: auto, stack, images"),
    ({"steps": 0}, OptionError, "number of steps is 0"),
    ({"validation": 1.0}, OptionError, "validation is 1.0"),
    ({"seed": -1}, OptionError, "seed is -1"),
    ({"encoder": "melted"}, OptionError, "encoder is 'melted'"),
    ({"threads": 0}, OptionError, "number of threads is 0"),
    ({"image_size": 100}, OptionError, "100 is not a positive multiple of 32"),
    ({"axes": "TQX"}, OptionError, "Axes are 'TQX'"),
    ({"contrast_limits": (9, 3)}, OptionError, "contrast_limits are"),
    ({"base": "huge"}, ModelError, "neither a model nor a file called 'huge'"),
    ({"device": "abacus"}, ModelError, "'abacus' is not a device"),
    ({"output": "mine.pt"}, OptionError, "Use a name that ends in .safetensors"),
    ({"output": "none/mine.safetensors"}, ImageFileError, "There is no folder none"),
    ({"output": "toy.safetensors", "overwrite": True}, OptionError, "is the base and the output at once"),
    ({"output": "old.safetensors"}, ImageFileError, "old.safetensors exists already"),
]


@pytest.mark.parametrize(("options", "kind", "message"), REFUSED, ids=[message[:40] for *_, message in REFUSED])
def test_what_cannot_be_used_is_refused_before_any_work(here, monkeypatch, options, kind, message):
    for folder, names in (("others", ["z.tif"]), ("more", ["f0.tif", "g.tif"]), ("twice", ["f0.tif", "f0.png"])):
        Path(folder).mkdir()
        for name in names:
            Path(folder, name).touch()
    Path("old.safetensors").write_text("precious")
    Image.fromarray(np.zeros((48, 60, 3), np.uint8)).save("colour.png")
    spoil(options.get("labels"))
    monkeypatch.setattr(model_finetune, "fine_tune", None)
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    with pytest.raises(kind, match=message):
        quick(**options)
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before
