"""Partial files belong to one process, and what is finished in them is never lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
import psutil
import pytest
import tifffile

from napari_sam2.errors import ImageFileError
from napari_sam2.files.labels import open_label_writer
from napari_sam2.files.partial import claim, keep, this_host, tidy

FORKED = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
SHAPE = (3, 8, 9)


@pytest.fixture(params=["labels.tif", "labels.ome.zarr"])
def path(request, tmp_path):
    return tmp_path / request.param


def writer_of(path, **options):
    return open_label_writer(path, shape=SHAPE, dtype="uint8", **options)


def labelled(path):
    if path.suffix == ".tif":
        return tifffile.imread(path)
    import zarr

    return zarr.open_group(path)["0"][:]


def kill_after(act):
    """Run something in a process of its own that is killed without warning when it is done."""
    child = FORKED.Process(target=lambda: (act(), os.kill(os.getpid(), signal.SIGKILL)))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def written_by_another(path, suffix, *, process, host=None, created_ns=None):
    partial = path.with_name(
        f"{path.name}.partial.{host or this_host()}-{process}-{created_ns or time.time_ns():x}{suffix}"
    )
    partial.write_text("work")
    return partial


@pytest.mark.skipif(FORKED is None, reason="processes are not forked here")
def test_a_killed_run_with_finished_frames_is_left_alone_and_said(path, caplog):
    kill_after(lambda: writer_of(path).write(1, np.full(SHAPE[1:], 7, np.uint8)))
    (left,) = path.parent.iterdir()
    for overwrite in (False, True, True):
        with writer_of(path, overwrite=overwrite) as writer:
            writer.write(0, np.ones(SHAPE[1:], np.uint8))
        assert f"{left} is left of an earlier run" in caplog.text
        assert (labelled(left)[1] == 7).all()
        assert (labelled(path)[0] == 1).all()
        caplog.clear()


@pytest.mark.skipif(FORKED is None, reason="processes are not forked here")
def test_a_killed_run_that_had_finished_nothing_blocks_nobody_and_leaves_nothing(path):
    kill_after(lambda: writer_of(path))
    assert len(list(path.parent.iterdir())) == 1
    with writer_of(path):
        pass
    assert list(path.parent.iterdir()) == [path]


def test_two_runs_do_not_write_one_output_unless_that_is_wanted(path):
    first = writer_of(path)
    first.write(0, np.full(SHAPE[1:], 1, np.uint8))
    with pytest.raises(ImageFileError, match=f"is being written by process {os.getpid()}"):
        writer_of(path)
    second = writer_of(path, overwrite=True)
    second.write(2, np.full(SHAPE[1:], 2, np.uint8))
    first.close()
    assert labelled(path)[:, 0, 0].tolist() == [1, 0, 0]
    second.close()
    assert labelled(path)[:, 0, 0].tolist() == [0, 0, 2]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(FORKED is None, reason="processes are not forked here")
def test_of_processes_that_begin_at_once_one_goes_on(tmp_path):
    def begin(start, go_on, results):
        start.wait()
        try:
            claim(tmp_path / "labels.tif", ".tif")
            results.put("made")
        except ImageFileError:
            results.put("refused")
        go_on.wait()

    start, go_on, results = FORKED.Barrier(4), FORKED.Event(), FORKED.Queue()
    children = [FORKED.Process(target=begin, args=(start, go_on, results)) for _ in range(4)]
    for child in children:
        child.start()
    said = sorted(results.get() for _ in children)
    go_on.set()
    for child in children:
        child.join()
    assert said == ["made", "refused", "refused", "refused"]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_partial_file_of_a_running_process_is_not_touched(tmp_path):
    path = tmp_path / "labels.tif"
    other = written_by_another(path, ".tif", process=os.getppid())
    with pytest.raises(ImageFileError, match=f"is being written by process {os.getppid()} on"):
        claim(path, ".tif")
    tidy(path, ".tif", lambda partial: False)
    assert other.read_text() == "work"


def test_of_a_process_on_another_machine_nobody_knows_whether_it_runs(tmp_path):
    path = tmp_path / "labels.tif"
    other = written_by_another(path, ".tif", process=1, host="elsewhere.lab")
    tidy(path, ".tif", lambda partial: False)
    assert other.exists()
    with pytest.raises(ImageFileError, match=r"process 1 on elsewhere\.lab"):
        claim(path, ".tif")


def test_a_process_that_was_given_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path):
    path = tmp_path / "labels.tif"
    before = int((psutil.Process().create_time() - 60) * 1e9)
    other = written_by_another(path, ".tif", process=os.getpid(), created_ns=before)
    claim(path, ".tif")
    tidy(path, ".tif", lambda partial: False)
    assert not other.exists()


def test_what_is_kept_never_replaces_what_was_kept_before(tmp_path):
    path = tmp_path / "table.csv"
    for text in ("first", "second", "third"):
        partial = claim(path, ".csv")
        partial.write_text(text)
        keep(partial, path, ".csv")
    kept = [tmp_path / f"table.csv.partial{number}.csv" for number in ("", "-2", "-3")]
    assert [one.read_text() for one in kept] == ["first", "second", "third"]


def test_links_that_somebody_put_there_are_not_followed(tmp_path):
    victim = tmp_path / "precious"
    victim.write_text("mine")
    path = tmp_path / "table.csv"
    for name in ("table.csv.partial.csv", "table.csv.partial-2.csv"):
        (tmp_path / name).symlink_to(victim)
    partial = claim(path, ".csv")
    partial.write_text("new")
    assert keep(partial, path, ".csv").name == "table.csv.partial-3.csv"
    tidy(path, ".csv", lambda partial: False)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["n" * 250 + ".tif", "with\0zero.tif"])
def test_a_name_that_the_system_does_not_take_is_refused(tmp_path, name):
    with pytest.raises(ImageFileError, match="Choose another name"):
        claim(tmp_path / name, ".tif")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_given_a_plain_name_stays_and_leaves_no_empty_file(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    partial = claim(path, ".csv")
    partial.write_text("work")

    def refused(self, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.replace", refused)
    assert keep(partial, path, ".csv") == partial
    assert [one.read_text() for one in tmp_path.iterdir()] == ["work"]
