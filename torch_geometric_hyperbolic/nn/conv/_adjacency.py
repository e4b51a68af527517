"""The adjacencies that PyG's layers take, as edges grouped by their targets."""

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.typing import Adj

from torch_geometric_hyperbolic.checks import is_readable
from torch_geometric_hyperbolic.kernels import group_edges

SMALL = (torch.int32, torch.int16, torch.int8, torch.uint8)


def with_int64(adjacency: Adj) -> Adj:
    """The same edges with int64 indices: with int32 the gradients of PyG's gathering are wrong."""
    if not isinstance(adjacency, Tensor):
        return adjacency
    if adjacency.layout == torch.sparse_csr and adjacency.col_indices().dtype == torch.int32:
        rowptr, col = adjacency.crow_indices().long(), adjacency.col_indices().long()
        return torch.sparse_csr_tensor(rowptr, col, adjacency.values(), adjacency.shape)
    small = adjacency.layout == torch.strided and adjacency.dtype in SMALL
    return adjacency.long() if small else adjacency


def num_edges(adjacency: Adj) -> int:
    """The number of edges, explicit zeros included."""
    if not isinstance(adjacency, Tensor):
        return int(adjacency.nnz())
    return adjacency.size(-1) if adjacency.layout == torch.strided else adjacency._nnz()


def is_grouped(adjacency: Adj, flow: str) -> bool:
    """Whether edges that can be grouped are known to come in the order of their targets.

    Indices are looked at on the CPU only: a GPU would have to be waited for.
    """
    forward = flow == "source_to_target"
    if not isinstance(adjacency, Tensor) or adjacency.layout != torch.strided:
        return True
    edge_index: Tensor = adjacency
    if isinstance(adjacency, EdgeIndex):
        if adjacency.is_sorted_by_col if forward else adjacency.is_sorted_by_row:
            return True
        edge_index = adjacency.as_tensor()
    if not is_readable(edge_index):
        return False
    target = edge_index[1 if forward else 0]
    return bool((target[1:] >= target[:-1]).all())


def group_adjacency(
    adjacency: Adj, sizes: tuple[int, int], flow: str
) -> tuple[Tensor, Tensor] | None:
    """Offsets of each target's edges and their sources, or :obj:`None` to leave it to PyG.

    ``sizes`` are the numbers of sources and targets. PyG also gets whatever it has an error for.
    """
    if not isinstance(adjacency, Tensor):
        return None
    edge_index: Tensor = adjacency
    if isinstance(adjacency, EdgeIndex):
        rows, cols = sizes if flow == "source_to_target" else sizes[::-1]
        if (adjacency.num_rows, adjacency.num_cols) != (rows, cols):
            return None
        edge_index = adjacency.as_tensor()
    elif adjacency.layout != torch.strided:
        coalesced = adjacency.layout == torch.sparse_coo and adjacency.is_coalesced()
        known = coalesced or adjacency.layout == torch.sparse_csr
        if not known or flow != "source_to_target" or adjacency.shape != sizes[::-1]:
            return None
        edge_index = adjacency.to_sparse_coo().indices().flip(0)
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        return None
    if edge_index.dtype not in (*SMALL, torch.int64):
        return None
    source, target = edge_index if flow == "source_to_target" else edge_index.flip(0)
    return group_edges(source, target, *sizes)
