"""Training steps as CUDA graphs: a GPU is told once what to do, and then only to do it again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor


def captured(
    step: Callable[[Tensor], Any], index: Tensor, generator: Generator
) -> Callable[[Tensor], Any]:
    """A function that does on the GPU what `step` does, in one launch.

    Numbers that `step` takes from Python, such as a learning rate, stay as they are now, and its
    results are overwritten by the next call. Nothing is computed yet; `step` must have run before.

    Args:
        step (callable): From sample numbers to tensors; it must not wait for the GPU.
        index (torch.Tensor): Sample numbers, as many as there will be in every call.
        generator (torch.Generator): Of the random numbers that `step` draws besides PyTorch's own.
    """
    own = index.clone()
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        results = step(own)

    def again(index: Tensor) -> Any:
        own.copy_(index)
        graph.replay()
        return results

    return again
