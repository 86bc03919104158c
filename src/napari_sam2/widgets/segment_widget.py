"""The dock widget "SAM 2 Segment": panels over a workbench, and what becomes of it when it is closed."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QSignalBlocker, QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QMessageBox,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.inference.machine import load_beside_viewer
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.saving.work_files import WorkFiles
from napari_sam2.widgets.find_page import FindPage
from napari_sam2.widgets.input_panel import InputPanel
from napari_sam2.widgets.layers_panel import LayersPanel
from napari_sam2.widgets.model_panel import ModelPanel
from napari_sam2.widgets.objects_panel import ObjectsPanel
from napari_sam2.widgets.parts import GuiThread, Pages, Refresher, TallArea, button, command_button, heading
from napari_sam2.widgets.propagation_panel import PropagationPanel
from napari_sam2.widgets.sentence import SentenceLine
from napari_sam2.widgets.session_panel import LeftOverBanner, SessionPanel
from napari_sam2.widgets.tool_row import ToolRow
from napari_sam2.workbench import commands
from napari_sam2.workbench.advice import Advice
from napari_sam2.workbench.choices import read_preferences
from napari_sam2.workbench.facts import FactsReader
from napari_sam2.workbench.opening_view import OpeningView
from napari_sam2.workbench.sentences import keys_table, status_advice
from napari_sam2.workbench.workbench import Workbench
from napari_sam2.workspace.display import MaskLook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import napari.viewer

    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.workspace.asking import Status

REFRESH_MS = 50
"""Time in which changes are collected before they are shown."""

POLICIES = {
    CommitPolicy.KEEP: "keep committed pixels",
    CommitPolicy.OVERWRITE: "overwrite them",
    CommitPolicy.BY_SCORE: "the surer one wins",
}

LOOKS = {
    MaskLook.AUTO: "Masks: auto",
    MaskLook.FILL: "Masks: filled",
    MaskLook.OUTLINE: "Masks: outlined",
    MaskLook.BOTH: "Masks: both",
}

LOOK_TIP = (
    "How masks are drawn. Auto draws outlines where you have zoomed in, so that the edge can be judged, and fills "
    "masks where the outline would be lost."
)


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
        self._is_styled = False
        # Else napari puts empty room below, of which the pages have more use.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._gui_thread = GuiThread()
        self._opening_view = OpeningView(viewer)
        choices, remarks = read_preferences()
        self.bench = Workbench(viewer, load_model=load_model, post=self._gui_thread.post, choices=choices)
        self.files = WorkFiles(self.bench, post=self._gui_thread.post)
        # napari calls no closeEvent. The viewer is closed: Qt destroys the widget. The dock is closed: the widget loses
        # its parent. Somebody drops it: Python collects it.
        self._detach = weakref.finalize(self, self.bench.detach)
        self.destroyed.connect(self._detach)
        self._shown_message = ""
        self._said: tuple[str, Status | None] | None = None
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
        self.tools = ToolRow(bench)
        self.objects = ObjectsPanel(bench)
        self.finding = FindPage(bench)
        self.look = _choice(LOOKS, LOOK_TIP)
        self.look.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.look.setMinimumContentsLength(2)  # beside the buttons of the pages there is not much room
        self.look.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.propagation = PropagationPanel(bench)
        self.policy = _choice(POLICIES, "What becomes of pixels that belong to a committed object already.")
        self.commit = command_button(commands.COMMIT, bench)
        self.undo = command_button(commands.UNDO, bench)
        self.redo = command_button(commands.REDO, bench)
        self.help = button("Keys…", "List the keys.", self._on_help)
        self.begin = button("Start", "Make new layers for this image.", bench.begin_anew)
        self.left_over = LeftOverBanner(self.files)
        self.model_input = InputPanel(bench)
        self.layers = LayersPanel(bench)
        self.session = SessionPanel(self.files)
        self.sentence = SentenceLine(bench)

    def _lay_out(self) -> None:
        """Pin what is always needed above and below the pages, which have all the room that is left.

        Heights depend on that of the panel and the kind of the image, not on what there is to show.
        """
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        layout.addWidget(self.left_over)
        self.form = QFormLayout()
        self.form.setSpacing(4)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self.form.addRow("Image", self.images)
        self.form.addRow("Model", self.model)
        layout.addLayout(self.form)
        layout.addWidget(self.tools)
        self.middle = QStackedWidget()
        self.middle.addWidget(self._make_pages())
        self.middle.addWidget(TallArea(_column(self.model.details)))
        layout.addWidget(self.middle, 3)
        layout.addWidget(self.propagation, 1)
        self.action_row = QWidget()
        row = QHBoxLayout(self.action_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for one in (self.commit, self.undo, self.redo, self.help):
            row.addWidget(one)
        layout.addWidget(self.action_row)
        layout.addWidget(self.session)
        layout.addWidget(self.begin)
        layout.addWidget(self.sentence)
        self.rest = QWidget()  # takes the room of the pages when there are none
        layout.addWidget(self.rest, 1)

    def _make_pages(self) -> Pages:
        options = _column(self.propagation.options, heading("Committing"), self.policy)
        sources = _column(heading("What the model sees"), self.model_input, heading("Layers"), self.layers)
        self.pages = Pages(self.look)
        self.pages.add("Objects", "The objects, and what can be done to them.", self.objects)
        self.pages.add("Find", "Let the model find all objects of a frame.", TallArea(self.finding))
        self.pages.add("Options", "How far to propagate, what is doubtful, how to commit.", TallArea(options))
        self.pages.add("Input", "What the model sees, and which layers are read and written.", TallArea(sources))
        return self.pages

    def _connect(self) -> None:
        self._refresher = Refresher(self._refresh, REFRESH_MS, self)
        bench = self.bench
        bench.images_changed.connect(self._on_images)
        bench.workspace_changed.connect(self._on_workspace)
        bench.masks_changed.connect(self._refresher.soon)
        bench.status_changed.connect(self._refresher.soon)
        bench.view_changed.connect(self._refresher.soon)
        bench.choices_changed.connect(self._on_choices)
        bench.finding_wanted.connect(self._on_finding)
        bench.closed.connect(self._opening_view.close)
        self.files.changed.connect(self._on_files)
        self.files.said.connect(self._on_said)
        self.model.more.toggled.connect(self._show_what_works)
        self.images.activated.connect(lambda index: bench.choose(bench.images()[index]))
        self.policy.activated.connect(
            lambda index: bench.use_choices(replace(bench.choices, policy=list(POLICIES)[index]))
        )
        self.look.activated.connect(lambda index: bench.use_choices(replace(bench.choices, look=list(LOOKS)[index])))

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
        self.look.setCurrentIndex(self.look.findData(self.bench.choices.look))
        self.propagation.show_choices()
        self.finding.show_choices()

    def _on_finding(self) -> None:
        self.pages.buttons[1].click()

    def _on_files(self) -> None:
        self.left_over.show_offer()
        self.session.show_state()

    def _on_said(self) -> None:
        message, work = self.files.message, self.bench.workspace
        self._said = (message, None if work is None else work.asker.status) if message else None
        if self.files.is_problem:
            show_warning(message)
        self._refresher.soon()

    def _refresh(self) -> None:
        """Show how things stand."""
        work = self.bench.workspace
        self._show_what_works()
        self.session.show_state()
        self.sentence.show_advice(self._advice())
        if self._facts.is_behind:
            self._refresher.soon()
        self.tools.show_tool(work)
        if work is None:
            return
        self.objects.show_objects(work)
        self.finding.show_state(work)
        self.propagation.show_status(work)
        self.undo.setEnabled(work.history.can_undo)
        self.redo.setEnabled(work.history.can_redo)
        self.commit.setEnabled(bool(work.picture.held))
        self._notify(work.asker.status.message if work.asker.status.is_problem else "")

    def _advice(self) -> Advice:
        """Return what was saved, opened or exported until anything else happens, then how things stand."""
        work = self.bench.workspace
        if self._said is not None:
            message, status = self._said
            if status is (None if work is None else work.asker.status) and self.bench.offered is None:
                return Advice(message)
        return status_advice(self.bench, self._facts)

    def _show_what_works(self) -> None:
        """Hide what is of no use as long as no image is in work."""
        bench = self.bench
        has_work, has_image = bench.workspace is not None, bench.image is not None
        for one in (self.tools, self.action_row, self.session.save, self.session.export, self.session.formats):
            one.setVisible(has_work)
        is_model_asked_for = self.model.more.isChecked()
        self.middle.setCurrentIndex(int(is_model_asked_for))
        self.middle.setVisible(has_work or is_model_asked_for)
        if not has_work:
            self.propagation.hide()  # shown again by itself, for stacks
        self.form.setRowVisible(self.images, has_image)
        self.form.setRowVisible(self.model, not bench.is_refused)
        self.session.setVisible(not bench.is_refused)
        self.begin.setVisible(has_image and not has_work and not bench.is_refused)
        self.sentence.take_room(is_alone=not has_work)
        self.rest.setVisible(self.middle.isHidden())

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

    # The room it needs ------------------------------------------------------------------------------------------------

    def minimumSizeHint(self) -> QSize:
        """Least size; nothing before the panel is seen.

        The docks of napari never ask for less than they once did, and without its style buttons ask for more.
        """
        return super().minimumSizeHint() if self._is_styled else QSize(0, 0)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take on the style of napari, also in what is hidden."""
        super().showEvent(event)
        for part in self.findChildren(QWidget):
            part.ensurePolished()
        self._is_styled = True
        self.updateGeometry()

    # The end ---------------------------------------------------------------------------------------------------------

    def changeEvent(self, event: QEvent | None) -> None:
        """Stop when the dock is closed: napari takes the widget out of it."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.bench.close()


def _column(*widgets: QWidget) -> QWidget:
    """Put widgets below each other, at the top."""
    made = QWidget()
    layout = QVBoxLayout(made)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    layout.addStretch(1)
    return made


def _choice(texts: Mapping[MaskLook, str] | Mapping[CommitPolicy, str], tip: str) -> QComboBox:
    made = QComboBox()
    for value, text in texts.items():
        made.addItem(text, value)
    made.setToolTip(tip)
    return made
