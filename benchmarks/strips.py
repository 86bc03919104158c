"""How well a model segments objects in strips, 17 times as long as they are high, as in images of mother machines.

    python benchmarks/strips.py DATA [--model nano] [--framing whole] [--at-most N]

DATA holds files `*.npz` with an image, (H, W), and its labels, (H, W). Each object that is low enough is prompted by
its box and by a click: in a strip round it, and in the square of the same place that is as long as the strip.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam2 import BoxPrompt, PointPrompt
from napari_sam2.frames import FrameStack
from napari_sam2.inference.predictor import Predictor
from napari_sam2.inference.sam2 import load_predictor
from sam2_model.config import Framing

ASPECT = 17
SHARE = (0.2, 0.8)
"""Height of the objects that are asked for, as a fraction of the strip's."""


def places(labels: NDArray[np.integer]) -> Iterator[tuple[int, tuple[slice, slice], tuple[slice, slice]]]:
    """Yield objects with a strip round each and a square round the strip, where the image has room for both."""
    side = min(labels.shape)
    height = side // ASPECT
    for object_id, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or not SHARE[0] * height <= box[0].stop - box[0].start <= SHARE[1] * height:
            continue
        middle = [(part.start + part.stop) // 2 for part in box]
        top, left = middle[0] - height // 2, min(max(middle[1] - side // 2, 0), labels.shape[1] - side)
        strip = slice(top, top + height), slice(left, left + side)
        above = min(max(middle[0] - side // 2, 0), labels.shape[0] - side)
        inside = (labels[strip] == object_id).sum() == (labels == object_id).sum()
        if top >= 0 and top + height <= labels.shape[0] and inside:
            yield object_id, strip, (slice(above, above + side), slice(left, left + side))


def ious(predictor: Predictor, image: NDArray[np.uint8], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Return the IoU of an object by its box and by a click in its middle."""
    ys, xs = np.nonzero(truth)
    depth = ndimage.distance_transform_edt(np.pad(truth, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), truth.shape)
    box = BoxPrompt(1, 0, int(ys.min()), int(xs.min()), int(ys.max()), int(xs.max()))
    (boxed, clicked) = predictor.segment(image, {1: (box,), 2: (PointPrompt(2, 0, float(y), float(x)),)})
    found = {}
    for name, mask in (("box", boxed), ("click", clicked)):
        answer = np.zeros_like(truth)
        rows, columns = mask.logits.shape
        answer[mask.corner[0] : mask.corner[0] + rows, mask.corner[1] : mask.corner[1] + columns] = mask.logits > 0
        found[name] = float((answer & truth).sum() / (answer | truth).sum())
    return found


def main() -> None:
    """Print the mean IoU in strips and in squares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--framing", type=Framing, choices=list(Framing))
    parser.add_argument("--at-most", type=int, default=8, help="objects of an image")
    arguments = parser.parse_args()
    predictor = load_predictor(arguments.model, framing=arguments.framing)
    rows = []
    for path in sorted(arguments.data.glob("*.npz")):
        content = np.load(path)
        labels = content["labels"].astype(int)
        frames = FrameStack(content["image"][None])
        found = list(places(labels))
        for object_id, strip, square in found[:: max(len(found) // arguments.at_most, 1)][: arguments.at_most]:
            for shape, place in (("strip", strip), ("square", square)):
                scores = ious(predictor, np.ascontiguousarray(frames[0][place]), labels[place] == object_id)
                rows.append({"shape": shape, "image": path.stem, **scores})
    table = pd.DataFrame(rows)
    print(table.groupby("shape")[["box", "click"]].agg(["mean", "count"]).round(3))


if __name__ == "__main__":
    main()
