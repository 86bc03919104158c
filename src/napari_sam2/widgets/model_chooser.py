"""The combo box of models: all that have a name, and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QComboBox, QFileDialog, QStyle, QStyleOptionComboBox, QStylePainter

from napari_sam2.inference.models import list_models

if TYPE_CHECKING:
    from napari_sam2.workbench.workbench import Workbench

CHOOSE_FILE = "Choose file…"


class ModelChooser(QComboBox):
    """Says which model the user chose, and shows the one it is told to; it uses none itself.

    Parameters
    ----------
    bench : Workbench
        Its model is shown first.
    """

    source_chosen = Signal(object)
    """The name of a model, or the path of a file."""

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._source = bench.choices.model
        self.setToolTip(
            "The SAM 2 that answers: nano comes with the plugin, others by Meta are downloaded once, and any fine-tune "
            "of them can be chosen as a file."
        )
        self.setMinimumContentsLength(12)  # a long name widens no dock
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.list_models()
        self.activated.connect(self._on_activated)

    def list_models(self) -> None:
        """List the models that have a name, and where they are now; files that were chosen stay."""
        blocker = QSignalBlocker(self)
        files = [self.itemData(i) for i in range(self.count()) if isinstance(self.itemData(i), Path)]
        self.clear()
        for info in list_models():
            is_here = info.path is not None
            text = info.name if is_here else f"{info.name} ({info.size_bytes / 1e6:.0f} MB, not downloaded)"
            self.addItem(text, info.name)
        for path in files:
            self._add_file(path)
        self.addItem(CHOOSE_FILE)
        del blocker
        self.show_source(self._source)

    def show_source(self, source: str | Path) -> None:
        """Show a model as the chosen one; a file is added if it is not listed yet."""
        self._source = source
        blocker = QSignalBlocker(self)
        if self._find(source) < 0 and isinstance(source, Path):
            self.removeItem(self.count() - 1)
            self._add_file(source)
            self.addItem(CHOOSE_FILE)
        self.setCurrentIndex(self._find(source))
        del blocker

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the box with dots where its text is too long, which Qt only does in the list."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        box = QStyle.ComplexControl.CC_ComboBox
        painter = QStylePainter(self)
        painter.drawComplexControl(box, option)
        style = painter.style()
        if style is None:  # for the types: a painter on a widget has its style
            return
        field = style.subControlRect(box, option, QStyle.SubControl.SC_ComboBoxEditField, self)
        mode = Qt.TextElideMode.ElideRight
        option.currentText = self.fontMetrics().elidedText(self.currentText(), mode, field.width())
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def showPopup(self) -> None:
        """Open the list as wide as its longest line."""
        view = self.view()
        if view is not None:
            view.setMinimumWidth(view.sizeHintForColumn(0))
        super().showPopup()

    def _add_file(self, path: Path) -> None:
        self.addItem(path.name, path)
        self.setItemData(self.count() - 1, str(path), Qt.ItemDataRole.ToolTipRole)

    def _find(self, source: str | Path) -> int:
        return next((i for i in range(self.count()) if self.itemData(i) == source), -1)

    def _on_activated(self, index: int) -> None:
        source = self.itemData(index)
        if source is None:
            name, _ = QFileDialog.getOpenFileName(self, "Weights of a SAM 2", "", "Weights (*.safetensors *.pt *.pth)")
            source = Path(name) if name else None
        self.show_source(self._source)  # until whoever is told shows another
        if source is not None:
            self.source_chosen.emit(source)
