"""Through the stack: direction and range, propagate and cancel, the timeline, the search for doubtful frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QProgressBar, QSpinBox, QVBoxLayout, QWidget

from napari_sam2.widgets.buttons import button, heading, in_a_row
from napari_sam2.widgets.confidence_rows import ConfidenceRows
from napari_sam2.widgets.timeline import Timeline
from napari_sam2.workspace import Activity

if TYPE_CHECKING:
    from napari_sam2.propagation import DirectionName
    from napari_sam2.workbench import Workbench
    from napari_sam2.workspace import Workspace

DIRECTIONS: tuple[DirectionName, ...] = ("both", "forward", "backward")


class PropagationPanel(QWidget):
    """Shown for stacks only.

    Parameters
    ----------
    bench : Workbench
        Told what is chosen here, and to propagate.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self.timeline = Timeline()
        self.direction = QComboBox()
        self.direction.addItems(DIRECTIONS)
        self.direction.setToolTip("Which way objects are followed from the frames on which they were prompted.")
        self.first, self.last = _frame_box("First frame to propagate to."), _frame_box("Last frame to propagate to.")
        self.propagate = button(
            "Propagate",
            "Follow all objects through the range; goes on where it was cancelled (Shift+S).",
            bench.propagate,
        )
        self.cancel = button("Cancel", "Stop after the frame in hand; what is finished stays.", bench.cancel)
        self.progress = QProgressBar()
        self.progress.setFormat("%v of %m frames")
        self.doubtful = button(
            "Next doubtful", "Go to the next frame with an object less certain than this (N).", bench.next_doubtful
        )
        self.threshold = QDoubleSpinBox()
        self.threshold.setRange(0, 1)
        self.threshold.setSingleStep(0.05)
        self.threshold.setValue(bench.threshold)
        self.threshold.setToolTip("An object is doubtful on a frame if its confidence is lower.")
        self._lay_out()
        self.timeline.frame_chosen.connect(bench.show)
        self.direction.currentIndexChanged.connect(self._on_direction)
        self.threshold.valueChanged.connect(self._on_threshold)
        self.first.valueChanged.connect(self._on_range)
        self.last.valueChanged.connect(self._on_range)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(heading("Through the stack"))
        layout.addWidget(self.timeline)
        layout.addLayout(in_a_row(self.direction, QLabel("from"), self.first, QLabel("to"), self.last))
        layout.addLayout(in_a_row(self.propagate, self.cancel))
        layout.addWidget(self.progress)
        layout.addLayout(in_a_row(self.doubtful, QLabel("below"), self.threshold))

    def show_workspace(self, space: Workspace) -> None:
        """Begin with another workspace: all of its frames are the range."""
        count = len(space.frames)
        self.timeline.rows = ConfidenceRows(count)
        for frame in range(count):
            self.timeline.rows.set_frame(frame, space.scores_on(frame))
        for box, value in ((self.first, 0), (self.last, count - 1)):
            blocker = QSignalBlocker(box)
            box.setRange(0, count - 1)
            box.setValue(value)
            del blocker
        self._on_range()
        self.setVisible(space.grid.frame_axis is not None)

    def show_status(self, space: Workspace) -> None:
        """Show what is new."""
        status = space.status
        is_following = status.activity is Activity.FOLLOWING
        self.cancel.setVisible(is_following)
        self.progress.setVisible(is_following)
        self.progress.setRange(0, status.total)  # (0, 0), as long as it is not known, looks busy
        self.progress.setValue(status.done)
        self.propagate.setEnabled(bool(space.prompts) and not is_following)
        self.timeline.show_state(space.frame, (self.first.value(), self.last.value()), space.prompts)

    def _on_direction(self, index: int) -> None:
        self._bench.direction = DIRECTIONS[index]

    def _on_threshold(self, value: float) -> None:
        self._bench.threshold = value

    def _on_range(self) -> None:
        self._bench.start, self._bench.stop = self.first.value(), self.last.value()
        if self._bench.workspace is not None:
            self.show_status(self._bench.workspace)


def _frame_box(tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setToolTip(tip)
    return box
