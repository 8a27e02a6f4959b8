"""The hardware that training runs on: the CPU, one GPU, or several processes of one GPU each."""

import os
from typing import Any

import torch
from torch import Tensor

from bdc_agents.extras import need


class Processes:
    """The processes that train together, as `torchrun` or `accelerate launch` started them.

    Each runs a share of a step's forward passes; gradients are summed, and all take the same step.
    """

    def __init__(self) -> None:
        # Several processes on CPUs are only joined when the CPU is asked for.
        state: Any = need("accelerate").PartialState(cpu=not torch.accelerator.is_available())
        self.rank: int = state.process_index
        self.count: int = state.num_processes
        self.device: torch.device = state.device

    @property
    def main(self) -> bool:
        """Whether this one writes files and shows progress."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sums a tensor over all processes, in place."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
        return tensor


def idle_cores() -> int:
    """The number of cores that nothing else uses now, at least one.

    A thread that waits for a core holds up all others at every layer. On a busy machine, two threads
    were measured to be many times slower than one.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, round(cores - os.getloadavg()[0]))


def use_idle_cores() -> None:
    """Sets torch's threads to the number of idle cores."""
    torch.set_num_threads(idle_cores())


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The base's number format.

    Args:
        name: `float32`, `bfloat16`, or `auto`: bfloat16 where the hardware multiplies it.
    """
    if name != "auto":
        return getattr(torch, name)
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast or _cpu_has_bf16(device) else torch.float32


def _cpu_has_bf16(device: torch.device) -> bool:
    """Without the instruction, bfloat16 on a CPU is tens of times slower than float32."""
    if device.type != "cpu":
        return False
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None) or getattr(
        torch.cpu, "_is_amx_tile_supported", None
    )
    return bool(check and check())
