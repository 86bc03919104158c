"""What a weight file of ours says about itself: the configuration, the image size and the calibration.

It is one JSON object under the key `napari_sam2` of the safetensors metadata, so a file needs no companion.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sam2_model.config import HieraConfig, Release, Sam2Config, check_image_size
from sam2_model.errors import CheckpointError, ConfigError

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
        If it says something that cannot be meant.
    """
    if KEY not in metadata:
        return None
    try:
        return _decode(json.loads(metadata[KEY]))
    except KeyError as error:
        raise CheckpointError(f"Its metadata lacks {error}. Get the file again from where it came.") from error
    except (ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(f"Its metadata is damaged: {error}. Get the file again from where it came.") from error


def _decode(fields: object) -> WeightMetadata:
    if not isinstance(fields, dict):
        raise TypeError(f"{fields!r} is not an object")
    stages = _counts(fields, "stages", 4)
    windows = _counts(fields, "window_sizes", 4)
    grid = _counts(fields, "position_grid", 2)
    trunk = HieraConfig(
        embed_dim=_count(fields, "embed_dim"),
        num_heads=_count(fields, "num_heads"),
        stages=(stages[0], stages[1], stages[2], stages[3]),
        global_blocks=_counts(fields, "global_blocks"),
        position_grid=(grid[0], grid[1]),
        window_sizes=(windows[0], windows[1], windows[2], windows[3]),
    )
    config = Sam2Config(
        trunk,
        Release(fields["release"]),
        width=_count(fields, "width"),
        memory_channels=_count(fields, "memory_channels"),
        memory_layers=_count(fields, "memory_layers"),
        memory_feedforward=_count(fields, "memory_feedforward"),
        num_memories=_count(fields, "num_memories"),
        image_size=check_image_size(_count(fields, "image_size")),
        view_px=_count(fields, "view_px") if "view_px" in fields else None,
        neighbour_blocks=_count(fields, "neighbour_blocks") if "neighbour_blocks" in fields else 0,
        follows_masks=_flag(fields, "follows_masks"),
    )
    return WeightMetadata(str(fields["name"]), config, check_calibration(fields.get("calibration")))


def check_calibration(calibration: object) -> Calibration | None:
    """Return a calibration unchanged if it is a mapping of names to finite numbers, or None.

    Raises
    ------
    TypeError
        If it is not such a mapping.
    ValueError
        If a number is not finite.
    """
    if calibration is None:
        return None
    if not isinstance(calibration, Mapping):
        raise TypeError(f"the calibration {calibration!r} is not a mapping")
    numbers = {str(name): float(value) for name, value in calibration.items()}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"the calibration {name!r} is {value}, not a finite number")
    return MappingProxyType(numbers)


def _flag(fields: Mapping[str, object], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, neither true nor false")
    return value


def _count(fields: Mapping[str, object], name: str) -> int:
    return _counts({name: [fields[name]]}, name, 1)[0]


def _counts(fields: Mapping[str, object], name: str, length: int | None = None) -> tuple[int, ...]:
    values = fields[name]
    if not isinstance(values, list) or (length is not None and len(values) != length):
        raise TypeError(f"{name} is {values!r}, not a list of {length or ''} numbers".replace("  ", " "))
    for value in values:
        # JSON's true would pass for 1; block 0 may be global, nothing else may be 0.
        if type(value) is not int or value < (0 if name == "global_blocks" else 1):
            raise TypeError(f"{name} holds {value!r} where a positive whole number belongs")
    return tuple(values)
