"""A whole network that respects every isometry."""

import pytest
import torch

from tests.nn.conv.helpers import CURVED, SPACES, points
from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.nn import EquivariantGNN, knn_graph
from torch_geometric_hyperbolic.testing import (
    assert_isometry_equivariant,
    assert_isometry_invariant,
)

each_space = pytest.mark.parametrize("manifold", [*SPACES, *CURVED[:1]], ids=repr)


@each_space
@pytest.mark.parametrize("in_channels", [0, 3])
def test_it_is_equivariant_end_to_end(manifold, in_channels):
    model = EquivariantGNN(in_channels, 6, manifold=manifold, num_layers=4).double()
    x = points(manifold, 15, 3, radius=2.0).detach()
    h = torch.randn(15, in_channels, dtype=torch.float64) if in_channels else None

    def function(x):
        return model(h, x, knn_graph(x, k=4, manifold=manifold))

    for length in (0.0, 4.0):
        how = {"manifold": manifold, "length": length, "factor": 1e4}  # 1e-9
        assert_isometry_invariant(lambda x: function(x)[0], x, **how)
        assert_isometry_equivariant(lambda x: function(x)[1], x, **how)
    assert function(x)[0].std() > 1e-3
    assert [t.shape[:2] for t in function(x)] == [(15, 6), (15, 4)]


def test_scalars_that_are_given_count():
    ball = PoincareBall()
    model = EquivariantGNN(2, 6, manifold=ball)
    x = ball.random(8, 3)
    edge_index = knn_graph(x, k=3, manifold=ball)
    one, other = (model(h, x, edge_index)[0] for h in (torch.zeros(8, 2), torch.ones(8, 2)))
    assert not torch.allclose(one, other)


def test_one_layer_and_reset():
    ball = PoincareBall()
    model = EquivariantGNN(0, 6, manifold=ball, num_layers=1)
    x = ball.random(8, 3)
    edge_index = knn_graph(x, k=3, manifold=ball)
    before = model(None, x, edge_index)[0]
    model.reset_parameters()
    assert not torch.allclose(model(None, x, edge_index)[0], before)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="'num_layers' must be at least 1 \\(got 0\\)"):
        EquivariantGNN(0, 6, manifold=PoincareBall(), num_layers=0)
    with pytest.raises(ValueError, match="'x' must have 2 dimensions"):
        EquivariantGNN(0, 6, manifold=PoincareBall())(
            None, torch.zeros(2, 2, 3), torch.zeros(2, 0).long()
        )


def test_layers_are_joined_by_relus():
    ball = PoincareBall()
    model = EquivariantGNN(2, 6, manifold=ball, num_layers=2).double()
    x, h = ball.random(8, 3, dtype=torch.float64), torch.randn(8, 2).double()
    edge_index = knn_graph(x, k=3, manifold=ball)
    first, second = model.convs
    hidden, moved = first(h, x[:, None], edge_index)
    expected = second(hidden.relu(), moved, edge_index)
    for found, value in zip(model(h, x, edge_index), expected, strict=True):
        assert torch.equal(found, value)
