"""Files of the work: left-over work of earlier viewers, sessions, exports, tracks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QLabel,
    QMenu,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.files.results_folder import LabelFormat
from napari_sam2.inference.time_left import progress_words
from napari_sam2.sessions.steps import Commit, HandEdit
from napari_sam2.sessions.storage import SUFFIX
from napari_sam2.widgets.parts import button, in_a_row

if TYPE_CHECKING:
    from napari_sam2.saving.autosave import LeftOver
    from napari_sam2.saving.work_files import WorkFiles

_SESSIONS = f"SAM 2 sessions (*{SUFFIX})"


class LeftOverBanner(QFrame):
    """Offers the newest work that a viewer left over; hidden when there is none.

    Parameters
    ----------
    files : WorkFiles
        Which knows of it.
    """

    def __init__(self, files: WorkFiles) -> None:
        super().__init__()
        self._files = files
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.restore = button(
            "Go on with it",
            "Bring back prompts, masks and committed objects.",
            lambda: files.take_up(files.left_over[0]),
        )
        self.discard = button("Discard", "Delete this work for good.", self._on_discard)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.text)
        layout.addLayout(in_a_row(self.restore, self.discard))
        self.show_offer()

    def show_offer(self) -> None:
        """Offer what is there to offer."""
        self.setVisible(bool(self._files.left_over))
        if self._files.left_over:
            self.text.setText(offer_sentence(self._files.left_over[0], len(self._files.left_over)))

    def _on_discard(self) -> None:
        question = "Delete this work for good? It cannot be brought back."
        if QMessageBox.question(self, "Discard work", question) == QMessageBox.StandardButton.Yes:
            self._files.discard(self._files.left_over[0])


class SessionPanel(QWidget):
    """Buttons for sessions and exports, and how far they are.

    Parameters
    ----------
    files : WorkFiles
        Who does it.
    """

    def __init__(self, files: WorkFiles) -> None:
        super().__init__()
        self._files = files
        self.save = button("Save…", "Save prompts, masks, committed objects and choices as a session.", self._on_save)
        self.open = button("Open…", "Go on with a saved session.", self._on_open)
        self.export = QPushButton("Export")
        self.export.setToolTip("Write all objects, their scores and the prompts to a folder; or show them as tracks.")
        menu = QMenu(self.export)
        menu.setToolTipsVisible(True)
        for text, tip, called in (
            ("Labels as TIFF, tables, prompts…", "labels.tif, scores.csv, objects.csv, prompts.json", self._on_tiff),
            ("Labels as OME-Zarr, tables, prompts…", "The same, confidences also as properties", self._on_zarr),
            ("Tracks layer", "Where every object is on every frame, coloured by confidence", files.add_tracks),
        ):
            action = menu.addAction(text)
            if action is not None:
                action.setToolTip(tip)
                action.triggered.connect(called)
        self.export.setMenu(menu)
        self.progress = QProgressBar()
        self.cancel = button("Cancel", "Stop writing; what is written stays, under an unfinished name.", files.cancel)
        self.message = QLabel()
        self.message.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(in_a_row(self.save, self.open, self.export))
        layout.addWidget(self.progress)
        layout.addWidget(self.cancel)
        layout.addWidget(self.message)
        self.show_state()

    def show_state(self) -> None:
        """Show how things stand."""
        progress, has_work = self._files.progress, self._files.bench.workspace is not None
        for made in (self.save, self.export):
            made.setEnabled(has_work and progress is None)
        for shown in (self.progress, self.cancel):
            shown.setVisible(progress is not None)
        if progress is not None:
            done, total = progress
            self.progress.setRange(0, total)
            self.progress.setValue(done)
            self.progress.setFormat(progress_words(done, total, "frames written", self._files.seconds_left))
        self.message.setText(self._files.message)
        self.message.setVisible(bool(self._files.message))

    def _on_save(self) -> None:
        image = self._files.bench.image
        proposed = f"{Path(image.name).stem if image is not None else 'work'}{SUFFIX}"
        name, _ = QFileDialog.getSaveFileName(self, "Save the session", proposed, _SESSIONS)
        if name:
            self._files.save(Path(name if name.endswith(SUFFIX) else name + SUFFIX))

    def _on_open(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a session", "", _SESSIONS)
        if name:
            self._files.open(Path(name))

    def _on_tiff(self) -> None:
        self._export(LabelFormat.TIFF)

    def _on_zarr(self) -> None:
        self._export(LabelFormat.OME_ZARR)

    def _export(self, label_format: LabelFormat) -> None:
        name = QFileDialog.getExistingDirectory(self, "Export to a folder")
        if name:
            self._files.export(Path(name), label_format)


def offer_sentence(work: LeftOver, count: int) -> str:
    """Return what work was left over, in a sentence."""
    session = work.session
    when = work.written.astimezone().strftime("%d %B, %H:%M")
    frames = {frame for source in session.sources for frame in source.frames}
    committed = {source.object_id for step in session.steps if isinstance(step, Commit) for source in step.sources}
    parts = [
        _counted(len(session.prompts.object_ids), "object in work", "objects in work"),
        _counted(len(frames), "frame with masks", "frames with masks"),
        _counted(len(committed), "object committed", "objects committed"),
    ]
    if any(isinstance(step, HandEdit) for step in session.steps):
        parts.append("labels edited by hand")
    older = _counted(count - 1, "older piece of work waits", "older pieces of work wait")
    contents = ", ".join(part for part in parts if part) or "only prompts"
    return f"Work on {session.image.name!r} of {when} was not saved: {contents}." + (f" {older}." if older else "")


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}" if number else ""
