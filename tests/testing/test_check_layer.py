"""check_layer accepts good layers and rejects layers that break one rule each."""

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.inits import reset

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import DynamicHyperbolicEdgeConv, HyperbolicEdgeConv
from torch_geometric_hyperbolic.testing import assert_on_manifold, check_layer

SPACES = [PoincareBall(1.0), PoincareBall(0.3), Lorentz(1.0), Lorentz(2.0), Euclidean()]
each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


class PlainMeanConv(MessagePassing):
    """A layer that keeps every rule: the mean of relative vectors, mapped and added.

    The bad layers below differ from it in one method each.
    """

    def __init__(self, manifold: Manifold, channels: int = 3) -> None:
        super().__init__(aggr="mean")
        self.manifold = manifold
        self.linear = torch.nn.Linear(channels, channels)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        reset(self.linear)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        v = self.propagate(edge_index, x=x, size=(x.size(0), x.size(0)))
        return self.finish(x, v)

    def finish(self, x: Tensor, v: Tensor) -> Tensor:
        return self.manifold.exp0(self.linear(v) / (1 + v.norm(dim=-1, keepdim=True)))

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return self.manifold.rel(x_i, x_j)


class DirectionalSumConv(PlainMeanConv):
    """Good too: unlike the mean of relative vectors it does not vanish on one point."""

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return self.manifold.rel(x_i, x_j) + self.manifold.log0(x_i)


@each_space
@pytest.mark.parametrize("kind", [PlainMeanConv, DirectionalSumConv])
def test_a_good_layer_is_accepted(manifold, kind):
    check_layer(kind(manifold), manifold, in_channels=3)


@each_space
@pytest.mark.parametrize("aggr", ["max", "midpoint"])
def test_the_layers_of_the_package_are_accepted(manifold, aggr):
    nn = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    check_layer(HyperbolicEdgeConv(nn, aggr, manifold=manifold), manifold, in_channels=2)


def test_the_layer_is_left_as_it_was():
    ball = PoincareBall()
    layer = HyperbolicEdgeConv(torch.nn.Linear(6, 5), manifold=ball)
    before = [p.clone() for p in layer.parameters()]
    check_layer(layer, ball, in_channels=3)
    assert layer.training
    assert all(torch.equal(p, b) for p, b in zip(layer.parameters(), before, strict=True))
    assert all(p.grad is None and p.dtype == torch.float32 for p in layer.parameters())


class OffManifoldConv(PlainMeanConv):
    def finish(self, x, v):
        return super().finish(x, v) + 2


class OffManifoldFarOutConv(DirectionalSumConv):
    """Leaves the manifold only where points are far from the origin."""

    def finish(self, x, v):
        point = self.manifold.projx(super().finish(x, v) + 0 * x)
        far = self.manifold.dist0(x).unsqueeze(-1) > 8
        return torch.where(far, point * 3, point)


class NotFiniteConv(PlainMeanConv):
    def finish(self, x, v):
        return super().finish(x, v) / 0


class SingleOutputConv(PlainMeanConv):
    def finish(self, x, v):
        return super().finish(x, v).float()


class NodeOrderConv(DirectionalSumConv):
    def finish(self, x, v):
        return super().finish(x, v * torch.linspace(0.5, 1, len(v), dtype=v.dtype).view(-1, 1))


class EdgeOrderConv(DirectionalSumConv):
    def aggregate(self, inputs: Tensor, index: Tensor, dim_size: int) -> Tensor:
        share = torch.linspace(0, 1, len(inputs), dtype=inputs.dtype).view(-1, 1)
        return super().aggregate(inputs * share, index, None, dim_size)


class LeakingBatchConv(DirectionalSumConv):
    def finish(self, x, v):
        return super().finish(x, v - v.mean(0))


class NoEdgesFailConv(PlainMeanConv):
    """Divides by the number of edges of the graph."""

    def forward(self, x, edge_index):
        count = torch.tensor(edge_index.size(1))
        return super().forward(x, edge_index) * (count / count)


