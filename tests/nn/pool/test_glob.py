import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch_geometric.nn import global_mean_pool

from tests.nn.aggr.definitions import (
    INDEX,
    MANIFOLDS,
    SIZE,
    curvature,
    exp_origin,
    force,
    log_origin,
    lorentz_centroid,
    mean_by_definition,
    per_group,
    random_points,
    to_ball,
    to_model,
)
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import (
    global_frechet_mean_pool,
    global_midpoint_pool,
    global_tangent_pool,
)
from torch_geometric_hyperbolic.testing import assert_close

POOLS = (global_tangent_pool, global_midpoint_pool, global_frechet_mean_pool)
BATCH, ORDER = INDEX.sort(stable=True)

each_pool = pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
each_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)


def points(manifold: Manifold) -> Tensor:
    return to_model(random_points()[ORDER], manifold)


@each_manifold
@pytest.mark.parametrize("reduce", ["mean", "max", "min", "sum"])
def test_the_tangent_pool_reduces_vectors_at_the_origin(manifold: Manifold, reduce):
    def reduced(x: Tensor, weight: Tensor) -> Tensor:
        v = log_origin(x, c)
        out = getattr(v, {"max": "amax", "min": "amin"}.get(reduce, reduce))(dim=0)
        return exp_origin(out, c)

    c = curvature(manifold)
    x, ones = random_points()[ORDER], torch.ones(len(BATCH))
    expected = per_group(reduced, x, ones, BATCH, SIZE)
    out = global_tangent_pool(points(manifold), BATCH, SIZE, manifold=manifold, reduce=reduce)
    assert_close(to_ball(out, manifold), expected)
    if reduce == "mean":  # the default
        assert_close(global_tangent_pool(points(manifold), BATCH, SIZE, manifold=manifold), out)


@each_manifold
def test_the_midpoint_pool_is_the_centroid_of_each_graph(manifold: Manifold):
    c = curvature(manifold)
    centroid = lorentz_centroid if c > 0 else mean_by_definition
    x, ones = random_points()[ORDER], torch.ones(len(BATCH), dtype=torch.float64)
    expected = per_group(lambda x, w: centroid(x, w, c), x, ones, BATCH, SIZE)
    out = global_midpoint_pool(points(manifold), BATCH, SIZE, manifold=manifold)
    assert_close(to_ball(out, manifold), expected)


@each_manifold
def test_the_frechet_mean_pool_minimises_squared_distances(manifold: Manifold):
    c, x = curvature(manifold), random_points()[ORDER]
    out = global_frechet_mean_pool(points(manifold), BATCH, SIZE, manifold=manifold)
    for graph in (0, 2, 4):
        own = graph == BATCH
        assert force(to_ball(out, manifold)[graph], x[own], torch.ones(int(own.sum())), c) < 1e-12


@each_pool
@each_manifold
def test_graphs_of_one_batch_do_not_see_each_other(pool, manifold: Manifold):
    x = points(manifold)
    together = pool(x, BATCH, manifold=manifold)
    assert together.shape == (SIZE, x.size(1))
    for graph in range(SIZE):
        own = x[graph == BATCH]
        alone = (
            pool(own, None, manifold=manifold) if len(own) else manifold.origin(1, 3, dtype=x.dtype)
        )
        assert_close(together[graph], alone[0])


@each_pool
@each_manifold
def test_graphs_without_points_are_at_the_origin(pool, manifold: Manifold):
    x = points(manifold)
    out = pool(x, BATCH, SIZE + 2, manifold=manifold)
    origin = torch.zeros(3, x.size(1), dtype=x.dtype)
    if isinstance(manifold, Lorentz):
        origin[:, 0] = manifold.c**-0.5
    assert_close(out[[1, -2, -1]], origin)
    assert_close(pool(x[:0], BATCH[:0], 3, manifold=manifold), origin)
    assert_close(out[:SIZE], pool(x, BATCH, manifold=manifold))


@each_pool
def test_gradients_reach_the_points_and_a_learnable_curvature(pool):
    manifold = Lorentz(0.7, learnable=True)
    x = to_model(random_points(), manifold).requires_grad_()
    pool(x, BATCH, manifold=manifold)[:, 1:].sum().backward()
    assert x.grad[:, 1:].abs().amax(dim=1).min() > 1e-4
    assert manifold.log_scale.grad.abs() > 1e-4


@each_pool
@pytest.mark.parametrize("batch", [BATCH, None], ids=["graphs", "one graph"])
def test_compiled_without_a_break_outputs_and_gradients_are_those_of_eager_mode(pool, batch):
    manifold = Lorentz(0.7, learnable=True)
    x = to_model(random_points(), manifold).requires_grad_()

    def pooled(x: Tensor) -> Tensor:
        return pool(x, batch, None if batch is None else SIZE, manifold=manifold)

    results = []
    for run in (pooled, torch.compile(pooled, fullgraph=True, backend="aot_eager")):
        out = run(x)
        gradients = torch.autograd.grad(out.square().sum(), [x, manifold.log_scale])
        results.append([out, *gradients])
    for eager, compiled in zip(*results, strict=True):
        assert_close(compiled, eager)


