"""The adjacencies of PyG's layers as grouped edges, and which are left to PyG."""

import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.nn import EdgeConv
from torch_geometric.utils import to_torch_coo_tensor, to_torch_csc_tensor, to_torch_csr_tensor

from torch_geometric_hyperbolic.manifolds import Euclidean
from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv
from torch_geometric_hyperbolic.nn.conv._adjacency import group_adjacency, is_grouped
from torch_geometric_hyperbolic.typing import WITH_NUMBA

needs_numba = pytest.mark.skipif(not WITH_NUMBA, reason="indices are checked in the loops")

FORWARD, BACKWARD = "source_to_target", "target_to_source"
SIZES = (6, 4)  # sources, targets

#: Unsorted, with a source and a target without edges; in a matrix an edge stands once.
EDGES = torch.tensor([[5, 0, 2, 2, 1, 5], [1, 3, 1, 0, 3, 0]])
TWICE = torch.cat([EDGES, EDGES[:, 1:3]], dim=1)


def neighbours(graph):
    """Sources of every target, in the order they are stored."""
    rowptr, col = graph
    assert (rowptr.dtype, col.dtype) == (torch.int64, torch.int32)
    return [col[a:b].tolist() for a, b in zip(rowptr.tolist(), rowptr.tolist()[1:], strict=False)]


def of_edges(edge_index):
    rows = [[] for _ in range(SIZES[1])]
    for j, i in edge_index.T.tolist():
        rows[i].append(j)
    return rows


def ordered(rows):
    return [sorted(row) for row in rows]


def transposed(kind, edge_index, sizes=SIZES):
    """The matrix with a row per target, as PyG's layers take it."""
    if kind == "COO":
        return to_torch_coo_tensor(edge_index, size=sizes).t().coalesce()
    return to_torch_csr_tensor(edge_index.flip(0), size=sizes[::-1])


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_edges_of_both_flows(dtype):
    expected = of_edges(TWICE)
    edge_index = TWICE.to(dtype)
    assert neighbours(group_adjacency(edge_index, SIZES, FORWARD)) == expected
    assert neighbours(group_adjacency(edge_index.flip(0), SIZES, BACKWARD)) == expected
    wide = torch.stack([edge_index, edge_index], dim=-1)[..., 0]  # not contiguous
    assert neighbours(group_adjacency(wide, SIZES, FORWARD)) == expected


def test_no_edges():
    none = torch.empty(2, 0, dtype=torch.long)
    assert neighbours(group_adjacency(none, SIZES, FORWARD)) == [[]] * 4
    rowptr, col = group_adjacency(none, (0, 0), FORWARD)
    assert (rowptr.tolist(), col.tolist()) == ([0], [])


@pytest.mark.parametrize("sort_order", ["row", "col", None])
@pytest.mark.parametrize("flow", [FORWARD, BACKWARD])
def test_edge_index_objects_of_both_flows(sort_order, flow):
    edge_index, size = (TWICE, SIZES) if flow == FORWARD else (TWICE.flip(0), SIZES[::-1])
    if sort_order is not None:
        edge_index = edge_index[:, edge_index[int(sort_order == "col")].argsort(stable=True)]
    adjacency = EdgeIndex(edge_index, sparse_size=size, sort_order=sort_order)
    graph = group_adjacency(adjacency, SIZES, flow)
    assert ordered(neighbours(graph)) == ordered(of_edges(TWICE))
    assert type(graph[1]) is torch.Tensor


@pytest.mark.parametrize("kind", ["COO", "CSR"])
def test_sparse_matrices_have_a_row_per_target(kind):
    graph = group_adjacency(transposed(kind, EDGES), SIZES, FORWARD)
    assert neighbours(graph) == ordered(of_edges(EDGES))


