"""Files of the work: left-over work of earlier viewers, sessions, exports, tracks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QLabel,
    QMenu,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.files.results_folder import LabelFormat, names_of_files
from napari_sam2.inference.time_left import progress_words
from napari_sam2.sessions.steps import Commit, HandEdit
from napari_sam2.sessions.storage import SUFFIX
from napari_sam2.widgets.parts import button, command_button, in_a_row
from napari_sam2.workbench.commands import EXPORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from napari_sam2.saving.autosave import LeftOver
    from napari_sam2.saving.work_files import WorkFiles

_SESSIONS = f"SAM 2 sessions (*{SUFFIX})"


class ElidedLabel(QLabel):
    """A text in one line, which ends in dots where there is no room for more; on hover it is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)

    def setText(self, text: str | None) -> None:
        """Show another text."""
        super().setText(text)
        self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:
        """Ask for a few letters, however long the text is: a long one widens no dock."""
        return QSize(self.fontMetrics().averageCharWidth() * 8, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        """Ask for no more than that; the layout gives what room there is."""
        return self.minimumSizeHint()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw as much of the text as there is room for."""
        where = self.contentsRect()
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, where.width())
        with QPainter(self) as painter:
            painter.drawText(where, int(Qt.AlignmentFlag.AlignVCenter), text)


class LeftOverBanner(QFrame):
    """Offers the newest work that a viewer left over, in one line; hidden when there is none.

    Parameters
    ----------
    files : WorkFiles
        Which knows of it.
    """

    def __init__(self, files: WorkFiles) -> None:
        super().__init__()
        self._files = files
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = ElidedLabel()
        self.restore = _small_button(
            "Go on",
            "Bring back prompts, masks and committed objects.",
            lambda: files.take_up(files.left_over[0]),
        )
        self.later = _small_button("Later", "Hide this until the next start; the work stays.", files.put_off)
        self.discard = _small_button("Discard", "Delete this work for good.", self._on_discard)
        layout = in_a_row(self.text, self.restore, self.later, self.discard)
        layout.setContentsMargins(6, 2, 2, 2)
        self.setLayout(layout)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.show_offer()

    def show_offer(self) -> None:
        """Offer what is there to offer."""
        self.setVisible(bool(self._files.left_over))
        if self._files.left_over:
            self.text.setText(offer_sentence(self._files.left_over[0], len(self._files.left_over)))

    def _on_discard(self) -> None:
        question = f"Delete this for good? It cannot be brought back.\n\n{self.text.text()}"
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
        self.export = command_button(EXPORT, files.bench)
        self.formats = QPushButton()
        self.formats.setToolTip("Export in other formats, or as tracks.")
        self.formats.setFixedWidth(self.fontMetrics().height() * 2)
        self.formats.setMenu(self._menu())
        files.bench.export_wanted.connect(self._on_tiff)
        self.progress = QProgressBar()
        self.cancel = button("Cancel", "Stop writing; what is written stays, under an unfinished name.", files.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        # Progress comes in the place of the buttons, so that nothing moves.
        self._stack = QStackedWidget()
        for row in (in_a_row(self.save, self.open, self.export, self.formats), in_a_row(self.progress, self.cancel)):
            row.setContentsMargins(0, 0, 0, 0)
            page = QWidget()
            page.setLayout(row)
            self._stack.addWidget(page)
        self._stack.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.progress.setMaximumHeight(self.save.sizeHint().height())
        layout.addWidget(self._stack)
        self.show_state()

    def _menu(self) -> QMenu:
        menu = QMenu(self.formats)
        menu.setToolTipsVisible(True)
        tiff, zarr = (
            f"All objects, committed or not: {', '.join(names_of_files(one))}"
            for one in (LabelFormat.TIFF, LabelFormat.OME_ZARR)
        )
        for text, tip, called in (
            ("Labels as TIFF, tables, prompts…", tiff, self._on_tiff),
            (
                "Labels as OME-Zarr, tables, prompts…",
                f"{zarr}; the labels hold the table of objects, too",
                self._on_zarr,
            ),
            (
                "Tracks layer",
                "Where every object, committed or not, is on every frame, coloured by confidence",
                self._files.add_tracks,
            ),
        ):
            action = menu.addAction(text)
            if action is not None:
                action.setToolTip(tip)
                action.triggered.connect(called)
        return menu

    def show_state(self) -> None:
        """Show how things stand."""
        progress, has_work = self._files.progress, self._files.bench.workspace is not None
        self.open.setText("Open…" if has_work else "Open a session…")
        for made in (self.save, self.export, self.formats):
            made.setEnabled(has_work and progress is None)
        self._stack.setCurrentIndex(int(progress is not None))
        if progress is not None:
            done, total = progress
            self.progress.setRange(0, total)
            self.progress.setValue(done)
            self.progress.setFormat(progress_words(done, total, "frames", self._files.seconds_left))

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
        if not self._files.can_export():
            return
        name = QFileDialog.getExistingDirectory(self, "Export all objects to a folder", self._files.proposed_folder())
        if not name:
            return
        folder = Path(name)
        there = [one for one in names_of_files(label_format) if (folder / one).exists()]
        question = f"{folder} has {', '.join(there)} already. Replace what is there?"
        if not there or QMessageBox.question(self, "Export", question) == QMessageBox.StandardButton.Yes:
            self._files.export(folder, label_format, overwrite=bool(there))


def offer_sentence(work: LeftOver, count: int) -> str:
    """Return what work was left over, in a sentence."""
    session = work.session
    committed = {source.object_id for step in session.steps if isinstance(step, Commit) for source in step.sources}
    object_ids = committed.union(session.prompts.object_ids, (source.object_id for source in session.sources))
    parts = [_counted(len(object_ids), "object", "objects")]
    if committed:
        parts[0] += f", {len(committed)} of them committed" if committed != object_ids else ", committed"
    if any(isinstance(step, HandEdit) for step in session.steps):
        parts.append("labels edited by hand")
    if session.exported is not None:
        then = session.exported.when.astimezone()
        is_same_day = then.date() == work.written.astimezone().date()
        time = f"at {then:%H:%M}" if is_same_day else f"on {_day(then)}"
        parts.append(f"exported to {session.exported.folder} {time}")
    contents = "; ".join(part for part in parts if part) or "no object"
    older = _counted(count - 1, "older piece of work waits", "older pieces of work wait")
    when = _day(work.written.astimezone())
    return f"{session.image.name!r}, {when}: {contents}." + (f" {older}." if older else "")


def _day(when: datetime) -> str:
    return f"{when:%d %b %H:%M}".removeprefix("0")


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}" if number else ""


def _small_button(text: str, tip: str, clicked: Callable[[], object]) -> QPushButton:
    """Make a push button that is as narrow as its text."""
    made = button(text, tip, clicked)
    metrics = made.fontMetrics()
    made.setFixedWidth(metrics.horizontalAdvance(text) + metrics.height() + 4)
    return made
