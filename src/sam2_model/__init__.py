"""SAM 2 in PyTorch: Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos".

Axis letters used in the trailing shape comments:

===== ==========================================================
B     batch: images, prompts or objects
C     channels; `width` of the configuration, where nothing else is stated
Cm    channels of a spatial memory
H, W  height and width of the working image, in pixels
h, w  the same in tokens of the embedding: H / 16, W / 16
N, M  tokens of the frame, tokens of the memory
P, T  prompts or pointers, decoder tokens
===== ==========================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam2_model.config import CONFIGS, HieraConfig, Release, Sam2Config, config_of
    from sam2_model.errors import CheckpointError, ConfigError, DownloadError, FrameError, PromptError, Sam2Error
    from sam2_model.image_predictor import ImageEmbedding, ImagePredictor, MaskPrediction
    from sam2_model.memory_bank import Direction
    from sam2_model.sam2 import Sam2
    from sam2_model.video.options import Policy, VideoOptions
    from sam2_model.video.predictor import VideoPredictor
    from sam2_model.video.state import FramePrediction, FramePrompt, VideoState
    from sam2_model.weights.loading import LoadedModel, load_model, save_model

_NAMES = {
    "config": ("CONFIGS", "HieraConfig", "Release", "Sam2Config", "config_of"),
    "errors": ("CheckpointError", "ConfigError", "DownloadError", "FrameError", "PromptError", "Sam2Error"),
    "image_predictor": ("ImageEmbedding", "ImagePredictor", "MaskPrediction"),
    "memory_bank": ("Direction",),
    "sam2": ("Sam2",),
    "video.options": ("Policy", "VideoOptions"),
    "video.predictor": ("VideoPredictor",),
    "video.state": ("FramePrediction", "FramePrompt", "VideoState"),
    "weights.loading": ("LoadedModel", "load_model", "save_model"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "CONFIGS",
    "CheckpointError",
    "ConfigError",
    "Direction",
    "DownloadError",
    "FrameError",
    "FramePrediction",
    "FramePrompt",
    "HieraConfig",
    "ImageEmbedding",
    "ImagePredictor",
    "LoadedModel",
    "MaskPrediction",
    "Policy",
    "PromptError",
    "Release",
    "Sam2",
    "Sam2Config",
    "Sam2Error",
    "VideoOptions",
    "VideoPredictor",
    "VideoState",
    "config_of",
    "load_model",
    "save_model",
]


def __getattr__(name: str) -> object:
    """Return a public name, imported when it is first used (PEP 562): the registry can be read without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
