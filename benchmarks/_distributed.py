"""One process, or several under `torchrun`; nothing else here calls `torch.distributed`."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from _cli import UsageError
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Process:
    """This process among all of the run.

    Args:
        rank (int, optional): Number of this process. (default: :obj:`0`)
        world (int, optional): Number of processes. (default: :obj:`1`)
        device (torch.device, optional): Where this process computes. (default: the CPU)
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Adds gradient averaging over processes, on GPUs with synchronised BatchNorm."""
        if self.world == 1:
            return model
        if self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
            return DistributedDataParallel(model, device_ids=[self.device.index])
        return DistributedDataParallel(model)

    def unwrap(self, network: nn.Module) -> nn.Module:
        """The model inside of what :meth:`wrap` returned."""
        return network.module if isinstance(network, DistributedDataParallel) else network

    def share_buffers(self, model: nn.Module) -> None:
        """Gives all processes the main one's buffers: each updates BatchNorm's statistics alone."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def shard(self, index: Tensor) -> Tensor:
        """This process's equal, contiguous part of a global batch of indices."""
        return index.chunk(self.world)[self.rank]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, on every process."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Lets the main process do something alone (say, a download) before the others."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    def barrier(self) -> None:
        """Waits for the other processes."""
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        """Leaves the group of processes; the trainer must be out of scope by then.

        A wrapped model that outlives the group would end it while it holds Python's lock, which
        gloo's thread may be waiting for.
        """
        if self.world > 1:
            gc.collect()
            dist.destroy_process_group()


def choose_device(device: str, index: int = 0) -> torch.device:
    """The device of `--device` (`auto`, `cpu` or `cuda`)."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device: no GPU is available (got cuda)")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", index)


def start_process(device: str) -> Process:
    """Joins the processes of `torchrun`, if it started this one (gloo on CPU, nccl on GPU).

    Args:
        device (str): `auto`, `cpu` or `cuda`.
    """
    target = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Process(device=target)
    if target.type == "cuda":
        torch.cuda.set_device(target)
    dist.init_process_group("nccl" if target.type == "cuda" else "gloo")
    return Process(dist.get_rank(), dist.get_world_size(), target)
