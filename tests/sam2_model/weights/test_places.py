"""What a path of weights stands for, and what is refused before anything is opened."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from sam2_model.errors import CheckpointError
from sam2_model.weights.places import INDEX, WHOLE, place_of

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def write_index(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 2}, "weight_map": weight_map}))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    folder = tmp_path / "sam2.1-hiera-tiny"
    folder.mkdir()
    for name in SHARDS:
        (folder / name).write_bytes(b"x")
    write_index(folder, {"b": SHARDS[1], "a": SHARDS[0], "c": SHARDS[1]})
    return folder


def test_a_file_stands_for_itself(tmp_path):
    path = tmp_path / "mine.v2.pt"
    path.write_bytes(b"12345")
    place = place_of(path)
    assert (place.files, place.shard_of, place.name, place.size_bytes) == ((path,), {}, "mine.v2", 5)


def test_a_folder_stands_for_the_file_in_it_and_has_its_own_name(tmp_path):
    folder = tmp_path / "sam2.1-hiera-tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / WHOLE).write_bytes(b"123")
    place = place_of(folder)
    assert (place.files, place.shard_of, place.name) == ((folder / WHOLE,), {}, "sam2.1-hiera-tiny")


def test_a_folder_of_shards_stands_for_all_of_them_in_order(sharded):
    place = place_of(sharded)
    assert place.files == tuple(sharded / name for name in SHARDS)
    assert place.shard_of == {"b": SHARDS[1], "a": SHARDS[0], "c": SHARDS[1]}
    assert place.size_bytes == 2


def test_the_folder_that_one_is_in_has_a_name_too(sharded, monkeypatch):
    monkeypatch.chdir(sharded)
    assert place_of(Path()).name == "sam2.1-hiera-tiny"


def test_a_missing_shard_is_named(sharded):
    (sharded / SHARDS[1]).unlink()
    with pytest.raises(CheckpointError, match=rf"incomplete: {SHARDS[1]}"):
        place_of(sharded)


def test_shards_without_their_index_are_told(sharded):
    (sharded / INDEX).unlink()
    with pytest.raises(CheckpointError, match=rf"shards but not {INDEX}"):
        place_of(sharded)


def test_a_folder_without_weights_names_the_file_that_may_be_meant(tmp_path):
    with pytest.raises(CheckpointError, match=r"is a folder with neither.*Give a \.pt"):
        place_of(tmp_path)
    (tmp_path / "sam2.1_hiera_tiny.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"Give the weight file in it: sam2\.1_hiera_tiny\.pt"):
        place_of(tmp_path)


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "/etc/a.safetensors", "x/a.safetensors", r"..\a.safetensors", "C:a.safetensors"]
)
def test_an_index_that_leads_out_of_its_folder_is_refused(sharded, name):
    write_index(sharded, {"a": SHARDS[0], "b": name})
    with pytest.raises(CheckpointError, match="not a file of its folder"):
        place_of(sharded)


@pytest.mark.parametrize("name", ["passwd", "a.pt", "", 5, None, ["a.safetensors"]])
def test_an_index_that_names_other_things_than_weight_files_is_refused(sharded, name):
    write_index(sharded, {"a": SHARDS[0], "b": name})
    with pytest.raises(CheckpointError, match=r"where a \.safetensors file belongs"):
        place_of(sharded)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not JSON", "damaged"),
        ("[]", "names no tensors"),
        ('{"weight_map": {}}', "names no tensors"),
        ('{"weight_map": []}', "names no tensors"),
        ('{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "'a' occurs twice"),
        ("[" * 100_000, "nested too deeply"),
        (" " * (17 << 20), "longer than 16 MB"),
    ],
)
def test_a_damaged_index_is_refused(sharded, text, reason):
    (sharded / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match=rf"{INDEX}.*{reason}"):
        place_of(sharded)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
class TestLinks:
    def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(self, sharded, tmp_path):
        (tmp_path / "elsewhere.safetensors").write_bytes(b"x")
        (sharded / SHARDS[0]).unlink()
        (sharded / SHARDS[0]).symlink_to(tmp_path / "elsewhere.safetensors")
        with pytest.raises(CheckpointError, match="link out of its folder"):
            place_of(sharded)

    def test_a_link_within_the_folder_is_followed(self, sharded):
        (sharded / SHARDS[0]).rename(sharded / "renamed")
        (sharded / SHARDS[0]).symlink_to("renamed")
        assert place_of(sharded).size_bytes == 2

    def test_a_folder_of_the_hubs_cache_opens_though_it_is_made_of_links(self, tmp_path):
        snapshot = tmp_path / "models--someone--sam2" / "snapshots" / ("a" * 40)
        blobs = tmp_path / "models--someone--sam2" / "blobs"
        snapshot.mkdir(parents=True)
        blobs.mkdir()
        (blobs / "0123").write_bytes(b"x")
        (snapshot / WHOLE).symlink_to("../../blobs/0123")
        assert place_of(snapshot).files == (snapshot / WHOLE,)

    def test_a_link_in_a_circle_is_told(self, tmp_path):
        (tmp_path / "a.pt").symlink_to("a.pt")
        with pytest.raises(CheckpointError, match="Cannot look at"):
            place_of(tmp_path / "a.pt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_refused_at_once_also_as_the_file_of_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match="is a pipe"):
        place_of(tmp_path / "pipe.pt")
    os.mkfifo(tmp_path / WHOLE)
    with pytest.raises(CheckpointError, match="is a pipe"):
        place_of(tmp_path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no devices with names")
def test_a_device_is_refused():
    with pytest.raises(CheckpointError, match="a device"):
        place_of(Path("/dev/zero"))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no sockets with names")
def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # their names are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.pt")
        with pytest.raises(CheckpointError, match="a socket"):
            place_of(Path("s.pt"))


@pytest.mark.parametrize("name", ["gone.pt", "x" * 5000, "a\0b", "file.pt/inside.pt"])
def test_names_at_which_nothing_can_be_are_told(tmp_path, name):
    (tmp_path / "file.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="Check the path"):
        place_of(tmp_path / name)


def test_a_folder_in_the_place_of_a_shard_is_told(sharded):
    (sharded / SHARDS[0]).unlink()
    (sharded / SHARDS[0]).mkdir()
    with pytest.raises(CheckpointError, match="is a folder where a weight file belongs"):
        place_of(sharded)


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(CheckpointError, match=r"Permission denied.*Check that it may be read"):
        place_of(tmp_path)


def test_files_that_stay_as_they_are_are_unchanged(sharded):
    with place_of(sharded).unchanged():
        assert stat.S_ISREG((sharded / SHARDS[0]).stat().st_mode)


@pytest.mark.parametrize("change", [lambda p: p.write_bytes(b"longer"), lambda p: p.unlink()])
def test_a_file_that_is_changed_meanwhile_is_told(sharded, change):
    with pytest.raises(CheckpointError, match="changed while it was read"), place_of(sharded).unchanged():
        change(sharded / SHARDS[1])


def test_what_went_wrong_because_of_the_change_is_told_as_the_change(sharded):
    def shorten_and_fail() -> None:
        (sharded / SHARDS[1]).write_bytes(b"")
        raise CheckpointError("it is damaged")

    with pytest.raises(CheckpointError, match="changed while it was read"), place_of(sharded).unchanged():
        shorten_and_fail()
