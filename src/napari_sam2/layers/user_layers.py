"""A Points, Shapes or Labels layer of the user's own that is read for prompts, and what in it cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.errors import NapariSam2Error, OptionError
from napari_sam2.layers.labels_reader import LabelsReader
from napari_sam2.layers.reading import prompts_of_points, prompts_of_shapes

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.layers.base import Layer

    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.prompts import Prompt


class UserLayer:
    """A layer of the user's own, and the prompts read from it last.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer.
    image : napari.layers.Image
        The image that is segmented.
    grid : LayerGrid
        How it is read.
    frame, object_id : int
        Frame of prompts that are shown on every frame, and object of those that name none.

    Attributes
    ----------
    layer : napari.layers.Layer
        The layer.
    reader : LabelsReader or None
        Reads it, if it is a Labels layer.
    prompts : tuple of Prompt
        What was read last.
    remark : str
        What in it is not used, and why; empty if all is.

    Raises
    ------
    OptionError
        If it is a layer of another kind.
    """

    def __init__(self, layer: Layer, image: Image, grid: LayerGrid, frame: int, object_id: int) -> None:
        from napari.layers import Labels, Points, Shapes

        if not isinstance(layer, Points | Shapes | Labels):
            raise OptionError(
                f"Layer {layer.name!r} is of type {type(layer).__name__}, and prompts come from Points, Shapes and "
                "Labels. Choose one of those."
            )
        self.layer = layer
        self.reader = LabelsReader(layer, image, grid) if isinstance(layer, Labels) else None
        self.prompts: tuple[Prompt, ...] = ()
        self.remark = ""
        self._image, self._grid, self._frame, self._object_id = image, grid, frame, object_id

    def read(self) -> tuple[Prompt, ...]:
        """Read its prompts; what lies nowhere in the image is left out.

        Raises
        ------
        NapariSam2Error
            If something in it makes no sense. `prompts` is what it was then.
        """
        outside: dict[int, str] = {}
        found = self._read(outside)
        count = len(outside)
        self.prompts, self.remark = found, ""
        if count:
            what = "1 prompt lies" if count == 1 else f"{count} prompts lie"
            self.remark = (
                f"In layer {self.layer.name!r}, {what} outside the image or on frames that it does not have: not read. "
                f"{next(iter(outside.values()))}"
            )
        return found

    def read_or_last(self) -> tuple[Prompt, ...]:
        """Read its prompts; while they make no sense, return those before, with the reason in `remark`."""
        try:
            return self.read()
        except NapariSam2Error as error:
            self.remark = str(error)
            return self.prompts

    def repeats(self) -> bool:
        """Return whether its prompts are those that were read last."""
        before = self.prompts
        try:
            return self.read() == before
        except NapariSam2Error:
            return False

    def _read(self, outside: dict[int, str]) -> tuple[Prompt, ...]:
        from napari.layers import Points, Shapes

        common = {"current_frame": self._frame, "default_object": self._object_id}
        if isinstance(self.layer, Points):
            return prompts_of_points(self.layer, self._image, self._grid, outside=outside, **common)
        if isinstance(self.layer, Shapes):
            return prompts_of_shapes(self.layer, self._image, self._grid, outside=outside, **common)
        return () if self.reader is None else self.reader.read(current_frame=self._frame)
