"""Everything in a frame: let the model find it, choose from it by two sliders, add it. Shows; decides nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Labels, Points, Shapes
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.errors import OptionError
from napari_sam2.widgets.parts import Refresher, command_button, in_a_row
from napari_sam2.workbench import commands
from napari_sam2.workbench.finding import Area, add_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace

SLIDER_MS = 15
"""Time in which moves of a slider are collected."""

STEPS = 100
"""Steps of a slider from its end or its middle to the other end."""

LARGEST_PX = 2**31 - 1

FEWER_TIP = "Fewer: only objects of which the model is sure. More: doubtful ones, too. Nothing is searched anew."
SIZE_TIP = "Where a small and a large object are found in one place: which of them is taken. Nothing is searched anew."
ALIKE_TIP = "How much found objects have to be like your examples. Nothing is searched anew."
AREA_TIP = "What is searched: the frame, what you see of it, or what is inside the closed shapes of a layer."
SEEDS_TIP = "Where objects are: the model finds out, or a layer marks each by a point or a label."


class FindPage(QWidget):
    """One button that searches, what was found, and what becomes of it.

    Parameters
    ----------
    bench : Workbench
        Told what is chosen here.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self.search = command_button(commands.FIND, bench)
        self.cancel = command_button(commands.CANCEL_SEARCH, bench)
        self.add = command_button(commands.ADD_FOUND, bench)
        self.discard = command_button(commands.DISCARD_FOUND, bench)
        self.like, self.unlike = (command_button(one, bench) for one in (commands.FIND_LIKE, commands.FIND_UNLIKE))
        self.progress = QProgressBar()
        self.progress.setFormat("%v of %m")  # the sentence says of what
        self.more, self.larger = _slider(0, FEWER_TIP), _slider(-STEPS, SIZE_TIP)
        self.alike = _slider(0, ALIKE_TIP)
        self.area, self.seeds = _choice(AREA_TIP), _choice(SEEDS_TIP)
        self._make_details()
        self._lay_out()
        self.show_choices()
        self._mover = Refresher(self._use_sliders, SLIDER_MS, self)
        for slider in (self.more, self.larger, self.alike):
            slider.valueChanged.connect(self._mover.soon)
        for box in (self.smallest, self.largest, self.overlap, self.score):
            box.valueChanged.connect(self._use_details)
        self.area.activated.connect(self._on_places)
        self.seeds.activated.connect(self._on_places)

    def _make_details(self) -> None:
        self.fold = QToolButton()
        self.fold.setText("Details")
        self.fold.setToolTip("Seeds, areas, overlap and score, as numbers.")
        self.fold.setCheckable(True)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setAutoRaise(True)
        self.smallest, self.largest = QSpinBox(), QSpinBox()
        self.smallest.setRange(1, LARGEST_PX)
        self.largest.setRange(0, LARGEST_PX)
        self.largest.setSpecialValueText("any")
        self.smallest.setToolTip("Found objects of fewer pixels are left out.")
        self.largest.setToolTip("Found objects of more pixels are left out; any for no limit.")
        self.overlap, self.score = QDoubleSpinBox(), QDoubleSpinBox()
        self.overlap.setToolTip("Part of a found object that others may cover; if it is more, it is left out.")
        self.score.setToolTip("Found objects with a smaller score are left out: what the upper slider moves.")
        for box in (self.overlap, self.score):
            box.setRange(0, 1)
            box.setSingleStep(0.05)
        self.details = QWidget()
        form = QFormLayout(self.details)
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Seeds", self.seeds)
        for text, one in (
            ("Least area, px", self.smallest),
            ("Greatest area, px", self.largest),
            ("Most overlap", self.overlap),
            ("Least score", self.score),
        ):
            # napari asks for as much room as the longest number and two wide buttons take.
            one.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            form.addRow(text, one)
        self.fold.toggled.connect(self._show_details)
        self._show_details()

    def _lay_out(self) -> None:
        # Progress comes in the place of Find: a second click of a hasty hand does not cancel.
        self._run = QStackedWidget()
        for one in (self.search, self.progress):
            self._run.addWidget(one)
        self._run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.progress.setMaximumHeight(self.search.sizeHint().height())
        run, end = in_a_row(self._run, self.cancel), in_a_row(self.add, self.discard)
        examples = in_a_row(self.like, self.unlike)
        for row in (run, examples, end):
            row.setStretch(0, 1)
        sliders = QGridLayout()
        sliders.setSpacing(4)
        for number, (low, slider, high) in enumerate(
            (("fewer", self.more, "more"), ("smaller", self.larger, "larger"), ("alike", self.alike, "any"))
        ):
            parts = (QLabel(low), slider, QLabel(high))
            for column, part in enumerate(parts):
                sliders.addWidget(part, number, column)
            if slider is self.alike:
                self._of_examples = parts
        where = QFormLayout()
        where.setContentsMargins(0, 0, 0, 0)
        where.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        where.addRow("In", self.area)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for rows in (where, run, examples, sliders, end):
            layout.addLayout(rows)
        layout.addWidget(self.fold)
        layout.addWidget(self.details)
        layout.addStretch(1)

    def _show_details(self) -> None:
        is_shown = self.fold.isChecked()
        self.fold.setArrowType(Qt.ArrowType.DownArrow if is_shown else Qt.ArrowType.RightArrow)
        self.details.setVisible(is_shown)

    # From the workbench ----------------------------------------------------------------------------------------------

    def show_state(self, work: Workspace) -> None:
        """Show how things stand."""
        finder = work.finder
        self._run.setCurrentWidget(self.progress if finder.is_searching else self.search)
        self.cancel.setEnabled(finder.is_searching)
        # Left alone, Qt would paint at once, and the whole window with it.
        if (self.progress.maximum(), self.progress.value()) != (finder.total, finder.done):
            self.progress.setRange(0, finder.total)  # 0 to 0 is busy
            self.progress.setValue(finder.done)
        self.add.setText(add_words(len(finder.kept)) if finder.kept else commands.ADD_FOUND.name)
        self.add.setEnabled(bool(finder.kept) and not finder.is_searching and finder.frame == work.frame)
        self.discard.setEnabled(finder.frame is not None)
        for part in (*self._of_examples, self.unlike):
            part.setVisible(bool(self._bench.places.examples))
        self._show_layers()

    def show_choices(self) -> None:
        """Show which proposals are kept."""
        kept = self._bench.choices.kept
        whole = (
            (self.more, round(STEPS * (1 - kept.least_score))),
            (self.larger, round(STEPS * kept.size_bias)),
            (self.alike, round(STEPS * (1 - kept.least_likeness))),
            (self.smallest, kept.smallest_px),
            (self.largest, kept.largest_px or 0),
        )
        blockers = [QSignalBlocker(box) for box in (*(box for box, _ in whole), self.overlap, self.score)]
        for box, value in whole:
            box.setValue(value)
        self.overlap.setValue(kept.most_overlap)
        self.score.setValue(kept.least_score)
        del blockers

    def _show_layers(self) -> None:
        others, places = list(reversed(self._bench.other_layers())), self._bench.places
        areas = [*Area, *(layer for layer in others if isinstance(layer, Shapes))]
        _offer(self.area, {_area_words(one): one for one in areas}, places.area)
        marks = [layer for layer in others if isinstance(layer, Points | Labels)]
        words: dict[str, object] = {"found by the model": None}
        _offer(self.seeds, words | {f"{one.name} ({type(one).__name__})": one for one in marks}, places.seeds)

    # From the user ---------------------------------------------------------------------------------------------------

    def _use_sliders(self) -> None:
        kept = self._bench.choices.kept
        least, bias = 1 - self.more.value() / STEPS, self.larger.value() / STEPS
        alike = 1 - self.alike.value() / STEPS
        kept = replace(kept, least_score=least, size_bias=bias, least_likeness=alike)
        self._bench.use_choices(replace(self._bench.choices, kept=kept))
        self.show_choices()

    def _use_details(self) -> None:
        bench = self._bench
        try:
            kept = replace(
                bench.choices.kept,
                least_score=self.score.value(),
                smallest_px=self.smallest.value(),
                largest_px=self.largest.value() or None,
                most_overlap=self.overlap.value(),
            )
        except OptionError as error:
            bench.do(partial(_complain, message=str(error)))
            return
        bench.use_choices(replace(bench.choices, kept=kept))
        self.show_choices()

    def _on_places(self) -> None:
        self._bench.places = replace(self._bench.places, area=self.area.currentData(), seeds=self.seeds.currentData())


def _complain(work: Workspace, message: str) -> None:
    work.asker.complain(message)


def _area_words(area: Area | Shapes) -> str:
    return area.value if isinstance(area, Area) else f"inside {area.name}"


def _offer(box: QComboBox, values: Mapping[str, object], chosen: object) -> None:
    """Let a box offer values by their names; what is the same as before is left alone."""
    blocker = QSignalBlocker(box)
    if {box.itemText(i): box.itemData(i) for i in range(box.count())} != values:
        box.clear()
        for name, value in values.items():
            box.addItem(name, value)
    box.setCurrentIndex(next((i for i, value in enumerate(values.values()) if value is chosen), 0))
    del blocker


def _slider(least: int, tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(least, STEPS)
    slider.setPageStep(STEPS // 10)
    slider.setToolTip(tip)
    return slider


def _choice(tip: str) -> QComboBox:
    box = QComboBox()
    box.setToolTip(tip)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(6)  # a long name widens no dock
    return box
