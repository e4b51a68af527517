import pytest
import torch
from torch.library import opcheck

from torch_geometric_hyperbolic.kernels import knn_table
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TORCH_CLUSTER

ENGINES = ["dense"] + ["torch_cluster"] * WITH_TORCH_CLUSTER + ["fused"] * WITH_NUMBA
each_engine = pytest.mark.parametrize("engine", ENGINES)


def arguments(dtype=torch.float64, c: float = 1.0, engine: str = "dense") -> dict:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(12, 2, generator=generator, dtype=dtype) / 2
    return {
        "points": points,
        "gap": 1 - c * points.double().square().sum(dim=1, keepdim=True),
        "queries": points[::3].contiguous(),
        "batch_points": torch.tensor([0] * 6 + [2] * 6),
        "batch_queries": torch.tensor([0, 0, 2, 2]),
        "k": 3,
        "c": torch.tensor(c, dtype=torch.float64),
        "loop": True,
        "engine": engine,
    }


@each_engine
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_points_are_ordered_by_squared_distance_over_gap(engine, dtype, c):
    given = arguments(dtype, c, engine)
    table = knn_table(**given)
    assert table.dtype == torch.long
    for i, (query, cloud) in enumerate(zip(given["queries"], given["batch_queries"], strict=True)):
        squared = (given["points"].double() - query.double()).square().sum(dim=1)
        key = squared / given["gap"][:, 0]
        key[given["batch_points"] != cloud] = torch.inf
        assert torch.equal(table[i], key.argsort()[:3])


@each_engine
def test_the_gap_decides_not_only_the_distance(engine):
    points = torch.tensor([[0.0], [0.8]], dtype=torch.float64)
    query = torch.tensor([[0.38]], dtype=torch.float64)  # 0 is nearer for a ruler

    def first(gap: list[float]) -> int:
        column = torch.tensor(gap, dtype=torch.float64)[:, None]
        c = torch.ones((), dtype=torch.float64)
        return knn_table(points, column, query, None, None, 1, c, True, engine).item()

    assert first([1.0, 1.0]) == 0
    assert first([0.5, 1.0]) == 1


@each_engine
@pytest.mark.parametrize("batched", [False, True])
def test_the_operator_is_registered_as_torch_expects(engine, batched):
    given = arguments(engine=engine)
    if not batched:
        given |= {"batch_points": None, "batch_queries": None}
    opcheck(torch.ops.tgh.knn_table.default, tuple(given.values()))


@each_engine
def test_the_inputs_are_left_alone(engine):
    given = arguments(engine=engine)
    knn_table(**given)
    for name, value in arguments(engine=engine).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(given[name], value), name


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled loops")
@pytest.mark.parametrize("channels", [2, 9])
@pytest.mark.parametrize("k", [100, 300, 600, 1100])
def test_many_neighbours_are_in_the_same_order(channels, k):
    """More than are compared pair by pair, of few distances: equal ones are in order of index."""
    x = torch.randint(-3, 4, (1200, channels)) / 16
    gap, c = torch.ones(1200, 1, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    expected, found = (
        knn_table(x, gap, x, None, None, k, c, True, engine) for engine in ("dense", "fused")
    )
    assert torch.equal(found, expected)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled loops")
@pytest.mark.parametrize("channels", [2, 9])
@pytest.mark.parametrize("size", [1, 2, 3, 8, 9, 40, 255, 257])
def test_clouds_of_every_size_are_searched(channels, size):
    x = torch.randn(4 * size, channels)
    gap, c = torch.ones(4 * size, 1, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    batch = torch.arange(4).repeat_interleave(size)
    expected, found = (
        knn_table(x, gap, x, batch, batch, min(size, 12), c, True, engine)
        for engine in ("dense", "fused")
    )
    assert torch.equal(found, expected)
