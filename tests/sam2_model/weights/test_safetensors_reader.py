"""Safetensors files: read as the format's library reads them, and refused where they contradict themselves."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

from sam2_model.errors import CheckpointError
from sam2_model.weights.safetensors_reader import read_safetensors

STATE = {
    "b": torch.arange(6.0).reshape(2, 3),
    "a": torch.ones(2, dtype=torch.float16),
    "c": torch.full((1, 1, 2), 0.5, dtype=torch.bfloat16),
    "d": torch.tensor(2.5, dtype=torch.float64),
}


def file_of(header: object, content: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + content


def entry(dtype: object = "F32", shape: object = (2,), begin: object = 0, end: object = 8) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_and_metadata_are_those_of_the_formats_own_library(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(STATE, path, metadata={"key": "value", "é": "ü"})
    tensors, metadata = read_safetensors(path)
    theirs = load_file(path)
    assert metadata == {"key": "value", "é": "ü"}
    assert tensors.keys() == theirs.keys() == STATE.keys()
    for key, tensor in tensors.items():
        assert tensor.dtype == theirs[key].dtype
        assert torch.equal(tensor, theirs[key])


def test_tensors_outlive_their_file(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    tensors, _ = read_safetensors(path)
    path.write_bytes(b"")
    assert torch.equal(tensors["b"], STATE["b"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (file_of({}, length=1 << 60), "header of 1,152,921,504,606,846,976 bytes"),
        (file_of({}, length=3), "header of 3 bytes"),
        (b"\x00", "header"),
        (file_of([]), "not an object"),
        (file_of(b'{"a": 1'), "damaged"),
        (file_of(b"{" + b'"a":{' * 100_000), "nested too deeply"),
        (file_of(b'{"a": {}, "a": {}}'), "'a' occurs twice"),
        (file_of(b'{"__metadata__": {"k": "1", "k": "2"}}'), "'k' occurs twice"),
        (file_of({"__metadata__": {"k": 1}}), "metadata"),
        (file_of({"__metadata__": "text"}), "metadata"),
        (file_of({"a": 5}), "does not describe the tensor 'a'"),
        (file_of({"a": entry() | {"more": 1}}, bytes(8)), "does not describe the tensor 'a'"),
        (file_of({"a": entry(shape=[10**9, 10**9])}, bytes(8)), "does not fit into its 8 bytes"),
        (file_of({"a": entry(shape=[10**29])}, bytes(8)), "does not fit into its 8 bytes"),
        (file_of({"a": entry(shape=[10**9], end=4 * 10**9)}, bytes(8)), "need 4,000,000,000 bytes and there are 8"),
        (file_of({"a": entry(shape=[-2])}, bytes(8)), r"holds \[-2\]"),
        (file_of({"a": entry(shape=[True, 2])}, bytes(8)), "holds"),
        (file_of({"a": entry(shape=[2.0])}, bytes(8)), "holds"),
        (file_of({"a": entry(shape=[1] * 9 + [2])}, bytes(8)), "does not describe"),
        (file_of({"a": entry(shape=[0], end=0)}), "does not describe"),
        (file_of({"a": entry(begin=8, end=0)}, bytes(8)), "does not fit"),
        (file_of({"a": entry(), "b": entry(begin=4, end=12)}, bytes(12)), "'b' does not begin where"),
        (file_of({"a": entry(), "b": entry(begin=12, end=20)}, bytes(20)), "'b' does not begin where"),
        (file_of({"a": entry()}, bytes(9)), "need 8 bytes and there are 9"),
        (file_of({"a": entry("F8_E4M3", [8])}, bytes(8)), "F8_E4M3.*Quantised"),
        (file_of({"a": entry("I32")}, bytes(8)), "I32.*Quantised"),
        (file_of({"a": entry(["F32"])}, bytes(8)), "F32"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, content, reason):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"a\.safetensors.*{reason}"):
        read_safetensors(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_give_tensors_or_a_sentence_and_nothing_else(tmp_path, data):
    content = bytearray(save(STATE, {"key": "value"}))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        tensors, _ = read_safetensors(path)
    except CheckpointError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert sum(tensor.nbytes for tensor in tensors.values()) <= len(content)