LEFT_TO_PYG = {
    "EdgeIndex of another size": lambda: EdgeIndex(EDGES, sparse_size=(6, 5)),
    "EdgeIndex of no size": lambda: EdgeIndex(EDGES),
    "not coalesced": lambda: torch.sparse_coo_tensor(TWICE.flip(0), torch.ones(8), (4, 6)),
    "matrix of another size": lambda: transposed("COO", EDGES, (6, 6)),
    "not transposed": lambda: transposed("CSR", EDGES.flip(0), SIZES[::-1]),
    "CSC": lambda: to_torch_csc_tensor(EDGES.flip(0), size=SIZES[::-1]),
    "floating point": lambda: torch.rand(2, 3),
    "three rows": lambda: torch.zeros(3, 2, dtype=torch.long),
    "vector": lambda: torch.zeros(2, dtype=torch.long),
    "three dimensions": lambda: torch.zeros(2, 3, 1, dtype=torch.long),
    "None": lambda: None,
    "list": lambda: [[0], [1]],
}


@pytest.mark.filterwarnings("ignore:Sparse CSC tensor support is in beta state:UserWarning")
@pytest.mark.parametrize("name", LEFT_TO_PYG)
def test_what_is_left_to_pyg(name):
    assert group_adjacency(LEFT_TO_PYG[name](), SIZES, FORWARD) is None


@pytest.mark.parametrize("kind", ["COO", "CSR"])
def test_sparse_matrices_of_the_other_flow_are_left_to_pyg(kind):
    square = transposed(kind, EDGES, (6, 6))
    assert group_adjacency(square, (6, 6), FORWARD) is not None
    assert group_adjacency(square, (6, 6), BACKWARD) is None


@needs_numba
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("flow", [FORWARD, BACKWARD])
def test_an_index_out_of_range_is_named(row, flow):
    edge_index = EDGES.clone()
    edge_index[row, 2] = 9
    name = ("source", "target")[row]
    message = rf"^'edge_index' must hold {name} indices in \[0, {SIZES[row]}\) \(got 0 to 9\)$"
    with pytest.raises(IndexError, match=message):
        group_adjacency(edge_index if flow == FORWARD else edge_index.flip(0), SIZES, flow)


NO_EDGES = {
    "of integer type .got 'torch.bool'": EDGES.bool(),
    "of integer type .got 'torch.complex64'": EDGES.to(torch.complex64),
    "of integer type .got 'torch.uint16'": EDGES.to(torch.uint16),
    "two-dimensional .got 0": torch.tensor(3),
    "size '2' in the first": EDGES[:1],
    "only supports integer tensors": EDGES.tolist(),
}


@pytest.mark.parametrize("message", NO_EDGES)
@pytest.mark.parametrize("name", ["ReLU", "Hidden"])
def test_what_are_no_edges_is_left_to_pyg(message, name):
    """Also where the order of edges might matter."""
    activation = type(name, (torch.nn.ReLU,), {"__module__": "elsewhere"})()
    nn = torch.nn.Sequential(torch.nn.Linear(6, 4), activation, torch.nn.Linear(4, 4))
    for conv in (HyperbolicEdgeConv(nn, manifold=Euclidean()), EdgeConv(nn)):
        with pytest.raises(ValueError, match=message):
            conv(torch.randn(6, 3), NO_EDGES[message])


def test_grouped_edges_are_known_by_their_order():
    by_target = EDGES[:, EDGES[1].argsort()]
    assert not is_grouped(EDGES, FORWARD) and is_grouped(by_target, FORWARD)
    assert not is_grouped(EDGES.flip(0), BACKWARD) and is_grouped(by_target.flip(0), BACKWARD)
    assert not is_grouped(EdgeIndex(EDGES), FORWARD) and is_grouped(EdgeIndex(by_target), FORWARD)
    told = EdgeIndex(by_target.to("meta"), sparse_size=SIZES, sort_order="col")
    assert is_grouped(told, FORWARD) and not is_grouped(told, BACKWARD)
    assert is_grouped(EDGES[:, :0], FORWARD) and is_grouped(transposed("CSR", EDGES), FORWARD)
