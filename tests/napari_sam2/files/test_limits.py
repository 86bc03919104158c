import os

import pytest

from napari_sam2.errors import ImageFileError
from napari_sam2.files.limits import read_limited


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (("pipe", "is no file"), (".", "is no file"), ("none", "There is no file"), ("loop", "loop")):
        with pytest.raises(ImageFileError, match=message):
            read_limited(tmp_path / name)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "a.json").write_bytes(b"12345")
    assert read_limited(tmp_path / "a.json", 5) == b"12345"
    with pytest.raises(ImageFileError, match="larger than the 4 bytes"):
        read_limited(tmp_path / "a.json", 4)
