"""One set of points, or sources and targets, as every layer with a fixed width takes them."""

import pytest
import torch

from tests.nn.conv.helpers import assert_near, edges, points
from torch_geometric_hyperbolic.manifolds import Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import HConv, HorocyclicConv, SphericalPowerConv

LAYERS = {
    "offsets": lambda manifold: HConv(3, 4, num_offsets=1, manifold=manifold),
    "waves": lambda manifold: HorocyclicConv(3, 4, manifold=manifold),
    "powers": lambda manifold: SphericalPowerConv(3, 4, manifold=manifold),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
each_space = pytest.mark.parametrize("manifold", [PoincareBall(0.7), Lorentz(0.7)], ids=str)


def called(layer, x, edge_index):
    offset = torch.zeros(edge_index.size(1), dtype=torch.long)
    return layer(x, edge_index, offset) if isinstance(layer, HConv) else layer(x, edge_index)


@each_layer
@each_space
def test_one_set_of_points_is_sources_and_targets(make, manifold):
    layer, x, edge_index = make(manifold).double(), points(manifold, 6, 3), edges(6, 6, 20)
    alone = called(layer, x, edge_index)
    for pair in ((x, x), [x, x], (x, x.clone())):
        assert_near(called(layer, pair, edge_index), alone)


@each_layer
@each_space
def test_targets_are_as_many_as_given(make, manifold):
    layer, x, y = make(manifold).double(), points(manifold, 6, 3), points(manifold, 4, 3)
    both, edge_index = torch.cat([x, y]), edges(6, 4, 20)
    out = called(layer, (x, y), edge_index)
    shifted = edge_index + torch.tensor([[0], [6]])
    assert_near(out, called(layer, both, shifted)[6:])


@each_layer
def test_what_is_no_set_of_points_is_named(make):
    ball, edge_index = PoincareBall(0.7), edges(4, 4, 5)
    layer, x = make(ball), points(PoincareBall(0.7), 4, 3, dtype=torch.float32)
    for wrong, error, words in [
        (None, TypeError, r"'x' must be a tensor \(got NoneType\)"),
        ((x, None), TypeError, r"'x' must be a tensor \(got NoneType\)"),
        (x[:, :2], ValueError, r"'x' must have last dimension 3 \(got 2\)"),
        ((x, x[:, :2]), ValueError, r"'x' must have last dimension 3 as the other .*\(got 2\)"),
        (x[0], ValueError, r"'x' must have .* dimensions \(got shape \(3,\)\)"),
        (x.double(), TypeError, r"'x' must have the layer's dtype .*\(got torch.float64\)"),
        ((x, x.double()), TypeError, r"'x' must have dtype torch.float32 .*\(got torch.float64\)"),
    ]:
        with pytest.raises(error, match=words):
            called(layer, wrong, edge_index)


@each_layer
def test_edges_of_other_nodes_are_named_where_values_are_looked_at(make, validation):
    ball = PoincareBall(0.7)
    x = points(ball, 4, 3, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"'edge_index' must hold source indices in \[0, 4\)"):
        called(make(ball), x, torch.tensor([[0, 4], [1, 2]]))


@each_layer
def test_three_sets_of_points_are_refused(make):
    ball = PoincareBall()
    layer, x = make(ball).double(), points(ball, 6, 3)
    with pytest.raises(ValueError, match=r"'x' must be points, or a pair .*\(got 3\)"):
        called(layer, (x, x, x), edges(6, 6, 20))
