"""Labelled clips of imaginary microscopy: what `nano` is trained on.

Everything is random and follows from the generator that is passed in: the same seed gives the same scene.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sam2_model.errors import ConfigError
from sam2_model.imaginary import appearance
from sam2_model.imaginary.bodies import Bodies, ShapeRange
from sam2_model.imaginary.imaging import display, enlarge, enlarge_labels, record
from sam2_model.imaginary.layout import LayoutRules, draw
from sam2_model.imaginary.motion import sections, time_lapse
from sam2_model.imaginary.textures import Field

MAX_BODIES = 400
"""Most bodies in one scene; more cost time and teach nothing new."""


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of image: its painters, outlines and crowding.

    Attributes
    ----------
    painters : tuple of Painter
        Appearances to choose from.
    shape : ShapeRange
        Outlines.
    radius : tuple of float
        Smallest and largest typical radius relative to the side of the image; at least 3 px are used. A field wider
        than `WIDE_PX` shows more of them, not only larger ones.
    coverage : tuple of float
        Fraction of the field covered by bodies.
    overlap : float
        Probability that bodies hide each other instead of meeting at a seam.
    tessellate : float
        Probability that bodies fill the field.
    weight : float
        How often the family is chosen, relative to the others.
    """

    painters: tuple[appearance.Painter, ...]
    shape: ShapeRange = field(default_factory=ShapeRange)
    radius: tuple[float, float] = (0.025, 0.25)
    coverage: tuple[float, float] = (0.1, 0.6)
    overlap: float = 0.3
    tessellate: float = 0.0
    weight: float = 1.0


_ANY = (
    appearance.fluorescent_nuclei,
    appearance.cytoplasm,
    appearance.membranes,
    appearance.phase_contrast,
    appearance.bright_field,
    appearance.dark_on_bright,
    appearance.electron_micrograph,
    appearance.textured,
)

WIDE_PX = 256
"""Side from which on a larger image is a wider field."""

FAMILIES: dict[str, Family] = {
    "nuclei": Family(
        (appearance.fluorescent_nuclei,), ShapeRange((1.0, 2.1), lobes=0.12), coverage=(0.08, 0.7), weight=5.0
    ),
    "odd nuclei": Family((appearance.fluorescent_nuclei,), ShapeRange((1.0, 2.2), lobes=0.5), weight=1.5),
    "cells": Family((appearance.cytoplasm,), ShapeRange((1.0, 2.5), lobes=0.35), radius=(0.05, 0.35)),
    "membranes": Family(
        (appearance.membranes,), ShapeRange((1.0, 1.8), lobes=0.15), (0.05, 0.25), (0.5, 1.0), tessellate=0.6
    ),
    "phase contrast": Family((appearance.phase_contrast,), ShapeRange((1.0, 3.0), lobes=0.35)),
    "bright field": Family((appearance.bright_field,), ShapeRange((1.0, 1.6), lobes=0.15)),
    "histology": Family((appearance.dark_on_bright,), ShapeRange((1.0, 2.5), lobes=0.2)),
    "electron microscopy": Family((appearance.electron_micrograph,), ShapeRange((1.0, 2.5), 0.25, 0.15, spread=0.5)),
    "rods": Family(
        (appearance.phase_contrast, appearance.fluorescent_nuclei, appearance.dark_on_bright, appearance.membranes),
        ShapeRange((2.5, 6.0), 0.0, 0.15, squareness=0.8),
        radius=(0.025, 0.1),
    ),
    "filaments": Family(
        (appearance.fluorescent_nuclei, appearance.dark_on_bright, appearance.electron_micrograph),
        ShapeRange((6.0, 20.0), 0.0, 0.4, squareness=0.7),
        radius=(0.04, 0.09),
        coverage=(0.03, 0.2),
        overlap=1.0,
        weight=0.5,
    ),
    "spheroids": Family((appearance.spheroids,), ShapeRange((1.0, 1.4), 0.15), (0.12, 0.45), (0.1, 0.5), weight=0.7),
    "tissue": Family(
        (appearance.fluorescent_nuclei, appearance.cytoplasm, appearance.electron_micrograph, appearance.textured),
        ShapeRange((1.0, 1.8), lobes=0.2),
        radius=(0.04, 0.2),
        coverage=(0.6, 0.9),
        tessellate=0.5,
    ),
    "anything": Family(_ANY, ShapeRange((1.0, 3.0), 0.6, 0.1, 0.2, 0.4), radius=(0.02, 0.45), weight=1.5),
}
"""The families of images, by name."""


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What kind of scenes to make.

    Attributes
    ----------
    size : int
        Side of the square frames in pixels.
    frames : int
        Number of frames T.
    pace : float
        How much moves between the frames of a time-lapse: 0 nothing, 1 the full range.
    drift_px : float
        Typical drift of the stage between the frames of a time-lapse, in pixels at pace 1.
    sections : float
        Probability of a z-section instead of a time-lapse.
    radius_px : tuple of float
        Smallest and largest typical radius in pixels, whatever the family says; the largest defaults to the image.
    families : tuple of str
        Names from `FAMILIES` to choose from, one given twice twice as often; empty means all.
    """

    size: int = 128
    frames: int = 1
    pace: float = 1.0
    drift_px: float = 1.0
    sections: float = 0.5
    radius_px: tuple[float, float] = (3.0, 1e3)
    families: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A labelled clip.

    Attributes
    ----------
    frames : ndarray
        Shape (T, H, W), float32, in [0, 1].
    labels : ndarray
        Shape (T, H, W), int32; an id stands for the same object in every frame, 0 is background.
    family : str
        Name of the family it was drawn from.
    """

    frames: Field
    labels: NDArray[np.int32]
    family: str


