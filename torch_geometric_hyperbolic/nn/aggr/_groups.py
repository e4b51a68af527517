"""Groups of points and their weights in the shape that the aggregations compute with."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.index import ptr2index
from torch_geometric.typing import OptTensor
from torch_geometric.utils import scatter, segment
from torch_geometric.utils.num_nodes import maybe_num_nodes

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_integers,
    check_rising,
    is_readable,
    validation_enabled,
)


def as_column(weight: OptTensor, x: Tensor, dim: int) -> Tensor:
    """Weights ``[E]`` or ``[E, 1]`` (ones if :obj:`None`) that broadcast along ``dim`` of ``x``."""
    shape = [1] * x.dim()
    shape[dim] = x.size(dim)
    if weight is None:
        return x.new_ones(shape)
    if not isinstance(weight, Tensor):
        raise TypeError(f"'weight' must be a tensor (got {type(weight).__name__})")
    if weight.numel() != x.size(dim):
        raise ValueError(
            f"'weight' must have one entry per element (got shape {tuple(weight.shape)} "
            f"for {x.size(dim)} elements)"
        )
    return weight.to(x.dtype).view(shape)


class Groups(NamedTuple):
    """Which elements along ``dim`` belong together: an index of each, offsets, or both."""

    index: OptTensor
    ptr: OptTensor
    size: int | None
    dim: int

    def reduce(self, x: Tensor, kind: str) -> Tensor:
        """What PyG's :meth:`Aggregation.reduce` does, without a module."""
        by_offsets = self.index is None or torch.are_deterministic_algorithms_enabled()
        if self.ptr is not None and by_offsets:
            ahead = x.dim() + self.dim if self.dim < 0 else self.dim
            return segment(x, self.ptr.view([1] * ahead + [-1]), reduce=kind)
        return scatter(x, self.index, self.dim, self.size, kind)

    def how_many(self) -> int:
        """How many groups there are."""
        if self.size is not None:
            return self.size
        return maybe_num_nodes(self.index) if self.ptr is None else self.ptr.size(0) - 1

    def of_elements(self, count: int) -> Tensor:
        """The group of each of ``count`` elements."""
        if self.index is not None:
            return self.index
        return ptr2index(self.ptr, output_size=count)


def groups_of(
    x: Tensor, index: OptTensor, ptr: OptTensor, size: int | None, dim: int, name: str = "index"
) -> Groups:
    """The groups of ``x`` that an aggregation is told, with indices in int64.

    What they hold is looked at on the CPU only: a GPU would have to be waited for.
    """
    groups, count = Groups(as_int64(index, name), as_int64(ptr, "ptr"), size, dim), x.size(dim)
    if index is not None and index.shape != (count,):
        raise ValueError(
            f"'{name}' must have one entry per element (got shape {tuple(index.shape)} "
            f"for {count} elements)"
        )
    if ptr is not None and (ptr.dim() != 1 or not ptr.numel()):
        raise ValueError(f"'ptr' must be a vector of offsets (got shape {tuple(ptr.shape)})")
    if not is_readable(x):
        return groups
    if index is not None and index.numel() and index.min() < 0:
        raise IndexError(f"'{name}' must not be negative (got {int(index.min())})")
    if ptr is not None:
        check_rising(ptr, "ptr", count)
    return groups


def as_int64(index: OptTensor, name: str = "index") -> OptTensor:
    """The same groups in int64: with int32 the gradients of PyTorch's scattering are wrong."""
    if index is None:
        return None
    check_integers(index, name, or_bools=True)
    return index.long()


def check_size(size: int | None, batch: OptTensor, name: str) -> None:
    """Raise unless ``size`` is a number of groups that holds all of ``batch``, which is looked at
    on the CPU only.
    """
    if size is None:
        return
    size = int(size) if isinstance(size, Tensor) else size
    check_counts(least=0, **{name: size})
    if batch is not None and is_readable(batch) and batch.numel():
        least = int(batch.max()) + 1
        if size < least:
            raise ValueError(f"'{name}' must be at least {least}, as 'batch' asks (got {size})")


def check_dim(x: Tensor, dim: int) -> None:
    """Raise a :class:`ValueError` if ``dim`` is that of the points' coordinates."""
    if dim in (-1, x.dim() - 1):
        raise ValueError(f"'dim' must count points, not their coordinates (got {dim})")


def check_mass(weight: OptTensor) -> None:
    """Where values are looked at, raise a :class:`ValueError` for a negative weight."""
    if weight is not None and validation_enabled() and weight.numel() and weight.min() < 0:
        raise ValueError(f"'weight' must not be negative (got {weight.min().item():.6g})")
