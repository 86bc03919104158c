"""What is taught when: a curriculum as a table."""

from dataclasses import dataclass, field
from math import cos, pi

from sam2_model.errors import ConfigError
from sam2_model.imaginary.scenes import FAMILIES, SceneOptions
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
        What the imaginary user does.
    scenes : SceneOptions
        What kind of scenes; size and frames come from the load.
    matches_memory : bool
        Whether the last layer of memory attention begins anew with this stage, by content (`matching`).
    """

    name: str
    steps: int
    learning_rate: float
    loads: tuple[Load, ...]
    trunk_rate: float = 1.0
    warm_up: int = 50
    last_rate: float = 0.1
    user: Interaction = field(default_factory=Interaction)
    scenes: SceneOptions = field(default_factory=SceneOptions)
    matches_memory: bool = False

    def rate_at(self, step: int) -> float:
        """Learning rate at a step of this stage."""
        rise = min((step + 1) / max(self.warm_up, 1), 1.0)
        fall = self.last_rate + (1 - self.last_rate) * 0.5 * (1 + cos(pi * min(step / max(self.steps, 1), 1.0)))
        return self.learning_rate * rise * fall


CURRICULUM: tuple[Stage, ...] = (
    Stage(
        "large objects",
        1350,
        6e-4,
        (Load(128, 4, 12), Load(192, 3, 12), Load(256, 2, 12), Load(384, 1, 16)),
        scenes=SceneOptions(radius_px=(9.0, 100.0)),
    ),
    Stage(
        "prompts",
        650,
        7e-4,
        (Load(128, 4, 12), Load(192, 3, 12), Load(256, 2, 12), Load(384, 1, 16)),
        scenes=SceneOptions(radius_px=(7.0, 100.0)),
    ),
    Stage(
        "memory, still",
        400,
        5e-4,
        (Load(128, 2, 12, 3), Load(128, 2, 12, 3), Load(128, 4, 12)),
        trunk_rate=0.1,
        user=Interaction(mask_prompts=1.0, second_prompts=0.0, true_memories=0.5),
        scenes=SceneOptions(pace=0.2, sections=0.3, radius_px=(9.0, 100.0)),
    ),
    Stage(
        "joint",
        2200,
        6e-4,
        (
            Load(128, 4, 12),
            Load(192, 3, 12),
            Load(256, 2, 12),
            Load(384, 1, 16),
            Load(128, 2, 12, 4),
            Load(128, 2, 10, 6),
            Load(192, 1, 12, 4),
            Load(256, 1, 8, 4),
        ),
        user=Interaction(mask_prompts=0.7),
        scenes=SceneOptions(radius_px=(6.0, 100.0)),
    ),
    Stage(
        "fine outlines",
        450,
        1.5e-4,
        (Load(256, 1, 10, 5), Load(192, 1, 10, 6), Load(256, 2, 12), Load(512, 1, 16)),
        scenes=SceneOptions(radius_px=(5.0, 150.0)),
    ),
    Stage(
        "wide fields",
        1650,
        4e-4,
        (
            Load(256, 2, 12),
            Load(384, 1, 16),
            Load(512, 1, 16),
            Load(512, 1, 20),
            Load(256, 1, 8, 4),
            Load(192, 1, 10, 6),
            Load(384, 1, 10, 3),
        ),
        scenes=SceneOptions(radius_px=(5.0, 150.0)),
    ),
    Stage(
        "finish",
        1400,
        1.5e-4,
        (Load(256, 2, 12), Load(512, 1, 20), Load(512, 1, 16), Load(192, 1, 10, 7), Load(256, 1, 10, 5)),
        scenes=SceneOptions(radius_px=(5.0, 150.0)),
    ),
    Stage(
        "small objects",
        600,
        1e-4,
        (Load(512, 1, 20), Load(512, 1, 24), Load(384, 1, 20), Load(256, 2, 12), Load(192, 1, 10, 6)),
        user=Interaction(boxes=0.6),
        scenes=SceneOptions(radius_px=(6.0, 45.0)),
    ),
    Stage(
        "neighbours",
        2250,
        4e-4,
        (
            Load(256, 2, 14),
            Load(384, 1, 24),
            Load(512, 1, 32),
            Load(256, 1, 8, 4),
            Load(192, 1, 10, 6),
            Load(384, 1, 8, 3),
            Load(512, 1, 6, 3),
        ),
        warm_up=100,
        user=Interaction(corrections=3),
        scenes=SceneOptions(radius_px=(5.0, 150.0)),
    ),
    Stage(
        "boxes",
        420,
        1.2e-4,
        (Load(256, 2, 14), Load(384, 1, 24), Load(512, 1, 24), Load(256, 1, 8, 4)),
        warm_up=20,
        user=Interaction(boxes=0.7),
        scenes=SceneOptions(radius_px=(6.0, 60.0)),
    ),
    Stage(
        "motion",
        1000,
        5e-4,
        (
            Load(128, 3, 8, 4),
            Load(192, 1, 10, 5),
            Load(256, 1, 8, 4),
            Load(256, 1, 8, 4),
            Load(256, 2, 16),
            Load(384, 1, 24),
        ),
        trunk_rate=0.4,
        user=Interaction(boxes=0.6, mask_prompts=0.7),
        scenes=SceneOptions(radius_px=(5.0, 120.0), sections=0.35, pace=1.4),
        matches_memory=True,
    ),
    Stage(
        "together",
        403,
        4e-4,
        (
            Load(256, 2, 16),
            Load(256, 2, 16),
            Load(384, 1, 28),
            Load(512, 1, 32),
            Load(128, 2, 8, 6),
            Load(192, 1, 10, 5),
            Load(256, 1, 8, 4),
            Load(256, 1, 8, 5),
            Load(384, 1, 8, 3),
        ),
        user=Interaction(boxes=0.6),
        scenes=SceneOptions(radius_px=(5.0, 150.0), sections=0.35, drift_px=5.0),
    ),
    Stage(
        "masks and fields",
        949,
        4e-4,
        (
            Load(256, 2, 16),
            Load(256, 2, 16),
            Load(384, 1, 24),
            Load(512, 1, 20),
            Load(128, 2, 8, 6),
            Load(192, 1, 10, 5),
            Load(256, 1, 8, 4),
            Load(256, 1, 6, 5),
            Load(384, 1, 6, 3),
        ),
        warm_up=100,
        user=Interaction(boxes=0.55, mask_prompts=0.7),
        scenes=SceneOptions(radius_px=(5.0, 256.0), sections=0.4, drift_px=4.0),
    ),
    Stage(
        "many followed",
        589,
        3.4e-4,
        (
            Load(256, 2, 16),
            Load(256, 2, 16),
            Load(384, 1, 24),
            Load(512, 1, 20),
            Load(128, 3, 8, 5),
            Load(128, 3, 8, 5),
            Load(128, 2, 8, 7),
            Load(192, 2, 8, 4),
            Load(256, 1, 8, 4),
            Load(384, 1, 6, 3),
        ),
        warm_up=10,
        user=Interaction(boxes=0.55, mask_prompts=0.75),
        scenes=SceneOptions(radius_px=(5.0, 256.0), sections=0.45, drift_px=2.5),
    ),
    Stage(
        "last",
        960,
        2.7e-4,
        (
            Load(256, 2, 16),
            Load(256, 2, 16),
            Load(256, 2, 16),
            Load(384, 1, 24),
            Load(512, 1, 20),
            Load(512, 1, 20),
            Load(128, 3, 8, 5),
            Load(128, 3, 8, 5),
            Load(192, 1, 10, 6),
            Load(256, 1, 8, 5),
        ),
        warm_up=1,
        user=Interaction(boxes=0.65, mask_prompts=0.75),
        scenes=SceneOptions(radius_px=(5.0, 256.0), sections=0.45, drift_px=2.0),
    ),
    Stage(
        "longer clips",
        2470,
        3e-4,
        (
            Load(256, 2, 16),
            Load(384, 1, 24),
            Load(512, 1, 20),
            Load(512, 1, 20),
            Load(128, 3, 8, 5),
            Load(128, 3, 8, 5),
            Load(128, 2, 8, 8),
            Load(192, 1, 10, 6),
            Load(256, 1, 8, 5),
            Load(256, 1, 8, 5),
        ),
        warm_up=20,
        last_rate=0.02,
        user=Interaction(boxes=0.65, mask_prompts=0.8),
        scenes=SceneOptions(
            radius_px=(5.0, 256.0), sections=0.25, drift_px=2.0, families=(*FAMILIES, "cells", "rods", "phase contrast")
        ),
    ),
)
"""How `nano` is trained. The first weights went this way too, but met `initialise` after the prompts, not before."""


def stage_at(stages: tuple[Stage, ...], step: int) -> tuple[Stage, int]:
    """Stage a step belongs to, and its number within that stage.

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


def total_steps(stages: tuple[Stage, ...]) -> int:
    """Count the steps of all stages together."""
    return sum(stage.steps for stage in stages)