def make_scene(rng: np.random.Generator, options: SceneOptions) -> Scene:
    """Return one random scene, which the state of the generator decides.

    Raises
    ------
    ConfigError
        If a family is not known, or size or number of frames is not positive.
    """
    _check(options)
    names = options.families or tuple(FAMILIES)
    weights = np.array([FAMILIES[name].weight for name in names])
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    family = FAMILIES[name]
    radius = _typical_radius(rng, family, options)
    # Coarse pixels enlarged: what a small region of a larger image looks like at the working size.
    magnified = radius > 10 and rng.random() < 0.35
    factor = rng.uniform(1.3, min(5.0, radius / 5)) if magnified else 1.0
    small = max(int(np.ceil(options.size / factor)), 24)
    rules = LayoutRules(rng.random() < family.overlap, rng.random() < family.tessellate)
    is_sectioned = rng.random() < options.sections
    radius *= small / options.size
    bodies = _bodies(rng, family, rules, options, (small, radius, is_sectioned))
    layout = draw(bodies, (small, small), rules)
    painter = family.painters[rng.integers(len(family.painters))]
    picture, labels = painter(rng, layout), layout.labels
    if is_sectioned:
        picture, labels = appearance.thick_sections(rng, picture, radius), labels[1:-1]
    picture = record(rng, appearance.haze(rng, picture))
    picture = display(rng, enlarge(picture, options.size))
    return Scene(picture, enlarge_labels(labels, options.size), name)


def _check(options: SceneOptions) -> None:
    unknown = set(options.families) - set(FAMILIES)
    if unknown:
        raise ConfigError(f"There is no family of scenes called {sorted(unknown)}. Choose from: {', '.join(FAMILIES)}.")
    if options.size < 16 or options.frames < 1:
        raise ConfigError(f"A scene needs at least 16 px and 1 frame, not {options.size} px and {options.frames}.")


def _typical_radius(rng: np.random.Generator, family: Family, options: SceneOptions) -> float:
    """Return a random radius within what the family, the options and the image allow, in pixels."""
    low = max(family.radius[0] * min(options.size, WIDE_PX), options.radius_px[0])
    high = max(min(family.radius[1] * options.size, options.radius_px[1]), low * 1.01)
    # The square root of a uniform number would favour large bodies; its square favours small, crowded ones.
    return float(low * (high / low) ** (rng.random() ** 1.3))


def _bodies(
    rng: np.random.Generator,
    family: Family,
    rules: LayoutRules,
    options: SceneOptions,
    field_of_view: tuple[int, float, bool],
) -> Bodies:
    """Return the bodies of one scene: moving, or sectioned with a section more at either end."""
    size, radius, is_sectioned = field_of_view
    coverage = rng.uniform(*family.coverage) if not rules.tessellate else rng.uniform(0.8, 1.1)
    count = int(np.clip(coverage * (size + radius) ** 2 / (np.pi * radius**2), 1, MAX_BODIES))
    if is_sectioned:
        count = int(np.clip(count * (1.5 + 0.2 * options.frames), 2, MAX_BODIES))
    elif rng.random() < 0.1:
        count = max(count // 4, 1)
    radii = (radius * np.exp(rng.normal(0, family.shape.spread, count))).clip(2.0, size * 0.6).astype(np.float32)
    crowding = rng.choice([0.0, 0.4, 0.8])
    if is_sectioned:
        return sections(rng, (size, size), options.frames + 2, radii, family.shape, crowding)
    return time_lapse(rng, (size, size), options.frames, radii, family.shape, crowding, options.pace, options.drift_px)
