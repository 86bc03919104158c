"""What many objects cost: time of the processor and memory while masks are followed, against their number.

    python benchmarks/many_objects.py [--model nano] [--objects 40 80 160 324] [--frames 3] [--side 512]

Discs that drift a little, each given as a mask on the first frame. Every number of objects has a process of its own,
because the memory of a process never shrinks. The cost of one object should not grow with the number of objects.
"""

import argparse
import math
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam2 import MaskPrompt, propagate
from napari_sam2.inference.machine import use_cores

SEED = 13
RADIUS = 0.32
"""Of a disc, relative to the distance between two of them."""


def make_stack(objects: int, frames: int, side: int) -> tuple[NDArray[np.uint16], list[MaskPrompt]]:
    """Draw so many discs as fill the frame when there are 324, and the masks of some of them on the first frame."""
    each = max(18, math.ceil(math.sqrt(objects)))
    distance = side / each
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[:side, :side]
    stack = rng.normal(1000, 30, (frames, side, side))
    masks = []
    for t in range(frames):
        # The nearest middle of a disc tells all of them at once.
        rows, columns = ((p - shift) % distance - distance / 2 for p, shift in ((y, t), (x, t / 2)))
        stack[t][np.hypot(rows, columns) < RADIUS * distance] += 2000
    for number in rng.permutation(each * each)[:objects]:
        row, column = ((place + 0.5) * distance for place in divmod(int(number), each))
        masks.append(MaskPrompt(len(masks) + 1, 0, np.hypot(y - row, x - column) < RADIUS * distance))
    return stack.astype(np.uint16), masks


def measure(objects: int, arguments: argparse.Namespace) -> None:
    """Follow so many objects in this process, and print seconds and megabytes before and after."""
    use_cores()
    from napari_sam2.inference.sam2 import load_predictor, use_threads

    use_threads(1)
    stack, masks = make_stack(objects, arguments.frames, arguments.side)
    predictor = load_predictor(arguments.model)
    before, began = _peak_mb(), time.process_time()
    propagate(stack, masks, model=predictor)
    sys.stdout.write(f"{time.process_time() - began} {before} {_peak_mb()}\n")


def _peak_mb() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Measure each number of objects and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--objects", type=int, nargs="+", default=[40, 80, 160, 324])
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_this_process:
        measure(arguments.objects[0], arguments)
        return
    rows = []
    for objects in arguments.objects:
        options = [f"--model={arguments.model}", f"--frames={arguments.frames}", f"--side={arguments.side}"]
        command = [sys.executable, __file__, "--in-this-process", f"--objects={objects}", *options]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds, before, after = map(float, output.split())
        rows.append(
            {
                "objects": objects,
                "processor, s": seconds,
                "for an object on a frame, ms": 1e3 * seconds / (objects * arguments.frames),
                "peak, MB": after,
                "above start, MB": after - before,
                "for an object, MB": (after - before) / objects,
            }
        )
    print(pd.DataFrame(rows).round(2).to_string(index=False))
    print(f"{arguments.model}, {arguments.frames} frames of {arguments.side} px, one thread")


if __name__ == "__main__":
    main()
