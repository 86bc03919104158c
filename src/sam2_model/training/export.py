"""Weights as a small file that the checkpoint loader reads."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save_file

from sam2_model.config import Sam2Config
from sam2_model.sam2 import Sam2


def export_weights(model: Sam2, name: str, path: Path) -> None:
    """Write weights in half precision under Meta's keys, with the configuration in the metadata.

    Parameters
    ----------
    model : Sam2
        The weights.
    name : str
        Name of the model.
    path : Path
        Where to; an existing file is replaced once the new one is complete.
    """
    tensors = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"napari_sam2": json.dumps(describe(model.config, name))})
    partial.replace(path)


def describe(config: Sam2Config, name: str) -> dict[str, object]:
    """Give a configuration as the plain values kept in a weight file."""
    rest = {key: value for key, value in asdict(config).items() if key not in ("trunk", "release")}
    return {"name": name, "release": config.release.value} | asdict(config.trunk) | rest
