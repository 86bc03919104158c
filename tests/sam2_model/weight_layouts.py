"""Weight files as others write them, made here."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sam2_model.config import CONFIGS, Release
from sam2_model.sam2 import Sam2
from sam2_model.weights.registry import PublishedWeights

DATA = Path(__file__).parents[1] / "data"

TRANSFORMERS_KEYS: dict[str, str] = json.loads((DATA / "sam2_transformers_keys.json").read_text())
"""Meta's key -> key of the `transformers` library, for SAM 2.1 tiny; "name[i]" is row i of a tensor."""


def published_bytes(content: bytes, name: str = "tiny", filename: str = "weights.pt") -> PublishedWeights:
    """A registry entry for given bytes."""
    sha256 = hashlib.sha256(content).hexdigest()
    return PublishedWeights(name, "someone/something", filename, len(content), sha256, Release.V2_1)


def transformers_key(key: str) -> str:
    """Meta's key in the other spelling, also for blocks that SAM 2.1 tiny does not have."""
    if key in TRANSFORMERS_KEYS:
        return TRANSFORMERS_KEYS[key]
    index = re.search(r"trunk\.blocks\.(\d+)\.", key)
    assert index is not None, key
    # Block 1 is the first of a stage, so it has every parameter a block can have.
    template = TRANSFORMERS_KEYS[re.sub(r"blocks\.\d+\.", "blocks.1.", key)]
    return template.replace("blocks.1.", f"blocks.{index[1]}.")


def to_transformers_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as the `transformers` library saves them."""
    renamed: dict[str, Tensor] = {}
    rows: dict[str, dict[int, Tensor]] = {}
    for key, tensor in state.items():
        other, _, row = transformers_key(key).partition("[")
        if row:
            rows.setdefault(other, {})[int(row[:-1])] = tensor
        else:
            renamed[other] = tensor
    for other, tensors in rows.items():
        renamed[other] = torch.cat([tensors[row] for row in sorted(tensors)])
    renamed["shared_image_embedding.positional_embedding"] = renamed[
        "prompt_encoder.shared_embedding.positional_embedding"
    ].clone()
    return renamed


def blueprint(name: str) -> Sam2:
    """A known model without memory for its parameters."""
    with torch.device("meta"):
        return Sam2(CONFIGS[name])


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state.items()}
