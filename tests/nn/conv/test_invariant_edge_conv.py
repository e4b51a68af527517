"""Messages from inner products alone."""

import pytest
import torch
from torch import Tensor
from torch.nn import BatchNorm1d, LeakyReLU, Linear, ReLU, Sequential

from tests.nn.conv.helpers import CURVED, SPACES, assert_near, check_gradients, edges, points
from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, PoincareBall
from torch_geometric_hyperbolic.nn import InvariantEdgeConv
from torch_geometric_hyperbolic.testing import assert_isometry_invariant, check_layer

LOOSE = 1e4  # 1e-9: see test_window.py
each_space = pytest.mark.parametrize("manifold", [*SPACES, *CURVED[:1]], ids=repr)
NETWORKS = {
    "fused": lambda: Sequential(Linear(5, 8), BatchNorm1d(8), LeakyReLU(0.2)),
    "deep": lambda: Sequential(Linear(5, 8), ReLU(), Linear(8, 4)),
}


def by_definition(conv: InvariantEdgeConv, x: Tensor, edge_index: Tensor) -> Tensor:
    """From distances alone: the law of cosines of the tangent space gives the Gram matrix."""
    manifold, rows = conv.manifold, []
    for i in range(len(x)):
        v = [manifold.rel(x[i], x[j]) for j in edge_index[0, edge_index[1] == i]]
        gram = torch.tensor([[float(a @ b) for b in v] for a in v], dtype=torch.float64)
        size = gram.diagonal().mean().sqrt()
        mean = gram.mean().clamp(min=0).sqrt()
        messages = [
            torch.stack(
                [size, mean, row[j].sqrt(), row.mean() / size, (row**2).mean().sqrt() / size]
            )
            for j, row in enumerate(gram)
        ]
        rows.append(conv.nn(torch.stack(messages)).amax(0))
    return manifold.exp0(torch.stack(rows))


@each_space
@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_the_definition(manifold, network):
    conv = InvariantEdgeConv(NETWORKS[network](), manifold=manifold).double().eval()
    x = points(manifold, 8, 3, radius=2.0)
    edge_index = torch.cat(
        [edges(8, 8, 30), torch.stack([torch.arange(8).roll(1), torch.arange(8)])], 1
    )
    assert_near(conv(x, edge_index), by_definition(conv, x, edge_index))


@each_space
def test_float32_is_rounded_float64(manifold):
    conv = InvariantEdgeConv(NETWORKS["deep"](), manifold=manifold)
    x, edge_index = points(manifold, 8, 3, radius=2.0), edges(8, 8, 30)
    rough = conv(x.float(), edge_index)
    assert rough.dtype == torch.float32
    exact = conv.double()(x.float().double(), edge_index)
    torch.testing.assert_close(rough.double(), exact, rtol=1e-5, atol=1e-5)


@each_space
@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_invariant_to_isometries(manifold, network):
    conv = InvariantEdgeConv(NETWORKS[network](), manifold=manifold).double().eval()
    x, edge_index = points(manifold, 12, 3, radius=2.0), edges(12, 12, 50)
    for length in (0.0, 1.0, 4.0):
        assert_isometry_invariant(
            lambda x: conv(x, edge_index), x, manifold, length=length, factor=LOOSE
        )


def test_it_tells_balanced_windows_apart():
    """Their means vanish: the rows' squares do not."""
    flat = Euclidean()
    pair = torch.tensor([[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [1, 0, 0], [-1, 0, 0]])
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    edge_index = torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]])
    conv = InvariantEdgeConv(Linear(5, 4), manifold=flat)
    assert not torch.allclose(conv(pair, edge_index)[0], conv(square, edge_index)[0], atol=1e-3)


@each_space
def test_all_paths_agree(manifold):
    x, edge_index = points(manifold, 12, 3), edges(12, 12, 50)
    conv = InvariantEdgeConv(NETWORKS["fused"](), manifold=manifold).double()
    fused = conv(x, edge_index)
    set_fused(False)
    try:
        assert_near(conv(x, edge_index), fused)
    finally:
        set_fused(True)


@pytest.mark.parametrize("manifold", SPACES, ids=repr)
@pytest.mark.parametrize("network", NETWORKS)
def test_it_passes_the_battery(manifold, network):
    check_layer(InvariantEdgeConv(NETWORKS[network](), manifold=manifold), manifold, in_channels=3)


def test_gradients_are_those_of_finite_differences():
    ball = PoincareBall(0.7, learnable=True)
    conv = InvariantEdgeConv(Linear(5, 2), aggr="mean", manifold=ball).double()
    assert check_gradients(conv, points(ball, 5, 3), edges(5, 5, 14)) == 4


def test_networks_of_another_width_are_refused():
    conv = InvariantEdgeConv(Linear(6, 2), manifold=PoincareBall())
    with pytest.raises(ValueError, match="'nn' must take 5 invariants \\(got 6 input channels\\)"):
        conv(torch.zeros(4, 3), edges(4, 4, 6))


def test_it_has_no_frame():
    with pytest.raises(TypeError, match="frame"):
        InvariantEdgeConv(Linear(5, 2), manifold=PoincareBall(), frame="local")
