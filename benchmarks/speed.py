"""How fast a model is: frames a second while it follows objects, and click to mask; beside the machine's own speed.

    python benchmarks/speed.py [--model nano] [--objects 8] [--threads N]

Stacks are generated. A click is answered on a frame that was encoded before, as in the viewer.
"""

import argparse
import os
import time

import numpy as np
import pandas as pd

from napari_sam2 import MaskPrompt, PointPrompt
from napari_sam2.frames import FrameStack
from napari_sam2.inference.machine import measure_machine, use_cores
from napari_sam2.inference.predictor import Predictor
from napari_sam2.prompts import PromptSet
from napari_sam2.tracking.propagation import plan_propagation, run
from napari_sam2.tracking.stack import TrackedStack
from sam2_model.imaginary.scenes import Scene, SceneOptions, make_scene

SEED = 21
SIZES = (256, 512)
FRAMES = 21
CLICKS = 40


def make_stack(side: int) -> Scene:
    """Generate a time-lapse of nuclei that stay in the field."""
    options = SceneOptions(side, FRAMES, pace=0.3, sections=0, radius_px=(side / 40, side / 16), families=("nuclei",))
    return make_scene(np.random.default_rng(SEED), options)


def seconds_per_frame(predictor: Predictor, scene: Scene, objects: int) -> float:
    """Follow objects from their masks on the first frame to the last; time of one frame."""
    frames = FrameStack(np.round(scene.frames * 255).astype(np.uint8))
    largest = np.argsort(-np.bincount(scene.labels[0].ravel(), minlength=objects + 1)[1:])[:objects] + 1
    prompts = PromptSet(MaskPrompt(int(label), 0, scene.labels[0] == label) for label in largest)
    session = TrackedStack(predictor, frames)
    for _ in session.apply(prompts):
        pass
    began = time.perf_counter()
    visited = sum(1 for _ in run(session, plan_propagation(prompts, len(frames))))
    return (time.perf_counter() - began) / visited


def seconds_per_click(predictor: Predictor, scene: Scene) -> pd.Series:
    """Time from a click to its mask, for each of many clicks on one frame."""
    tracker = predictor.open(FrameStack(np.round(scene.frames * 255).astype(np.uint8)))
    rng = np.random.default_rng(SEED)
    seconds = []
    for object_id, (y, x) in enumerate(rng.uniform(0, scene.frames.shape[1], (CLICKS + 1, 2)), start=1):
        began = time.perf_counter()
        tracker.prompt(0, {object_id: (PointPrompt(object_id, 0, float(y), float(x)),)})
        seconds.append(time.perf_counter() - began)
    return pd.Series(seconds[1:])  # the first one encodes the frame


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    use_cores()
    from napari_sam2.inference.sam2 import load_predictor, use_threads

    use_threads(arguments.threads)
    predictor = load_predictor(arguments.model)
    rows = []
    for side in SIZES:
        scene = make_stack(side)
        frame, clicks = seconds_per_frame(predictor, scene, arguments.objects), seconds_per_click(predictor, scene)
        rows.append(
            {
                "image, px": side,
                "frames a second": 1 / frame,
                "click to mask, ms": clicks.median() * 1e3,
                "slowest of 20, ms": clicks.quantile(0.95) * 1e3,
            }
        )
    machine = measure_machine()
    print(pd.DataFrame(rows).round(1).to_string(index=False))
    print(
        f"{predictor.name}, {predictor.sha256[:12]}, {arguments.objects} objects, {arguments.threads} threads; "
        f"matrix multiplication {machine.multiply_adds_per_s / 1e9:.0f} billion multiply-adds/s, "
        f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
    )


if __name__ == "__main__":
    main()
