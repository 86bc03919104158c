"""Segment microscopy with SAM 2: prompts in, labels and confidences out. Importing this loads neither torch nor Qt."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam2.api import Segmentation, propagate, segment
    from napari_sam2.labels.prompts import prompts_from_labels
    from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt
    from napari_sam2.training.finetune import finetune

__version__ = "0.1.0"

_HOMES = {
    "BoxPrompt": "prompts",
    "MaskPrompt": "prompts",
    "PointPrompt": "prompts",
    "Segmentation": "api",
    "finetune": "training.finetune",
    "prompts_from_labels": "labels.prompts",
    "propagate": "api",
    "segment": "api",
}

__all__ = [
    "BoxPrompt",
    "MaskPrompt",
    "PointPrompt",
    "Segmentation",
    "__version__",
    "finetune",
    "prompts_from_labels",
    "propagate",
    "segment",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
