"""What the instrument does to a clean picture: blur, light, noise, faults, and the mapping to [0, 1]."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from sam2_model.imaginary.textures import Field, smooth_field


def blur(picture: Field, sigma: float) -> Field:
    """Return a (T, H, W) clip with each frame blurred; `sigma` in pixels."""
    if sigma < 0.3:
        return picture
    rows = gaussian_filter1d(picture, sigma, axis=1, truncate=3.0)
    return np.asarray(gaussian_filter1d(rows, sigma, axis=2, truncate=3.0), np.float32)


def record(rng: np.random.Generator, picture: Field) -> Field:
    """Return a clean clip (T, H, W) in arbitrary units as a detector records it, in arbitrary units."""
    frames, height, width = picture.shape
    picture = blur(picture, rng.choice([rng.uniform(0.3, 1.0), rng.uniform(0.6, 2.0)]))
    low, high = np.percentile(picture[:, ::2, ::2], (0.5, 99.5))
    picture = (picture - low) / (high - low + 1e-6)
    if rng.random() < 0.35:
        picture = picture * (1 + rng.uniform(0.1, 0.6) * smooth_field(rng, height, width, 2))
    if frames > 1 and rng.random() < 0.3:
        fading = np.asarray(-rng.uniform(0, 0.08) * np.arange(frames) + rng.normal(0, 0.03, frames), np.float32)
        picture = picture * np.exp(fading)[:, None, None]
    offset = rng.uniform(0.02, 0.3)
    # Photons at full brightness: few in live imaging, thousands on a bright slide.
    photons = np.exp(rng.uniform(np.log(25), np.log(3000)))
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    picture = picture + noise * np.sqrt(np.clip(picture + offset, 0.005, None) / photons)
    if rng.random() < 0.4:
        picture = picture + rng.uniform(0, 0.09) * rng.standard_normal(picture.shape, dtype=np.float32)
    if rng.random() < 0.06:
        shape = (height, 1) if rng.random() < 0.5 else (1, width)
        picture = picture + rng.standard_normal(shape, dtype=np.float32) * rng.uniform(0.02, 0.1)
    if rng.random() < 0.15:
        picture = _with_dust(rng, picture)
    if rng.random() < 0.3:  # the microscope software or a preview has smoothed the noise
        picture = blur(picture, rng.uniform(0.4, 0.9))
    return np.asarray(picture, np.float32)


def display(rng: np.random.Generator, picture: Field) -> Field:
    """Return a recorded clip (T, H, W) in [0, 1] as users show it: by percentiles, sometimes badly or inverted."""
    low, high = (float(value) for value in np.percentile(picture[:, ::2, ::2], (1, 99.8)))
    span = max(high - low, 1e-6)
    if rng.random() < 0.3:
        low, high = low - span * rng.uniform(-0.1, 0.5), high + span * rng.uniform(-0.4, 1.0)
        span = max(high - low, 1e-6)
    mapped = np.clip((picture - low) / span, 0, 1)
    if rng.random() < 0.25:
        mapped = mapped ** np.float32(np.exp(rng.uniform(-0.7, 0.7)))
    if rng.random() < 0.1:
        mapped = 1 - mapped
    return np.asarray(mapped, np.float32)


def enlarge(clip: Field, size: int) -> Field:
    """Return a (T, h, w) clip enlarged bilinearly to (T, size, size)."""
    _, height, width = clip.shape
    if (height, width) == (size, size):
        return clip
    rows, row_weight = _taps(height, size)
    columns, column_weight = _taps(width, size)
    tall = clip[:, rows] * (1 - row_weight[:, None]) + clip[:, rows + 1] * row_weight[:, None]
    return np.asarray(tall[:, :, columns] * (1 - column_weight) + tall[:, :, columns + 1] * column_weight, np.float32)


def enlarge_labels(labels: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """Return (T, h, w) labels enlarged to (T, size, size) by the nearest, aligned with `enlarge`."""
    rows = (np.arange(size) + 0.5) * labels.shape[1] / size
    columns = (np.arange(size) + 0.5) * labels.shape[2] / size
    return labels[:, rows.astype(np.intp)][:, :, columns.astype(np.intp)]


def _taps(old: int, new: int) -> tuple[NDArray[np.intp], Field]:
    """Return the first index, and the weight of the second, for interpolation between pixel centres."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1.001)
    first = place.astype(np.intp)
    return first, (place - first).astype(np.float32)


def _with_dust(rng: np.random.Generator, picture: Field) -> Field:
    """Return a picture with specks, dark or bright, that stay where they are."""
    _, height, width = picture.shape
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    specks = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 6))):
        size = rng.uniform(0.7, 3)
        distance = (y - rng.uniform(0, height)) ** 2 + (x - rng.uniform(0, width)) ** 2
        specks += rng.choice([-0.5, 0.5, 1.0]) * np.exp(-0.5 * distance / size**2)
    return picture + specks
