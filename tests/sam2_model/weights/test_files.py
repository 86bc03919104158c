"""Opening files of tensors, and everything that is saved under the name of one."""

import argparse
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from sam2_model.errors import CheckpointError
from sam2_model.weights.files import Weights, read_weights, write_weights
from sam2_model.weights.metadata import KEY

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def torch_bytes(content: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def same(tensors: dict[str, torch.Tensor]) -> bool:
    return tensors.keys() == STATE.keys() and all(torch.equal(tensors[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize(
    "content",
    [
        torch_bytes({"model": STATE}),
        torch_bytes(STATE),
        torch_bytes({"model": STATE, "optimizer": {"state": {}}, "epoch": 3}),
        torch_bytes({"model": STATE}, _use_new_zipfile_serialization=False),
        save(STATE),
    ],
    ids=["as Meta does", "bare", "with training state", "in the old format", "safetensors"],
)
@pytest.mark.parametrize("filename", ["weights.pt", "weights.safetensors", "weights"])
def test_tensors_are_read_whatever_the_file_is_called(tmp_path, content, filename):
    path = tmp_path / filename
    path.write_bytes(content)
    assert same(read_weights(path).tensors)


def test_metadata_of_safetensors_is_read(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors", metadata={"key": "value"})
    assert read_weights(tmp_path / "a.safetensors").metadata == {"key": "value"}


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no file .*gone.pt"):
        read_weights(tmp_path / "gone.pt")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_weights(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match="is a pipe"):
        read_weights(tmp_path / "pipe.pt")


class RunsCode:
    """Pickles to a call of `os.system`."""

    def __reduce__(self):
        return os.system, ("echo this must never run",)


def zip_bytes(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def recompressed(content: bytes) -> bytes:
    """The same archive as a program that packs writes it: a megabyte of it may stand for a gigabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    return buffer.getvalue()


def overlapping(content: bytes) -> bytes:
    """The same archive with a member that claims to be longer than the whole file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sizes = [info.file_size for info in archive.infolist()]
    claimed = max(sizes).to_bytes(4, "little") * 2  # packed and unpacked, one after the other
    return content.replace(claimed, (len(content) + 1).to_bytes(4, "little") * 2)


WHOLE = torch_bytes({"model": {"a": torch.zeros(10_000)}})
OLD = torch_bytes({"model": STATE}, _use_new_zipfile_serialization=False)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty.*Download it again"),
        (WHOLE[: len(WHOLE) // 2], "is truncated: its end is missing"),
        (save({"a": torch.zeros(10_000)})[:20_000], "is truncated or damaged"),
        (b"\n<!DOCTYPE html>\n<html>Sign in</html>", "is a web page.*download link"),
        (LFS, "is a Git LFS pointer.*git lfs pull"),
        (b"Not Found", "is a text file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "neither a PyTorch nor a safetensors file"),
        (zip_bytes(readme="hello"), "is a ZIP archive, not weights"),
        (zip_bytes(**{"m/data.pkl": "", "m/constants.pkl": ""}), "is a TorchScript program"),
        (zip_bytes(**{"m/data.pkl": "garbage"}), "is (truncated or )?damaged"),
        (b"\x80\x02" + bytes(100), "is (truncated or )?damaged"),
        (b"\x80\x02", "is (truncated or )?damaged"),
        (b"\x80\x02}q", "is (truncated or )?damaged"),
        (recompressed(WHOLE), "was compressed. Unpack it"),
        (overlapping(WHOLE), "members overlap or claim more"),
        (torch_bytes({"model": STATE, "hook": RunsCode()}), r"would run code \((posix|nt)\.system\).*not opened"),
        (pickle.dumps(RunsCode(), protocol=2), r"would run code \((posix|nt)\.system\)"),
        (torch_bytes({"model": STATE, "args": argparse.Namespace()}), r"would run code \(argparse.Namespace\)"),
        (torch_bytes([1, 2, 3]), r"neither under 'model' nor at the top \(found: list\)"),
        (torch_bytes({"epoch": 3, "loss": 0.1}), r"found: epoch, loss"),
        (torch_bytes({}), "found: nothing"),
        (torch_bytes({"model": {"a": "b"}}), "found: model"),
    ],
)
def test_what_is_not_weights_is_told_apart(tmp_path, capfd, content, reason):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{path}.*{reason}"):
        read_weights(path)
    assert capfd.readouterr().out == ""


def quantised() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors", "ignore:.*[Qq]uantiz", "ignore:Sparse")
@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.ones(4).to_sparse(), "layout torch.sparse_coo"),
        (torch.ones(4, 4).to_sparse_csr(), "layout torch.sparse_csr"),
        (torch.ones(4, device="meta"), "on meta without values"),
        (torch.ones(4).to(torch.float8_e4m3fn), "torch.float8_e4m3fn"),
        (torch.ones(4, dtype=torch.complex64), "torch.complex64"),
        (torch.ones(4, dtype=torch.int8), "torch.int8"),
        (torch.ones(4, dtype=torch.bool), "torch.bool"),
        (quantised, "torch.qint8"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
        (torch.ones(1).expand(10**12), "claims 1,000,000,000,000 values"),
        (torch.ones(0, 5), "is empty"),
    ],
)
def test_tensors_that_are_no_weights_are_refused_by_name(tmp_path, tensor, reason):
    path = tmp_path / "weights.pt"
    path.write_bytes(torch_bytes({"model": STATE | {"odd.weight": tensor() if callable(tensor) else tensor}}))
    with pytest.raises(CheckpointError, match=rf"{path}.*({reason}|damaged)"):
        read_weights(path)


def test_parameters_are_tensors_like_others(tmp_path):
    torch.save({key: torch.nn.Parameter(tensor) for key, tensor in STATE.items()}, tmp_path / "weights.pt")
    assert same(read_weights(tmp_path / "weights.pt").tensors)


def shards(folder: Path, **shard_of: str) -> Path:
    """A folder with `a.weight` in one shard and `a.bias` in another, and an index that says what it is told to say."""
    folder.mkdir()
    for name, key in (("model-00001-of-00002.safetensors", "a.weight"), ("model-00002-of-00002.safetensors", "a.bias")):
        save_file({key: STATE[key]}, folder / name, metadata={"format": "pt", KEY: "of a part"})
    index = {"a.weight": "model-00001-of-00002.safetensors", "a.bias": "model-00002-of-00002.safetensors"} | shard_of
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


def test_the_shards_of_a_folder_are_joined_without_what_each_says_of_itself(tmp_path):
    read = read_weights(shards(tmp_path / "model"))
    assert same(read.tensors)
    assert read.metadata == {}


@pytest.mark.parametrize(
    "shard_of",
    [
        {"more": "model-00002-of-00002.safetensors"},
        {"a.bias": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    ],
)
def test_an_index_that_disagrees_with_its_shards_is_refused(tmp_path, shard_of):
    folder = shards(tmp_path / "model", **shard_of)
    with pytest.raises(CheckpointError, match=r"does not hold the tensors that model\.safetensors\.index\.json says"):
        read_weights(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    folder = shards(tmp_path / "model")
    save_file(STATE, folder / "model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"the first that differ: 'a\.weight'"):
        read_weights(folder)


def test_a_shard_that_was_not_fetched_but_pointed_to_is_told(tmp_path):
    folder = shards(tmp_path / "model")
    (folder / "model-00002-of-00002.safetensors").write_bytes(LFS)
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors is a Git LFS pointer"):
        read_weights(folder)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), content=st.sampled_from([torch_bytes({"model": STATE}), OLD, save(STATE)]))
def test_damaged_bytes_give_tensors_or_a_sentence_and_nothing_else(tmp_path, data, content):
    damaged = bytearray(content)
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        damaged[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(1, len(content)))])
    try:
        read_weights(path)
    except CheckpointError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_weights_are_written_whole_with_their_metadata(tmp_path):
    path = tmp_path / "a.safetensors"
    write_weights(path, Weights(STATE, {"key": json.dumps([1])}))
    read = read_weights(path)
    assert same(read.tensors)
    assert read.metadata == {"key": "[1]"}
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_replaced_only_when_that_is_allowed(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_text("precious")
    with pytest.raises(CheckpointError, match="exists already"):
        write_weights(path, Weights(STATE))
    assert path.read_text() == "precious"
    write_weights(path, Weights(STATE), overwrite=True)
    assert same(read_weights(path).tensors)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="Check that the folder exists"):
        write_weights(tmp_path / "no" / "a.safetensors", Weights(STATE))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_text("precious")

    def disk_full(tensors: object, partial: os.PathLike[str], metadata: object) -> None:
        with open(partial, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sam2_model.weights.files.save_file", disk_full)
    with pytest.raises(CheckpointError, match="No space left"):
        write_weights(path, Weights(STATE), overwrite=True)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
