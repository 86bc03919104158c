"""Mask logits of small objects are stored without what surrounds them, and come back as they were."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2_model.video.stored_masks import StoredMask
from tests.sam2_model.seeded import seeded


def disc(size: int, row: int, column: int, radius: float) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = ((y - row) ** 2 + (x - column) ** 2).float().sqrt()
    return torch.where(distance < radius, radius - distance, -16.0)


@settings(deadline=None, max_examples=60)
@given(st.tuples(st.integers(0, 20), st.integers(0, 20)), st.floats(0, 25))
def test_a_stored_mask_comes_back_bit_by_bit(middle, radius):
    logits = disc(21, *middle, radius)
    stored = StoredMask.of(logits)
    assert torch.equal(stored.logits(), logits)
    assert stored.window.numel() <= logits.numel()


@pytest.mark.parametrize("logits", [torch.full((8, 6), -1024.0), seeded((8, 6), "noise"), seeded((1, 1), "one")])
def test_a_mask_of_one_value_or_of_many_comes_back_bit_by_bit(logits):
    assert torch.equal(StoredMask.of(logits).logits(), logits)


def test_the_room_of_a_stored_mask_is_that_of_its_object():
    stored = StoredMask.of(disc(512, 100, 200, 9))
    assert stored.window.untyped_storage().nbytes() <= 4 * 19**2
    assert StoredMask.of(torch.full((512, 512), -1024.0)).window.numel() == 0
