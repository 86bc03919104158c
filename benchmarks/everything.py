"""How good everything in an image is, beside a classical baseline; what it costs by size and number of objects.

    python benchmarks/everything.py DATA [--model nano] [--images N] [--incomplete GROUP ...] [--json FILE]
    python benchmarks/everything.py DATA --like       # from one example on each image
    python benchmarks/everything.py DATA --tiling     # what cutting into tiles changes
    python benchmarks/everything.py --sizes           # seconds and memory, on generated images

DATA is a folder of annotated images: `GROUP_NAME.npz` with `image` and `labels`, or `GROUP_NAME.tif` beside
`GROUP_NAME_labels.tif`. A group is the name up to its last underscore. Stacks are left out.

Masks are paired one to one, so that their IoU is largest in total. AP at a threshold is TP / (TP + FP + FN) of an
image, a pair being true from this IoU on; groups show the mean over images. Groups that are not annotated completely
show recall, and AP without what was found on unlabelled ground. The baseline is Otsu's threshold and a watershed of
distances; it takes the polarity that suits each image better.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import relabel_sequential, watershed

from napari_sam2 import MaskPrompt, prompts_from_labels, segment_everything
from napari_sam2.frames import single_frame
from napari_sam2.inference.machine import use_cores
from napari_sam2.inference.predictor import Predictor

THRESHOLDS = np.arange(0.5, 1.0, 0.05)

UNTILED_PX = 4096
"""Side of a tile that holds images whole, from as close as they are looked at."""

SEED = 34
RADIUS_PX = 12.0
"""Of generated discs, where there is room."""

Labels = NDArray[np.integer]
Segment = Callable[[NDArray[np.generic]], Labels]


@dataclass(frozen=True)
class Annotated:
    """An annotated image, and the group that it is of."""

    group: str
    image: NDArray[np.generic]
    labels: Labels


def annotated_images(folder: Path, most: int | None) -> Iterator[Annotated]:
    """Yield the annotated images of a folder, so many of each group."""
    counts: dict[str, int] = {}
    for path in sorted(folder.iterdir()):
        group = path.stem.rpartition("_")[0] or path.stem
        if path.suffix == ".npz":
            with np.load(path) as stored:
                image, labels = stored["image"], stored["labels"]
        elif (beside := path.with_name(f"{path.stem}_labels.tif")).exists():
            image, labels = tifffile.imread(path), tifffile.imread(beside)
        else:
            continue
        if labels.ndim == 2 and (most is None or counts.get(group, 0) < most):
            counts[group] = counts.get(group, 0) + 1
            yield Annotated(group, image, relabel_sequential(labels.astype(np.int64))[0])


@dataclass(frozen=True)
class Pairing:
    """Masks that were found and true ones, paired one to one: the IoU of each pair, and how many there are of both."""

    ious: NDArray[np.float64]
    num_true: int
    num_found: int

    @classmethod
    def of(cls, true: Labels, found: Labels) -> "Pairing":
        """Pair two label images, each numbered without gaps."""
        n, m = int(true.max()) + 1, int(found.max()) + 1
        shared = np.bincount((true * m + found).ravel(), minlength=n * m).reshape(n, m).astype(float)
        ious = (shared / (shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared))[1:, 1:]
        return cls(ious[linear_sum_assignment(-ious)], n - 1, m - 1)

    def num_right(self, threshold: float) -> int:
        """Count the pairs that overlap so far."""
        return int((self.ious >= threshold).sum())

    def ap(self, threshold: float = 0.5) -> float:
        """TP / (TP + FP + FN)."""
        right = self.num_right(threshold)
        return right / max(self.num_true + self.num_found - right, 1)

    def mean_ap(self) -> float:
        """Mean over thresholds from .5 to .95."""
        return float(np.mean([self.ap(threshold) for threshold in THRESHOLDS]))

    def recall(self) -> float:
        """Share of the true ones that were found."""
        return self.num_right(0.5) / max(self.num_true, 1)

    def precision(self) -> float:
        """Share of the found ones that are true."""
        return self.num_right(0.5) / max(self.num_found, 1)


def on_labelled_ground(found: Labels, true: Labels) -> Labels:
    """Return what was found without objects of which less than half is labelled."""
    shares = ndimage.mean(true > 0, found, np.arange(found.max() + 1))
    return without(found, np.flatnonzero(shares < 0.5))


def without(labels: Labels, ids: NDArray[np.integer]) -> Labels:
    """Return labels without some objects, numbered anew."""
    return relabel_sequential(np.where(np.isin(labels, ids), 0, labels))[0]


def classical(image: NDArray[np.generic], true: Labels) -> Labels:
    """Otsu's threshold and a watershed of distances, in the polarity that comes closer to the truth."""
    shown = single_frame(image)[0].mean(-1)
    both = [_thresholded(ndimage.gaussian_filter(sign * shown, 1)) for sign in (1, -1)]
    return max(both, key=lambda found: Pairing.of(true, found).ap())


