"""Layers of the user's own: which of them are read for prompts, and which one objects are committed into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels, Points, Shapes
from qtpy.QtCore import QSignalBlocker, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.layers.label_layers import targets_for
from napari_sam2.widgets.parts import Refresher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers.base import Layer

    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace

REFRESH_MS = 100
"""Time in which changes are collected before they are shown."""

NO_LAYERS = "Add a Points, Shapes or Labels layer of your own to read prompts from it."


class LayersPanel(QWidget):
    """Follows the workbench by itself.

    Parameters
    ----------
    bench : Workbench
        Told what is chosen here.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self._layers: tuple[Layer, ...] = ()
        self._targets: tuple[Labels, ...] = ()
        self._make_parts()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.heading)
        layout.addWidget(self.sources)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Commit to", self.target)
        layout.addLayout(form)
        self._refresher = Refresher(self.refresh, REFRESH_MS, self)
        for signal in (bench.status_changed, bench.workspace_changed, bench.images_changed):
            signal.connect(self._refresher.soon)
        bench.closed.connect(self._refresher.stop, check_nargs=False)  # of Qt, without a signature
        self.refresh()

    def _make_parts(self) -> None:
        self.heading = QLabel()
        self.heading.setWordWrap(True)
        self.sources = LayerList()
        self.sources.itemChanged.connect(self._on_item)
        self.target = QComboBox()
        self.target.setToolTip("The Labels layer that objects are committed into: any that lies on the image.")
        self.target.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.target.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.target.setMinimumContentsLength(12)  # a long name widens no dock
        self.target.activated.connect(self._on_target)

    # From the workbench ----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show how things stand."""
        work = self._bench.workspace
        self.setEnabled(work is not None)
        if work is not None:
            self._show_sources(work)
            self._show_targets(work)

    def _show_sources(self, work: Workspace) -> None:
        layers = (
            layer for layer in reversed(self._bench.other_layers()) if isinstance(layer, Points | Shapes | Labels)
        )
        self._layers = tuple(layer for layer in layers if layer != work.committed.layer)
        read = work.sources.others
        self.sources.show_layers(
            [f"{layer.name} ({type(layer).__name__})" for layer in self._layers],
            [layer in read for layer in self._layers],
        )
        self.sources.setVisible(bool(self._layers))
        self.heading.setText("Read prompts from" if self._layers else NO_LAYERS)

    def _show_targets(self, work: Workspace) -> None:
        made = work.made[0]
        others = [layer for layer in reversed(self._bench.other_layers()) if layer not in work.sources.others]
        own = (made,) if made in self._bench.viewer.layers else ()
        self._targets = (*own, *targets_for(work.image, work.grid, others))
        blocker = QSignalBlocker(self.target)
        names = [layer.name for layer in self._targets]
        if [self.target.itemText(i) for i in range(self.target.count())] != names:
            self.target.clear()
            self.target.addItems(names)
        chosen = next((i for i, layer in enumerate(self._targets) if layer == work.committed.layer), -1)
        self.target.setCurrentIndex(chosen)
        del blocker

    # From the user ---------------------------------------------------------------------------------------------------

    def _on_item(self, item: QListWidgetItem) -> None:
        layer = self._layers[self.sources.row(item)]
        is_read = item.checkState() == Qt.CheckState.Checked
        self._bench.do(lambda work: work.read_layer(layer) if is_read else work.ignore_layer(layer))
        self._refresher.soon()  # not at once: the list is telling of this item

    def _on_target(self, index: int) -> None:
        self._bench.do(lambda work: work.use_target(self._targets[index]))
        self.refresh()


class LayerList(QListWidget):
    """Names with check boxes, as high as there are names."""

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSpacing(1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Layers that prompts are read from")
        self.setToolTip(
            "Points and lines are clicks, rectangles and ellipses boxes, polygons and every label of a Labels layer "
            "masks.\n\nThe feature object_id says of which object a point or a shape is, the feature label whether it "
            "is positive or negative; without object_id, all are of the object that is current when the layer is "
            "ticked. A layer without frames stands on the frame that is shown then."
        )

    def show_layers(self, texts: Sequence[str], are_checked: Sequence[bool]) -> None:
        """List layers; what is the same as before is left alone."""
        blocker = QSignalBlocker(self)
        if [item.text() for item in self._items()] != list(texts):
            self.clear()
            self.addItems(list(texts))
            self.updateGeometry()
        for item, is_checked in zip(self._items(), are_checked, strict=True):
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if is_checked else Qt.CheckState.Unchecked)
        del blocker

    def _items(self) -> list[QListWidgetItem]:
        items = (self.item(row) for row in range(self.count()))
        return [item for item in items if item is not None]

    def sizeHint(self) -> QSize:
        """As high as there are names: the page that it is on scrolls."""
        row = max(self.sizeHintForRow(0), self.fontMetrics().height()) + 2 * self.spacing()
        rows = max(self.count(), 1)
        return QSize(super().sizeHint().width(), rows * row + 2 * self.frameWidth() + 4)

    def minimumSizeHint(self) -> QSize:
        """As high as the names need; Qt would ask for more."""
        return QSize(super().minimumSizeHint().width(), self.sizeHint().height())
