"""Files appear complete or not at all, and never in the place of an input."""

from __future__ import annotations

import os
import threading

import pytest

from napari_sam2.errors import ImageFileError, OptionError
from napari_sam2.files.atomic import check_apart, check_replaceable, replacing


def test_the_final_name_holds_the_old_or_the_new_content(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path, overwrite=True) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError()])
def test_nothing_is_left_of_a_save_that_fails(tmp_path, error):
    def save():
        with replacing(tmp_path / "a.csv") as partial:
            partial.write_text("half")
            raise error

    with pytest.raises((ImageFileError, KeyboardInterrupt, RuntimeError)):
        save()
    assert not list(tmp_path.iterdir())


def test_a_file_that_appears_meanwhile_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "table.csv"

    def save():
        with replacing(path) as partial:
            partial.write_text("mine")
            path.write_text("theirs")

    with pytest.raises(ImageFileError, match="exists already"):
        save()
    assert path.read_text() == "theirs"


def test_saves_from_two_threads_do_not_mix(tmp_path):
    path, seen = tmp_path / "table.csv", set()

    def save(letter):
        for _ in range(40):
            with replacing(path, overwrite=True) as partial:
                partial.write_text(letter * 2000)
            seen.add(path.read_text())

    threads = [threading.Thread(target=save, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"a" * 2000, "b" * 2000}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["n" * 300 + ".csv", "zero\0.csv"])
def test_a_name_that_the_system_does_not_take_is_refused(tmp_path, name):
    with pytest.raises(ImageFileError, match="Choose another name"), replacing(tmp_path / name) as partial:
        partial.write_text("never")
    assert not list(tmp_path.iterdir())


def test_a_link_that_leads_nowhere_is_not_replaced_unasked(tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "gone")
    with pytest.raises(ImageFileError, match="exists already"):
        check_replaceable(tmp_path / "a.csv")


def linked(path, name):
    (path.parent / name).symlink_to(path)
    return path.parent / name


def hard_linked(path, name):
    os.link(path, path.parent / name)
    return path.parent / name


@pytest.mark.parametrize(
    "spelling",
    [
        lambda path: path,
        lambda path: path.parent / "." / path.name,
        lambda path: path.parent / "folder" / ".." / path.name,
        lambda path: linked(path, "link.tif"),
        lambda path: hard_linked(path, "twin.tif"),
        lambda path: linked(path.parent, "elsewhere") / path.name,
    ],
)
def test_no_input_is_an_output_under_any_spelling(tmp_path, spelling):
    (tmp_path / "folder").mkdir()
    image = tmp_path / "image.tif"
    image.write_text("pixels")
    with pytest.raises(OptionError, match="is the image and --output at once"):
        check_apart({"--output": spelling(image)}, {"the model": tmp_path / "m.pt", "the image": image})


def test_two_outputs_are_two_files_on_systems_that_do_not_tell_case_either(tmp_path):
    with pytest.raises(OptionError, match="is --scores and --output at once"):
        check_apart({"--output": tmp_path / "a.tif", "--scores": tmp_path / "A.TIF"}, {})


def test_an_input_in_a_folder_that_is_replaced_is_refused(tmp_path):
    (tmp_path / "labels.zarr").mkdir()
    prompts = tmp_path / "labels.zarr" / "prompts.json"
    prompts.write_text("{}")
    with pytest.raises(OptionError, match=r"is --prompts and lies in .*labels\.zarr, the --output"):
        check_apart({"--output": tmp_path / "labels.zarr"}, {"--prompts": prompts})
    check_apart({"--output": tmp_path / "other.zarr"}, {"--prompts": prompts})


def test_a_part_of_an_input_that_is_a_folder_is_refused(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "t0.png").write_text("pixels")
    with pytest.raises(OptionError, match=r"t0\.png is a part of .*frames, the image, and would be lost"):
        check_apart({"--scores": frames / "t0.png"}, {"the image": frames})
    check_apart({"--scores": frames / "scores.csv"}, {"the image": frames})
