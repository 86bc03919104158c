"""Tell which model weights belong to from the names and shapes of their tensors alone."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sam2_model.config import CONFIGS, Release, Sam2Config
from sam2_model.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every tensor by its name in Meta's layout."""

_PATCH_EMBED = "image_encoder.trunk.patch_embed.proj.weight"
_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.")
_ONLY_IN_2_1 = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")

_MEMORY = r"(memory_attention|memory_encoder)\."
_INSTANCES = r"instance_decoder\."

_LISTED = 5
"""Tensors that a message names; the others are counted."""

_OTHER_MODELS: tuple[tuple[str, str], ...] = (
    (r"(detector|tracker)(_model|_neck)?\.", "SAM 3"),
    (r"spatial_perceiver\.", "EdgeTAM"),
    (r"vision_encoder\.layers\.\d+\.", "the first SAM in the layout of the `transformers` library"),
    (r"image_encoder\.blocks\.\d+\.", "the first SAM"),
    (r"(mask_decoder|prompt_encoder)\.", "the first SAM, or one of the models derived from it"),
)
"""Beginnings of tensor names that give away another model; the first that fits is named."""


def recognise(shapes: Shapes) -> Sam2Config:
    """Return the known model that weights in Meta's layout belong to, or resemble most.

    The width of the patch embedding and the number of blocks tell the variant, the tensors that came with 2.1 the
    release; without memory attention and memory encoder they are a model for images, whose release does not show and
    does not matter. Nothing else is compared: strict loading does that, and then names what differs from which model.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Shape of every tensor.

    Returns
    -------
    Sam2Config
        One of `sam2_model.config.CONFIGS`, with its own image size: the shapes do not tell it.

    Raises
    ------
    CheckpointError
        If these are not weights of a SAM 2 with a Hiera trunk; the message names the other model if it is known.
    """
    other = _other_model(shapes)
    if other is not None:
        raise CheckpointError(
            f"These are weights of {other}, which is another network. Use weights of SAM 2 or SAM 2.1, or a fine-tune."
        )
    blocks = {match[1] for key in shapes if (match := _BLOCK.match(key))}
    patch = shapes.get(_PATCH_EMBED)
    if not blocks or patch is None:
        first = ", ".join(sorted(shapes)[:3]) or "none at all"
        raise CheckpointError(
            f"There is no SAM 2 image encoder among its {len(shapes)} tensors (the first: {first}). Use weights of "
            "SAM 2 or SAM 2.1 in Meta's layout or in that of the `transformers` library."
        )
    has_memory = _any_begins(shapes, _MEMORY)
    is_newer = not has_memory or any(key in shapes for key in _ONLY_IN_2_1)
    release = Release.V2_1 if is_newer else Release.V2_0
    alike = [config for config in CONFIGS.values() if config.trunk.embed_dim == patch[0]]
    if not alike:
        known = ", ".join(
            f"{config.trunk.embed_dim} ({name})" for name, config in CONFIGS.items() if config.release is Release.V2_1
        )
        raise CheckpointError(f"Its trunk begins with {patch[0]} channels; the known models begin with {known}.")
    likest = min(alike, key=lambda known: (abs(sum(known.trunk.stages) - len(blocks)), known.release is not release))
    likest = replace(likest, has_instance_decoder=_any_begins(shapes, _INSTANCES))
    return likest if has_memory else replace(likest, has_memory=False, follows_masks=False)


def check_shapes(shapes: Shapes, expected: Shapes, config: Sam2Config) -> None:
    """Refuse weights that are not, tensor by tensor, those of a model.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Shape of every tensor found.
    expected : mapping of str to tuple of int
        Shape of every tensor of the model.
    config : Sam2Config
        The model, for the message.

    Raises
    ------
    CheckpointError
        If a tensor is missing, unexpected or of another shape; the message names some of each.
    """
    differences = {
        "missing": sorted(expected.keys() - shapes.keys()),
        "unexpected": sorted(shapes.keys() - expected.keys()),
        "of another shape": [
            f"{key} {shapes[key]} instead of {shape}"
            for key, shape in expected.items()
            if key in shapes and shapes[key] != shape
        ],
    }
    found = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in differences.items() if keys]
    if found:
        raise CheckpointError(
            f"It resembles {model_title(config)}, but of its tensors there are {'; '.join(found)}. Use weights saved "
            "whole from an unchanged SAM 2."
        )


def model_name(config: Sam2Config) -> str | None:
    """Return the name of the known model with this trunk and release, at whatever image size; None for another."""
    alike = (name for name, known in CONFIGS.items() if (known.trunk, known.release) == (config.trunk, config.release))
    return next(alike, None)


def model_title(config: Sam2Config) -> str:
    """Return the model as a message names it, such as "SAM 2.1 tiny"; without memory, "SAM 2 tiny for images"."""
    name = (model_name(config) or "of another size").removesuffix("-2.0")
    return f"SAM {config.release.value} {name}" if config.has_memory else f"SAM 2 {name} for images"


def _other_model(shapes: Shapes) -> str | None:
    for beginning, name in _OTHER_MODELS:
        if _any_begins(shapes, beginning):
            return name
    if len(shapes.get("image_encoder.trunk.pos_embed", ())) == 3:
        # A plain vision transformer has one position per token where Hiera has a coarse map.
        return "EfficientTAM, or another SAM 2 with a plain vision transformer"
    return None


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return ", ".join(keys[:_LISTED]) + more


def _any_begins(shapes: Iterable[str], beginning: str) -> bool:
    pattern = re.compile(beginning)
    return any(pattern.match(key) for key in shapes)
