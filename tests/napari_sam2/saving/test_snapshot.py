"""Work that is laid aside and taken up again: the same prompts, masks, labels and choices."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from napari_sam2.api import propagate
from napari_sam2.errors import OptionError, SessionError
from napari_sam2.frames import FrameStack
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import BoxPrompt
from napari_sam2.results import score_table
from napari_sam2.sessions.document import Exported
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.replay import replay
from napari_sam2.sessions.storage import read_session
from napari_sam2.workbench.choices import Choices
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Bench, hand_over, paint, square
from tests.napari_sam2.fake_predictor import FakePredictor


@pytest.fixture
def bench():
    bench = Bench(FakePredictor())
    yield bench
    bench.close()


@pytest.fixture
def other():
    """Another viewer, in which nothing was done yet."""
    bench = Bench(FakePredictor())
    yield bench
    bench.close()


def worked(bench):
    """Do a bit of everything."""
    bench.click(2, 10, 8)
    bench.propagate()
    bench.settle()
    bench.rename(1, "nucleus")
    bench.commit()
    bench.settle()
    bench.committed_layer.data_setitem((np.full(4, 3), np.zeros(4, int), np.arange(4)), 9)  # painted by hand
    hand_over(bench)
    bench.click(1, 10, 20)  # object 2
    bench.propagate("forward")
    bench.settle()
    paint(bench, 4, square(4, 4), 2)
    bench.lock(1)


def saved(bench, path):
    bench.snapshot().write(path)
    return path


def test_everything_comes_back(bench, other, tmp_path):
    worked(bench)
    choices = Choices("nano", direction="forward", start=1, stop=4, policy=CommitPolicy.BY_SCORE, threshold=0.4)
    bench.snapshot(choices).write(tmp_path / "work.sam2session")
    assert other.open_session(tmp_path / "work.sam2session") == choices
    np.testing.assert_array_equal(other.committed(), bench.committed())
    np.testing.assert_array_equal(other.current(), bench.current())
    assert other.prompts == bench.prompts
    assert other.notes == bench.notes
    assert other.object_table().equals(bench.object_table())
    assert other.is_approved(2, 4)
    assert not other.predictor.calls


def test_work_goes_on_where_it_was_laid_aside(bench, other, tmp_path):
    worked(bench)
    other.open_session(saved(bench, tmp_path / "work.sam2session"))
    other.propagate()
    other.settle()
    bench.propagate()
    bench.settle()
    np.testing.assert_array_equal(other.current(), bench.current())


def test_prompts_that_are_taken_up_are_edited_as_before(bench, other, tmp_path):
    bench.click(2, 10, 8)
    other.open_session(saved(bench, tmp_path / "work.sam2session"))
    points = other.points
    np.testing.assert_array_equal(points.data, bench.points.data)
    points.selected_data = {0}
    points.remove_selected()
    other.settle()
    assert not other.prompts
    assert not other.current().any()


def test_boxes_come_back_as_boxes(bench, other, tmp_path):
    bench.shapes.add([[(1, 4, 5), (1, 4, 12), (1, 9, 12), (1, 9, 5)]], shape_type="rectangle")
    bench.settle()
    other.open_session(saved(bench, tmp_path / "work.sam2session"))
    assert other.prompts == bench.prompts
    other.ask()
    other.settle()
    np.testing.assert_array_equal(other.current(), bench.current())


def test_replayed_without_a_viewer_it_gives_what_the_viewer_shows(bench, tmp_path):
    worked(bench)
    session = read_session(saved(bench, tmp_path / "work.sam2session"))
    frames = FrameStack(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255))
    replayed = np.zeros((FRAMES, HEIGHT, WIDTH), np.int64)
    for done in replay(session, lambda model: frames, lambda model: FakePredictor()):
        replayed[done.frame] = done.labels
    np.testing.assert_array_equal(replayed, bench.merged_labels())


def test_a_mask_older_than_its_prompts_is_replayed_as_it_is(bench, tmp_path):
    bench.click(2, 10, 8)
    bench.propagate()
    bench.settle()
    bench.click(2, 16, 8)  # seen on frame 2 alone, until somebody follows anew
    shown = bench.current().copy()
    session = read_session(saved(bench, tmp_path / "work.sam2session"))
    frames = FrameStack(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255))
    for done in replay(session, lambda model: frames, lambda model: FakePredictor()):
        np.testing.assert_array_equal(done.labels, shown[done.frame])
    assert shown[2, 16, 8]
    assert not shown[3, 16, 8]


def test_an_undone_commit_is_not_in_the_session(bench, tmp_path):
    bench.click(2, 10, 8)
    bench.commit()
    bench.settle()
    bench.undo()
    bench.settle()
    session = read_session(saved(bench, tmp_path / "work.sam2session"))
    assert session.steps == ()
    assert session.prompts == bench.prompts


def test_the_session_of_another_image_is_refused_before_anything_changes(bench, tmp_path):
    bench.click(2, 10, 8)
    path = saved(bench, tmp_path / "work.sam2session")
    larger = Bench(FakePredictor(), np.zeros((FRAMES, HEIGHT + 2, WIDTH), np.uint8))
    with pytest.raises(SessionError, match="shape"):
        larger.open_session(path)
    assert not larger.prompts
    larger.close()


def test_a_session_never_replaces_its_image(bench, tmp_path):
    image = tmp_path / "image.tif"
    image.write_bytes(b"pixels")
    (tmp_path / "link.sam2session").symlink_to(image)
    work = replace(bench.snapshot(), image=ImageUsed(name="i", shape=(3, 4), dtype="uint8", path=image))
    for path in (image, tmp_path / "link.sam2session"):
        with pytest.raises(OptionError, match="is the image and the session at once"):
            work.write(path, overwrite=True)
    assert image.read_bytes() == b"pixels"


SPECKS = [BoxPrompt(2, 1, 4.6, 2, 5.4, 20), BoxPrompt(1, 1, 3, 15, 8, 17)]
"""A bar, and a box across it that leaves three of its pixels on the far side."""


def test_panel_python_and_replay_count_the_same_pixels(bench, tmp_path):
    bench.set_prompts(SPECKS)
    bench.settle()
    bench.propagate()
    bench.settle()
    image = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    expected = propagate(image, SPECKS, model=FakePredictor(), contrast_limits=(0, 255))
    assert not (expected.labels[:, 5, 18:21]).any()
    np.testing.assert_array_equal(bench.current(), expected.labels)
    assert bench.scores().equals(expected.scores)
    assert bench.object_table().equals(expected.features)
    frames = FrameStack(image, contrast_limits=(0, 255))

    def replayed():
        session = read_session(saved(bench, tmp_path / f"{len(bench.steps())}.sam2session"))
        done = list(replay(session, lambda model: frames, lambda model: FakePredictor()))
        for one in done:
            np.testing.assert_array_equal(one.labels, expected.labels[one.frame])
        return score_table(score for one in done for score in one.scores)

    assert replayed().equals(expected.scores)
    bench.commit()
    bench.settle()
    np.testing.assert_array_equal(bench.committed(), expected.labels)
    assert replayed().equals(expected.scores)


def test_work_of_before_keeps_its_specks_in_the_panel_too(bench, other, tmp_path):
    bench.work.picture.drops_specks = False  # as all work was
    bench.set_prompts(SPECKS)
    bench.settle()
    assert (bench.current()[1, 5, 18:21] == 2).all()
    other.open_session(saved(bench, tmp_path / "old.sam2session"))
    np.testing.assert_array_equal(other.current(), bench.current())
    other.commit()
    other.settle()
    (step,) = other.steps()
    assert not step.drops_specks
    assert (other.committed()[1, 5, 18:21] == 2).all()


def test_the_last_export_comes_back(bench, other, tmp_path):
    bench.click(1, 10, 8)
    bench.work.exported = Exported("/data/out", datetime(2026, 11, 27, 18, 10, tzinfo=UTC))
    other.open_session(saved(bench, tmp_path / "work.sam2session"))
    assert other.work.exported == bench.work.exported
