"""Which model answers: those on this machine by name, or a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QFileDialog

from napari_sam2.models import list_models

if TYPE_CHECKING:
    from napari_sam2.predictor import Predictor
    from napari_sam2.workbench import Workbench

CHOOSE_FILE = "Choose file…"


def load_model(source: str | Path) -> Predictor:
    """Load a model on the thread that is going to run it. Torch is imported here, not before.

    One core is left to the viewer: with as many threads as cores, each waits for the others at every step.
    """
    # Read when torch is loaded: threads that have nothing to do shall sleep, not spin, or the viewer stutters.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from napari_sam2.sam2_predictor import load_predictor, use_threads

    use_threads(max((os.cpu_count() or 2) - 1, 1))
    return load_predictor(source)


class ModelChooser(QComboBox):
    """A combo box of models.

    Parameters
    ----------
    bench : Workbench
        Told what is chosen.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        for info in list_models():
            if info.path is not None:
                self.addItem(info.name, info.name)
        self.addItem(CHOOSE_FILE)
        self.setToolTip(
            "The SAM 2 that answers. Others by Meta come with `napari-sam2 models download NAME`; "
            "any of their fine-tunes can be chosen as a file."
        )
        self.activated.connect(self._on_choice)

    def _on_choice(self, index: int) -> None:
        source = self.itemData(index)
        if source is None:
            name, _ = QFileDialog.getOpenFileName(self, "Weights of a SAM 2", "", "Weights (*.safetensors *.pt *.pth)")
            source = self._add_file(Path(name)) if name else None
        if source is not None and source != self._bench.model:
            self._bench.use_model(source)
        self._show_model()

    def _add_file(self, path: Path) -> Path:
        if self._find(path) < 0:
            self.insertItem(self.count() - 1, path.name, path)
        return path

    def _find(self, source: str | Path) -> int:
        return next((i for i in range(self.count()) if self.itemData(i) == source), -1)

    def _show_model(self) -> None:
        blocker = QSignalBlocker(self)
        self.setCurrentIndex(self._find(self._bench.model))
        del blocker
