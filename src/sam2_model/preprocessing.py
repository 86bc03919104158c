"""From image pixels to the model's frame and back: a square of the working size, without keeping the aspect."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.config import SIZE_STEP
from sam2_model.errors import FrameError

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def check_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an RGB image unchanged.

    Raises
    ------
    FrameError
        If it is not (H, W, 3) uint8 with at least one pixel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise FrameError(
            f"The model needs an RGB image of shape (H, W, 3), uint8; this one has shape {image.shape}, "
            f"{image.dtype}. Map the intensities to 8 bit and repeat a single channel three times."
        )
    return image


def to_model_image(image: NDArray[np.uint8], image_size: int, device: torch.device) -> Tensor:
    """Return an RGB image, resized and normalised.

    Parameters
    ----------
    image : ndarray
        Shape (H, W, 3), uint8.
    image_size : int
        Side of the square working image, in pixels.
    device : torch.device
        Where the model lives.

    Returns
    -------
    Tensor
        Shape (1, 3, image_size, image_size), float32, normalised with ImageNet's mean and standard deviation.

    Raises
    ------
    FrameError
        If the image is not (H, W, 3) uint8.

    Notes
    -----
    Bilinear with antialiasing on floating-point values, which is the reference's image path. Its video path resizes
    JPEG files with another filter; here stacks and images agree.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(check_image(image)))
    x = pixels.to(device).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
    x = F.interpolate(x, size=(image_size, image_size), mode="bilinear", antialias=True)
    mean, std = (x.new_tensor(v)[:, None, None] for v in (_MEAN, _STD))
    return (x - mean) / std


def to_model_tile(image: NDArray[np.uint8], zoom: float, device: torch.device) -> Tensor:
    """Return a part of an RGB image, enlarged by `zoom` and normalised, with its proportions.

    Parameters
    ----------
    image : ndarray
        Shape (H, W, 3), uint8.
    zoom : float
        Pixels of the result per pixel of the image, along each axis.
    device : torch.device
        Where the model lives.

    Returns
    -------
    Tensor
        Shape (1, 3, h, w), float32; h and w are multiples of 32, filled up below and to the right by the last pixels.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(check_image(image)))
    x = pixels.to(device).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
    height, width = (max(round(side * zoom), 1) for side in x.shape[-2:])
    x = F.interpolate(x, size=(height, width), mode="bilinear", antialias=True)
    x = F.pad(x, (0, -width % SIZE_STEP, 0, -height % SIZE_STEP), mode="replicate")
    mean, std = (x.new_tensor(v)[:, None, None] for v in (_MEAN, _STD))
    return (x - mean) / std


def to_model_points(
    points: Tensor,  # (..., 2)
    height: int,
    width: int,
    image_size: int,
) -> Tensor:
    """Return points in image pixels scaled to working pixels, both (x, y).

    The prompt encoder then adds half a working pixel, exactly as the reference does.
    """
    return points * points.new_tensor((image_size / width, image_size / height))


def to_model_mask(mask: Tensor, image_size: int, *, keeps_thin: bool) -> Tensor:
    """Return masks of 0 and 1 resized to the working size, and binarised again.

    Parameters
    ----------
    mask : Tensor
        Shape (B, 1, H, W).
    image_size : int
        Side of the square working image, in pixels.
    keeps_thin : bool
        Whether a mask that covers no working pixel by half keeps the pixel it covers most, instead of vanishing as
        in the reference.

    Returns
    -------
    Tensor
        Shape (B, 1, image_size, image_size), float32, 0 or 1.
    """
    size = (image_size, image_size)
    mask = mask.float()
    if mask.shape[-2:] == size:
        return mask
    x = F.interpolate(mask, size=size, mode="bilinear", antialias=True)
    if not keeps_thin:
        return (x >= 0.5).float()
    strongest = x.amax((-2, -1), keepdim=True)
    return ((x >= strongest.clamp(max=0.5)) & (x > 0)).float()
