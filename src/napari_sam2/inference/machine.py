"""What there is to compute on: cores, devices, their speed; and loading for it. Torch comes with the first call."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam2.inference.predictor import Predictor

_MATRIX_SIDE, _REPEATS = 1024, 8


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to compute on.

    Attributes
    ----------
    devices : tuple of str
        Names of the devices, in the order in which "auto" prefers them.
    multiply_adds_per_s : float
        Rate of a large float32 matrix multiplication on the CPU.
    """

    devices: tuple[str, ...]
    multiply_adds_per_s: float


def use_cores() -> int:
    """Set how torch shares the cores, if it is not loaded yet, and return how many threads a model gets.

    One core is left to the viewer: with as many threads as cores, each waits for the others at every step.
    """
    # Read when torch is loaded: threads that have nothing to do shall sleep, not spin, or the viewer stutters.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return max((os.cpu_count() or 2) - 1, 1)


def load_beside_viewer(source: str | Path, *, device: str = "auto") -> Predictor:
    """Load a model on the thread that is going to run it, and leave one core to the viewer.

    Parameters and errors as of `load_predictor`.
    """
    threads = use_cores()
    from napari_sam2.inference.sam2 import load_predictor, use_threads

    use_threads(threads)
    return load_predictor(source, device=device)


def measure_machine() -> Machine:
    """List the devices there are, and time a matrix multiplication on the CPU, which takes less than a second."""
    threads = use_cores()
    import torch

    from sam2_model.device import available_devices

    torch.set_num_threads(threads)
    matrix = torch.rand(_MATRIX_SIDE, _MATRIX_SIDE)
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        seconds.append(time.perf_counter() - start)
    # The best of several: other programs make it slower, nothing makes it faster.
    return Machine(available_devices(), _MATRIX_SIDE**3 / min(seconds))
