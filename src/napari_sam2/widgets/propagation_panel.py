"""Through the stack: direction and range, propagate and cancel, the timeline, the search for doubtful frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QProgressBar,
    QSizePolicy,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledDoubleSlider

from napari_sam2.inference.speed import Activity
from napari_sam2.widgets.parts import command_button, in_a_row
from napari_sam2.widgets.timeline import NOTHING, Strip, Timeline
from napari_sam2.workbench import commands
from napari_sam2.workbench.reach import Reach
from napari_sam2.workspace.confidence import confidence_table
from napari_sam2.workspace.outdated import outdated_masks

if TYPE_CHECKING:
    from napari_sam2.tracking.propagation import DirectionName
    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace

DIRECTIONS: tuple[DirectionName, ...] = ("both", "forward", "backward")

TIMELINE_HEIGHTS = 46, 154
"""Least and greatest height of the timeline."""

THRESHOLD_TIP = "An object is doubtful on a frame if its confidence is lower than this."


class PropagationPanel(QWidget):
    """The timeline and what runs along it, shown for stacks only; `options` has a place of its own.

    Parameters
    ----------
    bench : Workbench
        Told what is chosen here, and to propagate.

    Attributes
    ----------
    options : QWidget
        What is set once: direction and range, and what is doubtful.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self._seen: tuple[object, ...] = ()
        self._reach = Reach()
        self.options = QWidget()
        self.timeline = Timeline()
        self.direction = QComboBox()
        self.direction.addItems(DIRECTIONS)
        self.direction.setToolTip("Which way objects are followed from the frames on which they were prompted.")
        self.first, self.last = _frame_box("First frame to propagate to."), _frame_box("Last frame to propagate to.")
        self.propagate = command_button(commands.PROPAGATE, bench)
        self.cancel = command_button(commands.CANCEL, bench)
        self.progress = QProgressBar()
        self.progress.setFormat("%v of %m")  # the sentence says of what
        self.threshold = _confidence_slider(bench.choices.threshold)
        self.doubtful = command_button(commands.NEXT_DOUBTFUL, bench)
        self.hide_doubtful = QCheckBox("Hide doubtful masks")
        self.hide_doubtful.setChecked(bench.choices.hides_doubtful)
        self.hide_doubtful.setToolTip(
            "Show no mask that is doubtful. Hidden masks are kept and come back at once, but Commit leaves them out."
        )
        self._lay_out()
        self.timeline.frame_chosen.connect(lambda frame: bench.do(lambda work: work.show(frame)))
        self.timeline.range_chosen.connect(self._on_range_chosen)
        # A function that holds no widget: Qt would keep it alive through it.
        self.direction.currentIndexChanged.connect(
            lambda index: bench.use_choices(replace(bench.choices, direction=DIRECTIONS[index]))
        )
        self.first.valueChanged.connect(self._on_first)
        self.last.valueChanged.connect(self._on_last)
        self.threshold.valueChanged.connect(self._on_doubt)
        self.hide_doubtful.toggled.connect(self._on_doubt)
        bench.masks_changed.connect(self._on_masks)
        bench.workspace_changed.connect(self._on_workspace)

    def _lay_out(self) -> None:
        # As high as the panel leaves room for, not as the objects ask: nothing moves when there is one more.
        self.timeline.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.timeline.setMinimumHeight(TIMELINE_HEIGHTS[0])
        self.timeline.setMaximumHeight(TIMELINE_HEIGHTS[1])
        # Progress comes in the place of Propagate: a second click of a hasty hand does not cancel.
        self._run = QStackedWidget()
        for one in (self.propagate, self.progress):
            self._run.addWidget(one)
        self._run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.progress.setMaximumHeight(self.propagate.sizeHint().height())
        row = in_a_row(self._run, self.cancel, self.doubtful)
        row.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.timeline, 1)
        layout.addLayout(row)
        options = QFormLayout(self.options)
        options.setContentsMargins(0, 0, 0, 0)
        options.setSpacing(4)
        options.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        options.addRow("Direction", self.direction)
        options.addRow("From frame", self.first)
        options.addRow("To frame", self.last)
        options.addRow("Doubtful below", self.threshold)
        options.addRow(self.hide_doubtful)

    # From the workbench ----------------------------------------------------------------------------------------------

    def show_workspace(self, work: Workspace) -> None:
        """Begin with another workspace: all of its frames are the range."""
        count = work.grid.num_frames
        for box in (self.first, self.last):
            blocker = QSignalBlocker(box)
            box.setRange(0, count - 1)
            del blocker
        self._seen = ()
        self._on_range_chosen(0, count - 1)
        for one in (self, self.options):
            one.setVisible(work.grid.frame_axis is not None)

    def show_choices(self) -> None:
        """Show what was chosen elsewhere, as a session does that is opened."""
        choices = self._bench.choices
        last = self.last.maximum()
        start, stop = choices.start or 0, last if choices.stop is None else choices.stop
        self.direction.setCurrentIndex(DIRECTIONS.index(choices.direction))
        self.threshold.setValue(choices.threshold)
        self._on_range_chosen(min(start, last), min(stop, last))

    def show_status(self, work: Workspace) -> None:
        """Show what is new."""
        status = work.asker.status
        is_following = status.activity is Activity.FOLLOWING
        self._run.setCurrentWidget(self.progress if is_following else self.propagate)
        self.cancel.setEnabled(is_following)
        self._show_progress(status.done, status.total)
        self.propagate.setEnabled(bool(work.asker.prompts) and not is_following)
        self.doubtful.setEnabled(bool(work.picture.held))
        self._show_strip(work)
        self.timeline.show_place(work.frame, (self.first.value(), self.last.value()))

    def _show_progress(self, done: int, total: int) -> None:
        # Left alone, Qt would paint at once, and the whole window with it, as often as there is a frame more.
        self.progress.setUpdatesEnabled(False)
        self.progress.setRange(0, total)  # (0, 0), as long as it is not known, looks busy
        self.progress.setValue(done)
        self.progress.setUpdatesEnabled(True)

    def _show_strip(self, work: Workspace) -> None:
        """Show the cells of the timeline, unless they are the same as before."""
        held, prompts, shown = work.picture.held, work.asker.prompts, work.picture.shown
        reach = self._reach.read(prompts, work.grid.num_frames, work.objects.notes.locked, self._bench.choices)
        seen = (prompts, shown, work.objects.notes, reach)
        if self._seen and all(one is other for one, other in zip(seen, self._seen, strict=True)):
            return
        self._seen = seen
        table = confidence_table(held, {*held.object_ids, *prompts.object_ids})
        self.timeline.show_strip(
            Strip(
                table,
                prompts,
                work.sources.certain.intersection(prompts),
                shown,
                work.objects.notes.names,
                outdated_masks(held, table.object_ids, prompts.by_object()),
                reach,
            )
        )

    def _on_masks(self, frame: int) -> None:
        self._seen = ()

    def _on_workspace(self) -> None:
        self._seen = ()
        if self._bench.workspace is None:
            self.timeline.show_strip(NOTHING)

    # From the user ---------------------------------------------------------------------------------------------------

    def _on_doubt(self) -> None:
        threshold, hides = self.threshold.value(), self.hide_doubtful.isChecked()
        self._bench.use_choices(replace(self._bench.choices, threshold=threshold, hides_doubtful=hides))

    def _on_first(self, first: int) -> None:
        self._on_range_chosen(first, max(first, self.last.value()))

    def _on_last(self, last: int) -> None:
        self._on_range_chosen(min(self.first.value(), last), last)

    def _on_range_chosen(self, first: int, last: int) -> None:
        for box, value in ((self.first, first), (self.last, last)):
            blocker = QSignalBlocker(box)
            box.setValue(value)
            del blocker
        self._bench.use_choices(replace(self._bench.choices, start=first, stop=last))
        if self._bench.workspace is not None:
            self.show_status(self._bench.workspace)


def _frame_box(tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setToolTip(tip)
    # napari asks for as much room as five digits and two wide buttons take, which widens the whole panel.
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return box


def _confidence_slider(value: float) -> QLabeledDoubleSlider:
    slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, 1)
    slider.setSingleStep(0.05)  # type: ignore[arg-type]
    slider.setDecimals(2)
    slider.setValue(value)
    slider.setToolTip(THRESHOLD_TIP)
    for box in slider.findChildren(QDoubleSpinBox):
        box.setToolTip(THRESHOLD_TIP)
    return slider
