"""How bodies change from frame to frame: sections through a volume, or movement in time."""

from dataclasses import replace

import numpy as np

from sam2_model.imaginary.bodies import Bodies, ShapeRange, random_outlines, scatter
from sam2_model.imaginary.textures import Field


def sections(
    rng: np.random.Generator,
    extent: tuple[int, int],
    frames: int,
    radius: Field,  # (N,)
    shape: ShapeRange,
    crowding: float,
) -> Bodies:
    """Return bodies in serial sections of a volume: they appear, grow, shrink and vanish, with neighbours in depth.

    Lengths are in pixels; `radius` is that at the equator of a body, `crowding` the fraction of bodies placed close to
    another one. A section that misses a body has zero axes for it.
    """
    typical = float(np.median(radius))
    step = typical * rng.uniform(0.12, 0.5)
    depth = step * frames + typical
    place = scatter(rng, (depth, *extent), radius, crowding)
    bodies = random_outlines(rng, place[:, 1:], radius, shape, frames)
    n = len(radius)
    z = (np.arange(frames) + 0.5 - frames / 2) * step + depth / 2
    half_depth = radius * rng.uniform(0.7, 1.4) * np.exp(rng.normal(0, 0.15, n))
    above = (z[None] - place[:, :1]) / half_depth[:, None]  # (N, T)
    # An exponent above 2 gives the blunt ends of cells on a dish, below 2 those of spindles.
    blunt = rng.uniform(1.6, 3.0)
    profile = np.sqrt(np.clip(1 - np.abs(above) ** blunt, 0, None))
    tilt = rng.normal(0, 0.25, (n, 1, 2)) * radius[:, None, None]
    drift = np.cumsum(rng.normal(0, rng.uniform(0, 0.02) * typical, (1, frames, 2)), axis=1)
    twist = _random_walk(rng, (n, frames), 0.05)
    wobble = 1 + _random_walk(rng, (n, frames, 2), 0.03)
    ripple = _random_walk(rng, (n, frames, bodies.lobes.shape[2]), 0.12 * min(shape.lobes, 0.15))
    return replace(
        bodies,
        centre=(bodies.centre + above[..., None].clip(-1, 1) * tilt + drift).astype(np.float32),
        axes=(bodies.axes * (profile[..., None] * wobble)).astype(np.float32),
        angle=(bodies.angle + twist).astype(np.float32),
        lobes=(bodies.lobes + ripple).astype(np.complex64),
    )


def time_lapse(
    rng: np.random.Generator,
    extent: tuple[int, int],
    frames: int,
    radius: Field,  # (N,)
    shape: ShapeRange,
    crowding: float,
    pace: float,
    drift_px: float,
) -> Bodies:
    """Return bodies that move: drift of the stage, jitter, wandering, rotation, deformation, division, vanishing.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    extent, frames, radius, shape, crowding
        As in `sections`.
    pace : float
        0 leaves everything still, 1 is the full range of movement.
    drift_px : float
        Typical drift of the stage from frame to frame at full pace, in pixels; half of the stages stand still.
    """
    place = scatter(rng, (float(extent[0]), float(extent[1])), radius, crowding)
    bodies = random_outlines(rng, place, radius, shape, frames)
    n, size = len(radius), radius[:, None, None]
    t = np.arange(frames, dtype=np.float32)[None, :, None]
    speed = pace * rng.gamma(1.5, 0.12)
    velocity = rng.standard_normal((n, 1, 2)) * speed * np.minimum(size, 20) * rng.gamma(1.0, 1.0, (n, 1, 1))
    # Nobody can tell a body that jumps by more than its radius from its neighbours.
    velocity *= np.minimum(size / (np.linalg.norm(velocity, axis=2, keepdims=True) + 1e-6), 1)
    stage = pace * np.where(rng.random() < 0.5, rng.normal(0, drift_px, (1, 1, 2)), 0.0) * t
    jitter = pace * rng.gamma(1.0, 0.3) * rng.standard_normal((1, frames, 2))
    wander = _random_walk(rng, (n, frames, 2), 0.06 * pace) * size
    growth = np.exp(_random_walk(rng, (n, frames, 2), 0.04 * pace))
    change = 0.07 * pace * shape.lobes
    moved = replace(
        bodies,
        centre=(bodies.centre + velocity * (t - t.mean()) + stage + jitter + wander).astype(np.float32),
        axes=(bodies.axes * growth).astype(np.float32),
        angle=(bodies.angle + _random_walk(rng, (n, frames), 0.15 * pace)).astype(np.float32),
        lobes=(bodies.lobes + _random_walk(rng, bodies.lobes.shape, change)).astype(np.complex64),
    )
    if frames > 1:
        if rng.random() < 0.3 * pace:
            moved = _divide(rng, moved)
        if rng.random() < 0.4:
            moved = _hide(rng, moved)
    return moved


def _random_walk(rng: np.random.Generator, shape: tuple[int, ...], step: float) -> Field:
    """Return random walks along axis 1 that start at zero."""
    steps = rng.standard_normal(shape, dtype=np.float32) * step
    steps[:, :1] = 0
    return np.cumsum(steps, axis=1, dtype=np.float32)


def _divide(rng: np.random.Generator, bodies: Bodies) -> Bodies:
    """Return bodies of which one in four divides: it goes on as one daughter, a spare body becomes the other."""
    n, frames = bodies.angle.shape
    centre, axes, angle = bodies.centre.copy(), bodies.axes.copy(), bodies.angle.copy()
    order = rng.permutation(n)
    pairs = max(n // 8, 1) if n > 1 else 0
    for mother, daughter in zip(order[:pairs], order[pairs : 2 * pairs], strict=False):
        start = int(rng.integers(1, frames))
        after = np.arange(start, frames)
        long_axis = angle[mother, start - 1]
        direction = np.array([np.sin(long_axis), np.cos(long_axis)])
        apart = axes[mother, start - 1].mean() * (0.75 + 0.15 * (after - start))[:, None] * direction
        origin = centre[mother, after].copy()
        centre[mother, after], centre[daughter, after] = origin + apart, origin - apart
        axes[daughter, :start] = 0
        axes[daughter, after] = axes[mother, after] = axes[mother, after] * 0.75
        angle[daughter, after] = angle[mother, after]
    return replace(bodies, centre=centre, axes=axes, angle=angle)


def _hide(rng: np.random.Generator, bodies: Bodies) -> Bodies:
    """Return bodies of which some are absent for a run of frames: out of focus, out of the field, not yet there."""
    n, frames = bodies.angle.shape
    axes = bodies.axes.copy()
    for body in np.flatnonzero(rng.random(n) < 0.15):
        first, last = np.sort(rng.integers(0, frames + 1, 2))
        axes[body, first:last] = 0
    return replace(bodies, axes=axes)
