"""From bodies to pixels: which body owns each pixel, how far its outline is, and where on the body it lies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam2_model.imaginary.bodies import Bodies
from sam2_model.imaginary.textures import Field

FAR = -1e3
"""Distance reported where no body is near, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A clip before it has an appearance.

    Attributes
    ----------
    labels : ndarray
        Shape (T, H, W), int32; body n is n + 1, 0 is background.
    edge : ndarray
        Shape (T, H, W), about the distance to the nearest outline in pixels: positive inside, negative outside,
        `FAR` away from all bodies.
    u, v : ndarray
        Shape (T, H, W), coordinates along the body's own axes in pixels; they move with the body.
    radius : ndarray
        Shape (N + 1,), geometric mean radius by label, 1 for the background.
    """

    labels: NDArray[np.int32]
    edge: Field
    u: Field
    v: Field
    radius: Field


@dataclass(frozen=True, slots=True)
class LayoutRules:
    """How bodies meet.

    Attributes
    ----------
    overlap : bool
        The body in front hides the other; otherwise the seam runs where both are equally deep.
    tessellate : bool
        Bodies fill the whole field and meet at seams.
    """

    overlap: bool = False
    tessellate: bool = False


def draw(bodies: Bodies, extent: tuple[int, int], rules: LayoutRules) -> Layout:
    """Return the layout of bodies drawn into a clip, `extent` its height and width in pixels."""
    n, frames = bodies.angle.shape
    shape = (frames, *extent)
    labels = np.zeros(shape, np.int32)
    first, second = np.full(shape, FAR, np.float32), np.full(shape, FAR, np.float32)
    edge = np.full(shape, FAR, np.float32)
    u, v = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    margin = 10.0 if not rules.tessellate else float(bodies.axes.max()) * 1.5 + 10
    for frame in range(frames):
        for body in range(n):
            window = _window(bodies, body, frame, extent, margin)
            if window is None:
                continue
            distance, along, across = _distance(bodies, body, frame, window)
            inside = distance > 0
            key = np.where(inside, distance + 1000 * bodies.height[body], distance) if rules.overlap else distance
            where = (frame, *window)
            wins = key > first[where]
            second[where] = np.maximum(np.minimum(key, first[where]), second[where])
            np.copyto(first[where], key, where=wins)
            np.copyto(edge[where], distance, where=wins)
            np.copyto(u[where], along, where=wins)
            np.copyto(v[where], across, where=wins)
            np.copyto(labels[where], body + 1, where=wins if rules.tessellate else wins & inside)
    if rules.tessellate:
        edge = 0.5 * (first - second)
    elif not rules.overlap:
        np.copyto(edge, np.minimum(edge, 0.5 * (first - second) + 0.5), where=labels > 0)
    radius = np.ones(n + 1, np.float32)
    radius[1:] = np.maximum(np.sqrt(bodies.axes.prod(-1)).max(1), 1)
    return Layout(labels, edge, u, v, radius)


def _window(
    bodies: Bodies, body: int, frame: int, extent: tuple[int, int], margin: float
) -> tuple[slice, slice] | None:
    """Return the part of the image that a body can reach, or None where it is absent or outside."""
    axes = bodies.axes[body, frame]
    if axes.min() < 0.8:
        return None
    reach = float(axes.max()) * 1.2 + margin
    slices = []
    for middle, size in zip(bodies.centre[body, frame], extent, strict=True):
        start, stop = max(int(middle - reach), 0), min(int(middle + reach) + 1, size)
        if start >= stop:
            return None
        slices.append(slice(start, stop))
    return slices[0], slices[1]


def _distance(bodies: Bodies, body: int, frame: int, window: tuple[slice, slice]) -> tuple[Field, Field, Field]:
    """Return the distance inside the outline and the own coordinates of a body, over a window, all (h, w)."""
    (cy, cx), (a, b) = bodies.centre[body, frame], bodies.axes[body, frame]
    y = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - cy
    x = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :] - cx
    cos, sin = np.cos(bodies.angle[body, frame]), np.sin(bodies.angle[body, frame])
    u, v = cos * x + sin * y, cos * y - sin * x
    if bodies.bend[body]:
        v = v + bodies.bend[body] * (u * u - a * a / 3)
    p, q = u / a, v / b
    r = np.sqrt(np.sqrt(p**4 + q**4)) if bodies.square[body] else np.sqrt(p * p + q * q)
    lobes = bodies.lobes[body, frame]
    outline: Field | float = 1.0
    if lobes[0]:
        z = (p + 1j * q) / (r + 1e-3)
        outline = 1 + (z * z * (lobes[0] + z * (lobes[1] + z * (lobes[2] + z * lobes[3])))).real
    return ((outline - r) * np.float32(np.sqrt(a * b) if a < 2 * b else b)).astype(np.float32), u, v
