"""What every aggregation of points keeps, whatever its formula."""

import copy
import pickle

import geoopt
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import Aggregation, MaxAggregation, MeanAggregation

from tests.nn.aggr.definitions import (
    HYPERBOLIC,
    INDEX,
    MANIFOLDS,
    MEANS,
    SIZE,
    C,
    mean_by_definition,
    per_group,
    random_points,
    random_weight,
    tangent_mean,
    to_ball,
    to_model,
)
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import (
    FrechetMeanAggregation,
    MidpointAggregation,
    TangentAggregation,
    global_midpoint_pool,
    global_tangent_pool,
)
from torch_geometric_hyperbolic.testing import assert_close, assert_on_manifold

SORTED, ORDER = INDEX.sort(stable=True)
PTR = torch.tensor([0, *torch.bincount(INDEX, minlength=SIZE).cumsum(0)])

each_mean = pytest.mark.parametrize("mean", MEANS, ids=lambda m: m.__name__)
each_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
each_hyperbolic = pytest.mark.parametrize("manifold", HYPERBOLIC, ids=repr)
each_model = pytest.mark.parametrize("model", [PoincareBall, Lorentz])
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


class NeighbourhoodMeanForTest(MessagePassing):
    """The aggregate of the neighbours' points."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x)

    def message(self, x_j: Tensor) -> Tensor:
        return x_j


def with_gradients(aggr: Aggregation, x: Tensor, weight: Tensor, *args, **kwargs) -> list[Tensor]:
    """Result, and gradients of a generic function of it."""
    x, weight = x.detach().clone().requires_grad_(), weight.detach().clone().requires_grad_()
    out = aggr(x, *args, weight=weight, **kwargs)
    generic = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    parameters = [x, weight, *aggr.parameters()]
    return [out.detach(), *torch.autograd.grad((generic * out).sum(), parameters)]


@each_mean
@each_manifold
def test_index_and_ptr_give_the_same(mean, manifold: Manifold):
    aggr = mean(manifold=manifold)
    x, weight = to_model(random_points(), manifold)[ORDER], random_weight()[ORDER]
    by_index = with_gradients(aggr, x, weight, SORTED, dim_size=SIZE)
    by_ptr = with_gradients(aggr, x, weight, ptr=PTR)
    assert by_ptr[0].shape == (SIZE, x.size(1))
    for actual, expected in zip(by_ptr, by_index, strict=True):
        assert_close(actual, expected)
    assert_close(aggr(x, ptr=PTR), aggr(x, SORTED, dim_size=SIZE))


@each_mean
@each_manifold
def test_the_order_of_points_does_not_matter(mean, manifold: Manifold):
    aggr = mean(manifold=manifold)
    x, weight = to_model(random_points(), manifold), random_weight()
    expected = aggr(x[ORDER], SORTED, dim_size=SIZE, weight=weight[ORDER])
    assert_close(aggr(x, INDEX, dim_size=SIZE, weight=weight), expected)


@each_mean
@each_manifold
def test_groups_do_not_see_each_other(mean, manifold: Manifold):
    aggr = mean(manifold=manifold)
    x, weight = to_model(random_points(), manifold), random_weight()
    together = aggr(x, INDEX, dim_size=SIZE, weight=weight)
    for group in INDEX.unique():
        own = group == INDEX
        assert_close(together[group], aggr(x[own], weight=weight[own])[0])


@each_mean
@each_manifold
@each_dtype
def test_an_empty_group_gives_the_origin(mean, manifold: Manifold, dtype):
    aggr = mean(manifold=manifold)
    x = to_model(random_points(), manifold).to(dtype)
    origin = torch.zeros(x.size(1), dtype=dtype)
    if isinstance(manifold, Lorentz):
        origin[0] = C**-0.5
    for out in (
        aggr(x, INDEX, dim_size=SIZE)[[1, 3, 5]],
        aggr(x[ORDER], ptr=PTR)[[1, 3, 5]],
        aggr(x[:0], INDEX[:0], dim_size=4, weight=x[:0, 0]),
    ):
        assert out.dtype == dtype
        assert_close(out, origin.expand_as(out))
    assert aggr(x[:0], INDEX[:0]).shape == (0, x.size(1))


@each_mean
@each_manifold
def test_one_point_is_its_own_mean_whatever_its_weight(mean, manifold: Manifold):
    x = to_model(random_points(), manifold)
    aggr, each = mean(manifold=manifold), torch.arange(len(x))
    assert_close(aggr(x, each), x)
    assert_close(aggr(x, each, weight=random_weight()), x)


@each_mean
@each_manifold
def test_equal_points_are_their_own_mean_and_share_its_gradient(mean, manifold: Manifold):
    x = to_model(random_points(), manifold)[:1].expand(4, -1)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    out, grad, grad_weight = with_gradients(mean(manifold=manifold), x, weight)
    assert_close(out, x[:1])
    assert_close(grad / weight[:, None] * weight.sum(), grad.sum(dim=0).expand_as(grad))
    assert_close(grad_weight, torch.zeros_like(weight))
    if not isinstance(manifold, Lorentz):  # it has no use for the time of its inputs
        assert_close(grad.sum(dim=0), torch.linspace(-1, 2, 3, dtype=torch.float64))


@each_mean
@each_manifold
def test_duplicates_count_as_weight(mean, manifold: Manifold):
    aggr, x = mean(manifold=manifold), to_model(random_points(), manifold)[:3]
    weight = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
    assert_close(aggr(x[[0, 0, 1, 2, 0, 2]]), aggr(x, weight=weight))


@each_mean
@each_manifold
def test_only_the_ratio_of_weights_matters(mean, manifold: Manifold):
    aggr, x, weight = mean(manifold=manifold), to_model(random_points(), manifold), random_weight()
    plain = aggr(x, INDEX, dim_size=SIZE)
    assert_close(aggr(x, INDEX, dim_size=SIZE, weight=torch.full_like(weight, 9.0)), plain)
    expected = aggr(x, INDEX, dim_size=SIZE, weight=weight)
    assert (expected - plain).abs().max() > 0.01
    assert_close(aggr(x, INDEX, dim_size=SIZE, weight=1e-6 * weight), expected)
    assert_close(aggr(x, INDEX, dim_size=SIZE, weight=weight[:, None]), expected)


@each_mean
@each_manifold
def test_a_point_of_weight_zero_is_not_there(mean, manifold: Manifold):
    aggr, x, weight = mean(manifold=manifold), to_model(random_points(), manifold), random_weight()
    there = torch.arange(len(x)) % 3 > 0
    out, grad, _ = with_gradients(aggr, x, weight * there, INDEX, dim_size=SIZE)
    assert_close(out, aggr(x[there], INDEX[there], dim_size=SIZE, weight=weight[there]))
    assert not grad[~there].any()
    assert grad[there].any(dim=1).all()


@each_mean
@each_manifold
def test_weights_that_are_all_zero_give_the_origin(mean, manifold: Manifold):
    aggr, x = mean(manifold=manifold), to_model(random_points(), manifold)
    out, *gradients = with_gradients(aggr, x, torch.zeros(len(x), dtype=x.dtype))
    assert_close(out, aggr(x[:0], INDEX[:0], dim_size=1))
    assert all(g.isfinite().all() for g in gradients)


@each_mean
@each_manifold
def test_a_heavy_point_is_the_mean(mean, manifold: Manifold):
    x, weight = to_model(random_points(), manifold), random_weight()
    weight[7] = 1e12
    out, *gradients = with_gradients(mean(manifold=manifold), x, weight)
    torch.testing.assert_close(out[0], x[7], atol=1e-9, rtol=0)
    assert all(g.isfinite().all() for g in gradients)


@each_mean
@each_manifold
def test_a_balanced_set_has_its_mean_at_the_origin(mean, manifold: Manifold):
    for radius in (0.1, 3.0, 8.0):
        x = random_points(4, radius=radius)
        x, weight = torch.cat([x, -x]), random_weight(4).repeat(2)
        x = to_model(x, manifold)
        out, *gradients = with_gradients(mean(manifold=manifold), x, weight)
        assert_close(to_ball(out, manifold), torch.zeros(1, 3, dtype=x.dtype))
        assert all(g.isfinite().all() for g in gradients)


@each_mean
def test_on_euclidean_space_it_is_the_plain_mean(mean):
    aggr, x, weight = mean(manifold=Euclidean()), random_points(), random_weight()
    assert_close(aggr(x, INDEX, dim_size=SIZE), MeanAggregation()(x, INDEX, dim_size=SIZE))
    expected = per_group(lambda x, w: mean_by_definition(x, w, 0.0), x, weight, INDEX, SIZE)
    assert_close(aggr(x, INDEX, dim_size=SIZE, weight=weight), expected)


@each_mean
@each_model
def test_in_the_flat_limit_it_is_the_plain_mean(mean, model):
    manifold, x, weight = model(1e-9), random_points(), random_weight()
    expected = per_group(lambda x, w: mean_by_definition(x, w, 0.0), x, weight, INDEX, SIZE)
    out = mean(manifold=manifold)(to_model(x, manifold), INDEX, dim_size=SIZE, weight=weight)
    torch.testing.assert_close(to_ball(out, manifold), expected, atol=1e-8, rtol=0)


@each_mean
@each_hyperbolic
@pytest.mark.parametrize("radius", [0.01, 2.0, 5.0])
def test_float32_is_float64_up_to_a_few_roundings(mean, manifold: Manifold, radius):
    aggr, weight = mean(manifold=manifold), random_weight().float()
    x = to_model(random_points(radius=radius), manifold).float()
    out = aggr(x, INDEX, dim_size=SIZE, weight=weight)
    if isinstance(manifold, Lorentz):  # the space part is the point
        x = manifold.projx(x.double())
    expected = aggr(x.double(), INDEX, dim_size=SIZE, weight=weight.double())
    scale = expected.abs().amax(dim=1, keepdim=True).clamp(min=1e-3)
    assert out.dtype == torch.float32
    assert ((out.double() - expected).abs() <= 8 * 2**-23 * scale).all()


@each_mean
@each_model
@each_dtype
@pytest.mark.parametrize("c", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("radius", [0.0, 1e-8, 10.0, 20.0, 40.0])
def test_results_and_gradients_are_finite_at_every_radius(mean, model, dtype, c, radius):
    manifold = model(c, learnable=True)
    aggr = mean(manifold=manifold)
    direction = torch.nn.functional.normalize(random_points(), dim=-1).to(dtype)
    half = 0.5 if model is PoincareBall else 1.0
    x = manifold.exp0(half * radius / c**0.5 * direction).detach()
    out, *gradients = with_gradients(aggr, x, random_weight().to(dtype), INDEX, dim_size=SIZE)
    assert out.dtype == dtype
    assert_on_manifold(out, manifold)
    assert all(g.isfinite().all() for g in gradients)


@each_mean
@each_dtype
def test_points_outside_the_ball_are_brought_back(mean, dtype):
    manifold = PoincareBall(C)
    x = (random_points() * torch.logspace(-1, 6, 12)[:, None]).to(dtype)
    out, *gradients = with_gradients(mean(manifold=manifold), x, random_weight().to(dtype))
    assert_on_manifold(out, manifold)
    assert all(g.isfinite().all() for g in gradients)


@each_mean
@each_model
def test_gradients_are_those_of_finite_differences(mean, model):
    aggr = mean(manifold=model(C, learnable=True))

    def function(x: Tensor, weight: Tensor, log_scale: Tensor) -> Tensor:
        kwargs = {"dim_size": SIZE, "weight": weight}
        return functional_call(aggr, {"manifold.log_scale": log_scale}, (x, INDEX), kwargs)

    x, weight = to_model(random_points(channels=2), aggr.manifold), random_weight()
    log_scale = torch.tensor(0.3, dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (x.clone(), weight, log_scale)]
    assert torch.autograd.gradcheck(function, inputs)
    grads = torch.autograd.grad(function(*inputs).sum(), inputs)
    assert all(g.abs().max() > 1e-4 for g in grads)  # there was something to compare


@each_mean
@each_hyperbolic
def test_under_autocast_it_runs_in_float32(mean, manifold: Manifold):
    aggr = mean(manifold=manifold)
    x, weight = to_model(random_points(), manifold).float(), random_weight().float()
    half = x.bfloat16()
    expected = aggr(x, INDEX, dim_size=SIZE, weight=weight)
    expected_of_half = aggr(half.float(), INDEX, dim_size=SIZE, weight=weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = aggr(x, INDEX, dim_size=SIZE, weight=weight)
        of_half = aggr(half, INDEX, dim_size=SIZE, weight=weight)
    assert out.dtype == of_half.dtype == torch.float32
    assert_close(out, expected)
    assert_close(of_half, expected_of_half)


@each_mean
@each_hyperbolic
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64], ids=str)
def test_other_dtypes_are_refused(mean, manifold: Manifold, dtype):
    x = to_model(random_points(), manifold).to(dtype)
    with pytest.raises(TypeError, match=r"'x' must be a float32 or float64 tensor \(got torch\."):
        mean(manifold=manifold)(x, INDEX, dim_size=SIZE)


@each_mean
@each_manifold
def test_it_aggregates_in_message_passing(mean, manifold: Manifold):
    aggr = mean(manifold=manifold)
    layer = NeighbourhoodMeanForTest(aggr=aggr)
    x = to_model(random_points(), manifold)
    source = torch.arange(len(x)).flip(0)
    out = layer(x, torch.stack([source, INDEX]))
    assert out.shape == x.shape
    assert_on_manifold(out, manifold)
    for node in range(len(x)):
        expected = aggr(x[source[node == INDEX]], dim_size=1)
        assert_close(out[node], expected[0])


@each_mean
@each_hyperbolic
def test_copies_compute_the_same_and_reset_parameters_keeps_the_curvature(mean, manifold):
    aggr = mean(manifold=type(manifold)(C, learnable=True))
    with torch.no_grad():
        aggr.manifold.log_scale += 0.25
    x = to_model(random_points(), aggr.manifold)
    expected = aggr(x, INDEX, dim_size=SIZE)
    fresh = mean(manifold=type(manifold)(1.0, learnable=True))
    assert (fresh(x, INDEX, dim_size=SIZE) - expected).abs().max() > 1e-3
    fresh.load_state_dict(aggr.state_dict())
    reset = copy.deepcopy(aggr)
    reset.reset_parameters()
    for other in (copy.deepcopy(aggr), pickle.loads(pickle.dumps(aggr)), fresh, reset):
        assert repr(other) == repr(aggr)
        assert_close(other(x, INDEX, dim_size=SIZE), expected)


def test_repr_names_the_manifold():
    assert repr(MidpointAggregation(manifold=PoincareBall(0.5))) == (
        "MidpointAggregation(manifold=PoincareBall(c=0.5))"
    )
    assert repr(FrechetMeanAggregation(manifold=Lorentz(2.0, learnable=True))) == (
        "FrechetMeanAggregation(manifold=Lorentz(c=2, learnable=True))"
    )
    assert repr(TangentAggregation()) == "TangentAggregation('max')"
    assert repr(tangent_mean(manifold=Euclidean())) == (
        "TangentAggregation('mean', manifold=Euclidean())"
    )


@each_mean
@each_manifold
@pytest.mark.parametrize("size", [1, 11, 13])
def test_weights_of_another_number_than_points_are_refused(mean, manifold: Manifold, size):
    x = to_model(random_points(), manifold)
    with pytest.raises(ValueError, match=rf"'weight' .*\({size},\).* 12 "):
        mean(manifold=manifold)(x, INDEX, dim_size=SIZE, weight=x.new_ones(size))


@each_mean
def test_weights_that_are_no_tensor_are_refused(mean):
    x = to_model(random_points(), PoincareBall())
    with pytest.raises(TypeError, match=r"^'weight' must be a tensor \(got list\)$"):
        mean(manifold=PoincareBall())(x, INDEX, dim_size=SIZE, weight=[1.0] * len(x))


@each_mean
@pytest.mark.parametrize("manifold", [geoopt.PoincareBall(), "poincare", PoincareBall, 1.0])
def test_a_manifold_of_another_kind_is_refused(mean, manifold):
    with pytest.raises(TypeError, match="'manifold' must be a torch_geometric_hyperbolic"):
        mean(manifold=manifold)


@pytest.mark.parametrize("mean", MEANS[1:], ids=lambda m: m.__name__)
def test_a_mean_of_points_needs_a_manifold(mean):
    with pytest.raises(TypeError, match="manifold"):
        mean()


@pytest.mark.slow
def test_compiled_means_and_gradients_are_those_of_eager():
    manifold = PoincareBall(C, learnable=True)
    means = torch.nn.ModuleList(mean(manifold=manifold) for mean in MEANS)
    means.append(TangentAggregation("max", manifold=manifold))

    def all_means(x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        return torch.stack([aggr(x, index, dim_size=SIZE, weight=weight) for aggr in means])

    class All(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.manifold = manifold
            self.function = all_means

        def forward(self, x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
            return self.function(x, index, weight)

    eager, compiled = All(), All()
    compiled.function = torch.compile(all_means, fullgraph=True)
    x, weight = random_points(), random_weight()
    for actual, expected in zip(
        with_gradients(compiled, x, weight, INDEX),
        with_gradients(eager, x, weight, INDEX),
        strict=True,
    ):
        assert_close(actual, expected, factor=10)  # sums in another order


def test_max_on_euclidean_space_is_pygs():
    x = random_points()
    out = TangentAggregation("max", manifold=Euclidean())(x, INDEX, dim_size=SIZE)
    assert_close(out, MaxAggregation()(x, INDEX, dim_size=SIZE))


@each_mean
@each_manifold
def test_gradients_do_not_depend_on_the_dtype_of_the_groups(mean, manifold: Manifold):
    x = to_model(random_points(), manifold).requires_grad_()
    weight = torch.randn(SIZE, x.size(1), dtype=x.dtype)
    expected, found = (
        torch.autograd.grad((mean(manifold=manifold)(x, index, dim_size=SIZE) * weight).sum(), x)[0]
        for index in (INDEX, INDEX.int())
    )
    torch.testing.assert_close(found, expected)


@each_mean
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_in_flat_space_it_keeps_the_dtype_and_large_numbers(mean, dtype):
    scale = 1e20 if dtype == torch.float32 else 300.0
    x = (scale * torch.randn(6, 3)).to(dtype).requires_grad_()
    index = torch.tensor([0, 0, 0, 1, 1, 1])
    out = mean(manifold=Euclidean())(x, index)
    assert out.dtype == dtype
    exact = x.detach().double().view(2, 3, 3).mean(1)
    assert (out.double() - exact).abs().max() <= torch.finfo(dtype).eps * exact.abs().max()
    assert torch.autograd.grad(out.sum(), x)[0].isfinite().all()


@each_mean
def test_groups_that_are_no_integers_are_refused(mean):
    x, aggr = random_points(), mean(manifold=Euclidean())
    with pytest.raises(TypeError, match="'index' must be a tensor of integers .got torch.float32"):
        aggr(x, INDEX + 0.9)


@each_mean
@pytest.mark.parametrize("dim", [-1, 1])
def test_coordinates_are_not_aggregated(mean, dim):
    x, aggr = random_points(), mean(manifold=PoincareBall())
    with pytest.raises(ValueError, match="dim"):
        aggr(to_model(x, PoincareBall()), torch.tensor([0, 0, 1]), dim=dim)


@pytest.mark.parametrize("mean", [MidpointAggregation, FrechetMeanAggregation])
def test_negative_weights_are_refused_where_values_are_looked_at(mean, validation):
    x, weight = to_model(random_points(), PoincareBall()), random_weight()
    weight[1] = -0.5
    with pytest.raises(ValueError, match=r"'weight' must not be negative \(got -0.5\)"):
        mean(manifold=PoincareBall())(x, INDEX, weight=weight)
    with pytest.raises(TypeError, match=r"'weight' must be a tensor \(got list\)"):
        mean(manifold=PoincareBall())(x, INDEX, weight=weight.tolist())


@each_mean
@pytest.mark.parametrize("ptr", [[0, 3, 9], [0, 7, 6], [1, 6], [0, 3, 50_000_000], [0, 4, 2, 6]])
def test_offsets_beyond_the_points_are_refused(mean, ptr):
    """In PyG they are read beyond the end of memory."""
    x, aggr = to_model(random_points()[:6], PoincareBall()), mean(manifold=PoincareBall())
    with pytest.raises(ValueError, match="'ptr' must hold offsets that rise from 0 to 6"):
        aggr(x, ptr=torch.tensor(ptr))


@each_mean
def test_a_negative_index_is_named(mean):
    x, aggr = to_model(random_points(), PoincareBall()), mean(manifold=PoincareBall())
    index = INDEX.clone()
    index[1] = -1
    with pytest.raises(IndexError, match=r"^'index' must not be negative \(got -1\)$"):
        aggr(x, index)


@each_mean
@each_manifold
def test_offsets_may_be_small_integers(mean, manifold: Manifold):
    x, aggr = to_model(random_points(), manifold), mean(manifold=manifold)
    assert torch.equal(aggr(x, ptr=PTR.int()), aggr(x, ptr=PTR))


@pytest.mark.parametrize("pool", [global_tangent_pool, global_midpoint_pool])
def test_a_batch_of_another_number_than_points_is_refused(pool):
    with pytest.raises(ValueError, match="^'batch' must have one entry per element"):
        pool(random_points(), torch.zeros(3).long(), manifold=PoincareBall())


@each_mean
def test_an_index_of_another_number_than_points_is_refused(mean):
    with pytest.raises(ValueError, match="^'index' must have one entry per element"):
        mean(manifold=PoincareBall())(random_points(), torch.zeros(3).long())