@each_pool
@pytest.mark.parametrize("kind", [FakeTensorMode, lambda: torch.device("meta")])
def test_sizes_are_known_of_tensors_without_values(pool, kind):
    with kind():
        x, batch = torch.empty(6, 3), torch.empty(6, dtype=torch.long)
        assert pool(x, batch, 2, manifold=PoincareBall()).shape == (2, 3)
        assert pool(x, None, manifold=PoincareBall()).shape == (1, 3)


@each_pool
@each_manifold
def test_one_graph_without_points_is_at_the_origin(pool, manifold: Manifold):
    x = points(manifold)[:0]
    assert_close(pool(x, None, manifold=manifold), manifold.origin(1, 3, dtype=x.dtype))


@pytest.mark.parametrize("pool", [global_tangent_pool, global_midpoint_pool])
@each_manifold
def test_a_stack_of_graphs_is_pooled_graph_by_graph(pool, manifold: Manifold):
    stack = torch.stack([points(manifold)[:5], points(manifold)[5:10]])
    alone = torch.cat([pool(x, None, manifold=manifold) for x in stack])
    assert_close(pool(stack, None, manifold=manifold), alone)


@pytest.mark.parametrize("pool", [global_tangent_pool, global_midpoint_pool])
@each_manifold
def test_pools_of_one_graph_are_mapped_over_many(pool, manifold: Manifold):
    stack = torch.stack([points(manifold)[:5], points(manifold)[5:10]])
    together = torch.vmap(lambda x: pool(x, None, manifold=manifold))(stack)
    assert_close(together[:, 0], pool(stack, None, manifold=manifold))


@each_pool
def test_without_a_batch_there_is_one_graph_whatever_the_size_as_in_pyg(pool):
    x = points(PoincareBall())
    assert_close(pool(x, None, 3, manifold=PoincareBall()), pool(x, None, manifold=PoincareBall()))
    flat = global_tangent_pool(x, None, 3, manifold=Euclidean())
    assert_close(flat, global_mean_pool(x, None, 3))


@each_pool
def test_too_few_graphs_are_refused(pool):
    x = points(PoincareBall())
    with pytest.raises(ValueError, match=rf"'size' must be at least {SIZE}.*\(got {SIZE - 1}\)"):
        pool(x, BATCH, SIZE - 1, manifold=PoincareBall())


@each_pool
@pytest.mark.parametrize("manifold", ["ball", None])
def test_a_manifold_of_another_kind_is_refused(pool, manifold):
    with pytest.raises(TypeError, match=f"'manifold' must be .*got {manifold!r}"):
        pool(torch.zeros(2, 3), None, manifold=manifold)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match=r"'reduce' must be one of .*\(got 'mul'\)"):
        global_tangent_pool(torch.zeros(2, 3), None, manifold=PoincareBall(), reduce="mul")


@each_pool
def test_a_negative_batch_is_named(pool):
    ball, batch = PoincareBall(), BATCH.clone()
    batch[0] = -1
    with pytest.raises(IndexError, match=r"^'batch' must not be negative \(got -1\)$"):
        pool(points(ball), batch, manifold=ball)


@each_pool
def test_wrong_graphs_are_named(pool):
    ball = PoincareBall()
    x = points(ball)
    with pytest.raises(TypeError, match=r"'batch' must be a tensor of integers \(got list\)"):
        pool(x, BATCH.tolist(), manifold=ball)
    for size in (2.0, "2"):
        with pytest.raises(TypeError, match=rf"'size' must be an int \(got {size!r}\)"):
            pool(x, BATCH, size, manifold=ball)
    with pytest.raises(ValueError, match=r"'size' must be at least 0 \(got -1\)"):
        pool(x, BATCH, -1, manifold=ball)


@each_pool
def test_the_number_of_graphs_may_be_exported_or_a_tensor(pool):
    ball = PoincareBall()
    x = points(ball)
    expected = pool(x, BATCH, SIZE, manifold=ball)
    assert_close(pool(x, BATCH, torch.tensor(SIZE), manifold=ball), expected)
    if pool is global_frechet_mean_pool:
        return  # it counts on the CPU

    class Pool(torch.nn.Module):
        def forward(self, x: Tensor, batch: Tensor, ptr: Tensor) -> Tensor:
            return pool(x, batch, ptr.size(0) - 1, manifold=ball)

    ptr = torch.zeros(SIZE + 1, dtype=torch.long)
    sizes = (None, None, {0: torch.export.Dim("graphs", min=3)})
    given = (x, BATCH, ptr)
    exported = torch.export.export(Pool(), given, dynamic_shapes=sizes, strict=False).module()
    assert_close(exported(x, BATCH, torch.zeros(SIZE + 3)), pool(x, BATCH, SIZE + 2, manifold=ball))
