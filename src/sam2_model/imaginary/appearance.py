"""What a layout looks like under different microscopes: one painter per family of images.

A painter returns light (or darkness) in arbitrary units; `imaging` turns it into what a detector records.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import gaussian_filter

from sam2_model.imaginary.layout import Layout
from sam2_model.imaginary.textures import TILE, Field, sample_tile, smooth_field, texture_tile


class Painter(Protocol):
    """Gives a layout its appearance."""

    def __call__(self, rng: np.random.Generator, layout: Layout) -> Field:
        """Return clean frames of shape (T, H, W), before blur and noise."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    """A layout with what all painters need."""

    rng: np.random.Generator
    layout: Layout

    def inside(self, softness: float = 0.7, inset: float = 0.0) -> Field:
        """Return 1 inside the bodies and 0 outside, with a soft outline."""
        return _step((self.layout.edge - inset) / softness)

    def per_body(self, low: float, high: float) -> Field:
        """Return one random value per body, spread over its pixels; log-uniform."""
        values = np.exp(self.rng.uniform(np.log(low), np.log(high), len(self.layout.radius))).astype(np.float32)
        values[0] = np.median(values)
        spread: Field = values[self.layout.labels]
        return spread

    def depth(self) -> Field:
        """Return the distance to the outline relative to the radius: 0 at the outline, about 1 in the middle."""
        depth: Field = np.clip(self.layout.edge / self.layout.radius[self.layout.labels], -4, 1)
        return depth

    def grain(self, roughness: float, scale: float = 1.0, stretch: float = 1.0) -> Field:
        """Return a texture that moves with the bodies, different on each."""
        tile = texture_tile(self.rng, roughness, stretch)
        shift = self.rng.integers(0, TILE, (2, len(self.layout.radius))).astype(np.float32)[:, self.layout.labels]
        return sample_tile(tile, self.layout.v / scale + shift[0], self.layout.u / scale + shift[1])

    def ground(self, roughness: float, scale: float = 1.0) -> Field:
        """Return the texture of the background, which drifts a little from frame to frame."""
        frames, height, width = self.layout.labels.shape
        tile = texture_tile(self.rng, roughness)
        walk = np.cumsum(self.rng.normal(0, self.rng.choice([0.0, 0.3, 2.0]), (2, frames)), axis=1)
        y, x = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
        rows = y[None, :, None] / scale + walk[0][:, None, None]
        columns = x[None, None, :] / scale + walk[1][:, None, None]
        return sample_tile(tile, rows, columns)


def _step(x: Field) -> Field:
    """Return a smooth step from 0 at -1 to 1 at 1."""
    t = np.clip(0.5 * x + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def fluorescent_nuclei(rng: np.random.Generator, layout: Layout) -> Field:
    """Return bright bodies on dark: chromatin grain, nucleoli, unequal brightness, a few very bright ones."""
    canvas = _Canvas(rng, layout)
    spread = rng.uniform(1, 4)
    light = canvas.per_body(1 / spread, spread)
    if rng.random() < 0.3:
        boost = np.where(rng.random(len(layout.radius)) < 0.06, rng.uniform(2, 6), 1).astype(np.float32)
        light = light * boost[layout.labels]
    texture = 1 + rng.uniform(0, 0.25) * canvas.grain(rng.uniform(0.7, 1.8), rng.uniform(0.7, 2))
    if rng.random() < 0.4:
        spots = _step((canvas.grain(1.6, rng.uniform(0.5, 1.5)) - rng.uniform(0.8, 1.5)) / 0.3)
        texture *= 1 + rng.choice([-0.7, -0.4, 1.0]) * spots
    dome = 1 - rng.uniform(0, 0.8) * (1 - np.clip(canvas.depth(), 0, 1)) ** 2
    picture = canvas.inside() * light * np.maximum(texture, 0.1) * dome
    if rng.random() < 0.4:  # the faint body of the cell around its nucleus is not part of the object
        halo = np.exp(np.minimum(layout.edge, 0) / (rng.uniform(0.3, 1.0) * np.median(layout.radius)))
        picture += rng.uniform(0.03, 0.25) * halo * light * (1 + 0.2 * canvas.grain(1.2))
    return np.asarray(picture + rng.uniform(0, 0.4), np.float32)


def cytoplasm(rng: np.random.Generator, layout: Layout) -> Field:
    """Return whole cells: a filled body, granules, a darker or brighter nucleus, beside it perhaps a faint body."""
    canvas = _Canvas(rng, layout)
    body = canvas.inside() * canvas.per_body(0.5, 1.6) * (1 + 0.35 * canvas.grain(rng.uniform(0.6, 1.6)))
    nucleus = _step((canvas.depth() - rng.uniform(0.25, 0.7)) / 0.1)
    body *= 1 + rng.choice([-0.7, -0.4, 0.0, 0.6, 1.5, 4.0]) * nucleus
    if rng.random() < 0.4:
        body *= 0.4 + 0.6 * np.clip(canvas.depth(), 0, 1)
    return np.asarray(body + rng.uniform(0, 0.5) * (1 + 0.2 * canvas.ground(1.5)), np.float32)


def membranes(rng: np.random.Generator, layout: Layout) -> Field:
    """Return bright outlines, patchy, with faint insides."""
    canvas = _Canvas(rng, layout)
    width = rng.uniform(0.7, 1.6)
    line = np.exp(-0.5 * (layout.edge / width) ** 2)
    patchy = np.clip(1 + rng.uniform(0, 0.5) * canvas.ground(1.5, rng.uniform(1, 3)), 0.1, None)
    filling = rng.uniform(0, 0.35) * canvas.inside() * canvas.per_body(0.5, 1.5) * (1 + 0.3 * canvas.grain(1.2))
    return np.asarray(line * patchy + filling + rng.uniform(0, 0.2), np.float32)


def phase_contrast(rng: np.random.Generator, layout: Layout) -> Field:
    """Return dark or grey bodies with bright halos on grey."""
    canvas = _Canvas(rng, layout)
    reach = rng.uniform(1.5, 5)
    halo = np.exp(-np.abs(layout.edge + reach * 0.5) / reach) * (layout.edge < 1)
    inner = canvas.inside() * canvas.per_body(0.6, 1.5) * rng.choice([-0.7, -0.45, -0.25, 0.3])
    texture = canvas.inside() * rng.uniform(0.05, 0.3) * canvas.grain(rng.uniform(0.5, 1.4))
    ground = rng.uniform(0.02, 0.1) * canvas.ground(rng.uniform(0.8, 2))
    return np.asarray(1 + rng.uniform(0.2, 0.9) * halo + inner + texture + ground, np.float32)


def bright_field(rng: np.random.Generator, layout: Layout) -> Field:
    """Return bodies bright on one side and dark on the other (interference contrast), or with thin dark outlines."""
    canvas = _Canvas(rng, layout)
    thickness = np.sqrt(np.clip(canvas.depth(), 0, 1)) * (1 + 0.15 * canvas.grain(1.3))
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        dy, dx = np.gradient(thickness * canvas.per_body(0.8, 1.3), axis=(1, 2))
        picture = 1 + rng.uniform(1, 3) * (np.cos(angle) * dx + np.sin(angle) * dy)
    else:
        width = rng.uniform(0.8, 2)
        outline = np.exp(-0.5 * (layout.edge / width) ** 2)
        picture = 1 - rng.uniform(0.2, 0.6) * outline + rng.uniform(-0.1, 0.15) * thickness
    return np.asarray(picture + 0.04 * canvas.ground(rng.uniform(0.8, 2)), np.float32)


def dark_on_bright(rng: np.random.Generator, layout: Layout) -> Field:
    """Return stained bodies in pale, fibrous tissue."""
    canvas = _Canvas(rng, layout)
    tissue = 1 + rng.uniform(0.04, 0.15) * canvas.ground(rng.uniform(0.9, 1.6), rng.uniform(0.6, 2))
    stain = canvas.inside() * canvas.per_body(0.6, 1.3) * rng.uniform(0.25, 0.6)
    rim = 1 + rng.uniform(0, 0.5) * np.exp(-0.5 * ((layout.edge - 1) / 1.2) ** 2)
    return np.asarray(tissue - stain * rim * (1 + 0.25 * canvas.grain(rng.uniform(0.6, 1.5))), np.float32)


def electron_micrograph(rng: np.random.Generator, layout: Layout) -> Field:
    """Return grey, grainy cytosol; organelles with dark membranes, some with folded inner membranes."""
    canvas = _Canvas(rng, layout)
    cytosol = 1 + rng.uniform(0.1, 0.25) * canvas.ground(rng.uniform(0.5, 1.1))
    lumen = canvas.inside() * (canvas.per_body(0.8, 1.25) * rng.uniform(0.55, 1.3) - 1)
    membrane = np.exp(-0.5 * ((layout.edge - 1) / rng.uniform(0.7, 1.2)) ** 2)
    folds = rng.uniform(0, 0.5) * _step(canvas.grain(1.3, rng.uniform(0.6, 1.2), rng.uniform(1, 4)) / 0.4)
    vesicles = rng.uniform(0, 0.4) * _step((canvas.ground(1.2, 1.5) - 1.5) / 0.3) * (1 - canvas.inside())
    grain = 0.12 * canvas.grain(0.5) * canvas.inside()
    picture = cytosol + lumen + grain - rng.uniform(0.3, 0.7) * membrane
    return np.asarray(picture - folds * canvas.inside(1, 2) * 0.6 - vesicles, np.float32)


def textured(rng: np.random.Generator, layout: Layout) -> Field:
    """Return anything on anything: bodies differ from the background in level, grain or outline only."""
    canvas = _Canvas(rng, layout)
    inside = canvas.inside(rng.uniform(0.5, 2))
    outer = rng.uniform(0.05, 0.5) * canvas.ground(rng.uniform(0.3, 1.8), rng.uniform(0.5, 3))
    inner = rng.uniform(0.05, 0.5) * canvas.grain(rng.uniform(0.3, 1.8), rng.uniform(0.5, 3), rng.uniform(1, 3))
    level = rng.choice([-1, 1]) * rng.uniform(0.35, 1.4) * canvas.per_body(0.5, 2)
    picture = outer * (1 - inside) + (inner + level) * inside
    if rng.random() < 0.3:
        picture += rng.choice([-1, 1]) * rng.uniform(0.3, 1) * np.exp(-0.5 * (layout.edge / 1.2) ** 2)
    return np.asarray(picture, np.float32)


def spheroids(rng: np.random.Generator, layout: Layout) -> Field:
    """Return large clumps of cells: bumpy inside, shaded towards the rim, transmitted or fluorescent."""
    canvas = _Canvas(rng, layout)
    bumps = canvas.grain(rng.uniform(1.0, 1.6), rng.uniform(1, 3))
    shade = np.clip(canvas.depth(), 0, 1) ** rng.uniform(0.3, 1.0)
    body = canvas.inside(1.2) * canvas.per_body(0.7, 1.4) * (0.4 + 0.8 * shade) * (1 + 0.3 * bumps)
    if rng.random() < 0.3:
        body *= 1 - rng.uniform(0.3, 0.8) * _step((canvas.depth() - 0.55) / 0.15)
    return np.asarray(body + 0.05 * canvas.ground(1.5) + rng.uniform(0, 0.3), np.float32)


def thick_sections(rng: np.random.Generator, picture: Field, radius_px: float) -> Field:
    """Return sections (T, H, W) in which each shows, blurred, what lies above and below it.

    The picture (T + 2, H, W) has one section more at either end; `radius_px` is the typical radius of the bodies.
    """
    share = rng.choice([0.0, rng.uniform(0.05, 0.3)])
    if share == 0:
        return picture[1:-1]
    sigma = rng.uniform(0.05, 0.3) * radius_px
    blurred = gaussian_filter(picture, (0, sigma, sigma), truncate=2.5)
    mixed = (1 - 2 * share) * picture[1:-1] + share * (blurred[:-2] + blurred[2:])
    return np.asarray(mixed, np.float32)


def haze(rng: np.random.Generator, picture: Field) -> Field:
    """Return a picture with light from above and below the focus, and a background that varies slowly."""
    _, height, width = picture.shape
    spread = np.float32(picture.std())
    if rng.random() < 0.4:
        sigma = rng.uniform(0.04, 0.15) * height
        picture = picture + rng.uniform(0.1, 0.7) * gaussian_filter(picture, (0, sigma, sigma), truncate=2.0)
    if rng.random() < 0.4:
        field = smooth_field(rng, height, width, int(rng.integers(2, 6)))
        picture = picture + rng.uniform(0.1, 0.8) * spread * field
    return np.asarray(picture, np.float32)
