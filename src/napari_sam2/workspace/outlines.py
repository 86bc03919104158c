"""Outlines over filled masks: a layer of its own above each layer of masks, since napari draws a layer in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels


class Outlines:
    """Adds and removes these layers. They show the pixels of the masks themselves, and hold none of their own.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    masks : sequence of napari.layers.Labels
        The layers of masks.
    """

    def __init__(self, viewer: ViewerModel, masks: Sequence[Labels]) -> None:
        self._viewer, self._masks = viewer, masks
        self._shown: list[_Outline] = []

    @property
    def layers(self) -> tuple[Labels, ...]:
        """The layers that are in the viewer."""
        return tuple(one.layer for one in self._shown if one.layer in self._viewer.layers)

    def show(self, width: int) -> None:
        """Show outlines of a width, in pixels of the masks. One that the user has removed does not come back."""
        if not self._shown:
            layers, active = self._viewer.layers, self._viewer.layers.selection.active
            for masks in self._masks:
                if masks in layers:
                    self._shown.append(_Outline(masks))
                    layers.insert(layers.index(masks) + 1, self._shown[-1].layer)
            layers.selection.active = active
        for one in self._shown:
            one.layer.contour = width

    def hide(self) -> None:
        """Remove them from the viewer."""
        for layer in self.layers:
            self._viewer.layers.remove(layer)
        for one in self._shown:
            one.close()
        self._shown = []


class _Outline:
    """The outlines of one layer of masks."""

    def __init__(self, masks: Labels) -> None:
        from napari.layers import Labels

        self._masks = masks
        self.layer = Labels(
            masks.data,
            name=f"{masks.name} outlines",
            colormap=masks.colormap,
            opacity=1.0,
            visible=masks.visible,
            scale=masks.scale,
            translate=masks.translate,
            rotate=masks.rotate,
            shear=masks.shear,
            affine=masks.affine,
            units=masks.units,
            axis_labels=masks.axis_labels,
        )
        self.layer.editable = False
        for event, listener in self._events():
            event.connect(listener)  # type: ignore[attr-defined]

    def _events(self) -> Iterator[tuple[object, Callable[..., None]]]:
        events = self._masks.events
        yield events.set_data, self.layer.refresh
        yield events.labels_update, self.layer.refresh
        yield events.data, self._on_array
        yield events.colormap, self._on_colours
        yield events.visible, self._on_visible

    def close(self) -> None:
        for event, listener in self._events():
            event.disconnect(listener)  # type: ignore[attr-defined]

    def _on_array(self, event: object) -> None:
        if self.layer.data is not self._masks.data:
            self.layer.data = self._masks.data

    def _on_colours(self, event: object) -> None:
        self.layer.colormap = self._masks.colormap

    def _on_visible(self, event: object) -> None:
        self.layer.visible = self._masks.visible
