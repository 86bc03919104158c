"""A predictor with a stopwatch: what it says is what the model says, and how long each frame took is written down."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari_sam2.inference.speed import FrameTime, SpeedLog, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Direction, Predictor, Tracker
    from napari_sam2.prompts import Prompt
    from napari_sam2.results import ObjectMask


class TimedPredictor:
    """Let a predictor work and record the time it takes on the frames of stacks.

    Parameters
    ----------
    predictor : Predictor
        The model.
    source : str or Path
        What it was loaded from, for the record.
    log : SpeedLog
        Where the times go.
    """

    def __init__(self, predictor: Predictor, source: str | Path, log: SpeedLog) -> None:
        self._predictor = predictor
        self._source = source
        self._log = log

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._predictor.name

    @property
    def sha256(self) -> str:
        """Checksum of its weights."""
        return self._predictor.sha256

    @property
    def source(self) -> str:
        """Registry name or path by which it can be loaded again."""
        return self._predictor.source

    @property
    def device(self) -> str:
        """Where it computes; empty if it does not say."""
        return str(getattr(self._predictor, "device", ""))

    def working_size(self, height: int, width: int) -> int:
        """Side in pixels of the square image to which a frame of this size is resized."""
        return self._predictor.working_size(height, width)

    def segment(self, image: NDArray[np.uint8], prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Answer prompts on one image, (Y, X, 3) uint8."""
        return self._predictor.segment(image, prompts)

    def open(self, frames: FrameStack) -> Tracker:
        """Begin work on a stack."""
        size = self.working_size(frames.height, frames.width)

        def record(work: Work, num_objects: int, seconds: float) -> None:
            # What the user has drawn herself is no work, and nothing can be learned from it.
            if num_objects:
                self._log.record(FrameTime(self._source, self.device, work, size, num_objects, seconds))

        return _TimedTracker(self._predictor.open(frames), record)


class _TimedTracker:
    def __init__(self, tracker: Tracker, record: Callable[[Work, int, float], None]) -> None:
        self._tracker = tracker
        self._record = record
        self._prompted: set[tuple[int, int]] = set()

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        start = time.perf_counter()
        masks = self._tracker.prompt(frame, prompts)
        self._record(Work.ANSWERING, sum(not mask.is_given for mask in masks), time.perf_counter() - start)
        self._prompted |= {(object_id, frame) for object_id in prompts}
        return masks

    def forget(self, object_id: int, frame: int) -> None:
        self._tracker.forget(object_id, frame)
        self._prompted.discard((object_id, frame))

    def follow(self, frame: int, object_ids: Sequence[int], direction: Direction) -> tuple[ObjectMask, ...]:
        start = time.perf_counter()
        masks = self._tracker.follow(frame, object_ids, direction)
        followed = sum((object_id, frame) not in self._prompted for object_id in object_ids)  # others are repeated
        self._record(Work.FOLLOWING, followed, time.perf_counter() - start)
        return masks
