"""Gradients are averaged over the processes that train together."""

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

from sam2_model.training.parallel import average_gradients, rank


def _train(number: int, folder: Path) -> None:
    """One of two processes: a gradient in both, in one, in none."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=2)
    everywhere, here, nowhere = (nn.Parameter(torch.zeros(2, 3)) for _ in range(3))
    everywhere.grad = torch.full((2, 3), 1.0 + 2 * number)
    if number == 1:
        here.grad = torch.full((2, 3), 5.0)
    average_gradients([everywhere, here, nowhere])
    torch.save((rank(), everywhere.grad, here.grad, nowhere.grad), folder / f"{number}.pt")
    dist.destroy_process_group()


def test_every_process_goes_on_with_the_mean_of_those_that_have_a_gradient(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_train, (tmp_path,), nprocs=2)
    for number in range(2):
        own, everywhere, here, nowhere = torch.load(tmp_path / f"{number}.pt")
        assert own == number
        assert everywhere.tolist() == [[2.0] * 3] * 2
        assert here.tolist() == [[5.0] * 3] * 2
        assert nowhere is None


def test_who_is_alone_keeps_its_gradients() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    average_gradients([parameter])
    assert rank() == 0
    assert parameter.grad.tolist() == [1, 1]
