"""Work that is laid aside and taken up again: the same prompts, masks, labels and choices."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sam2.errors import OptionError, SessionError
from napari_sam2.frames import FrameStack
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.label_edits import read_frame
from napari_sam2.saving.snapshot import restore, snapshot
from napari_sam2.sessions.document import ImageUsed
from napari_sam2.sessions.replay import replay
from napari_sam2.sessions.storage import read_session
from napari_sam2.workspace.choices import Choices
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Bench, paint, square
from tests.napari_sam2.fake_predictor import FakePredictor


@pytest.fixture
def bench():
    bench = Bench(FakePredictor())
    yield bench
    bench.work.close()


@pytest.fixture
def other():
    """Another viewer, in which nothing was done yet."""
    bench = Bench(FakePredictor())
    yield bench
    bench.work.close()


def worked(bench):
    """Do a bit of everything."""
    work = bench.work
    bench.click(2, 10, 8)
    work.propagate()
    bench.settle()
    work.objects.rename(1, "nucleus")
    work.commit()
    bench.settle()
    work.committed.data[3, 0, 0:4] = 9  # painted by hand
    work.results.touch([3])
    bench.click(1, 10, 20)  # object 2
    work.propagate("forward")
    bench.settle()
    paint(bench, 4, square(4, 4), 2)
    work.objects.set_locked(1, is_locked=True)
    return work


def planes(layer, grid):
    return np.stack([read_frame(layer, grid, frame) for frame in range(grid.num_frames)])


def saved(bench, path, **choices):
    snapshot(bench.work, Choices(**choices)).write(path)
    return path


def test_everything_comes_back(bench, other, tmp_path):
    work = worked(bench)
    choices = Choices("nano", "forward", 1, 4, CommitPolicy.BY_SCORE, 0.4)
    snapshot(work, choices).write(tmp_path / "work.sam2session")
    assert restore(other.work, tmp_path / "work.sam2session") == choices
    again = other.work
    np.testing.assert_array_equal(planes(again.committed, again.grid), planes(work.committed, work.grid))
    np.testing.assert_array_equal(planes(again.current, again.grid), planes(work.current, work.grid))
    assert again.prompts == work.prompts
    assert again.objects.notes == work.objects.notes
    assert again.results.held.features().equals(work.results.held.features())
    assert again.is_approved(2, 4)
    assert not other.predictor.calls


def test_work_goes_on_where_it_was_laid_aside(bench, other, tmp_path):
    worked(bench)
    restore(other.work, saved(bench, tmp_path / "work.sam2session"))
    other.work.propagate()
    other.settle()
    bench.work.propagate()
    bench.settle()
    np.testing.assert_array_equal(other.work.current.data, bench.work.current.data)


def test_prompts_that_are_taken_up_are_edited_as_before(bench, other, tmp_path):
    bench.click(2, 10, 8)
    restore(other.work, saved(bench, tmp_path / "work.sam2session"))
    points = other.work.prompt_layers.points
    np.testing.assert_array_equal(points.data, bench.work.prompt_layers.points.data)
    points.selected_data = {0}
    points.remove_selected()
    other.settle()
    assert not other.work.prompts
    assert not other.work.current.data.any()


def test_boxes_come_back_as_boxes(bench, other, tmp_path):
    bench.work.prompt_layers.shapes.add([[(1, 4, 5), (1, 4, 12), (1, 9, 12), (1, 9, 5)]], shape_type="rectangle")
    bench.settle()
    restore(other.work, saved(bench, tmp_path / "work.sam2session"))
    assert other.work.prompts == bench.work.prompts
    other.work.ask()
    other.settle()
    np.testing.assert_array_equal(other.work.current.data, bench.work.current.data)


def test_replayed_without_a_viewer_it_gives_what_the_viewer_shows(bench, tmp_path):
    work = worked(bench)
    session = read_session(saved(bench, tmp_path / "work.sam2session"))
    frames = FrameStack(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255))
    replayed = np.zeros((FRAMES, HEIGHT, WIDTH), np.int64)
    for done in replay(session, lambda model: frames, lambda model: FakePredictor()):
        replayed[done.frame] = done.labels
    merged = work.results.merged(CommitPolicy.KEEP, work.objects.notes.locked)
    np.testing.assert_array_equal(replayed, merged[:])


def test_a_mask_older_than_its_prompts_is_replayed_as_it_is(bench, tmp_path):
    bench.click(2, 10, 8)
    bench.work.propagate()
    bench.settle()
    bench.click(2, 16, 8)  # seen on frame 2 alone, until somebody follows anew
    shown = bench.work.current.data.copy()
    session = read_session(saved(bench, tmp_path / "work.sam2session"))
    frames = FrameStack(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255))
    for done in replay(session, lambda model: frames, lambda model: FakePredictor()):
        np.testing.assert_array_equal(done.labels, shown[done.frame])
    assert shown[2, 16, 8]
    assert not shown[3, 16, 8]


def test_an_undone_commit_is_not_in_the_session(bench, tmp_path):
    bench.click(2, 10, 8)
    bench.work.commit()
    bench.settle()
    bench.work.undo()
    bench.settle()
    session = read_session(saved(bench, tmp_path / "work.sam2session"))
    assert session.steps == ()
    assert session.prompts == bench.work.prompts


def test_the_session_of_another_image_is_refused_before_anything_changes(bench, tmp_path):
    bench.click(2, 10, 8)
    path = saved(bench, tmp_path / "work.sam2session")
    larger = Bench(FakePredictor(), np.zeros((FRAMES, HEIGHT + 2, WIDTH), np.uint8))
    with pytest.raises(SessionError, match="shape"):
        restore(larger.work, path)
    assert not larger.work.prompts
    larger.work.close()


def test_a_session_never_replaces_its_image(bench, tmp_path):
    image = tmp_path / "image.tif"
    image.write_bytes(b"pixels")
    (tmp_path / "link.sam2session").symlink_to(image)
    work = replace(snapshot(bench.work, Choices()), image=ImageUsed(name="i", shape=(3, 4), dtype="uint8", path=image))
    for path in (image, tmp_path / "link.sam2session"):
        with pytest.raises(OptionError, match="is the image and the session at once"):
            work.write(path, overwrite=True)
    assert image.read_bytes() == b"pixels"
