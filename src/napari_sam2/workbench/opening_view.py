"""The whole image stays in view while the panel takes its place beside it. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel

SLACK_PX = 1.0
"""What may be missing at an edge of the canvas, in pixels of the screen, and the whole image counts as seen."""


class OpeningView:
    """Fits the view again when the canvas loses room, as long as nobody has moved it.

    Where the user has zoomed in, or a part of the image was out of view before, the view is left alone. So it is by a
    napari before 0.9, which tells nobody how large its canvas is.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer, before the panel takes room from its canvas.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._is_open = hasattr(viewer, "canvas") and len(viewer.layers) > 0 and self._is_all_seen()
        if self._is_open:
            self._left = self._camera()
            self._viewer.canvas.events.size.connect(self._on_size)

    def close(self) -> None:
        """Leave the view to the user."""
        if self._is_open:
            self._is_open = False
            self._viewer.canvas.events.size.disconnect(self._on_size)

    def _on_size(self) -> None:
        if self._camera() != self._left:
            self.close()
        elif not self._is_all_seen():
            self._viewer.fit_to_view()
            self._left = self._camera()

    def _camera(self) -> tuple[float, ...]:
        camera = self._viewer.scene.camera
        return (*camera.center, camera.zoom, self._viewer.dims.ndisplay)

    def _is_all_seen(self) -> bool:
        """Whether all layers are on the canvas, in two dimensions."""
        if self._viewer.dims.ndisplay != 2:
            return False
        camera, displayed = self._viewer.scene.camera, list(self._viewer.dims.displayed)
        extent = np.asarray(self._viewer.layers.extent.world)[:, displayed]
        half = np.array(self._viewer.canvas.size) / camera.zoom / 2
        middle, slack = np.array(camera.center[-2:]), SLACK_PX / camera.zoom
        return bool((extent[0] >= middle - half - slack).all() and (extent[1] <= middle + half + slack).all())
