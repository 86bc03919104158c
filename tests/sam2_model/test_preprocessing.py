"""From pixels to the model's frame."""

import numpy as np
import pytest
import torch

from sam2_model.config import CONFIGS, Framing
from sam2_model.errors import FrameError
from sam2_model.preprocessing import WorkingImage, check_image

CPU = torch.device("cpu")
MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])


def squared(image, size):
    return WorkingImage.stretched(*image.shape[:2], size).image(image, CPU)


def squared_mask(mask, size, *, keeps_thin):
    return WorkingImage.stretched(*mask.shape[-2:], size).mask(mask, keeps_thin=keeps_thin)


@pytest.mark.parametrize("shape", [(64, 64), (37, 91), (200, 10), (1, 1)])
@pytest.mark.parametrize("size", [32, 96])
def test_every_image_becomes_a_square_of_the_working_size(shape, size):
    x = squared(np.full((*shape, 3), 255, np.uint8), size)
    assert (x.shape, x.dtype) == ((1, 3, size, size), torch.float32)


@pytest.mark.parametrize("value", [0, 51, 255])
def test_pixels_are_normalised_by_the_mean_and_deviation_of_imagenet(value):
    x = squared(np.full((40, 30, 3), value, np.uint8), 32)
    torch.testing.assert_close(x[0, :, 5, 5], (value / 255 - MEAN) / STD)


def test_channels_keep_their_order():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 2] = 255
    x = squared(image, 32)[0, :, 0, 0] * STD + MEAN
    torch.testing.assert_close(x, torch.tensor([0.0, 0, 1]), atol=1e-6, rtol=0)


def test_an_image_of_the_working_size_is_not_resampled():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    x = squared(image, 32)[0] * STD[:, None, None] + MEAN[:, None, None]
    torch.testing.assert_close(x * 255, torch.from_numpy(image).permute(2, 0, 1).float(), atol=1e-3, rtol=0)


def test_the_aspect_is_squashed():
    image = np.zeros((20, 80, 3), np.uint8)
    image[:, 40:] = 255
    bright = squared(image, 64)[0, 0] > 0
    assert not bright[:, :31].any()
    assert bright[:, 33:].all()


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    x = squared(stripes, 32)[0, :, 4:-4, 4:-4] * STD[:, None, None] + MEAN[:, None, None]
    assert (x - 0.5).abs().max() < 0.05


def test_a_view_that_is_not_contiguous_is_read_rightly():
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    flipped = image[::-1, ::-1]
    assert torch.equal(squared(flipped, 32), squared(flipped.copy(), 32))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 8), np.uint8),
        ((8, 8, 1), np.uint8),
        ((8, 8, 4), np.uint8),
        ((2, 8, 8, 3), np.uint8),
        ((0, 8, 3), np.uint8),
        ((8, 8, 3), np.float32),
        ((8, 8, 3), np.uint16),
        ((8, 8, 3), bool),
    ],
)
def test_other_images_are_refused_with_their_shape_and_type(shape, dtype):
    image = np.zeros(shape, dtype)
    with pytest.raises(FrameError, match="uint8") as refused:
        squared(image, 32)
    assert str(shape) in str(refused.value)
    assert str(np.dtype(dtype)) in str(refused.value)


def test_a_good_image_is_returned_as_it_is():
    image = np.zeros((4, 5, 3), np.uint8)
    assert check_image(image) is image


@pytest.mark.parametrize(
    ("point", "scaled"), [((0, 0), (0, 0)), ((30, 10), (32, 32)), ((59, 19), (59 * 64 / 60, 19 * 64 / 20))]
)
def test_points_are_scaled_by_the_working_size_over_their_own_axis(point, scaled):
    points = WorkingImage.stretched(20, 60, 64).points(torch.tensor([[point]], dtype=torch.float32))
    torch.testing.assert_close(points[0, 0], torch.tensor(scaled, dtype=torch.float32))


@pytest.mark.parametrize("keeps_thin", [False, True])
def test_a_large_mask_is_resized_and_binary_either_way(keeps_thin):
    mask = torch.zeros(1, 1, 20, 40)
    mask[..., 20:] = 1
    resized = squared_mask(mask, 32, keeps_thin=keeps_thin)
    assert (resized.shape, resized.dtype) == ((1, 1, 32, 32), torch.float32)
    assert resized.unique().tolist() == [0, 1]
    assert resized[..., 16:].all()
    assert not resized[..., :16].any()