class CountsNodesWithoutEdgesConv(PlainMeanConv):
    def forward(self, x, edge_index):
        out = super().forward(x, edge_index)
        scale = 1.0 if edge_index.numel() else 1 / len(x)
        return self.manifold.exp0(scale * self.manifold.log0(out))


class DetachedConv(PlainMeanConv):
    def forward(self, x, edge_index):
        return super().forward(x.detach(), edge_index)


class NoisyConv(PlainMeanConv):
    def finish(self, x, v):
        return super().finish(x, v + 0.1 * torch.randn_like(v))


class RawScatterConv(DirectionalSumConv):
    """Sums points as vectors and projects nothing: zeros where there are no edges."""

    def finish(self, x, v):
        return v

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return x_j

    def aggregate(self, inputs: Tensor, index: Tensor, dim_size: int) -> Tensor:
        total = super().aggregate(inputs, index, None, dim_size)
        norm = (self.manifold.c * (total[:, :1] ** 2 - (total[:, 1:] ** 2).sum(-1, True))).sqrt()
        return torch.where(norm > 0, total / norm.where(norm > 0, 1), total)


class UnsafeRootConv(DirectionalSumConv):
    """A distance whose gradient is not finite at coincident points."""

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        rel = self.manifold.rel(x_i, x_j)
        return rel + self.manifold.log0(x_i) + rel.square().sum(-1, keepdim=True).sqrt()


class UnguardedDistanceConv(PlainMeanConv):
    """The textbook formula of the distance, whose gradient at the origin is 0 * infinity."""

    def finish(self, x, v):
        squares = x.square().sum(-1, keepdim=True)
        distance = torch.acosh(1 + 2 * squares / (1 - squares).clamp(min=1e-6))
        return super().finish(x, v + distance)


class FarInfiniteConv(PlainMeanConv):
    def finish(self, x, v):
        near = self.manifold.dist0(x).unsqueeze(-1) < 8
        return super().finish(x, v / near)


class InfiniteWeightGradientConv(PlainMeanConv):
    """Finite outputs everywhere, but a gradient of the weights that is not, far out."""

    def finish(self, x, v):
        far = self.manifold.dist0(x).amax() > 8
        scale = (self.linear.weight.sum() * 0 + (0.0 if far else 1.0)).sqrt()
        return super().finish(x, v + scale)


class ForgetfulStateConv(PlainMeanConv):
    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        state_dict = {key: 0.9 * value for key, value in state_dict.items()}
        super()._load_from_state_dict(state_dict, prefix, *args)

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        kept = {key: value for key, value in state_dict.items() if key != "linear.bias"}
        return super().load_state_dict(kept, strict=False)


class ForgetfulPickleConv(PlainMeanConv):
    scale = 1.0

    def __init__(self, manifold: Manifold) -> None:
        super().__init__(manifold)
        self.scale = 0.5

    def finish(self, x, v):
        return self.manifold.exp0(self.scale * self.manifold.log0(super().finish(x, v)))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "scale"}

    def __deepcopy__(self, memo: Any) -> Any:
        other = pickle.loads(pickle.dumps(self))
        other.scale = self.scale
        return other


class NeverResetConv(PlainMeanConv):
    def reset_parameters(self):
        pass


class HalfResetConv(PlainMeanConv):
    """Resets its first matrix and forgets the second."""

    def __init__(self, manifold: Manifold) -> None:
        super().__init__(manifold)
        self.second = torch.nn.Linear(3, 3)

    def finish(self, x, v):
        return super().finish(x, self.second(v))


BALL, HYPERBOLOID = PoincareBall(), Lorentz()

