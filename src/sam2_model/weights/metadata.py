"""What a weight file of ours says about itself: the configuration, the image size and the calibration.

It is one JSON object under the key `napari_sam2` of the safetensors metadata, so a file needs no companion.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any

from sam2_model.config import HieraConfig, Release, Sam2Config
from sam2_model.errors import CheckpointError, ConfigError, shown
from sam2_model.weights.strict_json import parse_json

KEY = "napari_sam2"

Calibration = Mapping[str, float]
"""Named numbers that turn raw scores into confidence."""


@dataclass(frozen=True, slots=True)
class WeightMetadata:
    """What a weight file says about itself.

    Attributes
    ----------
    name : str
        Name its writer gave the model.
    config : Sam2Config
        Everything needed to build the network.
    calibration : mapping of str to float or None
        None if the model has not been calibrated.
    """

    name: str
    config: Sam2Config
    calibration: Calibration | None = None


def encode(metadata: WeightMetadata) -> dict[str, str]:
    """Return metadata in the form a safetensors file holds."""
    config, trunk = metadata.config, metadata.config.trunk
    fields: dict[str, object] = {
        "name": metadata.name,
        "release": config.release.value,
        "embed_dim": trunk.embed_dim,
        "num_heads": trunk.num_heads,
        "stages": trunk.stages,
        "global_blocks": trunk.global_blocks,
        "window_sizes": trunk.window_sizes,
        "position_grid": trunk.position_grid,
        "width": config.width,
        "memory_channels": config.memory_channels,
        "memory_layers": config.memory_layers,
        "memory_feedforward": config.memory_feedforward,
        "num_memories": config.num_memories,
        "image_size": config.image_size,
    }
    if config.view_px is not None:
        fields["view_px"] = config.view_px
    if config.neighbour_blocks:
        fields["neighbour_blocks"] = config.neighbour_blocks
    if config.follows_masks:
        fields["follows_masks"] = config.follows_masks
    if not config.has_memory:
        fields["has_memory"] = config.has_memory
    if metadata.calibration is not None:
        fields["calibration"] = dict(metadata.calibration)
    return {KEY: json.dumps(fields)}


def decode(metadata: Mapping[str, str]) -> WeightMetadata | None:
    """Read what a safetensors file says about itself.

    Returns
    -------
    WeightMetadata or None
        None if the file was written by somebody else and says nothing.

    Raises
    ------
    CheckpointError
        If it says something that cannot be meant: a key twice, or a number outside its range (`config.RANGES`).
    """
    if KEY not in metadata:
        return None
    try:
        return _decode(parse_json(metadata[KEY]))
    except KeyError as error:
        raise CheckpointError(f"Its metadata lacks {error}. Get the file again from where it came.") from error
    except (ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"Its metadata is damaged: {str(error).removesuffix('.')}. Get the file again from where it came."
        ) from error


def _decode(fields: object) -> WeightMetadata:
    if not isinstance(fields, dict):
        raise TypeError(f"{shown(fields)} is not an object")
    trunk = HieraConfig(
        embed_dim=fields["embed_dim"],
        num_heads=fields["num_heads"],
        stages=_numbers(fields, "stages"),
        global_blocks=_numbers(fields, "global_blocks"),
        position_grid=_numbers(fields, "position_grid"),
        window_sizes=_numbers(fields, "window_sizes"),
    )
    config = Sam2Config(
        trunk,
        Release(fields["release"]),
        width=fields["width"],
        memory_channels=fields["memory_channels"],
        memory_layers=fields["memory_layers"],
        memory_feedforward=fields["memory_feedforward"],
        num_memories=fields["num_memories"],
        image_size=fields["image_size"],
        view_px=fields.get("view_px"),
        neighbour_blocks=fields.get("neighbour_blocks", 0),
        follows_masks=fields.get("follows_masks", False),
        has_memory=fields.get("has_memory", True),
    )
    if not isinstance(fields["name"], str):
        raise TypeError(f"the name is {shown(fields['name'])}, not a text")
    return WeightMetadata(fields["name"], config, check_calibration(fields.get("calibration")))


def check_calibration(calibration: object) -> Calibration | None:
    """Return a calibration unchanged if it is a mapping of names to finite numbers, or None.

    Raises
    ------
    TypeError
        If it is not such a mapping.
    ValueError
        If a number is not finite, also where it is too large for a floating-point number.
    """
    if calibration is None:
        return None
    if not isinstance(calibration, Mapping):
        raise TypeError(f"the calibration {shown(calibration)} is not a mapping")
    return MappingProxyType({str(name): _finite(str(name), value) for name, value in calibration.items()})


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"the calibration {shown(name)} is {shown(value)}, not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"the calibration {shown(name)} is {shown(value)}, not a finite number")
    return number


def _numbers(fields: Mapping[str, object], name: str) -> Any:  # `HieraConfig` says how many there must be
    values = fields[name]
    if not isinstance(values, list):
        raise TypeError(f"{name} is {shown(values)}, not a list of numbers")
    return tuple(values)
