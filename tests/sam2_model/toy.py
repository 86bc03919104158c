"""One toy world for all tests of the predictors: a tiny network, a drawn stack, and prompts on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sam2_model.config import HieraConfig, Sam2Config
from sam2_model.sam2 import Sam2
from sam2_model.video.state import FramePrompt

from .seeded import seeded_model

TOY = Sam2Config(
    HieraConfig(16, 1, (1, 1, 2, 1), (3,), window_sizes=(4, 4, 4, 4)),
    width=32,
    memory_channels=8,
    memory_layers=1,
    memory_feedforward=32,
    num_memories=4,
    image_size=64,
)
HEIGHT, WIDTH = 48, 60


FOLLOWER = replace(TOY, view_px=32, follows_masks=True)
"""The same with what `nano` has and published models have not: finer masks, which are followed, and views.

Masks of random weights run out of every view, so that all is seen in the frame at the end; `test_views` looks at views.
"""


def toy_model(presence: float = 3.0, config: Sam2Config = TOY) -> Sam2:
    """The tiny network; `presence` shifts its object scores, which random weights leave around zero."""
    model = seeded_model(config)
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[2].bias += presence
    return model


def toy_stack(count: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Two discs that drift apart over noise, (count, height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 60, (count, height, width, 3))
    for t in range(count):
        noise[t][(y - 12 - 0.5 * t) ** 2 + (x - 15) ** 2 < 64] += 150
        noise[t][(y - 30) ** 2 + (x - 40 + 0.7 * t) ** 2 < 49] += 90
    return noise.astype(np.uint8)


def toy_labels(count: int) -> NDArray[np.int32]:
    """The discs of `toy_stack`, 1 and 2, (count, HEIGHT, WIDTH)."""
    labels = np.zeros((count, HEIGHT, WIDTH), np.int32)
    for t in range(count):
        labels[t][disc_mask(12 + 0.5 * t, 15, 8)] = 1
        labels[t][disc_mask(30, 40 - 0.7 * t, 7)] = 2
    return labels


@dataclass
class CountingFrames:
    """A lazy source that writes down what is read from it."""

    stack: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
    reads: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.stack)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        self.reads.append(index)
        return self.stack[index]


def clicks(*points: tuple[float, float], labels: Sequence[int] | None = None) -> FramePrompt:
    """Points (x, y), all positive unless said otherwise."""
    kinds = [1] * len(points) if labels is None else labels
    return FramePrompt(points=np.array(points, np.float32).reshape(-1, 2), labels=np.array(kinds, np.int64))


def box(x_min: float, y_min: float, x_max: float, y_max: float) -> FramePrompt:
    return FramePrompt(box=np.array((x_min, y_min, x_max, y_max), np.float32))


def disc_mask(y: float, x: float, radius: float, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    yy, xx = np.mgrid[:height, :width]
    return (yy - y) ** 2 + (xx - x) ** 2 < radius**2