def _thresholded(smooth: NDArray[np.float64]) -> Labels:
    inside = smooth > threshold_otsu(smooth) if np.ptp(smooth) else np.zeros(smooth.shape, np.bool_)
    depth = ndimage.distance_transform_edt(inside)
    spots = peak_local_max(ndimage.gaussian_filter(depth, 1), min_distance=4, labels=ndimage.label(inside)[0])
    seeds = np.zeros(smooth.shape, np.int64)
    seeds[tuple(spots.T)] = np.arange(1, len(spots) + 1)
    return relabel_sequential(watershed(-depth, seeds, mask=inside))[0]


def score(images: Iterator[Annotated], segment: Segment, incomplete: set[str]) -> pd.DataFrame:
    """Return a row for each image: everything, and the baseline."""
    rows = []
    for one in images:
        began = time.perf_counter()
        found = segment(one.image)
        seconds = time.perf_counter() - began
        row: dict[str, object] = {"group": one.group, "objects": int(one.labels.max())}
        for name, labels in (("", found), ("baseline ", classical(one.image, one.labels))):
            recall = Pairing.of(one.labels, labels).recall()
            if one.group in incomplete:
                labels = on_labelled_ground(labels, one.labels)
            pairing = Pairing.of(one.labels, labels)
            row |= {f"{name}AP50": pairing.ap(), f"{name}AP50:95": pairing.mean_ap(), f"{name}recall": recall}
        rows.append(row | {"found": int(found.max()), "seconds": seconds})
    return pd.DataFrame(rows)


