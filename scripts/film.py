"""The moving picture at the top of the README: the embedded model and time-lapse, worked on by mouse and keys.

Run from the root of the repository: `xvfb-run -a -s "-screen 0 1600x1200x24" python scripts/film.py`. Nothing in it is
staged but the pace: every picture is a screenshot of napari, and below it stands what is being done. If the panel does
something else than that, the script ends with a sentence, and the film that is there stays.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.font_manager
import napari
from PIL import Image, ImageDraw, ImageFont
from qtpy.QtCore import QPoint, Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget, QPushButton, QWidget

from napari_sam2.inference.speed import Activity
from napari_sam2.workbench import commands

if TYPE_CHECKING:
    from napari_sam2.widgets.segment_widget import SegmentWidget
    from napari_sam2.workbench.commands import Command

FILM = Path(__file__).parents[1] / "docs" / "film.webp"
MOST_BYTES = 2_000_000
SIZE = (960, 640)
QUALITY = 80
"""Of the pictures, as WebP counts it. A GIF of the same size has 96 colours, too few for masks on an image."""

FRAME = 14
CELLS = ((95, 165), (182, 14), (38, 75), (52, 90))
"""Places in the sample, y and x, to be clicked on that frame."""

DAUGHTERS = (3, 4)
"""Objects that are one cell before it divides."""

SHOWN_FRAMES = (*range(FRAME, 24, 3), *range(21, 5, -3))
"""Frames that are looked at once the cells are followed. The next doubtful one after them is that of the division."""

CAPTURED_EVERY = 4
"""Frames of a propagation from one picture to the next."""

GLANCE_MS, STEP_MS, LOOK_MS, READ_MS = 60, 110, 450, 1100
GLIDES = 3
"""Pictures of the mouse on its way from one place to the next."""

CAPTION_PX = 40
INK, DIM, GROUND = "#ffffff", "#9aa3b2", "#15171c"
ARROW = ((0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12))
"""Outline of the mouse's arrow, x and y, its tip first."""


@dataclass
class Film:
    """Screenshots of a window, each with the time for which it is shown.

    Attributes
    ----------
    viewer : napari.Viewer
        The viewer in the window.
    caption : str
        What is being done, below the window.
    arrow : (int, int)
        Where the mouse is, x and y in the window.
    """

    viewer: napari.Viewer
    caption: str = ""
    arrow: tuple[int, int] = (0, 0)
    _pictures: list[Image.Image] = field(default_factory=list)
    _times: list[int] = field(default_factory=list)
    _font: ImageFont.FreeTypeFont = field(init=False)

    def __post_init__(self) -> None:
        self._font = ImageFont.truetype(matplotlib.font_manager.findfont("DejaVu Sans"), 17)

    def shoot(self, milliseconds: int) -> None:
        """Take a picture of the window as it is now."""
        pump(0.05)
        window = Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
        picture = Image.new("RGB", (window.width, window.height + CAPTION_PX), GROUND)
        picture.paste(window)
        draw = ImageDraw.Draw(picture)
        draw.text((14, window.height + CAPTION_PX / 2), self.caption, INK, self._font, anchor="lm")
        x, y = self.arrow
        draw.polygon([(x + dx, y + dy) for dx, dy in ARROW], fill="white", outline="black")
        self._pictures.append(picture)
        self._times.append(milliseconds)

    def write(self, path: Path) -> None:
        """Write all pictures into an animated WebP that begins again at its end."""
        first, *others = self._pictures
        first.save(path, save_all=True, append_images=others, duration=self._times, loop=0, quality=QUALITY, method=6)
        seconds, megabytes = sum(self._times) / 1000, path.stat().st_size / 1e6
        print(f"{path}: {len(self._pictures)} pictures, {seconds:.1f} s, {megabytes:.2f} MB")
        if path.stat().st_size > MOST_BYTES:
            raise SystemExit(f"{path} is larger than {MOST_BYTES / 1e6} MB: take fewer pictures.")


