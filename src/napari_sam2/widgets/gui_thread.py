"""The way from the worker's thread to the viewer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal, Slot

if TYPE_CHECKING:
    from collections.abc import Callable


class GuiThread(QObject):
    """Calls functions on the thread it was made on, one after the other, from the event loop.

    It has no parent: a worker that is finishing its last frame may still post when the widget is gone.
    """

    _posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        # The types of PyQt6 leave the second argument out.
        self._posted.connect(self._call, Qt.ConnectionType.QueuedConnection)  # type: ignore[call-arg]

    def post(self, function: Callable[[], None]) -> None:
        """Have a function called soon; returns at once, on any thread."""
        self._posted.emit(function)

    @Slot(object)
    def _call(self, function: Callable[[], None]) -> None:
        function()
