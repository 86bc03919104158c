"""The one place where a device and a precision are chosen. Nothing global is read or set."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from sam2_model.errors import ConfigError

_FIRST_WITH_BFLOAT16 = 8
"""Major compute capability from which CUDA multiplies bfloat16 natively; older ones emulate it, slowly."""


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device to compute on.

    Parameters
    ----------
    device : str or torch.device
        "auto" takes CUDA, then MPS, then the CPU; or "cpu", "cuda", "cuda:1", "mps", or a device.

    Returns
    -------
    torch.device
        A device that is there.

    Raises
    ------
    ConfigError
        If the device is not known or not there; the message names those that are.
    """
    there = available_devices()
    if device == "auto":
        return torch.device(there[0])
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"{device!r} is not a device. Use auto, {', '.join(there)}.") from error
    numbered = chosen if chosen.type == "cpu" else torch.device(chosen.type, chosen.index or 0)
    if str(numbered) not in there and chosen.type not in there:
        raise ConfigError(f"There is no device {str(chosen)!r} here. Use auto, {', '.join(there)}.")
    return chosen


def available_devices() -> tuple[str, ...]:
    """Return the names of the devices that are there, the fastest kind first."""
    cuda = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count())) if torch.cuda.is_available() else ()
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return (*cuda, *mps, "cpu")


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the precision to compute in: bfloat16 where CUDA is fast at it, float32 everywhere else."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= _FIRST_WITH_BFLOAT16:
        return torch.bfloat16
    return torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return a context in which layers compute in a precision; for float32 it does nothing at all."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


@contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """Compute without gradients and in the device's precision inside this context; every predictor does."""
    with torch.inference_mode(), autocast(device, compute_dtype(device)):
        yield
