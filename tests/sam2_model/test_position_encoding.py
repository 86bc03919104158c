"""Where and when, against formulas written down independently in numpy."""

import math

import numpy as np
import pytest
import torch

from sam2_model.position_encoding import RandomFourier, Rotation, sine_map, sine_time

CPU = torch.device("cpu")
LIKE = torch.zeros(())


def axis_formula(position: int, length: int, channels: int) -> list[float]:
    """Interleaved sines and cosines of one axis, channel by channel."""
    angle = position / (length + 1e-6) * 2 * math.pi
    waves = []
    for channel in range(channels):
        turned = angle / 10_000 ** (2 * (channel // 2) / channels)
        waves.append(math.cos(turned) if channel % 2 else math.sin(turned))
    return waves


@pytest.mark.parametrize(("height", "width", "channels"), [(4, 4, 8), (4, 6, 16), (1, 3, 32), (7, 2, 64)])
def test_a_map_has_y_then_x_counted_from_one(height, width, channels):
    encoded = sine_map(height, width, channels, LIKE)
    assert encoded.shape == (channels, height, width)
    for y in range(height):
        for x in range(width):
            expected = axis_formula(y + 1, height, channels // 2) + axis_formula(x + 1, width, channels // 2)
            np.testing.assert_allclose(encoded[:, y, x].numpy(), expected, atol=1e-5)


def test_a_map_has_the_dtype_of_its_model():
    assert sine_map(2, 2, 8, torch.zeros((), dtype=torch.bfloat16)).dtype is torch.bfloat16


@pytest.mark.parametrize("channels", [8, 32, 256])
def test_time_has_all_sines_before_all_cosines(channels):
    ages = [-1.0, 0.0, 1 / 15, 0.5, 6.5]
    half = channels // 2
    waves = [[age / 10_000 ** (2 * (i // 2) / half) for i in range(half)] for age in ages]
    expected = np.concatenate((np.sin(waves), np.cos(waves)), axis=1)
    encoded = sine_time(torch.tensor(ages), channels)
    assert encoded.shape == (len(ages), channels)
    np.testing.assert_allclose(encoded.numpy(), expected, atol=1e-5)


def test_fourier_positions_are_a_projection_of_the_unit_square():
    encode = RandomFourier(12)
    xy = np.array([[0.0, 0.0], [0.25, 0.75], [1.0, 1.0]], np.float32)
    angle = 2 * np.pi * ((2 * xy - 1) @ encode.positional_encoding_gaussian_matrix.numpy())
    expected = np.concatenate((np.sin(angle), np.cos(angle)), axis=1)
    np.testing.assert_allclose(encode(torch.from_numpy(xy)).numpy(), expected, atol=1e-5)


def rotated(rotation: Rotation, vector: torch.Tensor, tokens: int) -> torch.Tensor:
    """One vector at every place of the grid, (tokens, channels)."""
    return rotation(vector.expand(1, 1, tokens, -1))[0, 0]


@pytest.mark.parametrize(("height", "width"), [(5, 5), (4, 6), (6, 3)])
def test_rotated_products_depend_on_relative_positions_alone(height, width):
    channels, tokens = 16, height * width
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, channels, generator=generator)
    rotation = Rotation(height, width, channels, CPU)
    products = rotated(rotation, q, tokens) @ rotated(rotation, k, tokens).T
    by_offset: dict[tuple[int, int], list[float]] = {}
    for a in range(tokens):
        for b in range(tokens):
            offset = (a // width - b // width, a % width - b % width)
            by_offset.setdefault(offset, []).append(products[a, b].item())
    assert max(max(values) - min(values) for values in by_offset.values()) < 1e-4
    means = [np.mean(values) for values in by_offset.values()]
    assert np.std(means) > 0.1  # they do depend on that


def test_rotation_follows_its_formula():
    height, width, channels = 3, 4, 8
    x = torch.randn(1, 1, 12, channels, generator=torch.Generator().manual_seed(0))
    turned = Rotation(height, width, channels, CPU)(x)[0, 0].numpy()
    for token in range(12):
        for pair in range(channels // 2):
            place = token % width if pair < channels // 4 else token // width
            angle = place * 10_000 ** (-4 * (pair % (channels // 4)) / channels)
            a, b = x[0, 0, token, 2 * pair : 2 * pair + 2].tolist()
            expected = (a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle))
            np.testing.assert_allclose(turned[token, 2 * pair : 2 * pair + 2], expected, atol=1e-5)


def test_the_first_token_is_not_turned_and_lengths_are_kept():
    x = torch.randn(2, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    turned = Rotation(2, 3, 8, CPU)(x)
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert not torch.allclose(turned[:, :, 1:], x[:, :, 1:])


def test_the_table_repeats_once_per_remembered_frame():
    rotation = Rotation(2, 3, 8, CPU)
    x = torch.randn(1, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    twice = rotation(torch.cat((x, x), dim=2))
    assert torch.equal(twice, torch.cat((rotation(x), rotation(x)), dim=2))


def test_rotation_keeps_the_dtype_of_its_tokens():
    assert Rotation(2, 2, 8, CPU)(torch.zeros(1, 1, 4, 8, dtype=torch.bfloat16)).dtype is torch.bfloat16
