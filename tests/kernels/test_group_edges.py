"""Edges grouped by target, against lists."""

import pytest
import torch
from torch.library import opcheck

from tests.kernels.graphs import each_size, random_edges, strided
from torch_geometric_hyperbolic.kernels import group_edges
from torch_geometric_hyperbolic.kernels.group_edges import checked_edges
from torch_geometric_hyperbolic.typing import WITH_NUMBA

needs_numba = pytest.mark.skipif(not WITH_NUMBA, reason="indices are checked in the loops")

INTEGERS = [torch.int32, torch.int64]


def grouped(source, target, num_targets):
    """Offsets and sources by lists."""
    rows = [[] for _ in range(num_targets)]
    for j, i in zip(source.tolist(), target.tolist(), strict=True):
        rows[i].append(j)
    rowptr = [sum(len(row) for row in rows[:i]) for i in range(num_targets + 1)]
    return torch.tensor(rowptr), torch.tensor(sum(rows, []), dtype=torch.int32)


@each_size
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("layout", [lambda x: x, strided], ids=["contiguous", "strided"])
@pytest.mark.parametrize("ascending", [False, True])
def test_edges_of_a_target_stand_together_in_their_order(size, dtype, layout, ascending):
    source, target = random_edges(size)
    if ascending:
        target = target.sort().values
    rowptr, col = group_edges(
        layout(source.to(dtype)), layout(target.to(dtype)), size.sources, size.targets
    )
    expected = grouped(source, target, size.targets)
    assert (rowptr.dtype, col.dtype) == (torch.int64, torch.int32)
    assert torch.equal(rowptr, expected[0])
    assert torch.equal(col, expected[1])


def test_targets_without_edges_are_empty_wherever_they_are():
    for target in ([2, 2, 5], [5, 2, 2]):
        rowptr, _ = group_edges(torch.arange(3), torch.tensor(target), 3, 8)
        assert rowptr.tolist() == [0, 0, 0, 2, 2, 2, 3, 3, 3]


@needs_numba
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("name", ["source", "target"])
@pytest.mark.parametrize("bad", [-1, 4])
def test_an_index_out_of_range_is_named(dtype, name, bad):
    index = {"source": torch.tensor([3, 0, 2]), "target": torch.tensor([1, 0, 3])}
    index[name][1] = bad
    low, high = index[name].min(), index[name].max()
    message = rf"^'edge_index' must hold {name} indices in \[0, 4\) \(got {low} to {high}\)$"
    with pytest.raises(IndexError, match=message):
        group_edges(index["source"].to(dtype), index["target"].to(dtype), 4, 4)


@needs_numba
def test_sources_and_targets_have_ranges_of_their_own():
    group_edges(torch.tensor([4]), torch.tensor([1]), 5, 2)
    with pytest.raises(IndexError, match=r"target indices in \[0, 2\) \(got 4 to 4\)"):
        group_edges(torch.tensor([1]), torch.tensor([4]), 5, 2)
    with pytest.raises(IndexError, match=r"source indices in \[0, 0\) \(got 0 to 0\)"):
        group_edges(torch.tensor([0]), torch.tensor([0]), 0, 1)


@each_size
def test_the_formula_in_pytorch_gives_the_same(size):
    source, target = random_edges(size)
    expected = grouped(source, target, size.targets)
    actual = group_edges._init_fn(source, target, size.sources, size.targets)
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_the_operator_is_registered_as_torch_expects():
    source, target = torch.tensor([2, 0, 1]), torch.tensor([1, 1, 0])
    opcheck(torch.ops.tgh.group_edges.default, (source, target, 3, 2))


def test_grouped_edges_are_handed_on_and_looked_at():
    rowptr, col = torch.tensor([0, 2, 2, 3], dtype=torch.int32), torch.tensor([1, 0, 3])
    opcheck(torch.ops.tgh.checked_edges.default, (rowptr, col, 4))
    found = checked_edges(rowptr, col, 4)
    assert [t.dtype for t in found] == [torch.int64, torch.int32]
    assert torch.equal(found[0], rowptr.long())
    assert torch.equal(found[1], col.int())
    with pytest.raises(IndexError, match=r"source indices in \[0, 3\) \(got 0 to 3\)"):
        checked_edges(rowptr, col, 3)
