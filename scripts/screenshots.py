"""Pictures of the panel: the one in the documentation, or one of every state that it has to look well in.

Run from the root of the repository: `xvfb-run -a -s "-screen 0 1600x1200x24" python scripts/screenshots.py` draws
`docs/widget-dark.png`; with `--all FOLDER` it draws image and stack with few and many objects, with and without work
that was left over, and what the model has found by itself, in two sizes and both themes, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from skimage.filters import gaussian
from skimage.measure import label, regionprops

from napari_sam2.inference.speed import Activity
from napari_sam2.workbench import commands

if TYPE_CHECKING:
    from napari_sam2.widgets.segment_widget import SegmentWidget
    from napari_sam2.workspace.workspace import Workspace

PICTURE = Path(__file__).parents[1] / "docs" / "widget-dark.png"
SIZE = (1240, 860)
FRAME = 14
CELLS = ((95, 165), (68, 105), (38, 75), (182, 14), (52, 90))
"""Places in the sample, y and x, to be clicked on that frame."""

NAMES = {1: "large", 2: "mother", 3: "daughter"}

SIZES = ((1280, 720), (1440, 900))
THEMES = ("dark", "light")
COUNTS = (1, 9, 60)
NUM_FOLLOWED = 5
"""Frames through which objects are followed where only the look of it counts."""


@dataclass(frozen=True)
class Desk:
    """A viewer with the panel."""

    viewer: napari.Viewer
    widget: SegmentWidget

    @classmethod
    def open(cls, sample: str) -> Desk:
        """Open a sample, and the panel."""
        viewer = napari.Viewer(show=True, show_welcome_screen=False)
        viewer.open_sample("napari-sam2", sample)
        _, widget = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 Segment")
        return cls(viewer, widget)

    @property
    def work(self) -> Workspace:
        """The work on the sample."""
        work = self.widget.bench.workspace
        assert work is not None
        return work

    def click(self, y: float, x: float) -> None:
        """Begin another object with a click on the frame that is shown."""
        if self.work.asker.prompts:
            self.widget.bench.run(commands.NEW_OBJECT)
        points = self.work.sources.own.points
        points.add([(self.work.frame, y, x)] if points.ndim == 3 else [(y, x)])
        settle(self.work)

    def propagate(self) -> None:
        """Follow all objects through the range."""
        self.widget.bench.run(commands.PROPAGATE)
        settle(self.work)

    def shoot(self, path: Path) -> None:
        """Write a picture of the whole window."""
        pump(0.7)
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="draw every state into this folder")
    folder = parser.parse_args().all
    # Nobody wants to be offered this work when napari starts the next time.
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()
    if folder is None:
        draw_for_documentation()
        return
    folder.mkdir(parents=True, exist_ok=True)
    draw_found(folder)
    leave_work_over()
    for sample in ("nuclei_image", "nuclei_stack"):
        for count in COUNTS:
            draw_states(sample, count, folder)


def draw_for_documentation() -> None:
    """Follow cells of the time-lapse as a user would."""
    desk = Desk.open("cells_timelapse")
    desk.viewer.window.resize(*SIZE)
    desk.work.show(FRAME)
    for y, x in CELLS:
        desk.click(y, x)
    desk.propagate()
    for object_id, name in NAMES.items():
        desk.work.rename_object(object_id, name)
    desk.work.choose_object(2)
    desk.viewer.reset_view()
    desk.shoot(PICTURE)
    desk.viewer.close()


def leave_work_over() -> None:
    """Close a viewer without a word about what was done in it."""
    desk = Desk.open("cells_timelapse")
    for y, x in CELLS[:3]:
        desk.click(y, x)
    pump(2.0)  # until it is written down
    desk.viewer.close()


def draw_states(sample: str, count: int, folder: Path) -> None:
    """Draw one sample with so many objects, in all sizes and themes, with the offer of other work and without."""
    desk = Desk.open(sample)
    widget, image = desk.widget, desk.work.image
    is_stack = image.ndim == 3
    if is_stack:
        desk.work.show(desk.work.grid.num_frames // 2)
    for y, x in places(np.asarray(image.data[desk.work.frame] if is_stack else image.data), count):
        desk.click(y, x)
    if is_stack:
        widget.propagation.last.setValue(desk.work.frame + NUM_FOLLOWED)
        widget.propagation.first.setValue(desk.work.frame - NUM_FOLLOWED)
        desk.propagate()
    for banner in ("banner", "plain"):
        if banner == "plain":
            widget.files.put_off()
        draw_sizes(desk, folder, f"{sample}-{count}-{banner}")
    desk.viewer.close()


def draw_found(folder: Path) -> None:
    """Draw what the model has found in an image, before it is added, beside an object that there is already."""
    desk = Desk.open("nuclei_image")
    desk.click(*places(np.asarray(desk.work.image.data), 1)[0])
    desk.widget.bench.run(commands.FIND)
    while desk.work.finder.is_searching:
        pump(0.05)
    for name in ("found", "details"):
        if name == "details":
            desk.widget.finding.fold.click()
        draw_sizes(desk, folder, name)
    desk.viewer.close()


def draw_sizes(desk: Desk, folder: Path, name: str) -> None:
    """Draw a state in all sizes and themes."""
    for width, height in SIZES:
        desk.viewer.window.resize(width, height)
        for theme in THEMES:
            desk.viewer.theme = theme
            desk.shoot(folder / f"{name}-{width}-{theme}.png")


def places(image: np.ndarray, count: int) -> list[tuple[float, float]]:
    """Return places to click, (y, x): the middles of the largest things, and between them where there are too few."""
    smooth = gaussian(image.astype(float), 1)
    found = sorted(regionprops(label(smooth > np.quantile(smooth, 0.85))), key=lambda one: -one.area)
    middles = [one.centroid for one in found[:count]]
    rest = np.random.default_rng(0).uniform((2, 2), np.array(image.shape) - 3, (count - len(middles), 2))
    return [*middles, *map(tuple, rest)]


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
