"""SAM 2 in PyTorch: Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos".

Axis letters used in the trailing shape comments:

===== ==========================================================
B     batch: images, prompts or objects
C     channels; `width` of the configuration unless said otherwise
Cm    channels of a spatial memory
H, W  height and width of the working image, in pixels
h, w  the same in tokens of the embedding: H / 16, W / 16
N, M  tokens of the frame, tokens of the memory
P, T  prompts or pointers, decoder tokens
===== ==========================================================
"""

from sam2_model.checkpoints import LoadedModel, load_model, save_model
from sam2_model.config import CONFIGS, HieraConfig, Release, Sam2Config, config_of
from sam2_model.errors import CheckpointError, ConfigError, DownloadError, FrameError, PromptError, Sam2Error
from sam2_model.image_predictor import ImageEmbedding, ImagePredictor, MaskPrediction
from sam2_model.memory_bank import Direction
from sam2_model.sam2 import Sam2
from sam2_model.video_options import Policy, VideoOptions
from sam2_model.video_predictor import VideoPredictor
from sam2_model.video_state import FramePrediction, FramePrompt, VideoState

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
