"""Edges grouped by the node they point to."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import check_offsets, check_range
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import graphs


@torch.library.custom_op("tgh::group_edges", mutates_args=())
def group_edges(
    source: Tensor, target: Tensor, num_sources: int, num_targets: int
) -> tuple[Tensor, Tensor]:
    """Edges in the order of their targets, compressed; edges of one target keep their order.

    Args:
        source (torch.Tensor): source of each edge, ``[E]``, any integers.
        target (torch.Tensor): target of each edge, ``[E]``, any integers, in any order.
        num_sources (int): number of sources.
        num_targets (int): number of targets.

    Returns:
        Offsets ``rowptr`` ``[num_targets + 1]``, int64, such that the edges of target ``i`` are
        ``rowptr[i]`` to ``rowptr[i + 1]``, and their sources ``col`` ``[E]``, int32.
        :math:`O(E + N)` on the CPU.

    Raises:
        IndexError: on the CPU, if an edge points outside the nodes.

    Example:
        >>> import torch
        >>> group_edges(torch.tensor([5, 6, 7]), torch.tensor([1, 0, 1]), 8, 3)
        (tensor([0, 1, 3, 3]), tensor([6, 5, 7], dtype=torch.int32))
    """
    order = target.argsort(stable=True)
    counts = target.new_zeros(num_targets, dtype=torch.long)
    counts.index_add_(0, target, torch.ones_like(target, dtype=torch.long))
    start = counts.new_zeros(1)
    return torch.cat([start, counts.cumsum(0)]), source[order].int()


@group_edges.register_fake
def _(source, target, num_sources, num_targets):  # type: ignore[no-untyped-def]
    rowptr = target.new_empty(num_targets + 1, dtype=torch.long)
    return rowptr, source.new_empty(source.shape, dtype=torch.int32)


if WITH_NUMBA:

    @group_edges.register_kernel("cpu")
    def _group_edges_cpu(
        source: Tensor, target: Tensor, num_sources: int, num_targets: int
    ) -> tuple[Tensor, Tensor]:
        check_range(source, "edge_index", num_sources, "source indices")
        check_range(target, "edge_index", num_targets, "target indices")
        arrays = (index.long().contiguous().numpy() for index in (source, target))
        rowptr, col = graphs.by_target(*arrays, num_targets)
        return torch.from_numpy(rowptr), torch.from_numpy(col)


@torch.library.custom_op("tgh::checked_edges", mutates_args=())
def checked_edges(rowptr: Tensor, col: Tensor, num_sources: int) -> tuple[Tensor, Tensor]:
    """Edges that come grouped, in the form that :func:`group_edges` returns, checked when compiled
    code runs: while it is being compiled there are no values to check.
    """
    check_offsets(rowptr, col, num_sources, rowptr.size(0) - 1)
    return rowptr.to(torch.long, copy=True), col.to(torch.int32, copy=True)


@checked_edges.register_fake
def _(rowptr, col, num_sources):  # type: ignore[no-untyped-def]
    return torch.empty_like(rowptr, dtype=torch.long), torch.empty_like(col, dtype=torch.int32)


def group_elements(index: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    """Offsets of each group ``[G + 1]``, and the numbers of its elements in order ``[E]``."""
    elements = torch.arange(index.size(0), device=index.device)
    return group_edges(elements, index, index.size(0), num_groups)


def sum_of_groups(values: Tensor, index: Tensor, num_groups: int) -> Tensor:
    """Sums of the rows of each group, ``[G, ...]``."""
    return values.new_zeros(num_groups, *values.shape[1:]).index_add_(0, index, values)


def targets_of_edges(rowptr: Tensor, num_edges: int) -> Tensor:
    """The target of each edge, ``[E]``, of edges grouped by target; waits for no device."""
    targets = torch.arange(rowptr.size(0) - 1, device=rowptr.device)
    return targets.repeat_interleave(rowptr.diff(), output_size=num_edges)


def mean_of_targets(v: Tensor, rowptr: Tensor) -> Tensor:
    """The mean of each target's vectors, ``[M, n]``, from those of edges, ``[E, n]``; 0 for a
    target without edges.
    """
    count = rowptr.diff()[:, None]
    total = sum_of_groups(v, targets_of_edges(rowptr, v.size(0)), count.size(0))
    return total / torch.where(count > 0, count, 1)
