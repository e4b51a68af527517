"""Weights and group indices in the shape that the aggregations compute with."""

from torch import Tensor
from torch_geometric.index import ptr2index
from torch_geometric.typing import OptTensor


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


def as_index(index: OptTensor, ptr: OptTensor, num_elements: int) -> Tensor:
    """The group of each element, from either form."""
    return ptr2index(ptr, output_size=num_elements) if index is None else index.long()


def as_int64(index: OptTensor) -> OptTensor:
    """The same groups in int64: with int32 the gradients of PyTorch's scattering are wrong."""
    return None if index is None else index.long()
