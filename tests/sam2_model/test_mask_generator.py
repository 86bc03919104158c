"""Masks of everything on an image: against recorded masks of the reference, and what may be asked of them."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2_model import mask_generator
from sam2_model.config import CONFIGS
from sam2_model.errors import ConfigError, FrameError
from sam2_model.image_predictor import ImagePredictor
from sam2_model.mask_generator import GeneratedMask, MaskBatch, MaskGenerator, MaskGeneratorOptions
from sam2_model.mask_ops import resize_logits
from sam2_model.sam2 import Sam2

from .seeded import seeded, seeded_model
from .toy import FOLLOWER, toy_model, toy_stack

# Parity ---------------------------------------------------------------------------------------------------------------

RECORDED = Path(__file__).parents[1] / "data" / "parity" / "generated-masks-tiny-2.1-128px.npz"


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray]:
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def published() -> ImagePredictor:
    return ImagePredictor(seeded_model(CONFIGS["tiny"]), image_size=128)


def xywh(box):
    """The reference's boxes: corner, and distances from the first to the last pixel."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def runs_of(mask):
    """COCO's counts, the slow way."""
    counts, inside = [0], False
    for pixel in mask.T.ravel():
        if pixel != inside:
            counts.append(0)
            inside = pixel
        counts[-1] += 1
    return tuple(counts)


@pytest.mark.parametrize("case", ["with_duplicates", "plain", "crops", "m2m", "one_mask", "small_regions"])
def test_the_masks_are_those_of_the_reference_in_its_order(recorded, published, case):
    options = MaskGeneratorOptions(**json.loads(str(recorded[f"{case}/options"])))
    image = recorded["image"]
    found = MaskGenerator(published, options).generate(image)
    said = {key: recorded[f"{case}/{key}"] for key in ("predicted_iou", "stability_score", "points", "areas")}
    masks = np.unpackbits(recorded[f"{case}/masks"], axis=-1, count=image.shape[1]).view(np.bool_)
    assert len(found) == len(masks)
    for mask, expected in zip(found, masks, strict=True):
        assert (mask.mask() & expected).sum() / (mask.mask() | expected).sum() >= 0.99
    np.testing.assert_allclose([mask.area_px for mask in found], said["areas"], atol=1)
    np.testing.assert_allclose([mask.predicted_iou for mask in found], said["predicted_iou"], atol=1e-4)
    np.testing.assert_allclose([mask.stability_score for mask in found], said["stability_score"], atol=1e-4)
    np.testing.assert_allclose([mask.point for mask in found], said["points"], atol=1e-4)
    np.testing.assert_array_equal([xywh(mask.box) for mask in found], recorded[f"{case}/boxes_xywh"])
    crops = [xywh((*mask.crop_box[:2], mask.crop_box[2] + 1, mask.crop_box[3] + 1)) for mask in found]
    np.testing.assert_array_equal(crops, recorded[f"{case}/crop_boxes_xywh"])