BAD_LAYERS = [
    (OffManifoldConv, BALL, "not on the manifold"),
    (OffManifoldConv, HYPERBOLOID, "not on the manifold"),
    (OffManifoldFarOutConv, BALL, "not on the manifold"),
    (NotFiniteConv, BALL, "not finite"),
    (NotFiniteConv, Euclidean(), "not finite"),
    (SingleOutputConv, BALL, "dtype changed from torch.float64 to torch.float32"),
    (NodeOrderConv, BALL, "not close"),
    (EdgeOrderConv, BALL, "not close"),
    (NoisyConv, BALL, "not close"),
    (LeakingBatchConv, BALL, "not close"),
    (NoEdgesFailConv, BALL, "not finite"),
    (CountsNodesWithoutEdgesConv, BALL, "not close"),
    (DetachedConv, BALL, "no gradient reaches x"),
    (RawScatterConv, HYPERBOLOID, "not on the manifold"),
    (UnsafeRootConv, BALL, "gradient of x is not finite"),
    (UnguardedDistanceConv, BALL, "gradient of x is not finite"),
    (FarInfiniteConv, BALL, "not finite"),
    (FarInfiniteConv, HYPERBOLOID, "not finite"),
    (InfiniteWeightGradientConv, BALL, "gradient of linear.weight is not finite"),
    (ForgetfulStateConv, BALL, "not close"),
    (ForgetfulPickleConv, BALL, "not close"),
    (NeverResetConv, BALL, "reset_parameters"),
    (HalfResetConv, BALL, "reset_parameters"),
]


@pytest.mark.parametrize(
    ("kind", "manifold", "reason"), BAD_LAYERS, ids=[f"{k.__name__}-{m}" for k, m, _ in BAD_LAYERS]
)
def test_a_layer_that_breaks_one_rule_is_rejected(kind, manifold, reason):
    with pytest.raises(AssertionError, match=reason):
        check_layer(kind(manifold), manifold, in_channels=3)


class InsideOnlyConv(PlainMeanConv):
    """Good inside the ball, not a number for a point beyond its boundary."""

    def finish(self, x, v):
        beyond = self.manifold.c * x.detach().square().sum(-1, keepdim=True) > 1.001
        return super().finish(x, v).masked_fill(beyond, float("nan"))


def test_points_beyond_the_boundary_are_among_those_tried():
    with pytest.raises(AssertionError):
        check_layer(InsideOnlyConv(BALL), BALL, in_channels=3)


class BreaksGraphConv(PlainMeanConv):
    def finish(self, x, v):
        if v.sum() > 0:
            return super().finish(x, v)
        return super().finish(x, 1.0 * v)


def test_a_layer_that_breaks_the_compiled_graph_is_rejected():
    check_layer(BreaksGraphConv(BALL), BALL, in_channels=3)
    with pytest.raises(Exception, match="[Dd]ata-dependent|graph break"):
        check_layer(BreaksGraphConv(BALL), BALL, in_channels=3, compiled=True)


@each_space
def test_assert_on_manifold_knows_points(manifold):
    assert_on_manifold(manifold.random(5, 3), manifold)
    assert_on_manifold(manifold.random(0, 3), manifold)


@pytest.mark.parametrize(
    ("x", "manifold"),
    [
        (torch.tensor([[1.0, 0.0]]), BALL),
        (torch.tensor([[0.1, 0.0], [0.8, 0.8]]), BALL),
        (torch.tensor([[0.1, float("nan")]]), BALL),
        (torch.zeros(1, 3), HYPERBOLOID),
        (torch.tensor([[-1.0, 0.0, 0.0]]), HYPERBOLOID),
        (torch.tensor([[1.01, 0.0, 0.0]]), HYPERBOLOID),
        (torch.tensor([[float("inf")]]), Euclidean()),
    ],
    ids=str,
)
def test_assert_on_manifold_rejects_other_vectors(x, manifold):
    with pytest.raises(AssertionError, match="not finite|not on the manifold"):
        assert_on_manifold(x, manifold)


class OwnGraphConv(DynamicHyperbolicEdgeConv):
    """The dynamic layer in the battery, which passes a graph that it does not need."""

    def forward(self, x, edge_index):
        return super().forward(x, torch.arange(len(x)) // 12)


@pytest.mark.parametrize("manifold", [BALL, HYPERBOLOID, Euclidean()], ids=str)
def test_the_dynamic_layer_is_accepted(manifold):
    layer = OwnGraphConv(torch.nn.Linear(6, 4), 3, "mean", manifold=manifold)
    check_layer(layer, manifold, in_channels=3)
