"""Points move with every isometry, scalars stay."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch_geometric.explain.algorithm.utils import set_masks

from tests.nn.conv.helpers import CURVED, SPACES, assert_near, edges, pickled, points
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import EquivariantConv
from torch_geometric_hyperbolic.testing import (
    assert_isometry_equivariant,
    assert_isometry_invariant,
    assert_on_manifold,
)

LOOSE = 1e4  # 1e-9: see test_window.py
each_space = pytest.mark.parametrize("manifold", [*SPACES, *CURVED[:1]], ids=repr)


def layer(manifold, in_channels=2, in_points=2, out_points=3, **kwargs) -> EquivariantConv:
    given = (in_channels, 5, in_points, out_points)
    return EquivariantConv(*given, manifold=manifold, **kwargs).double()


def case(manifold, in_channels=2, in_points=2) -> tuple[Tensor, Tensor, Tensor]:
    h = torch.randn(8, in_channels, dtype=torch.float64)
    return h, points(manifold, 8, in_points, 3, radius=2.0).detach(), edges(8, 7, 30)


def by_definition(conv: EquivariantConv, h: Tensor, x: Tensor, edge_index: Tensor):
    """One node at a time; sums of points on the hyperboloid, by way of weights in proportion."""
    manifold, scalars, moved = conv.manifold, [], []
    for i in range(len(x)):
        neighbours = edge_index[0, edge_index[1] == i].tolist()
        messages = []
        for j in neighbours:
            distances = [manifold.dist(a, b) for a in x[i] for b in x[j]]
            messages.append(conv.message_nn(torch.cat([h[i], h[j], torch.stack(distances)])))
        mean = sum(messages) / len(messages) if messages else torch.zeros(5).double()
        scalars.append(conv.scalar_nn(torch.cat([h[i], mean])))
        for a in range(conv.out_points):
            total = 0
            for points_j, weights in [
                (x[i], conv.lin_own(mean)),
                *[(x[j], conv.lin_neighbour(m)) for j, m in zip(neighbours, messages, strict=True)],
            ]:
                w = softplus(weights).view(conv.out_points, conv.in_points)[a]
                total = total + sum(w[b] * lift(manifold, points_j[b]) for b in range(len(w)))
            moved.append(lower(manifold, total))
    return torch.stack(scalars), torch.stack(moved).view(len(x), conv.out_points, -1)


def lift(manifold, x: Tensor) -> Tensor:
    """On the hyperboloid; in flat space, homogeneous coordinates."""
    if isinstance(manifold, Euclidean):
        return torch.cat([torch.ones(1).double(), x])
    if isinstance(manifold, Lorentz):
        return x
    c, square = manifold.c, x @ x
    time = (1 + c * square) / (1 - c * square) / c**0.5
    return torch.cat([time[None], 2 * x / (1 - c * square)])


def lower(manifold, total: Tensor) -> Tensor:
    if isinstance(manifold, Euclidean):
        return total[1:] / total[0]
    point = total / (manifold.c * (total[0] ** 2 - total[1:] @ total[1:])).sqrt()
    return point if isinstance(manifold, Lorentz) else point[1:] / (1 + manifold.c**0.5 * point[0])


@each_space
def test_it_is_the_definition(manifold):
    conv = layer(manifold)
    h, x, edge_index = case(manifold)
    for actual, expected in zip(
        conv(h, x, edge_index), by_definition(conv, h, x, edge_index), strict=True
    ):
        assert_near(actual, expected)


@each_space
@pytest.mark.parametrize("length", [0.0, 1.0, 4.0])
def test_scalars_stay_and_points_move(manifold, length):
    conv = layer(manifold)
    h, x, edge_index = case(manifold)
    how = {"manifold": manifold, "length": length, "factor": LOOSE}
    assert_isometry_invariant(lambda x: conv(h, x, edge_index)[0], x, **how)
    assert_isometry_equivariant(lambda x: conv(h, x, edge_index)[1], x, **how)
    with pytest.raises(AssertionError):
        assert_isometry_equivariant(lambda x: conv(h, x, edge_index)[1].flip(-1), x, **how)


@each_space
def test_nodes_edges_and_batches(manifold):
    conv = layer(manifold)
    h, x, edge_index = case(manifold)
    scalars, moved = conv(h, x, edge_index)
    nodes, order = torch.randperm(8), torch.randperm(30)
    new = nodes.argsort()
    again = conv(h[nodes], x[nodes], new[edge_index[:, order]])
    assert_near(again[0], scalars[nodes])
    assert_near(again[1], moved[nodes])
    both = conv(h.repeat(2, 1), x.repeat(2, 1, 1), torch.cat([edge_index, edge_index + 8], dim=1))
    assert_near(both[0], scalars.repeat(2, 1))
    assert_near(both[1], moved.repeat(2, 1, 1))


@each_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_coincident_and_far_points(manifold, dtype):
    conv = layer(manifold, in_points=1).to(dtype)
    direction = torch.nn.functional.normalize(torch.randn(8, 1, 3, dtype=dtype), dim=-1)
    for radius in (0.0, 1e-8, 1.0, 10.0, 40.0):
        x = manifold.exp0(radius * direction).detach().requires_grad_()
        for edge_index in (edges(8, 8, 30), edges(8, 8, 0)):
            scalars, moved = conv(torch.ones(8, 2, dtype=dtype), x, edge_index)
            assert_on_manifold(moved, manifold)
            assert scalars.isfinite().all()
            conv.zero_grad()
            (grad,) = torch.autograd.grad(scalars.sum() + moved.sum(), x)
            assert grad.isfinite().all()


def test_gradients_are_those_of_finite_differences():
    ball = PoincareBall(0.7)
    conv = layer(ball, in_points=1)
    h, x, edge_index = case(ball, in_points=1)
    assert torch.autograd.gradcheck(
        lambda h, x: conv(h, x, edge_index), (h.requires_grad_(), x.requires_grad_())
    )


def test_a_learnable_curvature_gets_a_gradient():
    ball = PoincareBall(0.7, learnable=True)
    conv = layer(ball)
    conv(*case(ball))[1].sum().backward()
    assert ball.log_scale.grad.abs() > 0


@each_space
def test_flow_and_int32(manifold):
    conv, back = layer(manifold), layer(manifold, flow="target_to_source")
    back.load_state_dict(conv.state_dict())
    h, x, edge_index = case(manifold)
    scalars, moved = conv(h, x, edge_index)
    for other in (back(h, x, edge_index.flip(0)), conv(h, x, edge_index.int())):
        assert_near(other[0], scalars)
        assert_near(other[1], moved)


def test_an_isolated_node_keeps_its_own_points():
    ball = PoincareBall()
    conv = layer(ball, in_points=1, out_points=2)
    h, x, _ = case(ball, in_points=1)
    _, moved = conv(h, x, edges(8, 8, 0))
    assert_near(moved, x.expand(-1, 2, -1))


def test_copies_and_resets():
    conv = layer(PoincareBall())
    given = case(PoincareBall())
    assert torch.equal(pickled(conv)(*given)[0], conv(*given)[0])
    before = [p.clone() for p in conv.parameters()]
    conv.reset_parameters()
    assert not any(torch.equal(p, b) for p, b in zip(conv.parameters(), before, strict=True))
    assert repr(conv) == (
        "EquivariantConv(2, 5, in_points=2, out_points=3, manifold=PoincareBall(c=1.0))"
    )


@pytest.mark.parametrize("dynamic", [None, True])
def test_it_compiles_in_one_graph(dynamic):
    ball = PoincareBall(0.7)
    conv, given = layer(ball), case(ball)
    compiled = torch.compile(conv, fullgraph=True, dynamic=dynamic)
    for actual, expected in zip(compiled(*given), conv(*given), strict=True):
        assert_near(actual, expected)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"in_channels": -1}, "'in_channels' must be at least 0 \\(got -1\\)"),
        ({"in_points": 0}, "'in_points' must be at least 1 \\(got 0\\)"),
        ({"out_points": 0}, "'out_points' must be at least 1 \\(got 0\\)"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        layer(PoincareBall(), **change)


def test_wrong_inputs_are_named():
    conv = layer(PoincareBall())
    h, x, edge_index = case(PoincareBall())
    with pytest.raises(ValueError, match="'x' must have 3 dimensions"):
        conv(h, x[:, 0], edge_index)
    with pytest.raises(ValueError, match="'x' must hold 2 points per node \\(got 1\\)"):
        conv(h, x[:, :1], edge_index)
    with pytest.raises(ValueError, match="'h' must have last dimension 2 \\(got 1\\)"):
        conv(h[:, :1], x, edge_index)
    with pytest.raises(ValueError, match="'h' must have one row per node of 'x', 8 \\(got 3\\)"):
        conv(h[:3], x, edge_index)
    with pytest.raises(TypeError, match="'x' must have the layer's dtype"):
        conv(h, x.float(), edge_index)


@pytest.mark.parametrize("seed", range(4))
def test_weights_that_vanish_leave_it_equivariant(seed):
    """Far apart in float32 every weight underflows: points must not fall back to the origin."""
    torch.manual_seed(seed)
    conv = EquivariantConv(0, 8, 1, 4, manifold=Euclidean())
    x, edge_index = (3000 * torch.randn(8, 1, 3)).requires_grad_(), torch.randint(8, (2, 20))
    shift = torch.tensor([3e3, 0.0, 0.0])
    moved = conv(None, x + shift, edge_index)[1]
    torch.testing.assert_close(moved - shift, conv(None, x, edge_index)[1], rtol=0, atol=1.0)
    conv(None, x, edge_index)[1].sum().backward()
    grads = [x.grad, *(p.grad for p in conv.parameters() if p.grad is not None)]
    assert all(grad.isfinite().all() for grad in grads)


def test_small_weights_keep_their_ratio_under_autocast():
    """The rounding that is added to them is that of the points, not of half precision."""
    conv = EquivariantConv(0, 4, manifold=Euclidean())
    for lin, bias in ((conv.lin_neighbour, -6.0), (conv.lin_own, -8.0)):
        torch.nn.init.zeros_(lin.weight)
        torch.nn.init.constant_(lin.bias, bias)
    x, edge_index = torch.randn(6, 1, 3), torch.randint(6, (2, 20))
    expected = conv(None, x, edge_index)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(conv(None, x, edge_index)[1], expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("manifold", [PoincareBall(), Euclidean()], ids=repr)
def test_autocast_takes_half_precision_from_a_layer_before(manifold, half):
    lin, conv = torch.nn.Linear(3, 3), EquivariantConv(0, 8, manifold=manifold)
    edge_index = torch.arange(8).repeat(2, 1).roll(1, 1)
    with torch.autocast("cpu", dtype=half):
        x = lin(torch.randn(8, 3))[:, None] / 4
        assert x.dtype == half
        scalars, moved = conv(None, x, edge_index)
        expected = conv(None, x.float(), edge_index)
    torch.testing.assert_close((scalars.float(), moved.float()), (expected[0].float(), expected[1]))


@each_space
def test_an_explanation_that_takes_an_edge_off_takes_its_points_off(manifold):
    conv, (h, x, _) = layer(manifold), case(manifold)
    edge_index = torch.tensor([[0, 1, 2, 3], [5, 5, 5, 6]])
    moved = torch.cat([manifold.move(x[:1], torch.ones(2, 3).double()), x[1:]])
    mask = torch.tensor([0.0, 1.0, 1.0, 1.0]).double()
    set_masks(conv, mask, edge_index, apply_sigmoid=False)
    for one, other in zip(conv(h, x, edge_index), conv(h, moved, edge_index), strict=True):
        assert_near(one[5], other[5])


def test_features_of_another_dtype_are_named():
    ball = PoincareBall()
    conv = EquivariantConv(2, 3, manifold=ball).double()
    with pytest.raises(TypeError, match="'h' must have the layer's dtype"):
        conv(torch.zeros(4, 2), torch.zeros(4, 1, 3).double(), torch.zeros(2, 0).long())
