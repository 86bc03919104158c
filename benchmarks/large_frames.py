"""How well cells of 20 px are segmented by one click, and followed, in fields of 4,000 px: seen whole, and in crops.

    python benchmarks/large_frames.py DATA [--model nano] [--clicks N] [--side PX] [--fastest PX]

DATA holds files `*.npz` with an image, (H, W), and its labels, (H, W). Each is scaled until its objects are 20 px
wide, and tiled to a field. A cell that is followed moves by up to so many pixels a frame, on its way over four frames.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam2 import PointPrompt
from napari_sam2.frames import FrameStack
from napari_sam2.inference.predictor import Predictor
from napari_sam2.inference.sam2 import load_predictor
from napari_sam2.results import ObjectMask
from sam2_model.config import Framing
from sam2_model.memory_bank import Direction

CELL_PX = 20
FRAMES = 5

Field = tuple[NDArray[np.uint8], NDArray[np.integer]]


def field_of(path: Path, side: int) -> Field:
    """Return an image and its labels, scaled until objects are 20 px wide, and tiled to a square of a side."""
    content = np.load(path)
    image, labels = content["image"], content["labels"].astype(int)
    widths = [np.sqrt((labels[box] == n).sum()) for n, box in enumerate(ndimage.find_objects(labels), 1) if box]
    zoom = CELL_PX / float(np.median(widths))
    image, labels = ndimage.zoom(image, zoom, order=1), ndimage.zoom(labels, zoom, order=0)
    count = [-(-side // length) for length in image.shape]
    tile = np.arange(count[0] * count[1]).reshape(count).repeat(image.shape[0], 0).repeat(image.shape[1], 1)
    labels = np.tile(labels, count)
    labels = np.where(labels > 0, labels + tile * labels.max(), 0)[:side, :side]
    return np.tile(image, count)[:side, :side], np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def cells(labels: NDArray[np.integer], count: int) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yield some cells of about 20 px, at random places."""
    rng = np.random.default_rng(0)
    boxes = ndimage.find_objects(labels)
    left = count
    for index in rng.permutation(len(boxes)):
        area = (labels[boxes[index]] == index + 1).sum()
        if 0.6 * CELL_PX < np.sqrt(area) < 1.5 * CELL_PX and left:
            left -= 1
            yield int(index) + 1, boxes[index]


def middle_of(truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the innermost pixel of a mask."""
    depth = ndimage.distance_transform_edt(np.pad(truth, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), truth.shape)
    return float(y), float(x)


def iou(mask: ObjectMask, truth: NDArray[np.bool_], corner: tuple[int, int]) -> float:
    """Return the IoU of a mask on the frame with one whose first pixel is at a corner."""
    inside = mask.logits > 0
    ys, xs = (places + start for places, start in zip(np.nonzero(inside), mask.corner, strict=True))
    ys, xs = ys - corner[0], xs - corner[1]
    here = (ys >= 0) & (ys < truth.shape[0]) & (xs >= 0) & (xs < truth.shape[1])
    common = truth[ys[here], xs[here]].sum()
    return float(common / (inside.sum() + truth.sum() - common))


def moving(
    field: Field, number: int, box: tuple[slice, slice], rng: np.random.Generator, fastest: float
) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int]]]:
    """Yield frames on which a cell moves, and where the corner of its box is."""
    image, labels = field
    truth, cell = labels[box] == number, image[box].copy()
    empty = image.copy()
    empty[box] = np.where(ndimage.binary_dilation(truth, iterations=2), np.percentile(image, 10), cell)
    y, x = box[0].start, box[1].start
    for _ in range(FRAMES):
        frame = empty.copy()
        part = frame[y : y + truth.shape[0], x : x + truth.shape[1]]
        part[truth] = cell[truth]
        yield frame, (y, x)
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1) * fastest
        y = int(np.clip(y + length * np.sin(angle), 0, image.shape[0] - truth.shape[0]))
        x = int(np.clip(x + length * np.cos(angle), 0, image.shape[1] - truth.shape[1]))


def scores(predictor: Predictor, field: Field, count: int, fastest: float) -> Iterator[dict[str, float]]:
    """Yield the IoU of clicked cells, and of cells that were followed for four frames."""
    image, labels = field
    chosen = list(cells(labels, count))
    places = {}
    for number, box in chosen:
        y, x = middle_of(labels[box] == number)
        places[number] = (PointPrompt(number, 0, y + box[0].start, x + box[1].start),)
    frames = FrameStack(image[None], contrast_limits=(0, 255))
    masks = {mask.object_id: mask for mask in predictor.segment(frames[0], places)}
    for number, box in chosen:
        yield {"click": iou(masks[number], labels[box] == number, (box[0].start, box[1].start))}
    rng = np.random.default_rng(1)
    for number, box in chosen[:: max(len(chosen) // 2, 1)]:
        movie, corners = zip(*moving(field, number, box, rng, fastest), strict=True)
        stack = FrameStack(np.stack(movie), contrast_limits=(0, 255))
        tracker = predictor.open(stack)
        tracker.prompt(0, {number: places[number]})
        for frame in range(1, FRAMES):
            (mask,) = tracker.follow(frame, (number,), Direction.FORWARD)
            yield {f"frame {frame}": iou(mask, labels[box] == number, corners[frame])}


def main() -> None:
    """Print the mean IoU of cells that are seen in whole frames and in crops."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clicks", type=int, default=8, help="cells of a field")
    parser.add_argument("--side", type=int, default=4000, help="of a field, in pixels")
    parser.add_argument("--fastest", type=float, default=40, help="pixels that a followed cell moves by, at most")
    arguments = parser.parse_args()
    rows = []
    for path in sorted(arguments.data.glob("*.npz")):
        field = field_of(path, arguments.side)
        for framing in (Framing.WHOLE, Framing.NATIVE):
            predictor = load_predictor(arguments.model, framing=framing)
            found = [
                {"framing": framing.value} | one
                for one in scores(predictor, field, arguments.clicks, arguments.fastest)
            ]
            print(path.stem, pd.DataFrame(found).groupby("framing").mean().round(2).to_dict("records"), flush=True)
            rows += found
    print(pd.DataFrame(rows).groupby("framing").mean().round(3))


if __name__ == "__main__":
    main()
