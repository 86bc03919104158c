"""Pictures of the panel for README and documentation, dark and light, from the embedded model and sample.

Run from the root of the repository: `xvfb-run -a -s "-screen 0 1600x1400x24" python scripts/screenshots.py`.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtWidgets import QApplication, QMessageBox, QToolButton

from napari_sam2.inference.speed import Activity
from napari_sam2.workbench import commands

if TYPE_CHECKING:
    from napari_sam2.widgets.segment_widget import SegmentWidget
    from napari_sam2.workspace.workspace import Workspace

DOCS = Path(__file__).parents[1] / "docs"
SIZE, TALL = (1240, 860), (1240, 1320)
FRAME = 14
CELLS = ((95, 165), (68, 105), (38, 75), (182, 14), (52, 90))
"""Places in the sample, y and x, to be clicked on that frame."""

NAMES = {1: "large", 2: "mother", 3: "daughter"}
HIDDEN, LOCKED = 4, 1


def main() -> None:
    """Follow cells of the sample as a user would, and write the pictures into docs/."""
    # Nobody wants to be offered this work when napari starts the next time.
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-sam2", "cells_timelapse")
    _, widget = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 Segment")
    work = widget.bench.workspace
    work.show(FRAME)
    for number, (y, x) in enumerate(CELLS, 1):
        work.choose_object(number)
        work.sources.own.points.add([(FRAME, y, x)])
        settle(work)
    widget.bench.run(commands.PROPAGATE)
    settle(work)
    for object_id, name in NAMES.items():
        work.rename_object(object_id, name)
    work.choose_object(2)
    viewer.reset_view()
    for theme in ("dark", "light"):
        viewer.theme = theme
        shoot(viewer, f"widget-{theme}.png")
    work.objects.set_hidden(HIDDEN, is_hidden=True)
    work.objects.set_locked(LOCKED, is_locked=True)
    open_sections(widget)
    viewer.window.resize(*TALL)
    for theme in ("dark", "light"):
        viewer.theme = theme
        pump(1.0)
        widget.grab().save(str(DOCS / f"panel-{theme}.png"))
    widget.help.click()
    (keys,) = widget.findChildren(QMessageBox)
    pump(0.5)
    keys.grab().save(str(DOCS / "keys.png"))
    keys.close()
    viewer.close()


def open_sections(widget: SegmentWidget) -> None:
    """Open everything that can be opened."""
    for made in widget.findChildren(QToolButton):
        if made.isCheckable() and made.isVisible():
            made.setChecked(True)


def shoot(viewer: napari.Viewer, name: str) -> None:
    """Write a picture of the whole window."""
    pump(0.7)
    viewer.screenshot(str(DOCS / name), canvas_only=False, flash=False)


def settle(work: Workspace) -> None:
    """Let the window live until the model has said all."""
    while work.asker.status.activity is not Activity.READY:
        pump(0.05)


def pump(seconds: float) -> None:
    """Let the window live for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()


if __name__ == "__main__":
    main()
