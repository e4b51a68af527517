"""Rough keys are near those in float64, and what they may lose is bounded as they say."""

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels import knn_table
from torch_geometric_hyperbolic.manifolds import Lorentz, PoincareBall
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import rough_keys as module
    from torch_geometric_hyperbolic.kernels._cpu.threads import _as_array

pytestmark = pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")

#: Points of each cloud, and what a row of keys is a multiple of.
SIZES = torch.tensor([40, 0, 1, 300])
LANES = 64


def pointers(sizes: Tensor) -> Tensor:
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def clouds(kind: str, channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Points of four clouds and their gaps."""
    torch.manual_seed(0)
    v = torch.randn(int(SIZES.sum()), channels, dtype=torch.float64) / channels**0.5
    if kind == "ball":
        x, gap = PoincareBall(c=0.5).to_ball(PoincareBall(c=0.5).exp0(3 * v).to(dtype))
    elif kind == "hyperboloid":
        x, gap = Lorentz().to_ball(Lorentz().exp0(6 * v).to(dtype))
    else:
        scale, centre = {"flat": (1.0, 0.0), "far": (1.0, 1e4), "tiny": (1e-12, 0.0)}[kind]
        x = (scale * v + centre).to(dtype)
        gap = x.new_ones(len(x), 1, dtype=torch.float64)
    return x, gap


def all_keys(x: Tensor, gap: Tensor, how, ptr: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Rough keys of every cloud's points for its points, the lanes' minima, and the exact keys."""
    rows = []
    for cloud, size in enumerate(SIZES.tolist()):
        origin, most = int(ptr[cloud]), -(-max(size, 1) // LANES) * LANES
        keys = np.empty((size, most), how.queries.numpy().dtype)
        minima = np.empty((size, LANES), keys.dtype)
        module.fill(_as_array(how), cloud, size, origin, origin + size, keys, minima)
        own = x[origin : origin + size].double()
        exact = (own[:, None] - own).square().sum(-1) / gap[origin : origin + size, 0]
        rows.append((torch.from_numpy(keys[:, :size]), torch.from_numpy(minima), exact))
    return rows


KINDS = ["flat", "far", "tiny", "ball", "hyperboloid"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("channels", [16, 70])
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_bounds_from_below_and_above(kind, channels, dtype):
    x, gap = clouds(kind, channels, dtype)
    ptr = pointers(SIZES)
    how, loosen = module.rough_keys(x, gap, x, ptr, ptr, LANES)
    assert isinstance(how, module.Products)
    start = 0
    for keys, minima, exact in all_keys(x, gap, how, ptr):
        stop = start + len(keys)
        slack = 1 + 4 * torch.finfo(torch.float32).eps
        assert (keys.double() <= exact * slack).all()
        assert (exact <= keys.double().relu() * slack + loosen[start:stop, None] * slack).all()
        if kind == "flat":  # and they are near
            apart = exact > 0.1
            assert ((exact - keys.double())[apart] <= 1e-3 * exact[apart]).all()
        for lane in range(LANES):
            own = keys[:, lane::LANES]
            least = own.amin(1) if own.size(1) else torch.full((len(keys),), torch.inf)
            assert torch.equal(minima[:, lane], least)
        start = stop


@pytest.mark.parametrize("large", [2e18, 1e19, 3e38, float("nan"), float("inf")])
def test_what_float32_cannot_hold_is_left_to_differences(large):
    x = torch.randn(50, 16)
    x[7, 3] = large
    gap, ptr = torch.ones(50, 1, dtype=torch.float64), torch.tensor([0, 50])
    how, loosen = module.rough_keys(x, gap, x, ptr, ptr, LANES)
    assert isinstance(how, module.Differences)
    assert not loosen.any()
    how, _ = module.rough_keys(torch.randn(50, 16), gap, x, ptr, ptr, LANES)  # a query alone
    assert isinstance(how, module.Differences)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_all_distances(kind, loop, dtype):
    """Few points apart from many, equal ones among them: order decides."""
    x, gap = clouds(kind, 24, dtype)
    x[100:140], gap[100:140] = x[60:100], gap[60:100]
    batch = torch.arange(4).repeat_interleave(SIZES)
    keep = batch != 2
    given = (x[keep], gap[keep], x[keep], batch[keep], batch[keep])
    c = torch.ones((), dtype=torch.float64)
    found = knn_table(*given, 12, c, loop, "fused")
    assert torch.equal(found, knn_table(*given, 12, c, loop, "dense"))


def test_queries_may_lie_far_from_all_points():
    torch.manual_seed(0)
    points, queries = torch.randn(500, 20), torch.randn(9, 20)
    queries[:3] += 1e3
    queries[3:6] += 1e6
    gap, c = torch.ones(500, 1, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    found = knn_table(points, gap, queries, None, None, 7, c, True, "fused")
    exact = (queries[:, None].double() - points.double()).square().sum(-1)
    assert torch.equal(found, exact.argsort(dim=1, stable=True)[:, :7])
