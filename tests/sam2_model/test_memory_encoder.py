"""Small masks are encoded where they are, and to the same memory as in the whole frame."""

import pytest
import torch

from sam2_model.memory_encoder import MemoryEncoder

from .seeded import seeded, seeded_value

OUTSIDE = -10.0


@pytest.fixture(scope="module")
def encoder() -> MemoryEncoder:
    made = MemoryEncoder(16, 4)
    made.load_state_dict({name: seeded_value(name, tuple(value.shape)) for name, value in made.state_dict().items()})
    return made


def mask(grid, rows, columns, *, outside=OUTSIDE):
    """A mask (1, H, W) of noise in a rectangle of pixels."""
    made = torch.full((1, 16 * grid[0], 16 * grid[1]), outside)
    made[:, rows, columns] += 20 + 5 * seeded(made[:, rows, columns].shape, "mask")
    return made


PLACES = [
    (slice(70, 71), slice(100, 101)),  # one pixel
    (slice(64, 80), slice(96, 112)),  # exactly a token
    (slice(0, 9), slice(0, 30)),  # each corner of the frame
    (slice(0, 9), slice(-30, None)),
    (slice(-9, None), slice(0, 30)),
    (slice(-9, None), slice(-30, None)),
    (slice(50, 100), slice(60, 140)),
    (slice(0, 0), slice(0, 0)),  # nothing at all
    (slice(10, 180), slice(0, 220)),  # larger than half of the frame
]


@pytest.mark.parametrize("grid", [(12, 14), (14, 12)])
def test_a_small_mask_is_remembered_as_in_the_whole_frame(encoder, grid):
    frame = seeded((1, 16, *grid), "frame")
    masks = torch.stack([mask(grid, *place) for place in PLACES] + [mask(grid, *PLACES[0], outside=-9.0)])
    whole = encoder(frame, masks)  # gradients are wanted
    with torch.inference_mode():
        within = encoder(frame, masks)
        each = torch.cat([encoder(frame, one[None]) for one in masks])
    assert all((whole[i] - whole[7]).abs().max() > 0.01 for i in range(7)), "masks matter"
    torch.testing.assert_close(within, whole.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(each, whole.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 12])
def test_the_pixels_looked_at_grow_with_the_objects_not_with_the_frame(encoder, count):
    seen = []
    hook = encoder.mask_downsampler.encoder[0].register_forward_hook(
        lambda _module, given, _result: seen.append(given[0].numel())
    )
    sizes = []
    for grid in ((12, 12), (24, 24)):
        masks = torch.stack([mask(grid, slice(40 + i, 50 + i), slice(60, 70)) for i in range(count)])
        with torch.inference_mode():
            encoder(seeded((1, 16, *grid), "frame"), masks)
        sizes.append(sum(seen))
        seen.clear()
    hook.remove()
    assert sizes[0] == sizes[1] <= (count + 1) * (4 * 16) ** 2


def test_masks_that_differ_everywhere_are_encoded_whole(encoder):
    frame, masks = seeded((1, 16, 4, 6), "frame"), seeded((3, 1, 64, 96), "masks")
    whole = encoder(frame, masks)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(frame, masks), whole.detach())
