"""A network small enough to be trained in a test, and generated scenes for it."""

import numpy as np
import torch

from sam2_model.config import HieraConfig, Sam2Config
from sam2_model.imaginary.initialise import soften_start
from sam2_model.imaginary.scene_batches import scene_batch
from sam2_model.imaginary.scenes import SceneOptions
from sam2_model.sam2 import Sam2
from sam2_model.training.batches import Batch

SMALL = Sam2Config(
    HieraConfig(16, 1, (1, 1, 1, 1), (2,), window_sizes=(4, 2, 4, 2)),
    width=32,
    memory_channels=16,
    memory_layers=1,
    memory_feedforward=32,
    num_memories=3,
    image_size=64,
)


def small_model(config: Sam2Config = SMALL) -> Sam2:
    torch.manual_seed(0)
    model = Sam2(config)
    soften_start(model)
    return model


def small_batch(seed: int, frames: int, size: int = 64) -> Batch:
    options = SceneOptions(size=size, frames=frames, families=("nuclei",), sections=0.0, radius_px=(8.0, 14.0))
    return scene_batch(np.random.default_rng(seed), options, clips=1, objects=3)
