"""Masks from drawings."""

import numpy as np

from napari_sam2.results import ObjectMask
from tests.napari_sam2.conftest import drawn


def mask(object_id, picture, corner=(0, 0), *, is_given=False):
    """A mask whose logits are the digits of a drawing, and -1 where it has dots."""
    logits = drawn(picture).astype(np.float32)
    return ObjectMask(object_id, corner, np.where(logits, logits, -1), 0.9, 0.8, is_given=is_given)
