"""Time and memory of finding everything on an image, beside the reference where `sam2` is installed.

    python benchmarks/mask_generator.py [--side 2048] [--points 16] [--batch 64] [--threads N]

The model is the published tiny 2.1 with random weights, the same on both sides; the image is generated. Thresholds let
about a third of the random masks pass, as the usual ones do with trained weights. Each side runs in a process of its
own, whose peak memory the system says; what it had before the image (libraries, model) is listed beside it.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

SEED = 21
SIDES = ("ours", "reference")
OPTIONS = {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.3, "stability_score_offset": 0.1}


def make_image(side: int) -> NDArray[np.uint8]:
    """Generate bright discs of many sizes on noise."""
    rng = np.random.default_rng(SEED)
    image = rng.integers(0, 60, (side, side), dtype=np.uint8)
    for y, x, radius in zip(*rng.integers(0, side, (2, 200)), rng.integers(side // 200, side // 20, 200), strict=True):
        top, left = max(y - radius, 0), max(x - radius, 0)
        yy, xx = np.mgrid[top : y + radius, left : x + radius]
        part = image[top : y + radius, left : x + radius]
        part[((yy - y) ** 2 + (xx - x) ** 2 < radius**2)[: part.shape[0], : part.shape[1]]] |= 128
    return np.repeat(image[..., None], 3, axis=2)


def save_weights(path: Path) -> None:
    """Write random weights, each at a scale at which the network neither fades nor explodes."""
    from sam2_model import Sam2, config_of

    generator = torch.Generator().manual_seed(SEED)
    weights = {}
    for name, value in Sam2(config_of("tiny")).state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 1:
            weights[name] = 0.02 * noise + float(name.endswith("weight"))
        else:
            is_table = value.shape[0] == 1 or name.endswith(("gaussian_matrix", "tokens.weight"))
            weights[name] = noise if is_table else noise / np.prod(value.shape[1:]) ** 0.5
    torch.save(weights, path)


def peak_mb() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def run(side: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Find everything on the image once, in this process."""
    torch.set_num_threads(arguments.threads)
    weights = torch.load(arguments.weights)
    image = make_image(arguments.side)
    options = OPTIONS | {"points_per_side": arguments.points, "points_per_batch": arguments.batch}
    if side == "ours":
        from sam2_model import ImagePredictor, Sam2, config_of
        from sam2_model.automatic.mask_generator import MaskGenerator, MaskGeneratorOptions

        model = Sam2(config_of("tiny")).eval()
        model.load_state_dict(weights)
        generator = MaskGenerator(ImagePredictor(model), MaskGeneratorOptions(**options))
    else:
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
        from sam2.build_sam import build_sam2

        model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu")
        model.load_state_dict(weights)
        # Run lengths are the leanest that it gives.
        generator = SAM2AutomaticMaskGenerator(model, output_mode="uncompressed_rle", **options)
    before = peak_mb()
    began, worked = time.perf_counter(), time.process_time()
    masks = generator.generate(image)
    return {
        "masks": len(masks),
        "seconds": time.perf_counter() - began,
        "of a core": time.process_time() - worked,
        "before, MB": before,
        "peak, MB": peak_mb(),
    }


def main() -> None:
    """Measure both sides and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--points", type=int, default=16, help="points along each side")
    parser.add_argument("--batch", type=int, default=64, help="points that are answered at once")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run(arguments.only, arguments)))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pt"
        save_weights(weights)
        for side in SIDES:
            if side == "reference" and importlib.util.find_spec("sam2") is None:
                print("The reference is not compared with: no package `sam2` is installed beside this one.")
                continue
            command = [sys.executable, *sys.argv, "--only", side, "--weights", str(weights)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows[side] = json.loads(done.stdout.splitlines()[-1])
    print(pd.DataFrame(rows).T.round(1).astype({"masks": int}).to_string())
    print(
        f"{arguments.side} px, {arguments.points**2} points, {arguments.batch} at once, {arguments.threads} threads, "
        f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
    )


if __name__ == "__main__":
    main()