@pytest.mark.parametrize(("keeps_thin", "area"), [(False, 0), (True, 1)])
def test_a_thin_mask_vanishes_as_in_the_reference_or_keeps_the_pixel_it_covers_most(keeps_thin, area):
    mask = torch.zeros(1, 1, 256, 256, dtype=torch.bool)
    mask[0, 0, 100, 201] = True
    resized = squared_mask(mask, 32, keeps_thin=keeps_thin)
    assert resized.sum() == area
    if area:
        assert resized[0, 0, 100 // 8, 201 // 8] == 1


def test_masks_are_thinned_one_by_one():
    masks = torch.zeros(3, 1, 128, 128)
    masks[0, 0, :64] = 1
    masks[1, 0, 60, 60] = 1
    assert [bool(mask.any()) for mask in squared_mask(masks, 32, keeps_thin=True)] == [True, True, False]


def test_a_mask_of_the_working_size_is_untouched():
    mask = torch.rand(1, 1, 32, 32) > 0.5
    assert torch.equal(squared_mask(mask, 32, keeps_thin=True), mask.float())


@pytest.mark.parametrize(
    ("shape", "image_size", "taken", "size"),
    [
        ((256, 256), 256, (256, 256), (256, 256)),
        ((51, 869), 1024, (60, 1024), (64, 1024)),
        ((869, 51), 1024, (1024, 60), (1024, 64)),
        ((16, 16), 256, (256, 256), (256, 256)),
        ((12, 16), 256, (192, 256), (192, 256)),
        ((1, 50), 256, (6, 256), (32, 256)),
        ((1, 4000), 1024, (2, 1024), (32, 1024)),
        ((1, 1), 64, (64, 64), (64, 64)),
    ],
)
def test_the_longer_side_takes_the_working_size_and_the_other_is_padded(shape, image_size, taken, size):
    working = WorkingImage.in_proportion(*shape, image_size)
    assert ((working.rows, working.columns), working.size) == (taken, size)
    x = working.image(np.full((*shape, 3), 255, np.uint8), CPU)
    assert x.shape == (1, 3, *size)
    assert (x[0, 0, : taken[0], : taken[1]] > 2).all()
    assert not x[..., taken[0] :, :].any()
    assert not x[..., taken[1] :].any()
    down, right = working.scale
    assert down == pytest.approx(right, rel=0.1) or min(taken) < 20


def test_a_square_is_the_same_in_proportion_and_stretched():
    assert WorkingImage.in_proportion(300, 300, 512) == WorkingImage.stretched(300, 300, 512)


@pytest.mark.parametrize(
    ("model", "framing", "is_square"),
    [
        ("nano", Framing.NATIVE, False),
        ("nano", Framing.WHOLE, False),
        ("nano", Framing.SQUARE, True),
        ("tiny", Framing.NATIVE, True),
        ("tiny", Framing.WHOLE, True),
    ],
)
def test_proportions_are_kept_by_models_with_views_alone(model, framing, is_square):
    working = WorkingImage.of(CONFIGS[model], framing, 51, 869, 1024)
    assert (working == WorkingImage.stretched(51, 869, 1024)) is is_square
    assert (working == WorkingImage.in_proportion(51, 869, 1024)) is not is_square


def test_masks_and_logits_lie_where_the_image_lies_and_come_back_without_the_padding():
    working = WorkingImage.in_proportion(20, 64, 128)  # 40 of 64 rows
    mask = torch.zeros(1, 1, 20, 64)
    mask[..., 5:20, 10:30] = 1
    resized = working.mask(mask, keeps_thin=True)
    assert resized.shape == (1, 1, 64, 128)
    assert resized[..., 10:40, 20:60].all()
    assert resized.sum() == 30 * 40
    corner = working.points(torch.tensor([[9.5, 4.5]]))  # the edges of pixels are half a pixel from their middles
    assert corner.tolist() == [[19.0, 9.0]]
    logits = torch.rand(1, 1, 20, 64)
    padded = working.padded(logits, stride=2)
    assert padded.shape == (1, 1, 32, 64)
    assert (padded[..., 20:, :] < -5).all()
    assert torch.equal(working.unpadded(padded), logits)
    assert working.padded(torch.ones(1, 1, 5, 16), stride=2)[..., :20, :].unique().tolist() == [1.0]
