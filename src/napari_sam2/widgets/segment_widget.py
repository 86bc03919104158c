"""The dock widget "SAM 2 Segment": panels over a workbench, and what becomes of it when it is closed."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFormLayout,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.inference.machine import load_beside_viewer
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.saving.work_files import WorkFiles
from napari_sam2.widgets.input_panel import InputPanel
from napari_sam2.widgets.layers_panel import LayersPanel
from napari_sam2.widgets.model_panel import ModelPanel
from napari_sam2.widgets.objects_panel import ObjectsPanel
from napari_sam2.widgets.parts import GuiThread, Refresher, TallArea, button, command_button, folded, heading, in_a_row
from napari_sam2.widgets.propagation_panel import PropagationPanel
from napari_sam2.widgets.sentence import SentenceLine
from napari_sam2.widgets.session_panel import LeftOverBanner, SessionPanel
from napari_sam2.workspace import commands
from napari_sam2.workspace.choices import read_preferences
from napari_sam2.workspace.facts import FactsReader
from napari_sam2.workspace.sentences import keys_table, status_advice
from napari_sam2.workspace.tools import Tool, take_tool, tool_in_hand
from napari_sam2.workspace.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer

    from napari_sam2.inference.predictor import Predictor

REFRESH_MS = 50
"""Time in which changes are collected before they are shown."""

POLICIES = {
    CommitPolicy.KEEP: "keep committed pixels",
    CommitPolicy.OVERWRITE: "overwrite them",
    CommitPolicy.BY_SCORE: "the surer one wins",
}

TOOLS = {
    Tool.POINT_ON: ("Include", "Click on the object. T changes to Exclude and back."),
    Tool.POINT_OFF: ("Exclude", "Click on what is not the object (T)."),
    Tool.BOX: ("Box", "Drag a box round the object (B). Include draws one, too."),
    Tool.LASSO: ("Lasso", "Draw round the object: what is inside is its mask (L)."),
    Tool.SCRIBBLE: ("Scribble", "Draw a line along the object: it counts as clicks."),
    Tool.BRUSH: ("Brush", "Paint the mask of the object, or erase: what you paint stays as it is (P)."),
}


class SegmentWidget(QWidget):
    """Prompts, propagation, confidence and commit for the images of one viewer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer, or napari's proxy of it.
    load_model : callable, optional
        Loads a model by name or path, on a worker's thread.
    """

    def __init__(self, viewer: napari.viewer.Viewer, load_model: Callable[..., Predictor] = load_beside_viewer) -> None:
        super().__init__()
        self._gui_thread = GuiThread()
        choices, remarks = read_preferences()
        self.bench = Workbench(viewer, load_model=load_model, post=self._gui_thread.post, choices=choices)
        self.files = WorkFiles(self.bench, post=self._gui_thread.post)
        # napari calls no closeEvent. The viewer is closed: Qt destroys the widget. The dock is closed: the widget loses
        # its parent. Somebody drops it: Python collects it.
        self._detach = weakref.finalize(self, self.bench.detach)
        self.destroyed.connect(self._detach)
        self._shown_message = self._shown_problem = ""
        self._facts = FactsReader()
        self._make_parts()
        self._lay_out()
        self._connect()
        self._on_images()
        self._on_workspace()
        for remark in remarks:
            show_warning(remark)

    def _make_parts(self) -> None:
        bench = self.bench
        self.images = QComboBox()
        self.images.setToolTip("The image that is segmented: (Y, X), or a stack with frames or slices first.")
        self.images.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.images.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.images.setMinimumContentsLength(12)  # a long name widens no dock
        self.model = ModelPanel(bench)
        self.tools = QButtonGroup(self)
        self.tools.setExclusive(False)
        self.tool_buttons: dict[Tool, QPushButton] = {}
        for tool, (text, tip) in TOOLS.items():
            one = self.tool_buttons[tool] = button(text, tip, partial(bench.do, partial(take_tool, tool=tool)))
            one.setCheckable(True)
            self.tools.addButton(one)
        self.objects = ObjectsPanel(bench)
        self.clear = command_button(commands.CLEAR_PROMPTS, bench)
        self.approve = command_button(commands.APPROVE, bench)
        self.absent = command_button(commands.MARK_ABSENT, bench)
        self.propagation = PropagationPanel(bench)
        self.policy = QComboBox()
        for policy, text in POLICIES.items():
            self.policy.addItem(text, policy)
        self.policy.setToolTip("What becomes of pixels that belong to a committed object already.")
        self.commit = command_button(commands.COMMIT, bench)
        self.undo = command_button(commands.UNDO, bench)
        self.redo = command_button(commands.REDO, bench)
        self.help = button("Keys…", "List the keys.", self._on_help)
        self.begin = button("Start", "Make new layers for this image.", bench.begin_anew)
        self.left_over = LeftOverBanner(self.files)
        self.model_input = InputPanel(bench)
        self.layers = LayersPanel(bench)
        self.session = SessionPanel(self.files)
        self.status = SentenceLine(bench)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setSpacing(4)
        layout.addWidget(self.left_over)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Image", self.images)
        form.addRow("Model", self.model)
        form.addRow(self.model.details)
        layout.addLayout(form)
        self.work = QWidget()
        work = QVBoxLayout(self.work)
        work.setContentsMargins(0, 0, 0, 0)
        work.setSpacing(4)
        work.addLayout(in_a_row(*self.tool_buttons.values()))
        work.addWidget(self.objects, 1)
        work.addLayout(in_a_row(self.clear, self.absent, self.approve))
        work.addWidget(self.propagation)
        work.addWidget(heading("Result"))
        work.addLayout(in_a_row(self.commit, self.policy))
        work.addLayout(in_a_row(self.undo, self.redo, self.help))
        work.addWidget(folded("What the model sees", self.model_input))
        work.addWidget(folded("Layers", self.layers))
        self.scroll_area = TallArea(self.work)
        layout.addWidget(self.scroll_area, 1)
        layout.addWidget(folded("Session and export", self.session))
        layout.addWidget(self.begin)
        layout.addWidget(self.status)

    def _connect(self) -> None:
        self._refresher = Refresher(self._refresh, REFRESH_MS, self)
        bench = self.bench
        bench.images_changed.connect(self._on_images)
        bench.workspace_changed.connect(self._on_workspace)
        bench.masks_changed.connect(self._refresher.soon)
        bench.status_changed.connect(self._refresher.soon)
        bench.view_changed.connect(self._refresher.soon)
        bench.choices_changed.connect(self._on_choices)
        self.files.changed.connect(self._on_files)
        self.images.activated.connect(lambda index: bench.choose(bench.images()[index]))
        self.policy.activated.connect(
            lambda index: bench.use_choices(replace(bench.choices, policy=list(POLICIES)[index]))
        )

    # From the workbench ----------------------------------------------------------------------------------------------

    def _on_images(self) -> None:
        blocker = QSignalBlocker(self.images)
        self.images.clear()
        for image in self.bench.images():
            self.images.addItem(image.name, image)
            if image == self.bench.image:
                self.images.setCurrentIndex(self.images.count() - 1)
        del blocker
        self._refresher.soon()

    def _on_workspace(self) -> None:
        work = self.bench.workspace
        if work is not None:
            self.propagation.show_workspace(work)
            work.asker.queue.warm_up()
        self._refresh()

    def _on_choices(self) -> None:
        self.policy.setCurrentIndex(self.policy.findData(self.bench.choices.policy))
        self.propagation.show_choices()

    def _on_files(self) -> None:
        self.left_over.show_offer()
        self.session.show_state()
        if self.files.is_problem and self.files.message != self._shown_problem:
            show_warning(self.files.message)
        self._shown_problem = self.files.message

    def _refresh(self) -> None:
        """Show how things stand."""
        work = self.bench.workspace
        self.scroll_area.setVisible(work is not None)
        self.session.show_state()
        self.begin.setVisible(work is None and self.bench.image is not None)
        self.status.show_advice(status_advice(self.bench, self._facts))
        if self._facts.is_behind:
            self._refresher.soon()
        tool = None if work is None else tool_in_hand(work)
        for one, made in self.tool_buttons.items():
            made.setChecked(one is tool)
        if work is None:
            return
        self.objects.show_objects(work)
        self.propagation.show_status(work)
        self.undo.setEnabled(work.history.can_undo)
        self.redo.setEnabled(work.history.can_redo)
        for made in (self.commit, self.approve):
            made.setEnabled(bool(work.picture.held))
        self._notify(work.asker.status.message if work.asker.status.is_problem else "")

    def _notify(self, message: str) -> None:
        """Show a problem once more where nobody can overlook it."""
        if message and message != self._shown_message:
            show_warning(message)
        self._shown_message = message

    # From the user ---------------------------------------------------------------------------------------------------

    def _on_help(self) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, "Keys of SAM 2 Segment", keys_table(), parent=self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    # The end ---------------------------------------------------------------------------------------------------------

    def changeEvent(self, event: QEvent | None) -> None:
        """Stop when the dock is closed: napari takes the widget out of it."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.bench.close()
