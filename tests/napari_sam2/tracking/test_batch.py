"""One way from prompts to labels: checks before the model, the model before the output, results as they come."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_sam2.errors import ImageFileError, ModelError, OptionError, PromptError
from napari_sam2.files.labels import TurnedWriter, open_label_writer
from napari_sam2.frames import FrameStack, single_frame
from napari_sam2.labels.prompts import prompts_from_labels
from napari_sam2.prompts import BoxPrompt, PointPrompt, PromptSet
from napari_sam2.tracking.batch import LabelArray, image_job, run_job, stack_job, write_labels
from napari_sam2.tracking.propagation import LabelFrame
from tests.napari_sam2.conftest import FRAMES


@pytest.fixture
def frames(toy_movie):
    return FrameStack(toy_movie)


@pytest.fixture
def job(frames, toy_labels):
    return stack_job(frames, PromptSet(prompts_from_labels(toy_labels, frames=2)))


def tiff(path, job):
    return lambda dtype: open_label_writer(path, shape=(FRAMES, 8, 12), dtype=dtype)


def test_a_stack_and_an_image_go_the_same_way(fake, job, toy_labels, toy_image):
    stack, image = LabelArray((FRAMES, 8, 12)), LabelArray((8, 12))
    _, scores = run_job(job, lambda: fake, stack.open)
    np.testing.assert_array_equal(stack.array, [toy_labels] * FRAMES)
    assert len(scores) == 3 * FRAMES
    predictor, scores = run_job(
        image_job(single_frame(toy_image), PromptSet(prompts_from_labels(toy_labels))), lambda: fake, image.open
    )
    np.testing.assert_array_equal(image.array, toy_labels)
    assert predictor is fake
    assert scores["object_id"].tolist() == [1, 2, 3]


def test_what_cannot_be_done_is_refused_without_a_model(frames):
    with pytest.raises(PromptError, match="there is no frame 9"):
        stack_job(frames, PromptSet([PointPrompt(1, 9, 2, 1)]))
    with pytest.raises(OptionError, match="start is 7"):
        stack_job(frames, PromptSet([PointPrompt(1, 0, 2, 1)]), start=7)
    with pytest.raises(PromptError, match="one image, which is frame 0"):
        image_job(frames, PromptSet([PointPrompt(1, 1, 2, 1)]))


def test_no_output_is_opened_for_a_model_that_cannot_follow(fake, job, monkeypatch):
    def refuse(frames):
        raise ModelError("These weights have no memory.")

    monkeypatch.setattr(fake, "open", refuse)
    with pytest.raises(ModelError, match="no memory"):
        run_job(job, lambda: fake, lambda dtype: pytest.fail("an output was opened"))


def test_progress_goes_from_nothing_to_all_steps(fake, job):
    seen = []
    run_job(job, lambda: fake, LabelArray((FRAMES, 8, 12)).open, progress=lambda *step: seen.append(step))
    assert job.num_steps == 1 + FRAMES
    assert seen == [(number, 1 + FRAMES) for number in range(FRAMES + 2)]


def test_labels_and_scores_go_to_files(fake, job, toy_labels, tmp_path):
    _, scores = run_job(job, lambda: fake, tiff(tmp_path / "a.tif", job), scores_path=tmp_path / "a.csv")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), [toy_labels] * FRAMES)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), scores)


def test_what_ends_early_keeps_what_was_finished_and_tells_where(fake, job, tmp_path):
    def stop(frame):
        if frame == 4:
            raise KeyboardInterrupt

    fake.before_follow = stop
    with pytest.raises(KeyboardInterrupt) as stopped:
        run_job(job, lambda: fake, tiff(tmp_path / "a.tif", job), scores_path=tmp_path / "a.csv")
    kept, scores = tmp_path / "a.tif.partial.tif", tmp_path / "a.csv.partial.csv"
    assert stopped.value.__notes__ == [f"Finished frames are kept in {kept}.", f"Their scores are in {scores}."]
    assert tifffile.imread(kept).any((1, 2)).tolist() == [False, False, True, True, False]
    assert sorted(pd.read_csv(scores)["frame"].unique()) == [2, 3]


def test_nothing_is_kept_in_memory_and_nothing_noted(fake, job):
    def stop(frame):
        raise KeyboardInterrupt

    fake.before_follow = stop
    with pytest.raises(KeyboardInterrupt) as stopped:
        run_job(job, lambda: fake, LabelArray((FRAMES, 8, 12)).open)
    assert not hasattr(stopped.value, "__notes__")


def test_scores_that_cannot_be_written_leave_the_labels(fake, job, tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(ImageFileError, match="exists already"):
        run_job(job, lambda: fake, tiff(tmp_path / "a.tif", job), scores_path=tmp_path / "a.csv")
    assert tifffile.imread(tmp_path / "a.tif").any()
    assert (tmp_path / "a.csv").read_text() == "mine"


def test_turned_frames_lie_on_the_image(tmp_path):
    plane = np.arange(12, dtype=np.uint16).reshape(3, 4)
    writer = open_label_writer(tmp_path / "a.tif", shape=(3, 2, 4), dtype=np.uint16)
    write_labels(TurnedWriter(writer, (1, 0, 2)), [LabelFrame(1, plane, ())], 1)
    labels = tifffile.imread(tmp_path / "a.tif")
    np.testing.assert_array_equal(labels[:, 1], plane)
    assert not labels[:, 0].any()


def test_specks_that_are_dropped_are_told_of_once(fake, frames, caplog):
    bar, across = BoxPrompt(2, 0, 0.6, 0, 1.4, 11), BoxPrompt(1, 0, 0, 8, 2, 10)
    labels = LabelArray((FRAMES, 8, 12))
    with caplog.at_level("INFO", "napari_sam2.tracking.batch"):
        _, scores = run_job(stack_job(frames, PromptSet([bar, across])), lambda: fake, labels.open)
    assert [record.getMessage() for record in caplog.records] == [
        "Dropped specks that remained beside other objects: 5 of up to 8 px, on 5 frames."
    ]
    assert not (labels.array[:, 1, 11]).any()
    assert scores[scores["object_id"] == 2][["area_px", "area_in_labels_px"]].to_numpy().tolist() == [[12, 8]] * FRAMES


def test_nothing_is_said_where_no_speck_is_dropped(fake, job, caplog):
    with caplog.at_level("INFO", "napari_sam2.tracking.batch"):
        run_job(job, lambda: fake, LabelArray((FRAMES, 8, 12)).open)
    assert not caplog.records


def test_a_click_on_a_speck_of_an_image_keeps_it(fake, toy_image):
    bar, across = BoxPrompt(2, 0, 0.6, 0, 1.4, 11), BoxPrompt(1, 0, 0, 8, 2, 10)
    for given, label in (((bar, across), 0), ((bar, PointPrompt(2, 0, 1, 11), across), 2)):
        labels = LabelArray((8, 12))
        run_job(image_job(single_frame(toy_image), PromptSet(given)), lambda: fake, labels.open)
        assert labels.array[1, 11] == label
