import os
import threading

import pytest

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.reading import read_image
from napari_sam2.files.sources import LARGEST_FRAME, check_kind, reading, source_file


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"pixels")
    return path


def change_length(path):
    path.write_bytes(b"other pixels")


def change_time(path):
    os.utime(path, ns=(0, 0))


def replace_by_a_twin(path):
    found = path.stat()
    twin = path.with_name("twin")
    twin.write_bytes(b"PIXELS")
    os.utime(twin, ns=(found.st_atime_ns, found.st_mtime_ns))
    twin.replace(path)


PIPES = ["a.tif", "a.npy", "a.png", "a.jpg", "folder/a.tif", "folder/a.png"] * hasattr(os, "mkfifo")
CHANGES = [change_length, change_time] + [replace_by_a_twin] * (os.name == "posix")


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_was_changed_is_not_read_on(path, change):
    source = source_file(path)
    with source.reading():
        pass
    change(path)
    with pytest.raises(ImageFileError, match=r"file\.bin has changed since it was opened"), source.reading():
        pytest.fail("it was read")


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_read_while_the_file_changed_is_not_given(path, change):
    with pytest.raises(ImageFileError, match="has changed since it was opened"), source_file(path).reading():
        change(path)


def test_a_change_is_told_rather_than_the_damage_that_it_looks_like(path):
    def misread():
        with source_file(path).reading():
            change_length(path)
            raise ValueError("strange pixels")

    with pytest.raises(ImageFileError, match="has changed since it was opened"):
        misread()


def test_a_file_that_vanishes_is_missing(path):
    source = source_file(path)
    path.unlink()
    with pytest.raises(ImageFileError, match="There is no file"), source.reading():
        pass


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    asked = path.parent if name.startswith("folder") else path
    caught = []

    def read():
        try:
            read_image(asked)
        except ImageFileError as error:
            caught.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert caught
    assert "pipe or device" in caught[0]


@pytest.mark.parametrize("name", ["a" * 300 + ".tif", "a/" * 3000 + "a.png", "a\0b.tif", "a\0b", "\udcff.npy"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(ImageFileError, match=r"cannot be read|There is no file"):
        read_image(tmp_path / name)


def test_a_link_to_nothing_is_told_from_a_missing_file(tmp_path):
    (tmp_path / "a.tif").symlink_to(tmp_path / "gone.tif")
    with pytest.raises(ImageFileError, match=r"a\.tif is a link to something that is missing"):
        read_image(tmp_path / "a.tif")
    (tmp_path / "b.tif").symlink_to(tmp_path / "b.tif")
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError("no"), "permission is denied"),
        (MemoryError(), "needs more memory than there is"),
        (RecursionError("too deep"), r"cannot be read \(too deep\)"),
        (EOFError(), r"cannot be read \(EOFError\)"),
        (ValueError("x" * 999), r"cannot be read \(x{200}\.\.\.\)"),
        (ValueError("requires the 'imagecodecs' package"), r'pip install "napari-sam2\[codecs\]"'),
        (ModuleNotFoundError("No module named 'compression'"), r'pip install "napari-sam2\[codecs\]"'),
    ],
)
def test_what_libraries_raise_becomes_a_sentence(path, error, message):
    with pytest.raises(ImageFileError, match=message), reading(path):
        raise error


def test_an_error_that_no_file_causes_is_left_alone(path):
    with pytest.raises(KeyboardInterrupt), source_file(path).reading():
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("begins", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "its name is that of a PNG file, and it holds EPS"),
        (b"\xff\xd8\xff\xe0", "it holds JPEG. Give it the right name, or save it as PNG"),
        (b"II*\0", "it holds TIFF"),
        (b"hello", "it is no PNG file, or its beginning is damaged"),
    ],
)
def test_a_file_must_begin_as_its_name_says(path, begins, message):
    path.write_bytes(begins)
    with pytest.raises(ImageFileError, match=message):
        check_kind(source_file(path), "PNG")


@pytest.mark.parametrize(
    ("claimed", "held", "ratio", "message"),
    [
        (1001, 10, 100.0, "10 bytes cannot hold the 1,001 bytes"),
        (1000, 10, 100.0, None),
        (LARGEST_FRAME + 1, 2**40, None, "a compressed frame of 1,073,741,825 bytes"),
        (LARGEST_FRAME, 1, None, None),
        (2 * LARGEST_FRAME, 2 * LARGEST_FRAME, 1.0, None),
    ],
)
def test_a_claim_is_held_against_what_is_stored(path, claimed, held, ratio, message):
    if message is None:
        source_file(path).check_claim(claimed, held, ratio)
        return
    with pytest.raises(ImageFileError, match=message):
        source_file(path).check_claim(claimed, held, ratio)
