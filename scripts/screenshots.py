"""Pictures of the dock widget for README and documentation, dark and light, from the embedded model and sample.

Run from the root of the repository: `xvfb-run -a -s "-screen 0 1600x1200x24" python scripts/screenshots.py`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_sam2.inference import Activity
from napari_sam2.sample_data import nuclei_stack_labels

if TYPE_CHECKING:
    from napari_sam2.workspace import Workspace

DOCS = Path(__file__).parents[1] / "docs"
SIZE = (1240, 800)
SLICE, NUM_OBJECTS = 15, 6


def main() -> None:
    """Segment the sample as a user would, and write docs/widget-dark.png and docs/widget-light.png."""
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-sam2", "nuclei_stack")
    _, widget = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 Segment")
    space = widget.bench.workspace
    space.show(SLICE)
    for number, (y, x) in enumerate(centres(), 1):
        space.choose_object(number)
        space.prompt_layers.points.add([(SLICE, y, x)])
        settle(space)
    widget.bench.propagate()
    settle(space)
    space.choose_object(2)
    viewer.reset_view()
    for theme in ("dark", "light"):
        viewer.theme = theme
        pump(0.5)
        viewer.screenshot(str(DOCS / f"widget-{theme}.png"), canvas_only=False, flash=False)
    viewer.close()


def centres() -> list[tuple[float, float]]:
    """Middles of the largest nuclei on the slice, from their labels."""
    labels = nuclei_stack_labels()[SLICE]
    ids, sizes = np.unique(labels[labels > 0], return_counts=True)
    largest = ids[np.argsort(-sizes)][:NUM_OBJECTS]
    return [tuple(np.argwhere(labels == one).mean(0).tolist()) for one in largest]


def settle(space: Workspace) -> None:
    """Let the window live until the model has said all."""
    while space.status.activity is not Activity.READY:
        pump(0.05)


def pump(seconds: float) -> None:
    """Let the window live for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()


if __name__ == "__main__":
    main()
