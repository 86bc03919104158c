"""Bodies: the objects of a scene as curves, before anything is drawn.

A body is a bent super-ellipse with a few lobes. Its parameters are given for every frame, so a z-section (which grows,
shrinks and vanishes) and a moving cell are the same thing: a sequence of outlines.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam2_model.imaginary.textures import Field

LOBES = 4
"""Harmonics of an outline: two to five lobes."""


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """What the outlines of one family look like.

    Attributes
    ----------
    aspect : tuple of float
        Smallest and largest ratio of the semi-axes.
    lobes : float
        Largest relative amplitude of the irregularity; 0 gives exact ellipses.
    bend : float
        Largest sagitta of the long axis relative to its length.
    squareness : float
        Probability of a super-ellipse of exponent 4 (a rod with round corners) instead of an ellipse.
    spread : float
        Standard deviation of the logarithm of the radius within one scene.
    """

    aspect: tuple[float, float] = (1.0, 1.8)
    lobes: float = 0.12
    bend: float = 0.0
    squareness: float = 0.0
    spread: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """Outlines of N bodies in T frames; a body of zero size is absent.

    Attributes
    ----------
    centre : ndarray
        Shape (N, T, 2), (y, x) in pixels.
    axes : ndarray
        Shape (N, T, 2), semi-axes along the body's own x and y, in pixels.
    angle : ndarray
        Shape (N, T), radians.
    lobes : ndarray
        Shape (N, T, LOBES), complex amplitudes of the harmonics 2 to 5 relative to the radius.
    bend : ndarray
        Shape (N,), curvature of the long axis in 1 / pixels.
    square : ndarray
        Shape (N,), boolean: super-ellipse of exponent 4.
    height : ndarray
        Shape (N,), which body is in front where two overlap.
    """

    centre: Field
    axes: Field
    angle: Field
    lobes: NDArray[np.complex64]
    bend: Field
    square: NDArray[np.bool_]
    height: Field


def random_outlines(
    rng: np.random.Generator,
    centre: Field,  # (N, 2)
    radius: Field,  # (N,)
    shape: ShapeRange,
    frames: int,
) -> Bodies:
    """Return bodies at given places, (y, x) in pixels, the same in every frame; motion changes them.

    The radius is the geometric mean of the semi-axes in pixels.
    """
    n = len(radius)
    aspect = np.exp(rng.uniform(np.log(shape.aspect[0]), np.log(shape.aspect[1]), n))
    axes = radius[:, None] * np.stack([np.sqrt(aspect), 1 / np.sqrt(aspect)], 1)
    common = rng.uniform(0, np.pi)
    angle = np.where(rng.random() < 0.3, common + rng.normal(0, 0.3, n), rng.uniform(0, np.pi, n))
    amplitude = rng.uniform(0, shape.lobes, (n, 1)) * rng.random((n, LOBES)) / np.array([1.0, 1.2, 1.6, 2.0])
    lobes = amplitude * np.exp(1j * rng.uniform(0, 2 * np.pi, (n, LOBES)))
    still = (1, frames, 1)
    return Bodies(
        centre=np.tile(centre[:, None], still).astype(np.float32),
        axes=np.tile(axes[:, None], still).astype(np.float32),
        angle=np.tile(angle[:, None], (1, frames)).astype(np.float32),
        lobes=np.tile(lobes[:, None], still).astype(np.complex64),
        bend=(shape.bend * rng.uniform(-1, 1, n) / axes[:, 0]).astype(np.float32),
        square=rng.random(n) < shape.squareness,
        height=rng.random(n).astype(np.float32),
    )


def scatter(
    rng: np.random.Generator,
    extent: tuple[float, ...],
    radius: Field,  # (N,)
    crowding: float,
) -> Field:
    """Return places (N, D) for bodies in a box of D axes, alone or in clumps, pushed apart until they touch.

    Lengths are in pixels, and places may lie one radius outside; `crowding` is the fraction of the bodies that start
    close to another one.
    """
    n, size = len(radius), np.array(extent)
    place = rng.uniform(-0.5, 0.5, (n, len(extent))) * (size + radius[:, None]) + size / 2
    partner = rng.integers(0, n, n)
    joins = (rng.random(n) < crowding) & (partner < np.arange(n))
    direction = rng.standard_normal((n, len(extent)))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6
    reach = radius + radius[partner]
    for body in np.flatnonzero(joins):
        place[body] = place[partner[body]] + direction[body] * reach[body] * rng.uniform(0.8, 1.1)
    tight = rng.uniform(0.8, 1.1) * (radius[:, None] + radius[None, :])
    for _ in range(8):
        offset = place[:, None] - place[None, :]
        distance = np.sqrt((offset**2).sum(-1)) + 1e-3
        push = np.clip(tight - distance, 0, None) / distance * 0.3
        np.fill_diagonal(push, 0)
        place += (push[..., None] * offset).sum(1)
    return place.astype(np.float32)
