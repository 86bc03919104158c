"""A contact sheet of the imaginary microscopy that `nano` is trained on: a row for each family.

    python scripts/scene_sheet.py OUT.png [--seed 0] [--size 256] [--columns 6]

Scenes stand in pairs, the right one with the outlines of its objects.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from sam2_model.imaginary.scenes import FAMILIES, SceneOptions, make_scene

GAP_PX, NAME_PX = 4, 130
OUTLINE = (255, 180, 0)


def pair(family: str, seed: tuple[int, ...], size: int) -> list[NDArray[np.uint8]]:
    """Draw a scene without and with outlines, each (size, size, 3)."""
    scene = make_scene(np.random.default_rng(seed), SceneOptions(size, families=(family,), radius_px=(5, size)))
    plain = np.repeat(np.round(scene.frames[0] * 255).astype(np.uint8)[..., None], 3, axis=2)
    outlined = plain.copy()
    outlined[find_boundaries(scene.labels[0], mode="inner")] = OUTLINE
    return [plain, outlined]


def main() -> None:
    """Draw the sheet and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=256, help="side of a scene in pixels")
    parser.add_argument("--columns", type=int, default=6, help="scenes and outlined scenes in a row")
    arguments = parser.parse_args()
    step = arguments.size + GAP_PX
    pairs = max(arguments.columns // 2, 1)
    sheet = Image.new("RGB", (NAME_PX + 2 * pairs * step, len(FAMILIES) * step), "white")
    pen = ImageDraw.Draw(sheet)
    for row, family in enumerate(FAMILIES):
        pen.text((GAP_PX, row * step + arguments.size // 2), family, fill="black")
        pictures = (p for number in range(pairs) for p in pair(family, (arguments.seed, row, number), arguments.size))
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (NAME_PX + column * step, row * step))
    sheet.save(arguments.output)


if __name__ == "__main__":
    main()