class Hands:
    """Mouse and keys on a viewer with the panel, filmed.

    Parameters
    ----------
    film : Film
        What is taken while they move.
    widget : SegmentWidget
        The panel.
    """

    def __init__(self, film: Film, widget: SegmentWidget) -> None:
        self.film, self.widget, self.viewer = film, widget, film.viewer
        self.window = widget.window()
        canvas = self.window.findChild(QOpenGLWidget)
        if canvas is None:
            raise SystemExit("The viewer has no canvas: run this under a display.")
        self.canvas: QWidget = canvas

    def pixel(self, y: float, x: float) -> QPoint:
        """Return where on the canvas a place of the image is."""
        camera = self.viewer.scene.camera
        (middle_y, middle_x), zoom = camera.center[-2:], camera.zoom
        return QPoint(
            round(self.canvas.width() / 2 + (x - middle_x) * zoom),
            round(self.canvas.height() / 2 + (y - middle_y) * zoom),
        )

    def move(self, onto: QWidget, where: QPoint) -> None:
        """Move the mouse to a place on a part of the window."""
        target = onto.mapTo(self.window, where)
        x, y = self.film.arrow
        for step in range(1, GLIDES + 1):
            part = step / GLIDES
            self.film.arrow = (round(x + (target.x() - x) * part), round(y + (target.y() - y) * part))
            if step < GLIDES:
                self.film.shoot(GLANCE_MS)
        QTest.mouseMove(onto, where)
        pump(0.05)

    def click(self, y: float, x: float) -> None:
        """Click a place of the image."""
        where = self.pixel(y, x)
        self.move(self.canvas, where)
        QTest.mouseClick(self.canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)
        self.settle()
        self.film.shoot(LOOK_MS)

    def push(self, command: Command) -> None:
        """Click the button of a command."""
        made = next((one for one in self.widget.findChildren(QPushButton) if one.text() == command.name), None)
        if made is None or not made.isVisibleTo(self.window):
            raise SystemExit(f"There is no button {command.name!r} to be seen in the panel.")
        where = made.rect().center()
        self.move(made, where)
        QTest.mouseClick(made, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)

    def press(self, command: Command) -> None:
        """Press the key of a command."""
        *_, letter = command.key.split("-")
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, letter.lower())
        self.settle()

    def watch(self, frames: int) -> None:
        """Film a propagation until its end, each time that it has come so many frames further."""
        asker, filmed = self.widget.bench.workspace.asker, 0
        pump(0.1)
        while asker.status.activity is not Activity.READY:
            if asker.status.done >= filmed + frames:
                filmed = asker.status.done
                self.film.shoot(STEP_MS)
            pump(0.02)
        self.settle()

    def settle(self) -> None:
        """Let the window live until the model has said all."""
        pump(0.1)
        asker = self.widget.bench.workspace.asker
        while {asker.status.activity, asker.queue.activity} != {Activity.READY}:
            pump(0.05)
        pump(0.2)  # what was said is shown a moment later


def main() -> None:
    """Film a user who follows some cells and looks after a doubtful one."""
    # Nobody wants to be offered this work when napari starts the next time.
    os.environ["XDG_DATA_HOME"] = os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-sam2", "cells_timelapse")
    _, widget = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 Segment")
    for dock in widget.window().findChildren(QDockWidget):
        if dock.windowTitle() in ("layer controls", "layer list"):
            dock.hide()
    viewer.window.resize(*SIZE)
    pump(0.5)
    viewer.reset_view()
    widget.bench.workspace.show(FRAME)
    film = Film(viewer, arrow=(SIZE[0] // 2, SIZE[1] // 2))
    play(Hands(film, widget))
    film.write(FILM)
    viewer.close()


def play(hands: Hands) -> None:
    """Click, follow, look where it is doubtful, correct, commit."""
    film, work = hands.film, hands.widget.bench.workspace
    film.caption = "Click the cells: each click is an object."
    film.shoot(LOOK_MS)
    for y, x in CELLS:
        hands.click(y, x)
    expect("number of objects", len(work.asker.prompts.object_ids), (len(CELLS),))
    film.caption = "Propagate follows all of them through the time-lapse."
    hands.push(commands.PROPAGATE)
    hands.watch(CAPTURED_EVERY)
    for frame in SHOWN_FRAMES:
        work.show(frame)
        film.shoot(STEP_MS)
    film.caption = "Orange to red is doubtful, and N goes there: two objects on one cell, before it divides."
    hands.press(commands.NEXT_DOUBTFUL)
    expect("selected object", work.sources.own.object_id, DAUGHTERS)
    film.shoot(READ_MS)
    film.caption = "X: this object is not here. Propagate follows it again, and nothing else."
    hands.press(commands.MARK_ABSENT)
    film.shoot(LOOK_MS)
    hands.push(commands.PROPAGATE)
    hands.watch(CAPTURED_EVERY)
    film.shoot(READ_MS)
    film.caption = "C commits the objects. Export writes labels and tables."
    hands.press(commands.COMMIT)
    expect("number of committed objects", len(work.committed.object_ids), (len(CELLS),))
    film.shoot(READ_MS)


def expect(what: str, seen: int, good: tuple[int, ...]) -> None:
    """Make no film of something else than its captions say."""
    if seen not in good:
        raise SystemExit(f"The panel does not do what the caption says: the {what} is {seen}, and not one of {good}.")


def pump(seconds: float) -> None:
    """Let the window live for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()


if __name__ == "__main__":
    main()
