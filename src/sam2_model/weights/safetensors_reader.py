"""Read safetensors files: a length, a JSON header that says what lies where, and then the tensors, end to end.

The format's own library writes them here but does not read them: it maps files into memory, and a mapped file that
somebody shortens ends the program without a word; of a tensor or a text named twice it keeps the last.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from sam2_model.errors import CheckpointError, shown
from sam2_model.strict_json import parse_json

_LONGEST_HEADER_BYTES = 16 << 20
_MOST_AXES = 8
_TYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
DOWNLOAD_AGAIN = "Download it again, and compare its size with the one announced there."


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file and its metadata.

    Returns
    -------
    tensors : dict of str to Tensor
        On the CPU, in the precision of the file, in memory of their own.
    metadata : dict of str to str
        Empty if the file has none.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is truncated or damaged, contradicts itself, or holds other numbers than
        floating-point ones of 16, 32 or 64 bits. No memory is taken for a tensor before the file is known to hold it.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header, start = _read_header(file, size)
            metadata = _metadata(header.pop("__metadata__", {}))
            entries = sorted((_entry(*item) for item in header.items()), key=lambda entry: (entry.begin, entry.end))
            _check_tiling(entries, size - start)
            return {entry.name: _read_tensor(file, start, entry) for entry in entries}, metadata
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}. Check that it may be read.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}). {DOWNLOAD_AGAIN}") from error
    except _UnsupportedError as error:
        raise CheckpointError(f"{path} cannot be used. {error}") from error


class _UnsupportedError(Exception):
    """The file is sound, and of no use here."""


def _read_header(file: BufferedReader, size: int) -> tuple[dict[str, object], int]:
    """Return the header and where the tensors begin."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _LONGEST_HEADER_BYTES):
        raise ValueError(f"it announces a header of {length:,} bytes and has {size:,} in all")
    header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    return header, 8 + length


def _metadata(texts: object) -> dict[str, str]:
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("its metadata is not a list of named texts")
    return texts


def _entry(name: str, fields: object) -> _Entry:
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"its header does not describe the tensor {shown(name)}")
    shape, offsets = _whole_numbers(name, fields["shape"]), _whole_numbers(name, fields["data_offsets"])
    if len(shape) > _MOST_AXES or 0 in shape or len(offsets) != 2:
        raise ValueError(f"its header does not describe the tensor {shown(name)}")
    dtype = _TYPES.get(fields["dtype"]) if isinstance(fields["dtype"], str) else None
    if dtype is None:
        raise _UnsupportedError(
            f"{shown(name)} holds {shown(fields['dtype'])}, not floating-point numbers of 16, 32 or 64 bits. "
            "Quantised weights are not supported."
        )
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise ValueError(
            f"the tensor {shown(name)} of shape {shown(shape)} does not fit into its {offsets[1] - offsets[0]} bytes"
        )
    return _Entry(name, dtype, shape, offsets[0], offsets[1])


def _whole_numbers(name: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int and value >= 0 for value in values):
        raise ValueError(f"its header holds {shown(values)} for the tensor {shown(name)}")
    return tuple(values)


def _check_tiling(entries: list[_Entry], size: int) -> None:
    """Refuse tensors that overlap, leave gaps, or end elsewhere than the file."""
    position = 0
    for entry in entries:
        if entry.begin != position:
            raise ValueError(f"the tensor {shown(entry.name)} does not begin where the one before it ends")
        position = entry.end
    if position != size:
        raise ValueError(f"its tensors need {position:,} bytes and there are {size:,}")


def _read_tensor(file: BufferedReader, start: int, entry: _Entry) -> Tensor:
    content = bytearray(entry.end - entry.begin)
    file.seek(start + entry.begin)
    if file.readinto(content) != len(content):
        raise ValueError("it has become shorter while it was read")
    return torch.frombuffer(content, dtype=entry.dtype).reshape(entry.shape)
