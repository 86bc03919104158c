"""What the model sees of an image: which channels, on which level, between which contrast limits.

It sees the channels as they were shown at one moment, and all frames alike, because a mask is of what was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.errors import FrameError
from napari_sam2.layers.images import frames_of, frames_of_channels
from napari_sam2.layers.places import lies_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_sam2.frames import ContrastLimits, FrameStack
    from napari_sam2.layers.grid import LayerGrid


class ModelInput:
    """An image as the model sees it.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer, which has the other channels of the image.
    image : napari.layers.Image
        The image.
    grid : LayerGrid
        How it is read: on which level, in which order of axes.

    Attributes
    ----------
    frames : FrameStack
        What the model sees.
    channels : tuple of napari.layers.Image
        The images that it is made of: one, or what is red, green and blue.

    Raises
    ------
    FrameError
        If the image has values that are no intensities.
    """

    contrast_changed = Signal()
    """A channel has other contrast limits now. What the model sees is what it was."""

    def __init__(self, viewer: ViewerModel, image: Image, grid: LayerGrid) -> None:
        self._viewer, self._image, self._grid = viewer, image, grid
        self.frames = frames_of(image, grid)
        self.channels: tuple[Image, ...] = (image,)
        self.reopen()

    @property
    def is_current(self) -> bool:
        """Whether the model sees the channels between the contrast limits that they have now."""
        return self.frames.contrast_limits == self._as_shown(self.channels).contrast_limits

    @property
    def channel_numbers(self) -> tuple[int, ...]:
        """Which channels of the file the model sees: napari makes a layer of each, in order. Empty if there is one."""
        from napari.layers import Image

        path = self._image.source.path
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        siblings = [one for one in images if path is not None and one.source.path == path]
        if len(siblings) < 2:
            return ()
        return tuple(number for channel in self.channels for number, one in enumerate(siblings) if one == channel)

    def choose(self, channels: Sequence[Image] = ()) -> None:
        """See one, two or three images as red, green and blue, as they are shown now.

        Parameters
        ----------
        channels : sequence of napari.layers.Image, optional
            Layers that lie on each other; the image alone when omitted.

        Raises
        ------
        FrameError
            If they do not lie on each other pixel by pixel. Nothing has changed then.
        """
        chosen = tuple(channels) or (self._image,)
        for channel in chosen:
            if channel != self._image and not lies_on(channel, self._image, self._grid):
                raise FrameError(
                    f"Image {channel.name!r} does not lie on {self._image.name!r} pixel by pixel. "
                    "Choose channels of one shape, scale and position."
                )
        frames = self._as_shown(chosen)
        self.close()
        self.frames, self.channels = frames, chosen
        self.reopen()

    def look_again(self) -> None:
        """See the same channels as they are shown now."""
        self.frames = self._as_shown(self.channels)

    def recall(self, contrast_limits: ContrastLimits | None) -> None:
        """See the image between contrast limits of before. Those of several channels are left as they are."""
        if contrast_limits is not None and len(self.channels) == 1:
            self.frames = frames_of(self._image, self._grid, contrast_limits=contrast_limits)

    def close(self) -> None:
        """Stop listening to all layers."""
        for channel in self.channels:
            channel.events.contrast_limits.disconnect(self._on_contrast)

    def reopen(self) -> None:
        """Listen to the layers again."""
        for channel in self.channels:
            channel.events.contrast_limits.connect(self._on_contrast)

    def _on_contrast(self) -> None:
        self.contrast_changed.emit()

    def _as_shown(self, channels: Sequence[Image]) -> FrameStack:
        if len(channels) == 1:
            return frames_of(channels[0], self._grid)
        return frames_of_channels(channels, self._grid)
