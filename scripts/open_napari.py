"""Open napari as a user would find it: a sample from the menu, and the panel beside it."""

from __future__ import annotations

import napari


def main() -> None:
    """Open the sample time-lapse and the panel, and stay until the window is closed."""
    viewer = napari.Viewer()
    viewer.open_sample("napari-sam2", "cells_timelapse")
    viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 Segment")
    napari.run()


if __name__ == "__main__":
    main()