def score_like(images: Iterator[Annotated], predictor: Predictor) -> pd.DataFrame:
    """Return a row for each image: what is found from its object of median area, beside that object."""
    rows = []
    for one in images:
        prompts = sorted(prompts_from_labels(one.labels), key=lambda prompt: np.count_nonzero(prompt.crop))
        if len(prompts) < 2:
            continue
        example = prompts[len(prompts) // 2]
        found = segment_everything(one.image, like=[example], model=predictor).labels.astype(np.int64)
        others = without(one.labels, np.array([example.object_id]))
        pairing = Pairing.of(others, without(found, np.unique(found[_pixels(example)])[:1]))
        rows.append(
            {
                "group": one.group,
                "objects": len(prompts),
                "precision": pairing.precision(),
                "recall": pairing.recall(),
                "found": pairing.num_found,
            }
        )
    return pd.DataFrame(rows)


def _pixels(prompt: MaskPrompt) -> NDArray[np.bool_]:
    return np.asarray(prompt.mask)


def score_tiling(images: Iterator[Annotated], segment: Segment) -> pd.DataFrame:
    """Return a row for each image: how far what is found tile by tile agrees with what is found on the whole."""
    rows = []
    for one in images:
        tiled = segment(one.image)
        with patch("napari_sam2.inference.everything.TILE_PX", UNTILED_PX):
            whole = segment(one.image)
        pairing = Pairing.of(whole, tiled)
        rows.append(
            {
                "group": one.group,
                "pixels": max(one.labels.shape),
                "agreement AP50": pairing.ap() if pairing.num_true or pairing.num_found else 1.0,
                "agreement AP50:95": pairing.mean_ap() if pairing.num_true or pairing.num_found else 1.0,
                "AP50 tiled": Pairing.of(one.labels, tiled).ap(),
                "AP50 whole": Pairing.of(one.labels, whole).ap(),
            }
        )
    return pd.DataFrame(rows)


def make_image(side: int, objects: int) -> NDArray[np.uint8]:
    """Paste so many discs into a noisy image, none on another."""
    rng = np.random.default_rng(SEED)
    image = rng.integers(20, 50, (side, side), dtype=np.uint8)
    each = int(np.ceil(np.sqrt(objects)))
    room = side / each
    radius = min(RADIUS_PX, 0.35 * room)
    for number in rng.permutation(each * each)[:objects]:
        y, x = ((place + 0.5) * room + rng.uniform(-1, 1) * (0.5 * room - radius - 1) for place in divmod(number, each))
        rows, columns = (slice(max(int(middle - radius) - 1, 0), int(middle + radius) + 2) for middle in (y, x))
        yy, xx = np.mgrid[rows, columns]
        part = image[rows, columns]
        part[np.hypot(yy - y, xx - x)[: part.shape[0], : part.shape[1]] < radius] += 120
    return image


def measure(side: int, objects: int, predictor: Predictor) -> None:
    """Find the objects of a generated image in this process; print seconds, megabytes and how many there are."""
    image = make_image(side, objects)
    before, began = _peak_mb(), time.perf_counter()
    found = segment_everything(image, model=predictor)
    print(json.dumps([time.perf_counter() - began, before, _peak_mb(), len(found.features)]))


def _peak_mb() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def score_sizes(sides: list[int], counts: list[int], options: list[str]) -> pd.DataFrame:
    """Return a row for each size and number of objects. Each has a process of its own: its memory never shrinks."""
    rows = []
    for side in sides:
        for objects in counts:
            command = [sys.executable, __file__, "--measure", str(side), str(objects), *options]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds, before, peak, found = json.loads(output)
            rows.append(
                {
                    "side, px": side,
                    "objects": objects,
                    "found": found,
                    "seconds": seconds,
                    "peak, MB": peak,
                    "above start, MB": peak - before,
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def report(table: pd.DataFrame, path: Path | None) -> None:
    """Print a table, or means and counts of its groups; write its rows as JSON."""
    shown = table
    if "group" in table:
        by_group = table.groupby("group")
        shown = by_group.mean().assign(images=by_group.size()).reset_index()
    print(shown.round(3).to_string(index=False))
    if path is not None:
        path.write_text(json.dumps({"groups": shown.to_dict("records"), "rows": table.to_dict("records")}, indent=1))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--images", type=int, help="how many of each group; all when omitted")
    parser.add_argument("--groups", nargs="+", help="only these")
    parser.add_argument("--incomplete", nargs="+", default=[], metavar="GROUP", help="groups with unlabelled objects")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--like", action="store_true", help="from one example on each image")
    what.add_argument("--tiling", action="store_true", help="tiles beside the whole image")
    what.add_argument("--sizes", type=int, nargs="*", metavar="PX", help="sides of generated images: 512 2048 8192")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 100, 1000], help="on generated images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--measure", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.data is None and arguments.sizes is None and arguments.measure is None:
        parser.error("give a folder of annotated images, or --sizes")
    return arguments


def main() -> None:
    """Measure what was asked for, and report."""
    arguments = parse()
    if arguments.sizes is not None:
        options = ["--model", arguments.model, "--threads", str(arguments.threads)]
        report(score_sizes(arguments.sizes or [512, 2048, 8192], arguments.objects, options), arguments.json)
        return
    use_cores()
    from napari_sam2.inference.sam2 import load_predictor, use_threads

    use_threads(arguments.threads)
    predictor = load_predictor(arguments.model)
    if arguments.measure is not None:
        measure(*arguments.measure, predictor)
        return
    images = (
        one
        for one in annotated_images(arguments.data, arguments.images)
        if arguments.groups is None or one.group in arguments.groups
    )

    def segment(image: NDArray[np.generic]) -> Labels:
        return segment_everything(image, model=predictor).labels.astype(np.int64)

    if arguments.like:
        table = score_like(images, predictor)
    elif arguments.tiling:
        table = score_tiling(images, segment)
    else:
        table = score(images, segment, set(arguments.incomplete))
    report(table, arguments.json)


if __name__ == "__main__":
    main()
