"""Several processes that train one model together, each on batches of its own.

On two cores two processes of one thread did 1.45 times the work of one process of two threads: most of a step is many
small operations. `torchrun` starts the processes; a run that it did not start is alone.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn


def join() -> None:
    """Connect to the other processes, if there are any."""
    if dist.is_available() and dist.is_torchelastic_launched():
        dist.init_process_group("gloo")


def is_alone() -> bool:
    """Return whether no other process takes part."""
    return not (dist.is_available() and dist.is_initialized())


def rank() -> int:
    """Return the number of this process; 0 is the one that writes files, and the only one of a run that is alone."""
    return 0 if is_alone() else dist.get_rank()


def any_of(flag: bool) -> bool:  # noqa: FBT001 - the flag is all there is
    """Return whether a flag is set in any of the processes; all of them have to call this."""
    if is_alone():
        return flag
    raised = torch.tensor(float(flag))
    dist.all_reduce(raised)
    return bool(raised > 0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes that have one; where none has, there is none."""
    if is_alone():
        return
    trained = [p for p in parameters if p.requires_grad]
    counts = torch.tensor([float(p.grad is not None) for p in trained])
    gradients = [torch.zeros(p.numel()) if p.grad is None else p.grad.flatten().cpu() for p in trained]
    total = torch.cat([counts, *gradients])
    dist.all_reduce(total)
    counts, rest = total[: len(trained)], total[len(trained) :]
    for p, count, gradient in zip(
        trained, counts.tolist(), torch.split(rest, [p.numel() for p in trained]), strict=True
    ):
        p.grad = (gradient / count).view_as(p).to(p.device) if count else None
