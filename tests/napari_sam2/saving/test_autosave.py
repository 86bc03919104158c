"""Whatever ends a viewer, work is found again."""

import os
import queue
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from napari_sam2.saving.autosave import Autosaver, discard, left_over, prune
from napari_sam2.sessions.storage import iter_committed, iter_masks, read_session
from tests.napari_sam2.bench import Bench
from tests.napari_sam2.fake_predictor import FakePredictor


class Kept(Bench):
    """A workspace that is written down."""

    def __init__(self, root, predictor=None):
        super().__init__(predictor or FakePredictor())
        self.saver = Autosaver(self.work, root, take=self.snapshot, post=self.posted.put, interval_s=0.01)

    def hand_over(self):
        """Hand over what has been posted."""
        while True:
            try:
                self.posted.get_nowait()()
            except queue.Empty:
                return

    def close(self, **how):
        self.hand_over()
        self.saver.close(**how)
        super().close()


def taken_up(work):
    other = Bench(FakePredictor())
    other.open_session(work.folder)
    return other


def test_what_is_done_is_found_again(tmp_path):
    bench = Kept(tmp_path)
    bench.click(2, 10, 8)
    bench.propagate()
    bench.settle()
    bench.commit()
    bench.settle()
    bench.click(1, 10, 20)
    bench.close()
    (work,) = left_over(tmp_path)
    other = taken_up(work)
    np.testing.assert_array_equal(other.committed(), bench.committed())
    np.testing.assert_array_equal(other.current(), bench.current())
    assert other.prompts == bench.prompts
    other.close()


def test_nothing_is_written_of_a_viewer_in_which_nothing_was_done(tmp_path):
    bench = Kept(tmp_path)
    bench.choose(3)
    bench.close()
    assert left_over(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_work_of_a_running_viewer_is_not_offered(tmp_path):
    bench = Kept(tmp_path)
    bench.click(2, 10, 8)
    while not list(tmp_path.glob("*/session.json")):
        bench.posted.get(timeout=10)()
        bench.saver.wait_until_written()
    assert left_over(tmp_path) == ()
    bench.close()
    assert len(left_over(tmp_path)) == 1


def test_work_that_is_taken_back_is_not_found(tmp_path):
    bench = Kept(tmp_path)
    bench.click(2, 10, 8)
    bench.undo()
    bench.settle()
    bench.close()
    assert all(not work.session.prompts and not work.session.sources for work in left_over(tmp_path))


def moments(bench, place, monkeypatch, act):
    """Do something, and return copies of the folder before and after every change of a file by which it is written."""
    copies = []

    def copy():
        copies.append(shutil.copytree(bench.saver.folder, place / str(len(copies))))

    with monkeypatch.context() as watched:
        for name in ("replace", "unlink", "write_bytes"):
            change = getattr(Path, name)

            def counted(path, *given, change=change, **options):
                copy()
                return change(path, *given, **options)

            watched.setattr(Path, name, counted)
        act()
        bench.settle()
        bench.saver.wait_until_written()
    copy()
    return copies


def state_of(folder):
    masks = {frame: [mask.object_id for mask in held] for frame, held in iter_masks(folder)}
    labels = {frame: plane.tolist() for frame, plane in iter_committed(folder)}
    session = read_session(folder)
    return masks, labels, session.steps, session.sources


@pytest.mark.parametrize("step", ["commit", "undo"])
def test_whoever_crashes_while_a_step_is_written_has_the_work_from_before_or_after_it(tmp_path, monkeypatch, step):
    bench = Kept(tmp_path / "work")
    bench.click(2, 10, 8)
    bench.propagate()
    bench.settle()
    bench.saver.wait_until_written()
    if step == "undo":
        bench.commit()
        bench.settle()
        bench.saver.wait_until_written()
    copies = moments(bench, tmp_path / "moments", monkeypatch, getattr(bench, step))
    bench.close()
    found = [state_of(folder) for folder in copies]
    before, after = found[0], found[-1]
    assert before != after
    switched = found.index(after)
    assert 2 < switched < len(found) - 2
    assert found == [before] * switched + [after] * (len(found) - switched)


def test_work_of_a_viewer_on_another_machine_is_neither_offered_nor_dropped(tmp_path):
    bench = Kept(tmp_path)
    bench.click(2, 10, 8)
    bench.close()
    (work,) = left_over(tmp_path)
    (work.folder / "owner.json").write_text('{"host": "elsewhere", "pid": 1, "started": 0}')
    assert left_over(tmp_path) == ()
    prune(tmp_path, kept=0)
    assert work.folder.exists()


def test_what_could_not_be_written_is_written_with_what_comes_next(tmp_path, monkeypatch):
    bench = Kept(tmp_path)

    def fail(*given):
        raise ValueError("no codec")

    with monkeypatch.context() as broken:
        broken.setattr("napari_sam2.saving.autosave.write_masks", fail)
        bench.click(2, 10, 8)
        bench.hand_over()
        bench.saver.wait_until_written()
    bench.click(4, 10, 20)
    bench.close()
    (work,) = left_over(tmp_path)
    other = taken_up(work)
    assert other.frames_with_masks == (2, 4)
    other.close()


def test_work_that_is_not_to_be_kept_leaves_nothing(tmp_path):
    bench = Kept(tmp_path)
    bench.click(2, 10, 8)
    bench.close(is_kept=False)
    assert list(tmp_path.iterdir()) == []


def test_old_work_makes_room_and_damaged_work_is_passed_over(tmp_path):
    for number in range(3):
        bench = Kept(tmp_path)
        bench.click(2, 10, 8 + number)
        bench.close()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "session.json").write_text("{")
    prune(tmp_path, kept=2)
    assert len(left_over(tmp_path)) == 2
    discard(left_over(tmp_path)[0])
    assert len(left_over(tmp_path)) == 1


KILLED = """
    import sys, threading
    from pathlib import Path
    from tests.napari_sam2.fake_predictor import FakePredictor
    from tests.napari_sam2.saving.test_autosave import Kept

    reached = threading.Event()

    def before_follow(frame):
        if frame == 5:  # the last frame never comes
            reached.set()
            threading.Event().wait()

    bench = Kept(Path(sys.argv[1]), FakePredictor(before_follow=before_follow))
    bench.click(2, 10, 8)
    bench.commit()
    bench.settle()
    bench.click(2, 10, 20)
    bench.propagate("forward")
    reached.wait()
    bench.hand_over()
    bench.saver.wait_until_written()
    print("ready", flush=True)
    threading.Event().wait()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_while_following_everything_that_was_finished_is_offered_back(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    (work,) = left_over(tmp_path)
    other = taken_up(work)
    assert other.committed()[2, 10, 8] == 1
    assert [frame for frame in range(6) if (other.current()[frame] == 2).any()] == [2, 3, 4]
    assert other.prompts.object_ids == (2,)
    other.propagate("forward")
    other.settle()
    assert (other.current()[5] == 2).any()
    other.close()
