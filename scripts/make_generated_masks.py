"""Record what the reference's automatic mask generator finds, for `tests/sam2_model/test_mask_generator.py`.

Run from the root of the repository, in an environment of its own that has `sam2` 1.1.0 from PyPI (installed with
`SAM2_BUILD_CUDA=0`), what that needs (torch, torchvision, hydra-core, iopath, tqdm, pillow), scipy and lazy_loader:
`OMP_NUM_THREADS=1 PYTHONPATH=src:. python scripts/make_generated_masks.py`.

The model is the published tiny 2.1 at 128 px, with weights rebuilt from names. Thresholds are so low that random masks
pass. The reference's small regions need a CUDA extension; here scipy labels them.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.build_sam import build_sam2
from sam2.utils import misc
from scipy import ndimage
from torch import Tensor

from tests.sam2_model.seeded import seeded_frames, seeded_value

FIXTURE = Path(__file__).parents[1] / "tests" / "data" / "parity" / "generated-masks-tiny-2.1-128px.npz"

SIZE = 128
HEIGHT, WIDTH = 200, 240
GREY_STEP = 16

PLAIN = {
    "points_per_side": 6,
    "points_per_batch": 24,
    "pred_iou_thresh": 0.45,
    "stability_score_thresh": 0.5,
    "stability_score_offset": 0.2,
    "mask_threshold": 6.0,
    "box_nms_thresh": 0.98,
    "crop_nms_thresh": 0.9,
}

CASES: dict[str, dict[str, object]] = {
    "with_duplicates": PLAIN | {"box_nms_thresh": 1.0},
    "plain": PLAIN,
    "crops": PLAIN | {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
    "m2m": PLAIN | {"use_m2m": True},
    "one_mask": PLAIN | {"multimask_output": False, "mask_threshold": 4.0, "box_nms_thresh": 0.99},
    "small_regions": PLAIN | {"min_mask_region_area": 6, "box_nms_thresh": 0.99},
}


def make_image() -> NDArray[np.uint8]:
    """Return a smooth pattern with noise, RGB, in few grey values, so that it is stored in little."""
    frame = seeded_frames(1, WIDTH)[0, :, :HEIGHT].permute(1, 2, 0).numpy()
    bright = (frame - frame.min()) / (frame.max() - frame.min())
    return (np.floor(bright * 255 / GREY_STEP) * GREY_STEP).astype(np.uint8)


def connected_components(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Stand in for the CUDA extension: labels and areas of 8-connected regions of masks (N, 1, H, W)."""
    labels, areas = np.zeros(mask.shape, np.int32), np.zeros(mask.shape, np.int32)
    for i, one in enumerate(mask[:, 0].numpy()):
        labels[i, 0], _ = ndimage.label(one, structure=np.ones((3, 3)))
        areas[i, 0] = np.where(one, np.bincount(labels[i, 0].ravel())[labels[i, 0]], 0)
    return torch.from_numpy(labels), torch.from_numpy(areas)


def main() -> None:
    """Run every case and write the fixture."""
    misc.get_connected_components = connected_components
    overrides = [f"++model.image_size={SIZE}"]
    model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", hydra_overrides_extra=overrides)
    model.load_state_dict({name: seeded_value(name, tuple(value.shape)) for name, value in model.state_dict().items()})
    image = make_image()
    arrays: dict[str, NDArray[np.generic]] = {"image": image}
    for name, options in CASES.items():
        generator = SAM2AutomaticMaskGenerator(model, **options)
        generator.predictor._bb_feat_sizes = [(SIZE // stride,) * 2 for stride in (4, 8, 16)]  # noqa: SLF001
        records = generator.generate(image)
        arrays |= {
            f"{name}/options": np.array(json.dumps(options)),
            f"{name}/masks": np.packbits([record["segmentation"] for record in records], axis=-1),
            f"{name}/boxes_xywh": np.array([record["bbox"] for record in records], np.int32),
            f"{name}/areas": np.array([record["area"] for record in records], np.int32),
            f"{name}/predicted_iou": np.array([record["predicted_iou"] for record in records], np.float32),
            f"{name}/stability_score": np.array([record["stability_score"] for record in records], np.float32),
            f"{name}/points": np.array([record["point_coords"][0] for record in records], np.float32),
            f"{name}/crop_boxes_xywh": np.array([record["crop_box"] for record in records], np.int32),
        }
        print(name, len(records))
    np.savez_compressed(FIXTURE, **arrays)


if __name__ == "__main__":
    main()
