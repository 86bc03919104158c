"""Which model answers, where it computes, what is known of it, and how to get it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QWidget

from napari_sam2.errors import ModelError
from napari_sam2.inference.background import BackgroundJob, Failed, Reported, Returned
from napari_sam2.inference.machine import Machine, measure_machine, use_cores
from napari_sam2.inference.models import ModelInfo, check_model, download_model, find_model
from napari_sam2.inference.speed import Activity, estimate_seconds, estimate_sentence, measured_sentence
from napari_sam2.widgets.model_chooser import ModelChooser
from napari_sam2.widgets.model_details import ModelDetails
from napari_sam2.widgets.parts import GuiThread
from napari_sam2.workspace.sentences import error_sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam2.inference.background import Event
    from napari_sam2.workbench.workbench import Workbench


def _check(source: str | Path) -> ModelInfo:
    use_cores()
    return check_model(source)


@dataclass(frozen=True, slots=True)
class ModelTasks:
    """What takes too long for the viewer's thread.

    Attributes
    ----------
    download : callable
        Fetches a model by name, given a callback for (done, total); returns its file.
    check : callable
        Tries a model by name or path, and returns what it is.
    measure : callable
        Says what there is to compute on.
    """

    download: Callable[[str, Callable[[int, int], None]], Path] = download_model
    check: Callable[[str | Path], ModelInfo] = _check
    measure: Callable[[], Machine] = measure_machine


class ModelPanel(QWidget):
    """A combo box with a button for details; `details` has a place of its own below.

    A model is used when it is on this machine and has been tried. Until then, the one before answers.

    Parameters
    ----------
    bench : Workbench
        Told which model to use, and where.
    tasks : ModelTasks, optional
        Downloads, checks and measures.

    Attributes
    ----------
    chooser : ModelChooser
        The combo box.
    details : ModelDetails
        What is known of the model in the combo box; hidden until it is asked for or has a message.
    """

    def __init__(self, bench: Workbench, tasks: ModelTasks = ModelTasks()) -> None:
        super().__init__()
        self._bench = bench
        self._tasks = tasks
        self._gui_thread = GuiThread()
        self._shown: str | Path = bench.choices.model
        self._used: str | Path = bench.choices.model
        self._tried: dict[str | Path, ModelInfo] = {}
        self._machine: Machine | None = None
        self._download: BackgroundJob[tuple[int, int], Path] | None = None
        self._trial: BackgroundJob[None, ModelInfo] | None = None
        self._measurement: BackgroundJob[None, Machine] | None = None
        self.chooser = ModelChooser(bench)
        self.chooser.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.details = ModelDetails()
        self.details.hide()
        self.more = QToolButton()
        self.more.setText("Details")
        self.more.setToolTip("Licence, file, device and speed of the model.")
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.chooser, 1)
        layout.addWidget(self.more)
        self.more.toggled.connect(self._on_more)
        self.chooser.source_chosen.connect(self._on_source)
        self.details.download_clicked.connect(self._on_download_clicked)
        self.details.cancel_clicked.connect(self._on_cancel_clicked)
        self.details.device_chosen.connect(self._on_device)
        bench.status_changed.connect(self._on_status)
        bench.workspace_changed.connect(self._on_status)
        bench.closed.connect(self.stop)

    def stop(self) -> None:
        """Cancel whatever is on its way; what arrives all the same is dropped."""
        for job in (self._download, self._trial, self._measurement):
            if job is not None:
                job.drop()
        self._download = self._trial = self._measurement = None

    # What is shown ---------------------------------------------------------------------------------------------------

    def _show(self, source: str | Path, message: str = "") -> None:
        """Show a model, whether it answers or is only looked at."""
        self._shown = source
        self.chooser.show_source(source)
        self.details.show_message(message)
        self._refresh()

    def _complain(self, message: str) -> None:
        """Show what went wrong where it can be read, and the model that answers."""
        self._show(self._bench.choices.model, message)
        self.more.setChecked(True)

    def _on_status(self) -> None:
        if self._bench.choices.model != self._used:  # chosen elsewhere
            self._used = self._bench.choices.model
            self._show(self._used)
        elif self.more.isChecked():
            self._refresh()

    def _refresh(self) -> None:
        if not self.more.isChecked():
            return
        self._measure_when_idle()
        try:
            info = find_model(self._shown)
        except ModelError as error:
            self.details.show_message(str(error))
            return
        if isinstance(self._shown, Path):
            info = self._tried.get(self._shown, info)
        self.details.show_model(info, self._speed_sentence(info))
        self.details.show_device(self._bench.choices.device, self._device)

    @property
    def _device(self) -> str:
        """Where the model computes, or is going to; empty if that is not known."""
        if self._bench.choices.device != "auto" or self._in_use or self._machine is None:
            return self._in_use
        return self._machine.devices[0]

    @property
    def _in_use(self) -> str:
        """Where the model computes; empty as long as it is not loaded, or if that is not known."""
        chosen = self._bench.choices
        return self._bench.models.devices.get((chosen.model, chosen.device), "")

    def _speed_sentence(self, info: ModelInfo) -> str:
        """Return what was measured, and estimate what was not."""
        speeds, shown = self._bench.speeds, self._shown
        source = str(shown.resolve()) if isinstance(shown, Path) else shown  # as a predictor calls itself
        device = self._in_use or None
        following = speeds.typical(source, Activity.FOLLOWING, device)
        measured = measured_sentence(following, speeds.typical(source, Activity.ANSWERING, device))
        if following is not None:
            return measured
        return f"{measured}; {self._estimate(info)}" if measured else self._estimate(info)

    def _estimate(self, info: ModelInfo) -> str:
        if self._machine is None:
            return "timing this machine…" if self._measurement is not None else "not known yet"
        size = self._working_size(info)
        device = self._device if self._bench.choices.device == "auto" else self._bench.choices.device
        if size is not None and device == "cpu":
            seconds = estimate_seconds(info.name, size, self._machine.multiply_adds_per_s)
            if seconds is not None:
                return estimate_sentence(seconds, size)
        return "not known before it has propagated here"

    def _working_size(self, info: ModelInfo) -> int | None:
        work = self._bench.workspace
        if work is not None and info.working_sizes:
            return info.working_size(work.grid.height, work.grid.width)
        return info.working_sizes[0] if len(info.working_sizes) == 1 else None

    def _measure_when_idle(self) -> None:
        """Time this machine, once, when the model does not."""
        work = self._bench.workspace
        is_idle = work is None or work.asker.status.activity is Activity.READY
        if self._measurement is None and is_idle:
            self._measurement = BackgroundJob(lambda _: self._tasks.measure(), self._on_machine, self._gui_thread.post)
            self._measurement.start()

    def _on_machine(self, event: Event[None, Machine]) -> None:
        match event:
            case Returned(machine):
                self._machine = machine
                self.details.offer_devices(machine.devices, self._bench.choices.device)
                self._refresh()
            case Failed(error):
                self.details.show_message(error_sentence(error))

    def _on_more(self, is_open: bool) -> None:  # noqa: FBT001  Qt passes it
        self.more.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self.details.setVisible(is_open)
        if is_open:
            self._refresh()
        elif self._download is None and self._trial is None:
            self._show(self._bench.choices.model)  # looking is over

    # From the user ---------------------------------------------------------------------------------------------------

    def _on_source(self, source: str | Path) -> None:
        if self._trial is not None:
            self._trial.drop()
            self._trial = None
        try:
            info = find_model(source)
        except ModelError as error:
            self._complain(str(error))
            return
        if source == self._bench.choices.model:
            self._show(source)
        elif info.path is None:
            self._show(
                source,
                f"{info.name} has to be downloaded first. Until then {_name(self._bench.choices.model)} answers.",
            )
            self.more.setChecked(True)
        elif source in self._tried:
            self._use(source)
        else:
            self._show(source, f"Trying {info.name}…")
            self._trial = BackgroundJob(
                lambda _: self._tasks.check(source), partial(self._on_tried, source), self._gui_thread.post
            ).start()

    def _on_tried(self, source: str | Path, event: Event[None, ModelInfo]) -> None:
        self._trial = None
        match event:
            case Returned(info):
                self._tried[source] = info
                self._use(source)
            case Failed(error):
                self._complain(error_sentence(error))

    def _use(self, source: str | Path) -> None:
        self._used = source
        self._bench.use_choices(replace(self._bench.choices, model=source))
        self._show(source)

    def _on_device(self, name: str) -> None:
        if name != self._bench.choices.device:
            self._bench.use_choices(replace(self._bench.choices, device=name))
            self._refresh()

    def _on_download_clicked(self) -> None:
        name = str(self._shown)
        self.details.show_message("")
        self.details.show_download(name, 0, 0)
        self._download = BackgroundJob(
            lambda report: self._tasks.download(name, lambda done, total: report((done, total))),
            partial(self._on_download, name),
            self._gui_thread.post,
        ).start()

    def _on_download(self, name: str, event: Event[tuple[int, int], Path]) -> None:
        if isinstance(event, Reported):
            self.details.show_download(name, *event.item)
            return
        self._end_download("")
        if isinstance(event, Failed):
            self.details.show_message(error_sentence(event.error))
            self.more.setChecked(True)
        elif self._shown == name:
            self._use(name)
        else:
            self.details.show_message(f"{name} is on this machine now. Choose it above to use it.")

    def _on_cancel_clicked(self) -> None:
        if self._download is not None:
            self._download.drop()
            self._end_download("The download was cancelled; nothing of it is kept.")

    def _end_download(self, message: str) -> None:
        self._download = None
        self.details.show_no_download()
        self.details.show_message(message)
        self.chooser.list_models()
        self._refresh()


def _name(source: str | Path) -> str:
    return source.name if isinstance(source, Path) else source
