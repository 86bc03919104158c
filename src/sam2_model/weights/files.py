"""Open and write files of tensors. No code in a file is ever run, and nothing is half-written under its final name.

What a file is shows in its first bytes, not in its name: the most common "weights" that do not load are a web page or a
Git LFS pointer saved under the right name.
"""

import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard
from uuid import uuid4

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sam2_model.errors import CheckpointError, shown
from sam2_model.weights.places import INDEX, WeightPlace, place_of
from sam2_model.weights.safetensors_reader import DOWNLOAD_AGAIN, read_safetensors

_ARCHIVE = b"PK\x03\x04"
_BARE_PICKLE = b"\x80\x02"
"""What PyTorch wrote before its files were archives."""

_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Tensors and what their file states about them.

    Attributes
    ----------
    tensors : dict of str to Tensor
        On the CPU, in the precision of the file: plain tensors of floating-point numbers, no larger than the file.
    metadata : mapping of str to str
        Of a safetensors file; empty for a PyTorch file.
    """

    tensors: dict[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_weights(path: Path) -> Weights:
    """Return what lies in a PyTorch or safetensors file, or in a folder as the `transformers` library saves models.

    Raises
    ------
    CheckpointError
        If the file is missing, empty, truncated, damaged, no file of tensors at all, holds code, or its tensors are of
        a kind that is no weight; if a shard of a folder is missing, or holds other tensors than its index says.
    """
    place = place_of(path)
    return _join(place) if place.shard_of else _read_file(place.files[0])


def _read_file(path: Path) -> Weights:
    head = _first_bytes(path)
    if head[8:9] == b"{":
        return Weights(*read_safetensors(path))
    if head.startswith(_ARCHIVE):
        _check_archive(path)
    if head.startswith((_ARCHIVE, _BARE_PICKLE)):
        return Weights(_state_of(_read_torch(path), path))
    raise CheckpointError(f"{path} {_what_else(head)}")


def _join(place: WeightPlace) -> Weights:
    """Read all shards of a folder. What only they say in their metadata is not about the whole."""
    expected: dict[str, set[str]] = {path.name: set() for path in place.files}
    for key, name in place.shard_of.items():
        expected[name].add(key)
    tensors: dict[str, Tensor] = {}
    for path in place.files:
        found = _read_file(path).tensors
        differing = sorted(map(shown, found.keys() ^ expected[path.name]))
        if differing:
            raise CheckpointError(
                f"{path} does not hold the tensors that {INDEX} says it holds (the first that differ: "
                f"{', '.join(differing[:3])}). Download the whole folder again."
            )
        tensors |= found
    return Weights(tensors)


def write_weights(path: Path, weights: Weights, *, overwrite: bool = False) -> None:
    """Write a safetensors file under its final name, whole or not at all.

    Raises
    ------
    CheckpointError
        If the file exists and may not be overwritten, or cannot be written.
    """
    if path.exists() and not overwrite:
        raise CheckpointError(f"{path} exists already. Choose another name, or allow it to be overwritten.")
    partial = path.with_name(f"{path.name}.{uuid4().hex[:8]}.partial")
    try:
        save_file(weights.tensors, partial, metadata=dict(weights.metadata))
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"Cannot write {path}: {error}. Check that the folder exists and may be written and that the disk is "
            "not full."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}. Check that it may be read.") from error
    if not head:
        raise CheckpointError(f"{path} is empty. {DOWNLOAD_AGAIN}")
    return head


def _what_else(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights it stands for. Run `git lfs pull`, or download the file itself."
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not weights: probably the page about the file was saved. Use that page's download link."
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "is a text file, not weights. Give a .pt or .safetensors file."
    return "is not a file of weights: it is neither a PyTorch nor a safetensors file. Give a .pt or .safetensors file."


def _read_torch(path: Path) -> object:
    try:
        # Given an open file, because PyTorch may judge a name by its ending.
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))
        if not names:
            raise CheckpointError(f"{path} is damaged, or no file of tensors. {DOWNLOAD_AGAIN}") from error
        raise CheckpointError(
            f"{path} holds more than tensors: opening it would run code ({names[0]}), so it was not opened. If you "
            "trust its author, open it with PyTorch in a place where that does no harm and save the tensors alone."
        ) from error
    except Exception as error:
        # Damaged bytes can make the reader fail in any way at all, with a message or without.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is truncated or damaged ({reason}). {DOWNLOAD_AGAIN}") from error


def _check_archive(path: Path) -> None:
    # Ways of making archives that zipfile does not know are not implemented there.
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is truncated: its end is missing. {DOWNLOAD_AGAIN}") from error
    names = [member.filename for member in members]
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(f"{path} is a TorchScript program, not weights. Save the model's state dict instead.")
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(f"{path} is a ZIP archive, not weights. If the weights are in it, unpack it first.")
    # PyTorch never compresses, and takes the memory that a member claims.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(f"{path} was compressed. Unpack it, and save the weights with `torch.save`.")
    if sum(member.file_size for member in members) > path.stat().st_size or len(set(names)) < len(names):
        raise CheckpointError(f"{path} is damaged: its members overlap or claim more than it holds. {DOWNLOAD_AGAIN}")


def _state_of(content: object, path: Path) -> dict[str, Tensor]:
    """Return the state dict of a PyTorch file: what lies under "model", or the whole."""
    if isinstance(content, Mapping):
        for state in (content.get("model"), content):
            if _is_state(state):
                _check_tensors(state, path)
                return dict(state)
    entries = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
    raise CheckpointError(
        f"{path} holds no weights where they belong: neither under 'model' nor at the top (found: "
        f"{entries or 'nothing'}). Save the state dict as `torch.save({{'model': network.state_dict()}}, path)`."
    )


def _is_state(state: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(state, Mapping)
        and len(state) > 0
        and all(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in state.items())
    )


def _check_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that are no weights, or that claim more values than the file holds."""
    size_bytes = path.stat().st_size
    for key, tensor in state.items():
        kind = _unusual(tensor)
        if kind is not None:
            raise CheckpointError(
                f"{path} cannot be used. {shown(key)} holds {kind}, not plain floating-point numbers of 16, 32 or 64 "
                "bits. Quantised weights are not supported."
            )
        if not tensor.numel():
            raise CheckpointError(f"{path} cannot be used. {shown(key)} is empty.")
        if tensor.numel() * tensor.itemsize > min(tensor.untyped_storage().nbytes(), size_bytes):
            raise CheckpointError(
                f"{path} cannot be used. {shown(key)} claims {tensor.numel():,} values, more than the file holds."
            )


def _unusual(tensor: Tensor) -> str | None:
    """Return what a tensor is that cannot be a weight; None for one that can."""
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"a {type(tensor).__name__}"
    if tensor.is_nested or tensor.layout != torch.strided:
        return "a nested tensor" if tensor.is_nested else f"a tensor of layout {tensor.layout}"
    if tensor.device.type != "cpu":
        return f"a tensor on {tensor.device.type} without values"
    return None if tensor.dtype in _DTYPES else str(tensor.dtype)
