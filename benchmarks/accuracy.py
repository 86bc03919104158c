"""How good a model is on microscopy: IoU by prompt, propagation by distance, calibration; beside simple baselines.

    python benchmarks/accuracy.py DATA [--model nano] [--output DIR] [--generated] [--image-size N]

DATA holds `nuclei2d.tif`, `nuclei2d_labels.tif`, `nuclei3d.tif` and `nuclei3d_labels.tif`: example images of the
`stardist` package, which no shipped weights were trained on. `--generated` adds the validation scenes of the training.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.frames import FrameStack, single_frame
from napari_sam2.inference.predictor import Predictor
from napari_sam2.inference.sam2 import load_predictor
from napari_sam2.prompts import Prompt, PromptSet
from napari_sam2.results import ObjectMask
from napari_sam2.tracking.propagation import plan_propagation, run
from napari_sam2.tracking.stack import TrackedStack

DOUBTFUL_IOU = 0.7
"""Below this a mask counts as wrong when confidence is judged."""

GENERATED = 60
"""Generated images on which confidence is judged."""

CORRECTIONS = 2
"""Clicks after the first, each in the middle of the largest error."""


@dataclass(frozen=True)
class Annotated:
    """One object of an annotated image: its mask and the rectangle that holds it."""

    object_id: int
    mask: NDArray[np.bool_]
    box: tuple[slice, slice]


def annotated_objects(labels: NDArray[np.integer]) -> Iterator[Annotated]:
    """Yield the objects of a label image."""
    for object_id, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            yield Annotated(object_id, labels == object_id, box)


def whole(mask: ObjectMask, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Give a mask the size of its frame."""
    full = np.zeros(shape, np.bool_)
    y, x = mask.corner
    h, w = mask.logits.shape
    full[y : y + h, x : x + w] = mask.logits > 0
    return full


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 0 where both are empty."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Twice the intersection over the sum of areas; 0 where both are empty."""
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def innermost(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Find the pixel of a mask that is farthest from its border."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(y), int(x)


def correction(object_id: int, shown: NDArray[np.bool_], true: NDArray[np.bool_]) -> PointPrompt:
    """Click in the middle of the largest error."""
    labelled, count = ndimage.label(shown ^ true)
    if not count:
        return PointPrompt(object_id, 0, *innermost(true))
    largest = labelled == 1 + np.bincount(labelled.ravel())[1:].argmax()
    y, x = innermost(largest)
    return PointPrompt(object_id, 0, y, x, positive=bool(true[y, x]))


def painted(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Paint a mask in haste: an eighth of its diameter too wide on every side."""
    excess = max(round(np.sqrt(4 * mask.sum() / np.pi) / 8), 1)
    return np.asarray(ndimage.binary_dilation(mask, iterations=excess))


def box_prompt(one: Annotated) -> BoxPrompt:
    """Draw the smallest box round an object."""
    rows, columns = one.box
    return BoxPrompt(one.object_id, 0, rows.start, columns.start, rows.stop - 1, columns.stop - 1)


def score_image(predictor: Predictor, image: NDArray[np.integer], labels: NDArray[np.integer]) -> pd.DataFrame:
    """IoU and confidence of every object of an image for each kind of prompt."""
    objects = list(annotated_objects(labels))
    rgb = single_frame(image)[0]
    rows: list[dict[str, object]] = []

    def ask(kind: str, prompts: dict[int, tuple[Prompt, ...]]) -> dict[int, NDArray[np.bool_]]:
        masks = {mask.object_id: mask for mask in predictor.segment(rgb, prompts)}
        for one in objects:
            answer = masks[one.object_id]
            score = iou(whole(answer, image.shape), one.mask)
            rows.append(
                {"prompt": kind, "object": one.object_id, "iou": score, "confidence": answer.score(0).confidence}
            )
        return {object_id: whole(mask, image.shape) for object_id, mask in masks.items()}

    ask("box", {one.object_id: (box_prompt(one),) for one in objects})
    hasty = {one.object_id: painted(one.mask) for one in objects}
    ask(
        "painted mask + 1 click",
        {
            one.object_id: (
                MaskPrompt(one.object_id, 0, hasty[one.object_id]),
                correction(one.object_id, hasty[one.object_id], one.mask),
            )
            for one in objects
        },
    )
    clicks = {one.object_id: (PointPrompt(one.object_id, 0, *innermost(one.mask)),) for one in objects}
    shown = ask("1 click", clicks)
    for number in range(2, 2 + CORRECTIONS):
        clicks = {
            one.object_id: (*clicks[one.object_id], correction(one.object_id, shown[one.object_id], one.mask))
            for one in objects
        }
        shown = ask(f"{number} clicks", clicks)
    return pd.DataFrame(rows)


def score_baselines(image: NDArray[np.integer], labels: NDArray[np.integer]) -> pd.DataFrame:
    """IoU of thresholding each box, and of a watershed seeded with one click per object."""
    objects = list(annotated_objects(labels))
    smooth = ndimage.gaussian_filter(image.astype(float), 1)
    seeds = np.zeros(image.shape, np.int32)
    rows = []
    for one in objects:
        inside = np.zeros(image.shape, np.bool_)
        inside[one.box] = smooth[one.box] > threshold_otsu(smooth[one.box])
        rows.append({"prompt": "box, thresholded", "object": one.object_id, "iou": iou(inside, one.mask)})
        seeds[innermost(one.mask)] = one.object_id
        rows.append(
            {"prompt": "painted mask, as it is", "object": one.object_id, "iou": iou(painted(one.mask), one.mask)}
        )
    regions = watershed(-smooth, seeds, mask=smooth > threshold_otsu(smooth))
    rows += [
        {"prompt": "1 click, watershed", "object": one.object_id, "iou": iou(regions == one.object_id, one.mask)}
        for one in objects
    ]
    return pd.DataFrame(rows)


def score_stack(predictor: Predictor, stack: NDArray[np.integer], labels: NDArray[np.integer]) -> pd.DataFrame:
    """Dice of every annotated slice of every nucleus, followed from the mask of its largest slice."""
    frames = FrameStack(stack)
    areas = {i: (labels == i).sum((1, 2)) for i in np.unique(labels[labels > 0])}
    origin = {int(i): int(area.argmax()) for i, area in areas.items()}
    prompts = PromptSet(MaskPrompt(i, frame, labels[frame] == i) for i, frame in origin.items())
    session = TrackedStack(predictor, frames)
    for _ in session.apply(prompts):
        pass
    rows = []
    for result in run(session, plan_propagation(prompts, len(frames))):
        for mask in result.objects:
            i, true = mask.object_id, labels[result.frame] == mask.object_id
            found = whole(mask, true.shape)
            if result.frame != origin[i] and (true.any() or found.any()):
                rows.append(
                    {
                        "object": i,
                        "distance": abs(result.frame - origin[i]),
                        "is_there": bool(true.any()),
                        "overlap_px": int((found & true).sum()),
                        "areas_px": int(found.sum() + true.sum()),
                        "dice": dice(found, true),
                        "iou": iou(found, true),
                        "confidence": mask.score(result.frame).confidence,
                    }
                )
    return pd.DataFrame(rows)


def generated_images() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    """Yield scenes of the kind the model was trained on, which training never makes, with up to eight objects each."""
    from sam2_model.imaginary.scenes import SceneOptions, make_scene
    from sam2_model.training.batches import visible_objects

    for number in range(GENERATED):
        rng = np.random.default_rng([20_240_801, number, 2])  # a seed that training does not use
        scene = make_scene(rng, SceneOptions(size=(128, 256)[number % 2], radius_px=(5, 256)))
        labels = scene.labels[0]
        chosen = rng.permutation(visible_objects(labels))[:8]
        if len(chosen):
            yield np.round(scene.frames[0] * 255).astype(np.uint8), np.where(np.isin(labels, chosen), labels, 0)


def auroc(is_wrong: NDArray[np.bool_], confidence: NDArray[np.float64]) -> float:
    """Chance that a wrong mask is less confident than a right one."""
    ranks = pd.Series(-confidence).rank().to_numpy()
    wrong, right = int(is_wrong.sum()), int((~is_wrong).sum())
    if not wrong or not right:
        return float("nan")
    return float((ranks[is_wrong].sum() - wrong * (wrong + 1) / 2) / (wrong * right))


def draw(path: Path, image: pd.DataFrame, stack: pd.DataFrame, model: str) -> None:
    """IoU by prompt, Dice by distance, and a reliability plot."""
    figure = Figure(figsize=(12, 3.8), dpi=150, layout="constrained")
    prompts, distances, reliability = figure.subplots(1, 3)
    mean = image.groupby("prompt", sort=False)["iou"].mean()
    prompts.barh(mean.index, mean, color=["#4c72b0" if "," not in name else "#b9bec9" for name in mean.index])
    prompts.bar_label(prompts.containers[0], fmt="%.2f", padding=3)
    prompts.set(xlim=(0, 1), xlabel="mean IoU, nuclei2d", title=f"{model}: prompts")
    prompts.invert_yaxis()
    there = stack[stack["is_there"]].groupby("distance")["dice"].mean()
    distances.plot(there.index, there, marker="o", color="#4c72b0")
    distances.set(ylim=(0, 1), xlabel="slices from the given mask", ylabel="mean Dice, nuclei3d", title="propagation")
    scored = pd.concat([image.dropna(subset="confidence"), stack])[["confidence", "iou"]]
    bins = pd.cut(scored["confidence"], np.linspace(0, 1, 11))
    binned = scored.groupby(bins, observed=True).mean()
    reliability.plot([0, 1], [0, 1], color="#b9bec9", linewidth=1)
    reliability.plot(binned["confidence"], binned["iou"], marker="o", color="#4c72b0")
    reliability.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="mean IoU", title="calibration")
    figure.savefig(path)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--output", type=Path, default=Path("training_runs"))
    parser.add_argument("--generated", action="store_true")
    parser.add_argument("--image-size", type=int, help="working size for nuclei2d; as prediction chooses when omitted")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    predictor = load_predictor(arguments.model)

    def read(name: str) -> NDArray[np.integer]:
        return np.asarray(tifffile.imread(arguments.data / f"{name}.tif"))

    began = time.perf_counter()
    single = load_predictor(arguments.model, image_size=arguments.image_size or "auto")
    answered = score_image(single, read("nuclei2d"), read("nuclei2d_labels"))
    image = pd.concat([answered, score_baselines(read("nuclei2d"), read("nuclei2d_labels"))])
    stack = score_stack(predictor, read("nuclei3d"), read("nuclei3d_labels"))
    print(image.groupby("prompt", sort=False)["iou"].mean().round(3).to_string())
    volumes = stack.groupby("object")[["overlap_px", "areas_px"]].sum()
    print(f"nuclei3d, Dice per nucleus away from its mask: {(2 * volumes.overlap_px / volumes.areas_px).mean():.3f}")
    print(f"nuclei3d, Dice per annotated slice: {stack[stack['is_there']]['dice'].mean():.3f}")
    for name, scored in (("nuclei2d", answered), ("nuclei3d", stack)):
        area = auroc((scored["iou"] < DOUBTFUL_IOU).to_numpy(), scored["confidence"].to_numpy())
        print(f"{name}, AUROC of confidence for IoU < {DOUBTFUL_IOU}: {area:.3f}")
    if arguments.generated:
        from sam2_model.imaginary.validation import ValidationOptions, as_row, validate
        from sam2_model.weights.loading import load_model

        print("generated:", as_row(validate(load_model(arguments.model).network, ValidationOptions())))
        imagined = pd.concat([score_image(predictor, *scene) for scene in generated_images()])
        print("generated, IoU:", imagined.groupby("prompt", sort=False)["iou"].mean().round(3).to_dict())
        area = auroc((imagined["iou"] < DOUBTFUL_IOU).to_numpy(), imagined["confidence"].to_numpy())
        print(f"generated, AUROC of confidence for IoU < {DOUBTFUL_IOU}: {area:.3f}")
    print(f"{time.perf_counter() - began:.0f} s with {predictor.name}, {predictor.sha256[:12]}")
    image.to_csv(arguments.output / "accuracy_nuclei2d.csv", index=False)
    stack.to_csv(arguments.output / "accuracy_nuclei3d.csv", index=False)
    draw(arguments.output / "accuracy.png", image, stack, predictor.name)


if __name__ == "__main__":
    main()
