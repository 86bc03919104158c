"""Stages of a training: how many steps of which size, at which rate, with which prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import cos, pi
from typing import TypeVar

from sam2_model.errors import ConfigError
from sam2_model.sam2 import Sam2
from sam2_model.training.steps import Interaction


@dataclass(frozen=True, slots=True)
class Load:
    """Size of one step.

    Attributes
    ----------
    size : int
        Side of the images in pixels.
    clips : int
        Images, or clips, in the batch.
    objects : int
        Objects asked for in each of them.
    frames : int
        Frames per clip; 1 for single images.
    """

    size: int
    clips: int
    objects: int
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training with one recipe.

    Attributes
    ----------
    name : str
        What it is called in logs.
    steps : int
        Optimiser steps.
    learning_rate : float
        Highest rate: reached after the warm-up, from where it falls along a cosine.
    loads : tuple of Load
        One of them is drawn for each step.
    trunk_rate : float
        Rate of the image trunk relative to the rest.
    warm_up : int
        Steps over which the rate rises from zero.
    last_rate : float
        Where the rate ends, relative to the highest.
    user : Interaction
        What the simulated user does.
    prepare : callable, optional
        Changes the model before the first step, given the seed of the run.
    """

    name: str
    steps: int
    learning_rate: float
    loads: tuple[Load, ...]
    trunk_rate: float = 1.0
    warm_up: int = 50
    last_rate: float = 0.1
    user: Interaction = field(default_factory=Interaction)
    prepare: Callable[[Sam2, int], None] | None = None

    def rate_at(self, step: int) -> float:
        """Return the learning rate at a step of this stage."""
        rise = min((step + 1) / max(self.warm_up, 1), 1.0)
        fall = self.last_rate + (1 - self.last_rate) * 0.5 * (1 + cos(pi * min(step / max(self.steps, 1), 1.0)))
        return self.learning_rate * rise * fall


StageT = TypeVar("StageT", bound=Stage)


def stage_at(stages: Sequence[StageT], step: int) -> tuple[StageT, int]:
    """Return the stage that a step belongs to, and the number of the step within it.

    Raises
    ------
    ConfigError
        If all stages are over by then.
    """
    first = 0
    for stage in stages:
        if step < first + stage.steps:
            return stage, step - first
        first += stage.steps
    raise ConfigError(f"Step {step} is beyond the last stage: there are {first} steps. Add a stage to train longer.")


def total_steps(stages: Sequence[Stage]) -> int:
    """Return the number of steps of all stages together."""
    return sum(stage.steps for stage in stages)
