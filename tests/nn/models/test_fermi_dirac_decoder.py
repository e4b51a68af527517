"""Probabilities of links: the formula, what it is invariant to, and PyG's auto-encoder."""

import mpmath
import pytest
import torch
from torch_geometric.nn import GAE

from tests.nn.conv.helpers import CURVED, SPACES, assert_near, points
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import FermiDiracDecoder, HyperbolicEdgeConv
from torch_geometric_hyperbolic.testing import assert_isometry_invariant

PAIRS = torch.tensor([[0, 1, 2, 5, 5], [1, 0, 4, 3, 5]])
each_space = pytest.mark.parametrize("manifold", [*SPACES, *CURVED], ids=repr)


def distance(x, y, manifold):
    """Of two points, in 60 digits."""
    x, y = ([mpmath.mpf(value) for value in point.tolist()] for point in (x, y))
    squared = mpmath.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    if isinstance(manifold, Euclidean):
        return mpmath.sqrt(squared)
    c = mpmath.mpf(manifold.c)
    if isinstance(manifold, Lorentz):  # Minkowski's square of y - x is 2 (cosh(d) - 1) / c
        apart = squared - 2 * (x[0] - y[0]) ** 2
        return 2 / mpmath.sqrt(c) * mpmath.asinh(mpmath.sqrt(c * apart) / 2)
    gaps = [1 - c * mpmath.fsum(a * a for a in point) for point in (x, y)]
    return mpmath.acosh(1 + 2 * c * squared / (gaps[0] * gaps[1])) / mpmath.sqrt(c)


@each_space
def test_probabilities_are_those_of_the_formula(manifold):
    z = points(manifold, 6, 3, radius=2.0)
    decoder = FermiDiracDecoder(manifold, r=1.5, t=0.7).double()
    found = decoder(z, PAIRS)
    with mpmath.workdps(60):
        for value, i, j in zip(found.tolist(), *PAIRS.tolist(), strict=True):
            d = distance(z[i], z[j], manifold)
            exact = 1 / (mpmath.exp((d**2 - mpmath.mpf(1.5)) / mpmath.mpf(0.7)) + 1)
            assert abs(value - exact) < 1e-7  # float64 tensors, but r and t began in float32
    logits = decoder(z, PAIRS, sigmoid=False)
    assert_near(logits.sigmoid(), found)
    assert logits.min() < 0 < logits.max()


@each_space
def test_all_pairs_are_the_same_pairs(manifold):
    z = points(manifold, 6, 3)
    decoder = FermiDiracDecoder(manifold).double()
    for sigmoid in (True, False):
        table = decoder.forward_all(z, sigmoid=sigmoid)
        assert table.shape == (6, 6)
        assert_near(table[PAIRS[0], PAIRS[1]], decoder(z, PAIRS, sigmoid=sigmoid))
        assert_near(table, table.t())


@each_space
def test_isometries_change_nothing(manifold):
    z = points(manifold, 6, 3)
    decoder = FermiDiracDecoder(manifold).double()
    assert_isometry_invariant(
        lambda z: decoder(z, PAIRS, sigmoid=False), z, manifold=manifold, length=3.0
    )


