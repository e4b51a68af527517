"""The compiled loops of farthest points against the operator's own formula in PyTorch."""

import pytest
import torch
from torch.library import opcheck

from torch_geometric_hyperbolic.kernels.farthest_points import farthest_points
from torch_geometric_hyperbolic.manifolds import Euclidean, PoincareBall
from torch_geometric_hyperbolic.typing import WITH_NUMBA

BATCH = torch.tensor([0, 2, 3]).repeat_interleave(torch.tensor([30, 1, 44]))


def some_points(manifold, dim=5):
    generator = torch.Generator().manual_seed(2)
    x = manifold.exp0(torch.randn(75, dim, generator=generator, dtype=torch.float64))
    x[40:50] = x[60:70]
    x[5, 0] = torch.nan
    return manifold.to_ball(x)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
@pytest.mark.parametrize("manifold", [PoincareBall(0.4), Euclidean()], ids=str)
@pytest.mark.parametrize("dim", [0, 1, 5])
def test_loops_choose_what_the_formula_chooses(manifold, dim):
    points, gap = some_points(manifold, dim) if dim else (torch.zeros(75, 0), torch.ones(75, 1))
    plain = farthest_points._init_fn(points, gap.double(), BATCH, 0.4)
    assert torch.equal(farthest_points(points, gap.double(), BATCH, 0.4), plain)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
def test_loops_begin_where_they_are_told_as_the_formula():
    points, gap = some_points(PoincareBall())
    keys = torch.rand(75, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    keys[7] = torch.nan  # as near as can be
    given = (points, gap, BATCH, 0.4, 1, 100 * keys)
    chosen = farthest_points(*given)
    assert torch.equal(chosen, farthest_points._init_fn(*given))
    assert not torch.equal(chosen, farthest_points(*given[:-1]))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_matter(threads):
    points, gap = some_points(PoincareBall())
    plain = farthest_points._init_fn(points, gap, BATCH, 0.4)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(farthest_points(points, gap, BATCH, 0.4), plain)
    finally:
        torch.set_num_threads(before)


def test_the_operator_is_registered_properly():
    opcheck(farthest_points, (*some_points(PoincareBall()), BATCH, 0.4))
    opcheck(farthest_points, (*some_points(PoincareBall()), BATCH, 0.4, 1, torch.rand(75).double()))
