import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import torch_geometric_hyperbolic
import torch_geometric_hyperbolic.kernels.knn as kernel
from torch_geometric_hyperbolic.kernels import _cloud_search as cloud_search
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import knn, knn_graph
from torch_geometric_hyperbolic.testing import random_isometry
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TORCH_CLUSTER

K = 8
MANIFOLDS = (PoincareBall(0.7), Lorentz(0.7), Euclidean())

needs_cluster = pytest.mark.skipif(not WITH_TORCH_CLUSTER, reason="torch-cluster not installed")
needs_numba = pytest.mark.skipif(not WITH_NUMBA, reason="numba not installed")
OTHERS = [
    pytest.param("torch_cluster", marks=needs_cluster),
    pytest.param("fused", marks=needs_numba),
]
each_engine = pytest.mark.parametrize("engine", ["dense", *OTHERS, "auto"])
each_other_engine = pytest.mark.parametrize("engine", OTHERS)
each_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
each_model = pytest.mark.parametrize("model", [PoincareBall, Lorentz])


def distances(x: Tensor, y: Tensor, manifold: Manifold) -> np.ndarray:
    """Geodesic distances by arcosh in extended precision, ``[M, N]`` for queries ``y``."""
    x, y = (t.detach().double().numpy().astype(np.longdouble) for t in (x, y))
    c = np.longdouble(manifold.c)
    if isinstance(manifold, Lorentz):  # the space part is the point
        x, y = x[:, 1:], y[:, 1:]
        time_x, time_y = (np.sqrt(1 / c + (t**2).sum(axis=1)) for t in (x, y))
        cosh = c * (time_y[:, None] * time_x - np.stack([(q * x).sum(axis=1) for q in y]))
        return np.arccosh(np.maximum(cosh, 1)) / np.sqrt(c)
    squared = np.stack([((x - q) ** 2).sum(axis=1) for q in y])
    if isinstance(manifold, Euclidean):
        return np.sqrt(squared)
    gap_x, gap_y = (1 - c * (t**2).sum(axis=1) for t in (x, y))
    return np.arccosh(1 + 2 * c * squared / (gap_x * gap_y[:, None])) / np.sqrt(c)


def nearest(x: Tensor, k: int, manifold: Manifold) -> np.ndarray:
    """The graph's table by brute force, nearest first, ``[N, k]``."""
    table = distances(x, x, manifold)
    np.fill_diagonal(table, np.inf)
    return table.argsort(axis=1, kind="stable")[:, :k]


def neighbours(x: Tensor, k: int, manifold: Manifold, **kwargs) -> np.ndarray:
    """The graph's table as the package finds it."""
    edge_index = knn_graph(x, k, manifold=manifold, **kwargs)
    assert edge_index[1].tolist() == [i for i in range(len(x)) for _ in range(k)]
    return edge_index[0].view(len(x), k).numpy()


def recall(found: np.ndarray, expected: np.ndarray) -> float:
    hits = sum(len({*a} & {*b}) for a, b in zip(found, expected, strict=True))
    return hits / expected.size


