"""Random textures that tile: the grain of nuclei, stroma, agar and detector backgrounds."""

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""Any float32 array of image values."""

TILE = 128
"""Side of a texture tile in pixels; indices wrap around it."""


def texture_tile(rng: np.random.Generator, roughness: float, stretch: float = 1.0) -> Field:
    """Return noise with a power-law spectrum that can be repeated side by side.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    roughness : float
        Exponent of the amplitude spectrum: 0 is white noise, 1 granular, 2 cloudy.
    stretch : float
        Above 1, structures are this many times longer along x than along y.

    Returns
    -------
    ndarray
        Shape (TILE, TILE), mean 0, standard deviation 1.
    """
    fy = np.fft.fftfreq(TILE)[:, None]
    fx = np.fft.rfftfreq(TILE)[None, :]
    radius = np.hypot(fy, fx * stretch)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE), dtype=np.float32))
    tile = np.fft.irfft2(spectrum * np.maximum(radius, 1 / TILE) ** -roughness, s=(TILE, TILE))
    return np.asarray((tile - tile.mean()) / (tile.std() + 1e-6), np.float32)


def sample_tile(tile: Field, y: Field, x: Field) -> Field:
    """Return the values of a tile (TILE, TILE) at the pixels nearest to `y` and `x`, wrapped around its edges."""
    rows = np.floor(y).astype(np.int32) & (TILE - 1)
    columns = np.floor(x).astype(np.int32) & (TILE - 1)
    sampled: Field = tile[rows, columns]
    return sampled


def smooth_field(rng: np.random.Generator, height: int, width: int, cells: int = 3) -> Field:
    """Return a field (height, width), roughly in [-1, 1], that varies slowly, such as uneven illumination.

    There are about `cells` bumps along each axis.
    """
    y = np.linspace(0, 1, height, dtype=np.float32)
    x = np.linspace(0, 1, width, dtype=np.float32)
    waves = np.arange(cells + 1, dtype=np.float32)
    rows = np.cos(np.pi * (waves[:, None] * y + rng.random((cells + 1, 1), dtype=np.float32) * 2))
    columns = np.cos(np.pi * (waves[:, None] * x + rng.random((cells + 1, 1), dtype=np.float32) * 2))
    weights = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32) / (1 + waves[:, None] + waves[None, :])
    field = rows.T @ weights @ columns
    return np.asarray(field / (np.abs(field).max() + 1e-6), np.float32)
