"""From image pixels to those of the working image and back, in one place: `WorkingImage`."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.config import SIZE_STEP, Framing, Sam2Config
from sam2_model.errors import FrameError
from sam2_model.mask_ops import fit_mask

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

_CELL_PX = 2
"""An image takes a multiple of this of the working image, so that the padding begins between two cells of mask logits
of models with views."""

_PADDING_LOGIT = -10.0
"""Mask logit, in prompts, of what is no part of the image."""


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


@dataclass(frozen=True, slots=True)
class WorkingImage:
    """Where an image lies in the image that the model works on: in its upper left corner. The rest is padding.

    Padding is of the mean colour, which is zero once it is normalised, as in the first Segment Anything.

    Attributes
    ----------
    height, width : int
        Size of the image, in pixels.
    rows, columns : int
        Pixels of the working image that it takes.
    size : tuple of int
        Height and width of the working image, in its own pixels; multiples of 32.
    """

    height: int
    width: int
    rows: int
    columns: int
    size: tuple[int, int]

    @classmethod
    def stretched(cls, height: int, width: int, image_size: int) -> "WorkingImage":
        """Return a square of a side in pixels, which the image fills whatever its proportions."""
        return cls(height, width, image_size, image_size, (image_size, image_size))

    @classmethod
    def in_proportion(cls, height: int, width: int, image_size: int) -> "WorkingImage":
        """Return a working image on one scale, of which the longer side of the image takes so many pixels."""
        scale = image_size / max(height, width)
        rows, columns = (max(round(side * scale / _CELL_PX), 1) * _CELL_PX for side in (height, width))
        return cls(height, width, rows, columns, (_whole_steps(rows), _whole_steps(columns)))

    @classmethod
    def zoomed(cls, height: int, width: int, zoom: float) -> "WorkingImage":
        """Return a working image with so many pixels for each of the image, along either axis."""
        rows, columns = (max(round(side * zoom), 1) for side in (height, width))
        return cls(height, width, rows, columns, (_whole_steps(rows), _whole_steps(columns)))

    @classmethod
    def of(cls, config: Sam2Config, framing: Framing, height: int, width: int, image_size: int) -> "WorkingImage":
        """Return how a model sees an image; the published ones know squares alone."""
        if config.view_px is None or framing is Framing.SQUARE:
            return cls.stretched(height, width, image_size)
        return cls.in_proportion(height, width, image_size)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the working image for each of the image, along rows and columns."""
        return self.rows / self.height, self.columns / self.width

    def image(self, image: NDArray[np.uint8], device: torch.device) -> Tensor:
        """Return an RGB image, resized, normalised and padded.

        Parameters
        ----------
        image : ndarray
            Shape (H, W, 3), uint8.
        device : torch.device
            Where the model lives.

        Returns
        -------
        Tensor
            Shape (1, 3, *size), float32, normalised with ImageNet's mean and standard deviation.

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
        x = F.interpolate(x, size=(self.rows, self.columns), mode="bilinear", antialias=True)
        mean, std = (x.new_tensor(v)[:, None, None] for v in (_MEAN, _STD))
        return self._padded((x - mean) / std)

    def points(self, points: Tensor) -> Tensor:
        """Return points (..., 2) in image pixels in pixels of the working image, both (x, y).

        The prompt encoder then adds half a working pixel, exactly as the reference does.
        """
        down, right = self.scale
        return points * points.new_tensor((right, down))

    def mask(self, mask: Tensor, *, keeps_thin: bool) -> Tensor:
        """Return masks of 0 and 1 at the size of the working image, and binarised again.

        Parameters
        ----------
        mask : Tensor
            Shape (B, 1, H, W).
        keeps_thin : bool
            Whether a mask that covers no working pixel by half keeps the pixel it covers most, instead of vanishing as
            in the reference.

        Returns
        -------
        Tensor
            Shape (B, 1, *size), float32, 0 or 1; 0 in the padding.
        """
        mask = mask.float()
        if mask.shape[-2:] == (self.rows, self.columns):
            return self._padded(mask)
        x = F.interpolate(mask, size=(self.rows, self.columns), mode="bilinear", antialias=True)
        if not keeps_thin:
            return self._padded((x >= 0.5).float())
        strongest = x.amax((-2, -1), keepdim=True)
        return self._padded(((x >= strongest.clamp(max=0.5)) & (x > 0)).float())

    def unpadded(self, logits: Tensor) -> Tensor:
        """Return the part of mask logits (..., h, w) of the working image that is the image."""
        rows, columns = self._cells(self.size[0] // logits.shape[-2])
        return logits[..., :rows, :columns]

    def padded(self, logits: Tensor, stride: int) -> Tensor:
        """Return mask logits (B, 1, h, w) of the image as those of the working image, one cell for `stride` pixels.

        Resized first, where they have another size.
        """
        logits = fit_mask(logits, self._cells(stride))
        below, after = (side // stride - n for side, n in zip(self.size, logits.shape[-2:], strict=True))
        return F.pad(logits, (0, after, 0, below), value=_PADDING_LOGIT) if below or after else logits

    def _cells(self, stride: int) -> tuple[int, int]:
        return self.rows // stride, self.columns // stride

    def _padded(self, x: Tensor) -> Tensor:
        below, after = self.size[0] - self.rows, self.size[1] - self.columns
        return F.pad(x, (0, after, 0, below)) if below or after else x


def _whole_steps(side: int) -> int:
    return -(-side // SIZE_STEP) * SIZE_STEP