def cloud(
    manifold: Manifold, num: int = 300, channels: int = 3, radius: float = 0.0, seed: int = 0
) -> Tensor:
    """Float32 points at distances of about 1 of a pivot at distance ``radius`` of the origin."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(num + 1, channels, generator=generator, dtype=torch.float64)
    half = 0.5 if isinstance(manifold, PoincareBall) else 1.0  # vectors are half as long there
    pivot = manifold.exp0(half * radius * noise[0] / noise[0].norm())
    return manifold.move(pivot[None], half * noise[1:] / channels**0.5).float()


def line(positions: list[float], manifold: Manifold) -> Tensor:
    """Points of a line at these signed distances from the origin."""
    s = torch.tensor(positions, dtype=torch.float64)[:, None]
    if isinstance(manifold, Lorentz):
        s = s * manifold.c**0.5
        return torch.cat([s.cosh(), s.sinh()], dim=1) / manifold.c**0.5
    if isinstance(manifold, PoincareBall):
        return torch.tanh(s * manifold.c**0.5 / 2) / manifold.c**0.5
    return s


@each_engine
@each_manifold
def test_a_graph_made_by_hand(engine, manifold: Manifold):
    x = line([0.0, 1.0, 3.0, 7.0, 8.0], manifold)  # a ruler on the ball finds 7 next to 3
    edge_index = knn_graph(x, 2, manifold=manifold, engine=engine)
    assert {*zip(*edge_index.tolist(), strict=True)} == {
        *[(1, 0), (2, 0), (0, 1), (2, 1), (1, 2), (0, 2), (4, 3), (2, 3), (3, 4), (2, 4)]
    }
    row, col = knn(x, line([2.5, -9.0, 7.2], manifold), 3, manifold=manifold, engine=engine)
    assert row.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert col.tolist() == [2, 1, 0, 0, 1, 2, 3, 4, 2]


def test_positional_arguments_are_those_of_pyg():
    ball = PoincareBall()
    x, y, batch = cloud(ball, 20), cloud(ball, 4, seed=1), torch.arange(20) // 10
    of_y = torch.tensor([0, 0, 1, 1])
    expected = knn(x, y, 3, batch_x=batch, batch_y=of_y, manifold=ball)
    assert torch.equal(knn(x, y, 3, batch, of_y, False, 4, manifold=ball), expected)
    expected = knn_graph(x, 3, batch=batch, loop=True, flow="target_to_source", manifold=ball)
    given = (x, 3, batch, True, "target_to_source", False, 4)
    assert torch.equal(knn_graph(*given, manifold=ball), expected)
    for search, args in ((knn, (x, y)), (knn_graph, (x,))):
        with pytest.raises(ValueError, match=r"'cosine' must be False: .*\(got True\)"):
            search(*args, 3, cosine=True, manifold=ball)


@each_engine
@each_manifold
def test_clouds_of_one_size_need_no_batch_vector(engine, manifold: Manifold):
    x, y = cloud(manifold, 60), cloud(manifold, 12, seed=1)
    batch_x, batch_y = (torch.arange(3).repeat_interleave(n) for n in (20, 4))
    how = {"manifold": manifold, "engine": engine}
    expected = knn(x, y, 5, batch_x, batch_y, **how)
    assert torch.equal(knn(x, y, 5, **how, batch_size=3), expected)
    assert torch.equal(knn(x, y, 5, batch_x, batch_y, **how, batch_size=3), expected)
    expected = knn_graph(x, 5, batch_x, **how)
    assert torch.equal(knn_graph(x, 5, **how, batch_size=3), expected)
    assert torch.equal(knn_graph(x, 5, batch_x, **how, batch_size=3), expected)
    with pytest.raises(ValueError, match=r"'batch_size' must divide the 12 points \(got 5\)"):
        knn(x, y, 2, **how, batch_size=5)
    with pytest.raises(ValueError, match="got k=21 and 20 points in cloud 0"):
        knn(x, y, 21, **how, batch_size=3)


@each_model
@pytest.mark.parametrize("c", [1.0, 0.4])
@pytest.mark.parametrize("channels", [3, 64])
@pytest.mark.parametrize("radius", [0.0, 4.0, 8.0])
@each_engine
def test_every_neighbour_is_found_out_to_radius_8(engine, model, c, channels, radius):
    manifold = model(c)
    x = cloud(manifold, channels=channels, radius=radius)
    expected = nearest(x, K, manifold)
    found = neighbours(x, K, manifold, engine=engine)
    assert recall(found, expected) == 1.0
    assert (found == expected).all()  # nearest first
    if radius == 8.0:
        assert recall(neighbours(x, K, Euclidean()), expected) < 0.95


@each_engine
@each_model
@pytest.mark.parametrize("radius", [0.5, 2.0, 8.0])
def test_distances_that_differ_by_float32_roundings_are_told_apart(engine, model, radius):
    manifold = model()
    half = 0.5 if model is PoincareBall else 1.0
    angle = torch.linspace(0, 6.28, 300, dtype=torch.float64)
    circle = half * torch.stack([angle.cos(), angle.sin()], dim=1)
    centre = manifold.exp0(half * radius * torch.tensor([[0.6, 0.8]], dtype=torch.float64))
    x, query = manifold.move(centre, circle).float(), centre.float()
    table = distances(x, query, manifold)
    assert table.std() < 1e-4
    expected = table.argsort(axis=1, kind="stable")[:, :40]
    assert knn(x, query, 40, manifold=manifold, engine=engine)[1].tolist() == [*expected[0]]


@each_engine
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("manifold", [PoincareBall(), Euclidean()], ids=repr)
def test_equal_distances_are_ordered_by_index(engine, dtype, manifold: Manifold):
    steps = [(i, j) for i in range(-3, 4) for j in range(-3, 4)]
    lattice = [steps[(17 * n) % 49] for n in range(49)]  # indices do not follow the coordinates
    lattice += lattice[:10]  # duplicates too

    def key(point: tuple[int, int], query: tuple[int, int]) -> Fraction:
        squared = Fraction(sum((p - q) ** 2 for p, q in zip(point, query, strict=True)), 64)
        return squared / (1 - int(manifold.c) * Fraction(sum(p * p for p in point), 64))

    x = torch.tensor(lattice, dtype=dtype) / 8
    for loop in (False, True):
        expected = []
        for i, query in enumerate(lattice):
            others = [j for j in range(len(lattice)) if loop or j != i]
            others.sort(key=lambda j, query=query: (key(lattice[j], query), j))
            expected.append(others[:K])
        found = neighbours(x, K, manifold, loop=loop, engine=engine)
        assert found.tolist() == expected


@each_other_engine
@each_manifold
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("kind", ["random", "duplicates", "equal", "lattice", "origin"])
def test_all_engines_give_the_same_table(engine, manifold: Manifold, dtype, channels, kind):
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(120, channels, generator=generator, dtype=dtype)
    v = {
        "random": v,
        "duplicates": v[torch.randint(0, 30, (120,), generator=generator)],
        "equal": v[:1].expand(120, -1),
        "lattice": v.round() / 4,
        "origin": 0 * v,
    }[kind]
    x = manifold.exp0(v)
    if kind == "lattice":  # the points themselves, not their vectors
        x = manifold.projx(torch.cat([v[:, :1] * 0, v], dim=1)[:, -x.size(1) :] / channels**0.5)
    for loop in (False, True):
        tables = [neighbours(x, 5, manifold, loop=loop, engine=name) for name in ("dense", engine)]
        assert (tables[0] == tables[1]).all()
        if kind in ("equal", "origin"):
            others = [[j for j in range(7) if loop or j != i][:5] for i in range(120)]
            assert tables[0].tolist() == others


@each_engine
@each_manifold
@pytest.mark.parametrize("batched", [False, True])
def test_every_node_has_exactly_k_neighbours_and_no_self_edge(engine, manifold, batched):
    x = cloud(manifold, num=40)
    x = x[torch.arange(40) // 4 * 4]  # each point four times
    batch = torch.arange(40) // 20 if batched else None
    centre, degree = torch.arange(40), torch.full((40,), 3)
    kwargs = {"batch": batch, "manifold": manifold, "engine": engine}

    edge_index = knn_graph(x, 3, **kwargs)
    assert torch.equal(edge_index[1].bincount(minlength=40), degree)
    assert (edge_index[0] != edge_index[1]).all()
    assert torch.equal(edge_index[0] // 4, edge_index[1] // 4)  # its three copies
    assert len(edge_index.unique(dim=1)[0]) == 120

    looped = knn_graph(x, 4, loop=True, **kwargs)
    assert torch.equal(looped[1].bincount(minlength=40), degree + 1)
    assert torch.equal(looped[0].view(40, 4), centre[:, None] // 4 * 4 + torch.arange(4))


@each_engine
@each_manifold
def test_with_loops_each_point_is_its_own_nearest(engine, manifold: Manifold):
    x = cloud(manifold, num=50)
    table = neighbours(x, 4, manifold, loop=True, engine=engine)
    assert table[:, 0].tolist() == [*range(50)]
    assert (table[:, 1:] == neighbours(x, 3, manifold, engine=engine)).all()


@each_engine
@each_manifold
@pytest.mark.parametrize("loop", [False, True])
def test_clouds_of_one_batch_do_not_see_each_other(engine, manifold: Manifold, loop):
    sizes = [9, 0, 17, 6, 0]  # ids 1 and 4 are skipped
    clouds = [cloud(manifold, num=size, seed=seed) for seed, size in enumerate(sizes)]
    batch = torch.arange(5).repeat_interleave(torch.tensor(sizes))
    kwargs = {"loop": loop, "manifold": manifold, "engine": engine}
    apart, start = [], 0
    for points in clouds:
        apart.append(knn_graph(points, 5, **kwargs) + start)
        start += len(points)
    together = knn_graph(torch.cat(clouds), 5, batch, **kwargs)
    assert torch.equal(together, torch.cat(apart, dim=1))
    assert torch.equal(batch[together[0]], batch[together[1]])


@each_engine
@each_manifold
def test_queries_may_be_other_points_than_the_neighbours(engine, manifold: Manifold):
    x, y = cloud(manifold, num=50), cloud(manifold, num=13, seed=1)
    batch_x = torch.tensor([0, 2, 3]).repeat_interleave(torch.tensor([20, 5, 25]))
    batch_y = torch.tensor([0, 2]).repeat_interleave(torch.tensor([6, 7]))  # none asks for 3
    row, col = knn(x, y, 4, batch_x, batch_y, manifold=manifold, engine=engine)
    assert torch.equal(row, torch.arange(13).repeat_interleave(4))
    table = distances(x, y, manifold)
    table[batch_y[:, None].numpy() != batch_x.numpy()] = np.inf
    assert col.view(13, 4).tolist() == table.argsort(axis=1)[:, :4].tolist()

    unbatched = knn(x, y, 4, manifold=manifold, engine=engine)[1].view(13, 4)
    expected = distances(x, y, manifold).argsort(axis=1)[:, :4]
    assert unbatched.tolist() == expected.tolist()


@each_other_engine
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["shuffled", "permuted", "stripes", "far", "small"])
def test_large_clouds_have_the_same_table(engine, dtype, kind):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 5, generator=generator, dtype=dtype) / 4
    if kind == "permuted":  # sums of the same numbers in another order
        x = torch.cat([x[:100, torch.randperm(5, generator=generator)] for _ in range(6)])
        x[::7] = 0
    elif kind == "stripes":  # the neighbours are every 64th point
        x = 0.01 * x + (torch.arange(600) % 64)[:, None] / 99
    elif kind == "far":  # squares overflow in float32
        x = 1e20 * x
    elif kind == "small":  # squares underflow in float32
        x = 1e-22 * x
    manifold = Euclidean() if kind in ("far", "small") else PoincareBall(0.3)
    for k in (1, 30, 400, 599):
        expected = neighbours(x, k, manifold, engine="dense")
        assert (neighbours(x, k, manifold, engine=engine) == expected).all()
    expected = nearest(x, 30, manifold)
    if kind == "shuffled":
        assert (neighbours(x, 30, manifold, engine=engine) == expected).all()


@each_engine
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_underflow_and_overflow_do_not_hide_the_order(engine, dtype):
    line = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0], [4.0, 4.0], [0.0, 3.0]], dtype=dtype)
    line = torch.cat([line, 99 + torch.rand(400, 2, dtype=dtype)])
    for scale in (1e-30, 1e-22, 1.0, 1e18, 1e30):
        x = scale * line
        row = knn(x, x[:1], 5, manifold=Euclidean(), engine=engine)[1]
        assert row.tolist() == [0, 2, 4, 1, 3]


@each_engine
@each_manifold
@pytest.mark.parametrize("loop", [False, True])
def test_points_that_are_not_numbers_are_farthest(engine, manifold: Manifold, loop):
    x = cloud(manifold, num=30)
    x[[3, 7, 20]] = torch.nan
    ordinary = torch.tensor([i for i in range(30) if i not in (3, 7, 20)])
    k = 29 + loop
    table = torch.from_numpy(neighbours(x, k, manifold, loop=loop, engine=engine))
    expected = neighbours(x[ordinary], 26 + loop, manifold, loop=loop, engine=engine)
    assert torch.equal(table[ordinary][:, :-3], ordinary[expected])
    assert (table[ordinary][:, -3:] == torch.tensor([3, 7, 20])).all()
    for i in (3, 7, 20):  # far from all: in the order of the indices
        assert table[i].tolist() == [j for j in range(30) if loop or j != i]


@each_engine
@pytest.mark.parametrize("loop", [False, True])
def test_points_of_no_channels_are_all_equal(engine, loop):
    x = torch.empty(5, 0)
    table = neighbours(x, 3, Euclidean(), loop=loop, engine=engine)
    assert table.tolist() == [[j for j in range(5) if loop or j != i][:3] for i in range(5)]


@each_engine
def test_one_point_and_no_more_than_k_points(engine):
    x = cloud(PoincareBall(), num=6)
    kwargs = {"manifold": PoincareBall(), "engine": engine}
    assert knn_graph(x[:1], 1, loop=True, **kwargs).tolist() == [[0], [0]]
    for k, loop in ((5, False), (6, True)):
        found = neighbours(x, k, PoincareBall(), loop=loop, engine=engine)
        for i in range(6):
            assert sorted(found[i]) == [j for j in range(6) if loop or j != i]


@each_engine
def test_thousands_of_identical_points(engine):
    x = torch.zeros(3000, 3)
    x[2000:] = cloud(PoincareBall(), num=1000)
    found = neighbours(x, K, PoincareBall(), engine=engine)
    assert found[5].tolist() == [0, 1, 2, 3, 4, 6, 7, 8]
    assert (found[9:2000] == np.arange(K)).all()


@each_engine
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_one_large_cloud_among_tiny_ones(engine, dtype):
    sizes = [5, 700, 0, 6, 5]
    clouds = [cloud(PoincareBall(), num=size, seed=seed) for seed, size in enumerate(sizes)]
    batch = torch.arange(5, dtype=dtype).repeat_interleave(torch.tensor(sizes))
    kwargs = {"manifold": PoincareBall(), "engine": engine}
    found = neighbours(torch.cat(clouds), 4, batch=batch, **kwargs)
    start = 0
    for points in clouds:
        if len(points):
            part = found[start : start + len(points)] - start
            assert (part == nearest(points, 4, PoincareBall())).all()
        start += len(points)


@pytest.mark.skipif(not (WITH_NUMBA and WITH_TORCH_CLUSTER), reason="needs both engines")
@pytest.mark.parametrize(
    ("num", "channels", "flat", "ball"),
    [(1024, 3, "fused", "fused"), (12000, 2, "cluster", "fused"), (34000, 2, "cluster", "cluster")],
)
def test_auto_takes_the_tree_for_many_points_in_few_channels(
    num, channels, flat, ball, monkeypatch
):
    used = []
    for name in ("_search_fused", "search_cluster", "search_dense"):
        search = getattr(kernel, name)

        def spy(*args, search=search, name=name):
            used.append(name.rpartition("_")[2])
            return search(*args)

        monkeypatch.setattr(kernel, name, spy)
    v = torch.randn(num, channels, generator=torch.Generator().manual_seed(0))
    for manifold in (Euclidean(), PoincareBall()):
        knn_graph(manifold.exp0(v / 8), 2, manifold=manifold)
    assert used == [flat, ball]
    knn_graph(PoincareBall().exp0(v), 2, manifold=PoincareBall())
    assert used[2] == "fused"  # Euclidean neighbours are others where gaps differ


@needs_numba
def test_the_number_of_threads_does_not_change_the_table():
    threads = torch.get_num_threads()
    x = cloud(PoincareBall(), num=500)
    x[200:300] = x[:100]
    batch = (torch.arange(500) > 20).long()
    try:
        tables = []
        for num in (1, 2, 3, 7):
            torch.set_num_threads(num)
            tables.append(neighbours(x, K, PoincareBall(), batch=batch, engine="fused"))
    finally:
        torch.set_num_threads(threads)
    for table in tables[1:]:
        assert (table == tables[0]).all()


@each_engine
@each_manifold
def test_nothing_to_search_gives_no_edges(engine, manifold: Manifold):
    x = cloud(manifold, num=5)
    kwargs = {"manifold": manifold, "engine": engine}
    for edge_index in (
        knn_graph(x[:0], 3, **kwargs),
        knn_graph(x[:0], 3, torch.empty(0, dtype=torch.long), **kwargs),
        knn(x, x[:0], 3, **kwargs),
        knn(x[:0], x[:0], 3, **kwargs),
        knn(x, x[:0], 30, torch.arange(5), torch.empty(0, dtype=torch.long), **kwargs),
    ):
        assert edge_index.shape == (2, 0)
        assert edge_index.dtype == torch.long


@each_manifold
def test_flow_says_which_row_holds_the_neighbours(manifold: Manifold):
    x = cloud(manifold, num=30)
    forward = knn_graph(x, 3, flow="source_to_target", manifold=manifold)
    assert torch.equal(forward, knn_graph(x, 3, manifold=manifold))
    assert torch.equal(forward[1], torch.arange(30).repeat_interleave(3))
    backward = knn_graph(x, 3, flow="target_to_source", manifold=manifold)
    assert torch.equal(backward, forward.flip(0))
    with pytest.raises(ValueError, match=r"'flow' must be 'source_to_target' or .*'sideways'"):
        knn_graph(x, 3, flow="sideways", manifold=manifold)


@each_engine
@each_manifold
def test_k_may_be_the_whole_cloud_but_not_more(engine, manifold: Manifold):
    x, batch = cloud(manifold, num=10), torch.tensor([0] * 6 + [2] * 4)
    kwargs = {"manifold": manifold, "engine": engine}
    for start, stop in ((0, 6), (6, 10)):
        num, whole = stop - start, x[start:stop]
        found = neighbours(whole, num, manifold, loop=True, engine=engine)
        assert (np.sort(found) == np.arange(num)).all()
        others = neighbours(whole, num - 1, manifold, engine=engine)
        assert (others == nearest(whole, num - 1, manifold)).all()

    with pytest.raises(ValueError, match=r"'k' .* other than .*k=4 and 4 points in cloud 2\)"):
        knn_graph(x, 4, batch, **kwargs)
    with pytest.raises(ValueError, match=r"'k' .* of a cloud \(got k=5 and 4 points in cloud 2\)"):
        knn_graph(x, 5, batch, loop=True, **kwargs)
    with pytest.raises(ValueError, match=r"k=11 and 10 points in cloud 0\)"):
        knn(x, x[:1], 11, **kwargs)
    with pytest.raises(ValueError, match=r"k=1 and 0 points in cloud 1\)"):
        knn(x, x[:1], 1, batch, torch.tensor([1]), **kwargs)
    with pytest.raises(ValueError, match=r"k=1 and 0 points in cloud 0\)"):
        knn(x[:0], x[:1], 1, **kwargs)


@each_engine
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 0}, ValueError, r"'k' must be at least 1 \(got 0\)"),
        ({"k": -3}, ValueError, r"'k' must be at least 1 \(got -3\)"),
        ({"k": 2.0}, TypeError, r"'k' must be an int \(got 2\.0\)"),
        ({"k": True}, TypeError, r"'k' must be an int \(got True\)"),
        ({"k": None}, TypeError, r"'k' must be an int \(got None\)"),
        ({"batch_x": torch.tensor([0, 1, 0, 1])}, ValueError, "'batch_x' must be sorted"),
        ({"batch_y": torch.tensor([1, 0, 0])}, ValueError, "'batch_y' must be sorted"),
        ({"batch_y": torch.tensor([-1, 0, 0])}, ValueError, "'batch_y' must be .*non-negative"),
        ({"batch_x": torch.zeros(3).long()}, ValueError, r"'batch_x' .*shape \(3,\) for 4 points"),
        ({"batch_y": torch.zeros(3, 1).long()}, ValueError, r"'batch_y' .*shape \(3, 1\) for 3"),
        ({"x": torch.zeros(4, 2).long()}, TypeError, r"'x' .*floating-point.*torch\.int64"),
        ({"y": torch.zeros(3, 2).long()}, TypeError, r"'y' .*floating-point.*torch\.int64"),
        ({"x": [[0.0, 0.0]]}, TypeError, r"'x' must be a tensor \(got list\)"),
        ({"x": torch.zeros(2)}, ValueError, r"'x' must have 2 dimensions \(got shape \(2,\)\)"),
        ({"y": torch.zeros(1, 3, 2)}, ValueError, r"'y' must have 2 dimensions \(got shape \(1, 3"),
        ({"y": torch.zeros(3, 2).double()}, TypeError, r"'y' must have dtype torch\.float32 .*64"),
        ({"y": torch.zeros(3, 5)}, ValueError, r"'y' must have last dimension 2 .*\(got 5\)"),
        ({"engine": "cuda"}, ValueError, r"'engine' must be one of .*'dense'.*\(got 'cuda'\)"),
        ({"manifold": "poincare"}, TypeError, r"'manifold' must be .*\(got 'poincare'\)"),
    ],
    ids=str,
)
def test_bad_arguments_are_named_in_one_line(engine, change, error, message):
    x = torch.tensor([[0.0, 0.1], [0.2, 0.3], [0.4, 0.1], [0.1, 0.1]])
    good = {"x": x, "y": x[:3], "k": 1, "manifold": PoincareBall(), "engine": engine}
    with pytest.raises(error, match=message) as info:
        knn(**{**good, **change})
    assert "\n" not in str(info.value)


def test_half_precision_is_refused_outside_autocast():
    for manifold in MANIFOLDS[:2]:
        x = cloud(manifold, num=20)
        for dtype in (torch.float16, torch.bfloat16):
            with pytest.raises(TypeError, match=f"float32 or float64 .*{dtype}"):
                knn_graph(x.to(dtype), 2, manifold=manifold)
            with torch.autocast("cpu", dtype=dtype):
                found = neighbours(x.to(dtype), 2, manifold)
            assert (found == nearest(x.to(dtype).float(), 2, manifold)).all()


@each_manifold
def test_the_graph_is_invariant_to_isometries(manifold: Manifold):
    x = cloud(manifold, num=100).double()
    expected = knn_graph(x, K, manifold=manifold)
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        phi = random_isometry(manifold, 3, length=4.0, generator=generator)
        assert torch.equal(knn_graph(phi(x), K, manifold=manifold), expected)


@each_engine
@each_manifold
def test_layout_and_gradients_of_the_points_do_not_matter(engine, manifold: Manifold):
    x = cloud(manifold, num=30)
    expected = knn_graph(x, 3, manifold=manifold, engine=engine)
    strided = x.T.contiguous().T.clone(memory_format=torch.preserve_format).requires_grad_()
    assert not strided.is_contiguous()
    found = knn_graph(strided, 3, manifold=manifold, engine=engine)
    assert torch.equal(found, expected)
    assert found.dtype == torch.long
    assert not found.requires_grad


@each_engine
def test_a_learnable_curvature_is_used_but_not_differentiated(engine):
    for model in (PoincareBall, Lorentz):
        manifold = model(0.4, learnable=True)
        x = cloud(model(0.4), radius=4.0)
        found = knn_graph(x, K, manifold=manifold, engine=engine)
        assert torch.equal(found, knn_graph(x, K, manifold=model(0.4), engine=engine))
        assert not found.requires_grad


@each_engine
def test_points_on_and_outside_the_boundary_are_neighbours_too(engine):
    angle = torch.arange(12) / 12 * 2 * torch.pi
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    for factor in (1.0, 1.5, 1e10):
        table = neighbours(factor * circle, 2, PoincareBall(), engine=engine)
        assert [{*row} for row in table] == [{(i + 1) % 12, (i - 1) % 12} for i in range(12)]


@each_engine
@each_manifold
def test_chunks_do_not_change_the_result(engine, manifold: Manifold, monkeypatch):
    x = cloud(manifold, num=100)
    x[50:] = x[:50]
    batch = torch.tensor([0] * 60 + [1] * 40)
    for kwargs in ({}, {"loop": True}, {"batch": batch}):
        kwargs |= {"manifold": manifold, "engine": engine}
        whole = knn_graph(x, K, **kwargs)
        for block in (1, 250, 7000):
            with monkeypatch.context() as patch:
                patch.setattr(cloud_search, "BLOCK", block)
                assert torch.equal(knn_graph(x, K, **kwargs), whole)


@each_engine
def test_memory_stays_bounded_for_a_hundred_thousand_points(engine):
    manifold = PoincareBall()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(100_000, 3, generator=generator, dtype=torch.float64) - 0.5
    y = x[::400]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        row, col = knn(x, y, K, manifold=manifold, engine=engine)
    largest = max(event.self_cpu_memory_usage for event in profiler.events())
    assert (
        0 < largest <= 8 * cloud_search.BLOCK < 8 * len(x) * len(y)
    )  # in bytes; all distances at once
    for query in (0, 123, 249):
        exact = distances(x, y[query : query + 1], manifold)[0]
        assert col[row == query].tolist() == exact.argsort()[:K].tolist()


HIDDEN = """
import torch
from torch_geometric_hyperbolic import typing
from torch_geometric_hyperbolic.manifolds import Lorentz
from torch_geometric_hyperbolic.nn import MidpointAggregation, knn_graph

