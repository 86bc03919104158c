"""Make the sample data that is not taken over as it is: a crop of a real image, and a generated time-lapse.

Run from the root of the repository with `img2d.tif` of the `stardist` 0.9.2 wheel:
`python scripts/make_samples.py stardist/data/images/img2d.tif`.

The time-lapse follows from its seed and from `sam2_model.imaginary`: once the scenes of the training are drawn in
another way, it comes out as another film of the same kind.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from sam2_model.imaginary.appearance import fluorescent_nuclei, haze
from sam2_model.imaginary.bodies import Bodies, ShapeRange, random_outlines, scatter
from sam2_model.imaginary.imaging import blur
from sam2_model.imaginary.layout import LayoutRules, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "src" / "napari_sam2" / "data"

CROP = np.s_[168:424, 104:360]
"""Nuclei of similar brightness, some of them touching."""

SEED = 6
FRAMES, SIZE = 24, 192
RADIUS_PX = 12.0
MARGIN_PX = 20
"""Cells live this far beyond the field, so that some of them enter and leave it."""

CELLS = 16
DIVISIONS = (5, 10, 15)
"""First frames of daughters."""

SINCE_DIVISION = (-4, -2, -1, 0, 2, 6, 14)
RADIUS = (1.0, 0.92, 0.78, 0.58, 0.66, 0.78, 0.85)
ASPECT = (1.0, 1.1, 1.6, 1.6, 1.25, 1.0, 1.0)
LIGHT = (1.0, 1.15, 1.7, 1.7, 1.35, 1.1, 1.0)
"""A nucleus condenses to a small bright plate, splits, and its daughters grow."""


def main() -> None:
    """Write `nuclei2d.tif` and `cells.tif` into the data of the package."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("image", type=Path, help="img2d.tif of the stardist wheel")
    write("nuclei2d.tif", nuclei(parser.parse_args().image), "YX")
    write("cells.tif", cells(np.random.default_rng(SEED)), "TYX")


def write(name: str, image: NDArray[np.uint8], axes: str) -> None:
    """Write an image with its axes; no date, so that the same pixels give the same file."""
    tifffile.imwrite(DATA / name, image, metadata={"axes": axes}, compression="zlib", compressionargs={"level": 9})


def nuclei(path: Path) -> NDArray[np.uint8]:
    """Cut the crop out of the image, whose values fit into 8 bits though the file has 16."""
    image = tifffile.imread(path)[CROP]
    if image.max() > np.iinfo(np.uint8).max:
        raise SystemExit(f"{path} holds {image.max()}: it is not the image this script was written for.")
    return np.asarray(image, np.uint8)


def cells(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Film moving, dividing nuclei, (T, Y, X)."""
    bodies, light, mother_of = living(rng)
    layout = draw(bodies, (SIZE, SIZE), LayoutRules())
    families = np.concatenate([[0], mother_of + 1]).astype(np.int32)
    painted = fluorescent_nuclei(rng, replace(layout, labels=families[layout.labels]))  # daughters look alike
    lit = np.concatenate([np.ones((1, FRAMES)), light])[layout.labels, np.arange(FRAMES)[:, None, None]]
    return film(rng, haze(rng, np.asarray(painted * lit, np.float32)))


def living(rng: np.random.Generator) -> tuple[Bodies, NDArray[np.float64], NDArray[np.intp]]:
    """Let cells wander, keep their distance and divide: outlines, their light as (N, T), and their mothers."""
    n = CELLS + len(DIVISIONS)
    radius = (RADIUS_PX * np.exp(rng.normal(0, 0.12, n))).astype(np.float32)
    place = scatter(rng, (float(SIZE + 2 * MARGIN_PX),) * 2, radius, 0.3).astype(float) - MARGIN_PX
    bodies = random_outlines(rng, place.astype(np.float32), radius, ShapeRange((1.1, 1.6), lobes=0.12), FRAMES)
    centre, angle = bodies.centre.astype(float), bodies.angle.astype(float)
    middle_first = np.argsort(np.hypot(*(place[:CELLS] - SIZE / 2).T))
    families = [(m, CELLS + i, start) for i, (m, start) in enumerate(zip(middle_first, DIVISIONS, strict=False))]
    since = np.full((n, FRAMES), -np.inf)
    is_there = np.ones((n, FRAMES), bool)
    mother_of = np.arange(n)
    for mother, daughter, start in families:
        since[[mother, daughter]] = np.arange(FRAMES) - start
        is_there[daughter, :start] = False
        radius[daughter], mother_of[daughter] = radius[mother], mother
    size = radius[:, None] * np.interp(since, SINCE_DIVISION, RADIUS)
    velocity = rng.normal(0, 0.7, (n, 2))
    for frame in range(1, FRAMES):
        velocity = 0.85 * velocity + rng.normal(0, 0.4, (n, 2))
        centre[:, frame] = centre[:, frame - 1] + velocity
        angle[:, frame] = angle[:, frame - 1] + rng.normal(0, 0.06, n)
        for mother, daughter, start in families:
            if frame == start:
                across = np.array([np.cos(angle[mother, frame]), -np.sin(angle[mother, frame])])
                apart = 0.45 * radius[mother] * across
                centre[daughter, frame], angle[daughter, frame] = centre[mother, frame] - apart, angle[mother, frame]
                centre[mother, frame] += apart
                velocity[mother], velocity[daughter] = 2.4 * across, -2.4 * across
        keep_apart(centre[:, frame], size[:, frame], is_there[:, frame])
    stretch = np.sqrt(np.interp(since, SINCE_DIVISION, ASPECT))
    axes = bodies.axes / radius[:, None, None] * size[..., None] * np.stack([stretch, 1 / stretch], -1)
    axes[~is_there] = 0
    moved = {"centre": centre, "axes": axes, "angle": angle}
    grown = replace(bodies, **{name: value.astype(np.float32) for name, value in moved.items()})
    return grown, np.interp(since, SINCE_DIVISION, LIGHT), mother_of


def keep_apart(centre: NDArray[np.float64], radius: NDArray[np.float64], is_there: NDArray[np.bool_]) -> None:
    """Push cells that overlap away from each other, in place."""
    both = is_there[:, None] & is_there[None, :] & ~np.eye(len(radius), dtype=bool)
    for _ in range(4):
        offset = centre[:, None] - centre[None, :]
        distance = np.hypot(offset[..., 0], offset[..., 1]) + 1e-6
        push = np.where(both, np.clip(0.95 * (radius[:, None] + radius[None, :]) - distance, 0, None), 0)
        centre += 0.25 * (push[..., None] * offset / distance[..., None]).sum(1)


def film(rng: np.random.Generator, picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Photograph the cells: blur, uneven light, bleaching, photons, and an 8-bit camera."""
    picture = blur(picture, 1.1)
    low, high = np.percentile(picture, (1, 99.5))
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    lamp = 1 - 0.45 * ((y - 0.45) ** 2 + (x - 0.6) ** 2)
    bleached = np.exp(-0.012 * np.arange(FRAMES))[:, None, None]
    clean = (0.03 + 0.97 * np.clip((picture - low) / (high - low), 0, 1.2)) * lamp * bleached
    recorded = 6 + 0.12 * rng.poisson(800 * clean) + rng.normal(0, 0.4, clean.shape)
    return np.asarray(np.clip(recorded, 0, 255).round(), np.uint8)


if __name__ == "__main__":
    main()
