"""Fine-tuning: a model goes on learning from annotated frames, and is tested on frames that it did not see."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch

from sam2_model.config import NANO, Sam2Config, with_image_size
from sam2_model.errors import ConfigError
from sam2_model.sam2 import Sam2
from sam2_model.training.annotated import AnnotatedBatches, AnnotatedFrame, Split, runs, whole_frames
from sam2_model.training.loop import start_fine_tuning, train
from sam2_model.training.scoring import score_clip, score_image
from sam2_model.training.stages import Load, Stage

T = TypeVar("T")

_TESTED_FRAMES = 12
_TESTED_OBJECTS = 32
"""Most held-out frames, and objects on each, that are looked at in one test."""

_TESTS = 8


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to fine-tune a kind of model.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    learning_rate : float
        Highest rate, reached after a tenth of the steps.
    trunk_rate : float
        Rate of the image trunk relative to the rest; 0 leaves the trunk as it is, bit by bit.
    window_px : tuple of int
        Sides of the windows that are cut out of larger working images, the smallest first; without any the model is
        shown whole ones.
    images, objects : int
        Single images in a step at the smallest size (one at larger sizes), and objects asked for in each.
    followed_objects, followed_frames : int
        Objects and frames in a step that follows objects through a series.
    """

    steps: int
    learning_rate: float
    trunk_rate: float
    window_px: tuple[int, ...]
    images: int
    objects: int
    followed_objects: int
    followed_frames: int


SLOW_TRUNK = 0.3
"""Rate of a trunk that is trained, relative to the rest: it is the part with most to forget."""

FOR_NANO = Recipe(300, 1e-4, SLOW_TRUNK, (256, 512), 2, 12, 8, 4)
"""`nano` has seen generated images alone, so its trunk has much to learn from real ones. It was trained at 128 to
512 px: windows of one size alone would make it forget the others."""

FOR_PUBLISHED = Recipe(100, 5e-5, 0.0, (), 1, 8, 4, 3)
"""Meta's trunks have seen millions of images: a few dozen frames would rather spoil them, and training them costs
several times as much. They know one working size, so they are shown whole images."""


def recipe_for(config: Sam2Config) -> Recipe:
    """Return the recipe that suits a model."""
    return FOR_NANO if config.trunk == NANO.trunk else FOR_PUBLISHED


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Means over the objects on held-out frames, at the working size.

    Attributes
    ----------
    click, three_clicks, box : float
        IoU after one click in the middle, two corrections of it, or an exact box.
    next_frame : float or None
        Dice one frame away from a true mask, forwards and backwards; None where no two held-out frames are neighbours.
    """

    click: float
    three_clicks: float
    box: float
    next_frame: float | None

    @property
    def overall(self) -> float:
        """One number to choose weights by."""
        parts = [self.click, self.three_clicks, self.box]
        return float(np.mean(parts if self.next_frame is None else [*parts, self.next_frame]))


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """Where a fine-tuning has got to.

    Attributes
    ----------
    step : int
        Steps done; 0 before the first.
    loss : float or None
        Loss of the masks in this step; None before the first.
    scores : HeldOutScores or None
        Where a test was due; at step 0 those of the model as it came.
    best : Sam2 or None
        The weights that did best in the tests after step 0, in evaluation mode; a copy that nobody changes.
    """

    step: int
    loss: float | None
    scores: HeldOutScores | None
    best: Sam2 | None


def fine_tune(model: Sam2, split: Split, recipe: Recipe, *, seed: int) -> Iterator[Progress]:
    """Train a copy of a model step by step; the same arguments give the same weights.

    Parameters
    ----------
    model : Sam2
        Not changed. The result is meant for the largest working size among the frames.
    split : Split
        Frames to learn from and to test on.
    recipe : Recipe
        How to learn.
    seed : int
        Decides everything random; not negative.

    Yields
    ------
    Progress
        Step 0, then one per step. Closing the generator stops; the best weights are in what was yielded last.

    Raises
    ------
    ConfigError
        If there are no steps to do.
    """
    if recipe.steps < 1:
        raise ConfigError(f"The number of steps is {recipe.steps}. Use 1 or more.")
    network = deepcopy(model).requires_grad_(requires_grad=True)
    network.image_encoder.trunk.requires_grad_(recipe.trunk_rate > 0)
    sizes = [max(frame.stack.working.size) for frame in (*split.training, *split.held_out)]
    network.config = with_image_size(model.config, max(sizes))
    yield Progress(0, None, score_held_out(model, split.held_out), None)
    state = start_fine_tuning(network, seed)
    stage = _stage(recipe, split.training, min(sizes))
    every = max(recipe.steps // _TESTS, 1)
    best: Sam2 | None = None
    best_score = -1.0
    # Numbers too small to matter make a processor many times slower.
    torch.set_flush_denormal(True)
    try:
        for report in train(state, (stage,), AnnotatedBatches(split.training)):
            scores = None
            if report.step % every == 0 or report.step == recipe.steps:
                scores = score_held_out(state.average, split.held_out)
                if scores.overall > best_score:
                    best, best_score = deepcopy(state.average), scores.overall
            yield Progress(report.step, report.mask, scores, best)
    finally:
        torch.set_flush_denormal(False)


@torch.inference_mode()
def score_held_out(model: Sam2, frames: Sequence[AnnotatedFrame]) -> HeldOutScores:
    """Return how well a model prompts and follows the objects of annotated frames; always the same ones."""
    pairs = [pair for run in runs(frames) for pair in pairwise(run)]
    prompted = [score_image(model, whole_frames([frame], _TESTED_OBJECTS)) for frame in _spread(frames)]
    followed = [
        score_clip(model, whole_frames(order, _TESTED_OBJECTS))["dice_1"]
        for first, second in _spread(pairs)
        for order in ((first, second), (second, first))
    ]
    click, three_clicks, box = (
        float(torch.cat([scores[name] for scores in prompted]).mean()) for name in ("click", "three_clicks", "box")
    )
    dice = torch.cat(followed) if followed else torch.empty(0)
    return HeldOutScores(click, three_clicks, box, float(dice.mean()) if len(dice) else None)


def _spread(items: Sequence[T]) -> list[T]:
    """Return up to `_TESTED_FRAMES` of them, evenly spaced."""
    chosen = np.linspace(0, len(items) - 1, min(len(items), _TESTED_FRAMES)).round().astype(int)
    return [items[index] for index in chosen]


def _stage(recipe: Recipe, frames: Sequence[AnnotatedFrame], smallest: int) -> Stage:
    """Return the one stage of the training: single images, and clips where there are any."""
    size, *larger = sorted({min(smallest, px) for px in recipe.window_px or (smallest,)})
    loads = [Load(size, recipe.images, recipe.objects), *(Load(px, 1, recipe.objects) for px in larger)]
    longest = max(len(run) for run in runs(frames))
    if longest > 1:
        loads.append(Load(size, 1, recipe.followed_objects, min(longest, recipe.followed_frames)))
    return Stage(
        "fine-tuning",
        recipe.steps,
        recipe.learning_rate,
        tuple(loads),
        trunk_rate=recipe.trunk_rate,
        warm_up=max(recipe.steps // 10, 1),
    )
