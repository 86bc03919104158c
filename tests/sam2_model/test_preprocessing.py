"""From pixels to the model's frame."""

import numpy as np
import pytest
import torch

from sam2_model.errors import FrameError
from sam2_model.preprocessing import check_image, to_model_image, to_model_mask, to_model_points

CPU = torch.device("cpu")
MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])


@pytest.mark.parametrize("shape", [(64, 64), (37, 91), (200, 10), (1, 1)])
@pytest.mark.parametrize("size", [32, 96])
def test_every_image_becomes_a_square_of_the_working_size(shape, size):
    x = to_model_image(np.full((*shape, 3), 255, np.uint8), size, CPU)
    assert (x.shape, x.dtype) == ((1, 3, size, size), torch.float32)


@pytest.mark.parametrize("value", [0, 51, 255])
def test_pixels_are_normalised_by_the_mean_and_deviation_of_imagenet(value):
    x = to_model_image(np.full((40, 30, 3), value, np.uint8), 32, CPU)
    torch.testing.assert_close(x[0, :, 5, 5], (value / 255 - MEAN) / STD)


def test_channels_keep_their_order():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 2] = 255
    x = to_model_image(image, 32, CPU)[0, :, 0, 0] * STD + MEAN
    torch.testing.assert_close(x, torch.tensor([0.0, 0, 1]), atol=1e-6, rtol=0)


def test_an_image_of_the_working_size_is_not_resampled():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    x = to_model_image(image, 32, CPU)[0] * STD[:, None, None] + MEAN[:, None, None]
    torch.testing.assert_close(x * 255, torch.from_numpy(image).permute(2, 0, 1).float(), atol=1e-3, rtol=0)


def test_the_aspect_is_squashed():
    image = np.zeros((20, 80, 3), np.uint8)
    image[:, 40:] = 255
    bright = to_model_image(image, 64, CPU)[0, 0] > 0
    assert not bright[:, :31].any()
    assert bright[:, 33:].all()


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    x = to_model_image(stripes, 32, CPU)[0, :, 4:-4, 4:-4] * STD[:, None, None] + MEAN[:, None, None]
    assert (x - 0.5).abs().max() < 0.05


def test_a_view_that_is_not_contiguous_is_read_rightly():
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    flipped = image[::-1, ::-1]
    assert torch.equal(to_model_image(flipped, 32, CPU), to_model_image(flipped.copy(), 32, CPU))


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
        to_model_image(image, 32, CPU)
    assert str(shape) in str(refused.value)
    assert str(np.dtype(dtype)) in str(refused.value)


def test_a_good_image_is_returned_as_it_is():
    image = np.zeros((4, 5, 3), np.uint8)
    assert check_image(image) is image


@pytest.mark.parametrize(
    ("point", "scaled"), [((0, 0), (0, 0)), ((30, 10), (32, 32)), ((59, 19), (59 * 64 / 60, 19 * 64 / 20))]
)
def test_points_are_scaled_by_the_working_size_over_their_own_axis(point, scaled):
    points = to_model_points(torch.tensor([[point]], dtype=torch.float32), 20, 60, 64)
    torch.testing.assert_close(points[0, 0], torch.tensor(scaled, dtype=torch.float32))


@pytest.mark.parametrize("keeps_thin", [False, True])
def test_a_large_mask_is_resized_and_binary_either_way(keeps_thin):
    mask = torch.zeros(1, 1, 20, 40)
    mask[..., 20:] = 1
    resized = to_model_mask(mask, 32, keeps_thin=keeps_thin)
    assert (resized.shape, resized.dtype) == ((1, 1, 32, 32), torch.float32)
    assert resized.unique().tolist() == [0, 1]
    assert resized[..., 16:].all()
    assert not resized[..., :16].any()


@pytest.mark.parametrize(("keeps_thin", "area"), [(False, 0), (True, 1)])
def test_a_thin_mask_vanishes_as_in_the_reference_or_keeps_the_pixel_it_covers_most(keeps_thin, area):
    mask = torch.zeros(1, 1, 256, 256, dtype=torch.bool)
    mask[0, 0, 100, 201] = True
    resized = to_model_mask(mask, 32, keeps_thin=keeps_thin)
    assert resized.sum() == area
    if area:
        assert resized[0, 0, 100 // 8, 201 // 8] == 1


def test_masks_are_thinned_one_by_one():
    masks = torch.zeros(3, 1, 128, 128)
    masks[0, 0, :64] = 1
    masks[1, 0, 60, 60] = 1
    assert [bool(mask.any()) for mask in to_model_mask(masks, 32, keeps_thin=True)] == [True, True, False]


def test_a_mask_of_the_working_size_is_untouched():
    mask = torch.rand(1, 1, 32, 32) > 0.5
    assert torch.equal(to_model_mask(mask, 32, keeps_thin=True), mask.float())
