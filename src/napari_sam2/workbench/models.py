"""The model of one viewer: loaded once, whatever number of images it works on."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.workbench.choices import Choices


class ModelCache:
    """Loads models, and keeps the last one.

    Parameters
    ----------
    load : callable
        Loads a model by name or path; given `device` too if one was chosen. Called on a worker's thread.

    Attributes
    ----------
    devices : dict
        Where models compute that were loaded, by model and chosen device; empty for one that does not tell.
    """

    def __init__(self, load: Callable[..., Predictor]) -> None:
        self._load = load
        self.devices: dict[tuple[str | Path, str], str] = {}
        self._loading = Lock()
        self._loaded: tuple[tuple[str | Path, str], Predictor] | None = None

    def loader(self, choices: Choices) -> Callable[[], Predictor]:
        """Return a function that loads the chosen model, for a worker's thread: images share the one that is loaded."""
        return partial(self._get, choices.model, choices.device)

    def _get(self, source: str | Path, device: str) -> Predictor:
        chosen = {} if device == "auto" else {"device": device}
        with self._loading:
            if self._loaded is None or self._loaded[0] != (source, device):
                self._loaded = None  # before there are two in memory
                predictor = self._load(source, **chosen)
                self.devices[source, device] = str(getattr(predictor, "device", ""))
                self._loaded = (source, device), predictor
            return self._loaded[1]