assert not typing.WITH_TORCH_CLUSTER and not typing.WITH_TORCH_SCATTER and not typing.WITH_NUMBA
x = Lorentz().random(200, 3)
found = knn_graph(x, 5, manifold=Lorentz())
assert torch.equal(found, knn_graph(x, 5, manifold=Lorentz(), engine="dense"))
assert MidpointAggregation(manifold=Lorentz())(x, torch.arange(200) // 50).shape == (4, 4)
for engine in ("torch_cluster", "fused"):
    try:
        knn_graph(x, 5, manifold=Lorentz(), engine=engine)
    except ValueError as error:
        print(error)
"""


def test_without_the_compiled_packages_the_dense_engine_is_chosen():
    root = Path(torch_geometric_hyperbolic.__file__).parents[1]
    hidden = {"TGH_HIDE": "numba,torch_cluster,torch_scatter", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HIDDEN],
        env={**os.environ, **hidden},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "'engine' is 'torch_cluster', but torch-cluster is not installed" in done.stdout
    assert "'engine' is 'fused', but numba is not installed" in done.stdout


def test_the_fused_engine_is_for_devices_that_have_one():
    x = torch.empty(8, 2, device="meta")
    with pytest.raises(ValueError, match="'engine' is 'fused', but there is none for meta"):
        knn_graph(x, 3, manifold=Euclidean(), engine="fused")


@pytest.mark.slow
def test_compiled_graphs_are_those_of_eager():
    manifolds = [model(0.7, learnable=True) for model in (PoincareBall, Lorentz)]
    points = [cloud(model(0.7), num=60) for model in (PoincareBall, Lorentz)]
    batch = torch.arange(60) // 20

    def graphs(points: list[Tensor], batch: Tensor) -> Tensor:
        found = []
        for x, manifold in zip(points, manifolds, strict=True):
            moved = manifold.exp0(2 * manifold.log0(x))
            found.append(knn_graph(moved, K, batch, manifold=manifold))
        return torch.cat(found)

    compiled = torch.compile(graphs, fullgraph=True)
    assert torch.equal(compiled(points, batch), graphs(points, batch))
    before = graphs(points, batch)
    with torch.no_grad():
        for manifold in manifolds:
            manifold.log_scale += 1.0
    assert not torch.equal(graphs(points, batch), before)
    points, batch = [x[:50] for x in points], batch[:50]
    assert torch.equal(compiled(points, batch), graphs(points, batch))


@each_engine
@each_manifold
@pytest.mark.parametrize("channels", [3, 16])
def test_the_default_device_does_not_matter(manifold, engine, channels):
    """Points of a CPU in a program whose new tensors are elsewhere."""
    x = manifold.exp0(torch.randn(60, channels))
    expected = knn_graph(x, K, manifold=manifold, engine=engine)
    with torch.device("meta"):
        found = knn_graph(x, K, manifold=manifold, engine=engine)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@each_manifold
def test_under_autocast_half_precision_is_lifted(manifold: Manifold, half):
    x = manifold.random(30, 3).to(half)
    with pytest.raises(TypeError, match="must be a float32 or float64 tensor"):
        knn_graph(x, 3, manifold=manifold)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = knn_graph(x, 3, manifold=manifold)
    assert torch.equal(found, knn_graph(x.float(), 3, manifold=manifold))
