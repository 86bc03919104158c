"""All there is to know of one model, its device, and its download. Shows; decides nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
)
from superqt import QElidingLineEdit

from napari_sam2.inference.time_left import Pace, progress_words
from napari_sam2.widgets.parts import button, in_a_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_sam2.inference.models import ModelInfo

DEVICES = ("auto", "cpu", "mps") if sys.platform == "darwin" else ("auto", "cpu", "cuda")
"""Devices to offer as long as torch, which takes seconds to load, has not been asked which there are."""


class ModelDetails(QFrame):
    """What a model is, where it lies, what it sees, where it computes and how fast."""

    download_clicked = Signal()
    cancel_clicked = Signal()
    device_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.model_input, self.speed, self.message = (_label() for _ in range(4))
        self.path = QElidingLineEdit()
        self.path.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.path.setReadOnly(True)
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.device.setToolTip("Where the model computes. auto takes the fastest there is: CUDA, MPS, then the CPU.")
        self.device_in_use = QLabel()
        self.download = button(
            "Download",
            "Fetch the weights from the Hugging Face hub, once; they are checked before they are used.",
            self.download_clicked.emit,
        )
        self.cancel = button("Cancel download", "Stop the download; nothing of it is kept.", self.cancel_clicked.emit)
        self.progress = QProgressBar()
        self.pace = Pace()
        self._lay_out()
        self.show_message("")
        self.show_no_download()
        self.device.textActivated.connect(self.device_chosen)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        form.addRow("Weights", self.weights)
        form.addRow("File", self.path)
        form.addRow("Sees", self.model_input)
        device = QHBoxLayout()
        device.addWidget(self.device)
        device.addWidget(self.device_in_use, 1)
        form.addRow("Device", device)
        form.addRow("Speed", self.speed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 0, 4)
        layout.setSpacing(4)
        layout.addLayout(form)
        layout.addLayout(in_a_row(self.download, self.progress, self.cancel))
        layout.addWidget(self.message)

    def show_model(self, info: ModelInfo, speed: str) -> None:
        """Show a model and a sentence on its speed."""
        self.weights.setText(_weights_sentence(info))
        where = "not on this machine" if info.path is None else str(info.path)
        self.path.setText("part of the package" if info.is_embedded else where)
        self.path.setToolTip(where)
        self.path.setCursorPosition(0)
        self.model_input.setText(_sight_sentence(info.working_sizes))
        self.speed.setText(speed)
        self.download.setText(f"Download {info.size_bytes / 1e6:.0f} MB")
        self.download.setVisible(info.path is None and self.progress.isHidden())

    def show_device(self, chosen: str, in_use: str) -> None:
        """Show the chosen device, and the one on which the model computes; empty if that is not known."""
        blocker = QSignalBlocker(self.device)
        if self.device.findText(chosen) < 0:
            self.device.addItem(chosen)
        self.device.setCurrentText(chosen)
        del blocker
        self.device_in_use.setText(f"computes on {in_use}" if in_use not in ("", chosen) else "")

    def offer_devices(self, there: Iterable[str], chosen: str) -> None:
        """Offer the devices that are there, and the chosen one, which may not be."""
        blocker = QSignalBlocker(self.device)
        self.device.clear()
        self.device.addItems(("auto", *there))
        del blocker
        self.show_device(chosen, "")

    def show_download(self, name: str, done: int, total: int) -> None:
        """Show how far a download has come; a total of 0 if nothing has come yet."""
        self.download.hide()
        words = progress_words(done // 1_000_000, total // 1_000_000, "MB", self.pace.note(done, total))
        self.progress.setRange(0, total // 1_000_000)
        self.progress.setValue(done // 1_000_000)
        self.progress.setFormat(f"{name}: {words}")
        self.progress.show()
        self.cancel.show()

    def show_no_download(self) -> None:
        """Show that nothing is being downloaded."""
        self.progress.hide()
        self.cancel.hide()

    def show_message(self, text: str) -> None:
        """Show what has happened, or what to do, in a sentence."""
        self.message.setText(text)
        self.message.setVisible(bool(text))


def _weights_sentence(info: ModelInfo) -> str:
    release = f"SAM {info.release}, " if info.release else ""
    return f"{info.name}: {release}{info.size_bytes / 1e6:.0f} MB, {info.licence or 'licence not stated'}"


def _sight_sentence(sizes: tuple[int, ...]) -> str:
    if not sizes:
        return "known when it has been tried"
    if len(sizes) == 1:
        return f"{sizes[0]} x {sizes[0]} px: the image, or parts of a larger one"
    return f"{', '.join(map(str, sizes[:-1]))} or {sizes[-1]} px: the smallest that covers the image, else parts of it"


def _label() -> QLabel:
    made = QLabel()
    made.setWordWrap(True)
    made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return made
