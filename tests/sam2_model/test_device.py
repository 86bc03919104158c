"""Where and how precisely to compute, on machines of every kind."""

from contextlib import nullcontext

import pytest
import torch

from sam2_model.device import autocast, available_devices, choose_device, compute_dtype
from sam2_model.errors import ConfigError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be on a machine with so many GPUs of CUDA, and with or without MPS."""

    def pretend(*, cuda: int = 0, mps: bool = False, capability: tuple[int, int] = (8, 0)) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("hardware", "chosen"),
    [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": 1}, "cuda:0"), ({"cuda": 2, "mps": True}, "cuda:0")],
)
def test_auto_takes_cuda_then_mps_then_the_cpu(machine, hardware, chosen):
    machine(**hardware)
    assert choose_device() == choose_device("auto") == torch.device(chosen)


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", torch.device("cuda", 1), torch.device("cpu")])
def test_a_device_that_is_there_is_taken_as_it_is(machine, device):
    machine(cuda=2)
    assert choose_device(device) == torch.device(device)


@pytest.mark.parametrize(
    ("hardware", "device", "there"),
    [
        ({}, "cuda", "cpu"),
        ({}, "mps", "cpu"),
        ({"mps": True}, "cuda", "mps, cpu"),
        ({"cuda": 2}, "cuda:2", "cuda:0, cuda:1, cpu"),
        ({}, "meta", "cpu"),
        ({}, "gpu", "cpu"),
        ({}, torch.device("cuda"), "cpu"),
    ],
)
def test_a_device_that_is_not_there_is_answered_with_those_that_are(machine, hardware, device, there):
    machine(**hardware)
    with pytest.raises(ConfigError, match=rf"Use auto, {there}\."):
        choose_device(device)


def test_the_cpu_is_always_there():
    assert available_devices()[-1] == "cpu"


@pytest.mark.parametrize(
    ("device", "capability", "dtype"),
    [
        ("cpu", (8, 0), torch.float32),
        ("mps", (8, 0), torch.float32),
        ("cuda", (7, 5), torch.float32),
        ("cuda", (8, 0), torch.bfloat16),
        ("cuda:1", (12, 0), torch.bfloat16),
    ],
)
def test_bfloat16_is_used_only_where_cuda_is_fast_at_it(machine, device, capability, dtype):
    machine(cuda=2, capability=capability)
    assert compute_dtype(torch.device(device)) is dtype


def test_float32_enters_no_autocast():
    assert isinstance(autocast(torch.device("cpu"), torch.float32), nullcontext)


def test_autocast_ends_with_its_context():
    a = torch.ones(2, 2)
    with autocast(torch.device("cpu"), torch.bfloat16):
        assert (a @ a).dtype is torch.bfloat16
    assert (a @ a).dtype is torch.float32
