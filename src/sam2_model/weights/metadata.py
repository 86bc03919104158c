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
from sam2_model.strict_json import parse_json

KEY = "napari_sam2"

_TRUNK_NUMBERS = ("embed_dim", "num_heads")
_TRUNK_TUPLES = ("stages", "global_blocks", "window_sizes", "position_grid")
_NUMBERS = ("width", "memory_channels", "memory_layers", "memory_feedforward", "num_memories", "image_size")
_USUAL: Mapping[str, object] = {
    "view_px": None,
    "neighbour_blocks": 0,
    "follows_masks": False,
    "has_memory": True,
    "has_instance_decoder": False,
}
"""Fields of a configuration; the last are stated only where they differ from what is usual."""

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
    config = metadata.config
    fields: dict[str, object] = {"name": metadata.name, "release": config.release.value}
    fields |= {name: getattr(config.trunk, name) for name in (*_TRUNK_NUMBERS, *_TRUNK_TUPLES)}
    fields |= {name: getattr(config, name) for name in _NUMBERS}
    fields |= {name: value for name, usual in _USUAL.items() if (value := getattr(config, name)) != usual}
    if metadata.calibration is not None:
        fields["calibration"] = dict(metadata.calibration)
    return {KEY: json.dumps(fields)}


def decode(metadata: Mapping[str, str]) -> WeightMetadata | None:
    """Return what a safetensors file says about itself.

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
    trunk: dict[str, Any] = {name: fields[name] for name in _TRUNK_NUMBERS}
    trunk |= {name: _numbers(fields, name) for name in _TRUNK_TUPLES}
    others: dict[str, Any] = {name: fields[name] for name in _NUMBERS}
    others |= {name: fields.get(name, usual) for name, usual in _USUAL.items()}
    config = Sam2Config(HieraConfig(**trunk), Release(fields["release"]), **others)
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


def _numbers(fields: Mapping[str, object], name: str) -> tuple[object, ...]:
    values = fields[name]
    if not isinstance(values, list):
        raise TypeError(f"{name} is {shown(values)}, not a list of numbers")
    return tuple(values)
