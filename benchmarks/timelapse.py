"""How well a model keeps cells apart through a real time-lapse: a contact sheet, and a count of identities kept.

    python benchmarks/timelapse.py TIMELAPSE.tif [--model nano] [--cells 10] [--output DIR]

The cells of this kind of image are well separated, so a threshold finds them on every frame, and linking by overlap
from frame to frame gives each an identity without any annotation. The largest on the first frame, away from its border,
are given to the model as masks; it is then asked where they are on all others.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops
from skimage.segmentation import clear_border

from napari_sam2 import prompts_from_labels, propagate
from napari_sam2.cli.overview import draw_overview
from napari_sam2.frames import FrameStack

WELL_OUTLINED_IOU = 0.5
"""Overlap with the linked cell from which a cell counts as well outlined."""


def cells(image: NDArray[np.integer]) -> NDArray[np.integer]:
    """Well separated bright cells of one frame, numbered."""
    smooth = np.log1p(ndimage.gaussian_filter(image.astype(float), 2))
    regions = ndimage.binary_opening(smooth > threshold_otsu(smooth), iterations=2)
    return np.asarray(label(ndimage.binary_fill_holes(regions)))


def chosen_cells(image: NDArray[np.integer], count: int) -> NDArray[np.uint16]:
    """Choose the largest cells of a frame that lie wholly inside it, numbered by size."""
    inside = clear_border(cells(image))
    largest = sorted(regionprops(inside), key=lambda region: -region.area)[:count]
    chosen = np.zeros(image.shape, np.uint16)
    for number, region in enumerate(largest, start=1):
        chosen[inside == region.label] = number
    return chosen


def linked(stack: NDArray[np.integer], first: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Follow thresholded cells by their largest overlap with the frame before. Shape of the stack."""
    tracks = [first]
    for image in stack[1:]:
        found, here = cells(image), np.zeros_like(first)
        for number in np.unique(tracks[-1][tracks[-1] > 0]):
            under = np.bincount(found[tracks[-1] == number])
            under[0] = 0
            if under.any():
                here[found == under.argmax()] = number
        tracks.append(here)
    return np.stack(tracks)


def main() -> None:
    """Follow, count and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("timelapse", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("training_runs"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    stack = np.asarray(tifffile.imread(arguments.timelapse))
    first = chosen_cells(stack[0], arguments.cells)
    tracks = linked(stack, first)
    began = time.perf_counter()
    result = propagate(stack, prompts_from_labels(first), model=arguments.model)
    seconds = time.perf_counter() - began
    rows = []
    for number in range(1, int(first.max()) + 1):
        under = np.bincount(tracks[-1][result.labels[-1] == number], minlength=number + 1)
        overlap = [
            (one & other).sum() / max((one | other).sum(), 1)
            for one, other in zip(result.labels == number, tracks == number, strict=True)
        ]
        rows.append(
            {
                "cell": number,
                "is_kept": bool(under[number] > under.sum() / 2),  # most of its mask lies on the cell it was given on
                "mean_iou": np.mean(overlap[1:]),
                "last_iou": overlap[-1],
                "worst_iou": min(overlap),
            }
        )
    table = pd.DataFrame(rows)
    print(table.round(2).to_string(index=False))
    outlined = int((table["last_iou"] >= WELL_OUTLINED_IOU).sum())
    print(
        f"On the last of {len(stack)} frames {table['is_kept'].sum()} of {len(table)} cells are kept with the right "
        f"identity, {outlined} of them well outlined (IoU >= {WELL_OUTLINED_IOU})"
    )
    print(f"{seconds:.0f} s, working size {result.image_size} px, model {result.model} {result.model_sha256[:12]}")
    draw_overview(
        arguments.output / "timelapse.png",
        FrameStack(stack),
        result.labels,
        result.scores,
        title=f"{len(table)} cells given on frame 0, followed by {result.model}",
        prompted=(0,),
    )


if __name__ == "__main__":
    main()
