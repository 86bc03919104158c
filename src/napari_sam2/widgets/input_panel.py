"""The model's input: which values are black and white, channels as colours, the resolution level, and a thumbnail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QRectF, QSignalBlocker, QSize, QSizeF, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent, QPalette, QShowEvent
from qtpy.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_sam2.inference.background import BackgroundJob, Failed, Returned
from napari_sam2.layers.images import channels_for
from napari_sam2.widgets.parts import GuiThread, Refresher, button

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.background import Event
    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace

REFRESH_MS = 100
"""Time in which changes are collected before they are shown."""

SIDE = 128
"""Longer side of the thumbnail, in points of the screen."""

PREVIEW_SIDE = 1024
"""Longest side of what is read for it. No model looks at more."""

COLOURS = ("Red", "Green", "Blue")


class InputPanel(QWidget):
    """Follows the workbench by itself.

    Parameters
    ----------
    bench : Workbench
        Told what is chosen here.

    Attributes
    ----------
    thumbnail : Thumbnail
        The frame that is shown, as the model sees it.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self._gui_thread = GuiThread()
        self._channels: tuple[Image, ...] = ()
        self._reading: BackgroundJob[None, NDArray[np.uint8]] | None = None
        self._read: tuple[FrameStack, int] | None = None
        self._make_parts()
        self._lay_out()
        self._refresher = Refresher(self.refresh, REFRESH_MS, self)
        for signal in (bench.status_changed, bench.workspace_changed, bench.images_changed, bench.view_changed):
            signal.connect(self._refresher.soon)
        bench.closed.connect(self.stop)
        self.refresh()

    def _make_parts(self) -> None:
        bench = self._bench
        self.thumbnail = Thumbnail()
        self.values = QLabel()
        self.values.setWordWrap(True)
        self.values.setToolTip("The contrast limits of the layer at the first prompt, the same for every frame.")
        self.use_contrast = button(
            "Use current contrast", "", lambda: bench.do(lambda work: work.use_channels(work.model_input.channels))
        )
        self.level_label, self.colour_labels = QLabel("Level"), tuple(QLabel(name) for name in COLOURS)
        self.level = _combo("Resolution level that is read, and that results have. Models see 1024 x 1024 px at most.")
        self.level.activated.connect(self._on_level)
        self.colours = tuple(_combo("Image layers that are the colours of what the model sees.") for _ in COLOURS)
        for combo in self.colours:
            combo.activated.connect(self._on_colour)

    def _lay_out(self) -> None:
        side = QVBoxLayout()
        side.setSpacing(4)
        side.addWidget(self.values)
        side.addWidget(self.use_contrast)
        side.addStretch(1)
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self.thumbnail, 0, Qt.AlignmentFlag.AlignTop)
        top.addLayout(side, 1)
        rows = QGridLayout()
        rows.setSpacing(4)
        rows.setColumnStretch(1, 1)
        for number, (label, combo) in enumerate(self._rows()):
            label.setBuddy(combo)
            rows.addWidget(label, number, 0)
            rows.addWidget(combo, number, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addLayout(rows)

    def _rows(self) -> list[tuple[QLabel, QComboBox]]:
        return [(self.level_label, self.level), *zip(self.colour_labels, self.colours, strict=True)]

    def stop(self) -> None:
        """Read and show no more."""
        self._refresher.stop()
        if self._reading is not None:
            self._reading.drop()
            self._reading = None

    # From the workbench ----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show how things stand."""
        work = self._bench.workspace
        self.setEnabled(work is not None)
        if work is None:
            self._read = None
            self.thumbnail.show_nothing()
            self.values.setText("")
            return
        self.values.setText(sight_sentence(work))
        self._show_contrast(work)
        self._show_level(work)
        self._show_colours(work)
        self._read_thumbnail(work)

    def _show_contrast(self, work: Workspace) -> None:
        is_current = work.model_input.is_current
        self.use_contrast.setEnabled(not is_current)
        self.use_contrast.setToolTip(
            "The model sees the layer as it is shown."
            if is_current
            else "The contrast limits of the layer have changed. Let the model see it as it is shown now, and ask all "
            "prompts again."
        )

    def _show_level(self, work: Workspace) -> None:
        image, grid = work.image, work.grid
        levels = len(image.level_shapes) if image.multiscale else 1
        for widget in (self.level_label, self.level):
            widget.setVisible(levels > 1)
        if levels > 1:
            sides = [(shape[grid.row_axis], shape[grid.column_axis]) for shape in image.level_shapes]
            _fill(self.level, [f"{rows} x {columns} px" for rows, columns in sides], grid.level)

    def _show_colours(self, work: Workspace) -> None:
        self._channels = () if work.image.rgb else channels_for(work.image, work.grid, self._bench.images())
        names = [channel.name for channel in self._channels]
        seen = [_place(self._channels, channel) for channel in work.model_input.channels]
        for number, (label, combo) in enumerate(zip(self.colour_labels, self.colours, strict=True)):
            for widget in (label, combo):
                widget.setVisible(len(names) > 1 and number <= len(seen))
            if number == 0:
                _fill(combo, names, seen[0])
            else:
                _fill(combo, ["none", *names], seen[number] + 1 if number < len(seen) else 0)
        self.colour_labels[0].setText("Grey" if len(seen) == 1 else COLOURS[0])

    # The thumbnail ---------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Read what has changed while nobody looked."""
        super().showEvent(event)
        self._refresher.soon()

    def _read_thumbnail(self, work: Workspace) -> None:
        """Read the frame on a thread of its own, one at a time: a lazy one may take seconds."""
        wanted = (work.model_input.frames, work.frame)
        if wanted == self._read or self._reading is not None or not self.isVisible():
            return
        self._read = wanted
        frames, frame = wanted
        self._reading = BackgroundJob(lambda _: preview(frames, frame), self._on_read, self._gui_thread.post)
        self._reading.start()

    def _on_read(self, event: Event[None, NDArray[np.uint8]]) -> None:
        self._reading = None
        match event:
            case Returned(picture):
                self.thumbnail.show_picture(picture)
            case Failed(error):
                self.thumbnail.show_message(f"This frame cannot be read ({type(error).__name__}: {error}).")
        self._refresher.soon()  # the frame may be another one by now

    # From the user ---------------------------------------------------------------------------------------------------

    def _on_level(self, level: int) -> None:
        self._bench.use_level(level)
        self.refresh()

    def _on_colour(self) -> None:
        chosen = [self._channels[self.colours[0].currentIndex()]]
        for combo in self.colours[1:]:
            if combo.currentIndex() < 1:
                break
            chosen.append(self._channels[combo.currentIndex() - 1])
        self._bench.do(lambda work: work.use_channels(chosen))
        self.refresh()


class Thumbnail(QWidget):
    """A small picture with its aspect kept, or a message in its place."""

    def __init__(self) -> None:
        super().__init__()
        self._image = QImage()
        self._message = ""
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("What the model sees")

    @property
    def image(self) -> QImage:
        """The picture; null if there is none."""
        return self._image

    @property
    def message(self) -> str:
        """The text in the place of the picture."""
        return self._message

    def show_picture(self, picture: NDArray[np.uint8]) -> None:
        """Show colours, (Y, X, 3)."""
        height, width, _ = picture.shape
        # A copy, because QImage does not keep the array alive.
        self._image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self._say("", "This frame as the model sees it.")

    def show_message(self, message: str) -> None:
        """Show a sentence."""
        self._image = QImage()
        self._say(message, message)

    def show_nothing(self) -> None:
        """Be empty."""
        self._image = QImage()
        self._say("", "")

    def _say(self, message: str, tip: str) -> None:
        self._message = message
        self.setToolTip(tip)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """As long as `SIDE`, and as broad as the picture is."""
        size = QSize(SIDE, SIDE)
        if self._image.isNull():
            return size
        fitted = self._image.size().scaled(size, Qt.AspectRatioMode.KeepAspectRatio)
        return fitted.expandedTo(QSize(SIDE // 4, SIDE // 4))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the picture, smoothly, or the message."""
        painter = QPainter(self)
        if self._image.isNull():
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(4, 4, -4, -4), flags, self._message)
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        size = QSizeF(self._image.size()).scaled(QSizeF(self.size()), Qt.AspectRatioMode.KeepAspectRatio)
        painter.drawImage(QRectF(0, 0, size.width(), size.height()), self._image)


def sight_sentence(work: Workspace) -> str:
    """Return which values of the image are black and white to the model, and at which size it sees them."""
    limits, used = work.model_input.frames.contrast_limits, work.asker.queue.used
    if limits is None:
        values = "Colours as they are"
    elif isinstance(limits[0], tuple):
        pairs = zip(COLOURS, limits, strict=False)
        values = ", ".join(f"{colour.lower()} {low:g} to {high:g}" for colour, (low, high) in pairs)
        values = f"{values[0].upper()}{values[1:]} → dark to bright"
    else:
        low, high = limits
        values = f"Values {low:g} to {high:g} → {'dark to bright' if work.image.rgb else 'black to white'}"
    return values if used is None else f"{values}, at {used.image_size} px"


def preview(frames: FrameStack, frame: int) -> NDArray[np.uint8]:
    """Read a frame as the model sees it, averaged down to about twice the size of the thumbnail."""
    picture = frames.preview(frame, PREVIEW_SIDE)
    height, width = picture.shape[:2]
    step = -(-max(height, width) // (2 * SIDE))
    rows, columns = max(1, height // step), max(1, width // step)
    block = min(step, height), min(step, width)
    whole = picture[: rows * block[0], : columns * block[1]]
    blocks = whole.reshape(rows, block[0], columns, block[1], 3)
    averaged: NDArray[np.uint8] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return averaged


def _combo(tip: str) -> QComboBox:
    combo = QComboBox()
    combo.setToolTip(tip)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(6)  # a long name widens no dock
    return combo


def _fill(combo: QComboBox, texts: Sequence[str], index: int) -> None:
    """List texts in a combo box, which is left alone if it lists them already: it may be open."""
    blocker = QSignalBlocker(combo)
    if [combo.itemText(i) for i in range(combo.count())] != list(texts):
        combo.clear()
        combo.addItems(list(texts))
    if combo.currentIndex() != index:
        combo.setCurrentIndex(index)
    del blocker


def _place(channels: Sequence[Image], channel: Image) -> int:
    return next((i for i, one in enumerate(channels) if one == channel), 0)