@each_space
def test_a_link_is_as_likely_as_none_at_the_root_of_r(manifold):
    v = torch.tensor([[0.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    z = manifold.exp0(v)
    d = manifold.dist(z[0], z[1]).item()
    pair = torch.tensor([[0], [1]])
    assert_near(
        FermiDiracDecoder(manifold, r=d**2).double()(z, pair), torch.full((1,), 0.5).double(), 1e-7
    )
    steep, flat = (FermiDiracDecoder(manifold, r=d**2 / 2, t=t).double() for t in (0.5, 2.0))
    logits = [decoder(z, pair, sigmoid=False).item() for decoder in (steep, flat)]
    assert logits[0] == pytest.approx(4 * logits[1], rel=1e-6)
    assert logits[1] == pytest.approx(-(d**2) / 4, rel=1e-6)


@each_space
def test_gradients_are_those_of_finite_differences(manifold):
    z = points(manifold, 6, 3).detach()
    decoder = FermiDiracDecoder(manifold)

    def function(z, r, log_t):
        return torch.func.functional_call(
            decoder, {"r": r, "log_t": log_t}, (z, PAIRS[:, :4]), {"sigmoid": False}
        )

    numbers = [torch.tensor(value, dtype=torch.float64) for value in (2.0, 0.3)]
    inputs = [tensor.requires_grad_() for tensor in (z, *numbers)]
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("manifold", SPACES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_and_equal_points_are_finite(manifold, dtype):
    v = torch.tensor([[30.0, 0.0], [-30.0, 0.0], [0.0, 0.0], [0.0, 0.0]], dtype=dtype)
    z = manifold.exp0(v).requires_grad_()
    decoder = FermiDiracDecoder(manifold).to(dtype)
    out = decoder(z, torch.tensor([[0, 2, 0], [1, 3, 0]]))
    assert out[0] == 0
    assert out[1:].tolist() == pytest.approx([1 / (1 + torch.e**-2)] * 2, rel=1e-6)
    out.sum().backward()
    assert z.grad.isfinite().all()
    assert z.grad[2:].abs().max() == 0


@pytest.mark.parametrize("manifold", SPACES, ids=repr)
def test_an_auto_encoder_of_pyg_learns_and_begins_anew(manifold):
    torch.manual_seed(0)
    conv = HyperbolicEdgeConv(torch.nn.Linear(2 * 3, 2), "mean", manifold=manifold)
    model = GAE(conv, FermiDiracDecoder(manifold, r=1.0, t=0.5))
    x = points(manifold, 6, 3, dtype=torch.float32)
    edge_index = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 3]])
    apart = torch.tensor([[0, 1, 2, 0, 4], [3, 4, 5, 4, 2]])
    optimizer = torch.optim.Adam(model.parameters(), 0.05)

    def loss():
        return model.recon_loss(model.encode(x, edge_index), edge_index, apart)

    before = loss().item()
    for _ in range(40):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss() < 0.7 * before
    assert model.decoder.r != 1.0
    model.reset_parameters()
    assert model.decoder.r == 1.0
    assert model.decoder.log_t.exp().item() == pytest.approx(0.5)


def test_a_learnt_curvature_has_a_gradient():
    ball = PoincareBall(learnable=True)
    decoder = FermiDiracDecoder(ball)
    assert {name for name, _ in decoder.named_parameters()} >= {"r", "log_t"}
    decoder(points(PoincareBall(), 6, 3, dtype=torch.float32), PAIRS).sum().backward()
    assert all(parameter.grad.abs() > 0 for parameter in decoder.parameters())


def test_without_pairs_there_are_no_probabilities():
    ball = PoincareBall()
    assert FermiDiracDecoder(ball)(ball.random(3, 2), torch.empty(2, 0).long()).shape == (0,)


def test_it_says_what_it_is():
    assert repr(FermiDiracDecoder(Euclidean())) == (
        "FermiDiracDecoder(manifold=Euclidean(), r=2, t=1)"
    )
    learnt = FermiDiracDecoder(Euclidean())
    learnt.load_state_dict({"r": torch.tensor(5.0), "log_t": torch.tensor(0.5).log()})
    assert repr(learnt) == "FermiDiracDecoder(manifold=Euclidean(), r=5, t=0.5)"
    assert repr(learnt.to("meta")) == "FermiDiracDecoder(manifold=Euclidean())"


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="'manifold' must be"):
        FermiDiracDecoder("ball")
    for name in ("r", "t"):
        with pytest.raises(ValueError, match=f"'{name}' must be positive and finite \\(got 0"):
            FermiDiracDecoder(PoincareBall(), **{name: 0.0})
    decoder = FermiDiracDecoder(PoincareBall())
    for call in (lambda z: decoder(z, PAIRS), decoder.forward_all):
        with pytest.raises(ValueError, match="'z' must have 2 dimensions"):
            call(torch.zeros(3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32], ids=str)
def test_pairs_may_be_small_integers_or_two_vectors(dtype):
    decoder, z = FermiDiracDecoder(PoincareBall()), PoincareBall().random(6, 3)
    expected = decoder(z, PAIRS)
    assert torch.equal(decoder(z, PAIRS.to(dtype)), expected)
    assert torch.equal(decoder(z, tuple(PAIRS.to(dtype))), expected)


@pytest.mark.parametrize(
    ("pairs", "error", "words"),
    [
        (PAIRS - 1, IndexError, r"must hold nodes in \[0, 6\) \(got -1 to 4\)"),
        (PAIRS + 3, IndexError, r"must hold nodes in \[0, 6\) \(got 3 to 8\)"),
        (PAIRS.t(), ValueError, r"must have shape \[2, E\], .* \(got \(5, 2\)\)"),
        (PAIRS[0], ValueError, r"must have shape \[2, E\], .* \(got \(5,\)\)"),
        ((PAIRS[0],) * 3, ValueError, r"must have shape \[2, E\], or be two vectors"),
        (None, ValueError, r"must have shape \[2, E\], .* \(got None\)"),
        (PAIRS.tolist(), TypeError, r"must be a tensor of integers \(got list\)"),
        (PAIRS.float(), TypeError, r"must be a tensor of integers \(got torch.float32\)"),
        (PAIRS > 0, TypeError, r"must be a tensor of integers \(got torch.bool\)"),
    ],
)
def test_wrong_pairs_are_named(pairs, error, words):
    with pytest.raises(error, match=f"'edge_index' {words}"):
        FermiDiracDecoder(Euclidean())(torch.rand(6, 2), pairs)


def test_pairs_may_be_mapped_over():
    decoder, z = FermiDiracDecoder(PoincareBall()), PoincareBall().random(6, 3)
    found = torch.vmap(decoder, (None, 0))(z, torch.stack([PAIRS, PAIRS.flip(1)]))
    expected = decoder(z, PAIRS)
    torch.testing.assert_close(found, torch.stack([expected, expected.flip(0)]))


@pytest.mark.parametrize("log_t", [-200.0, 200.0])
def test_gradients_are_finite_where_the_temperature_has_run_away(log_t):
    model = FermiDiracDecoder(PoincareBall())
    with torch.no_grad():
        model.log_t.fill_(log_t)
    z = PoincareBall().exp0(torch.randn(5, 3)).requires_grad_()
    pairs = torch.tensor([[0, 1, 2], [3, 4, 0]])
    logits = model(z, pairs, sigmoid=False)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.ones(3)).backward()
    for gradient in (z.grad, model.r.grad, model.log_t.grad):
        assert gradient.isfinite().all()


def test_flat_points_in_half_precision_have_all_pairs_too():
    model, z = FermiDiracDecoder(Euclidean()).bfloat16(), torch.randn(4, 3).bfloat16()
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T
    assert torch.equal(model.forward_all(z).flatten(), model(z, pairs))
