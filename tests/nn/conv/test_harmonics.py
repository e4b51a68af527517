"""Orders of O(n): harmonics, the matrices that turn them, couplings, and transport."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from tests.nn.conv.helpers import SPACES, assert_near, points
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv import _harmonics as har
from torch_geometric_hyperbolic.typing import WITH_E3NN

needs_e3nn = pytest.mark.skipif(not WITH_E3NN, reason="needs e3nn")
each_dim = pytest.mark.parametrize("dim", [2, pytest.param(3, marks=needs_e3nn)])
each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def orthogonal(dim: int, determinant: int) -> Tensor:
    matrix, _ = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64))
    sign = determinant * torch.linalg.det(matrix).sign()
    return torch.cat([sign * matrix[:, :1], matrix[:, 1:]], dim=1)


def turned(f: Tensor, matrices: Tensor, order: int) -> Tensor:
    """Features ``[N, C, M]`` turned by a matrix per node."""
    blocks = har.representation(matrices, order, har.steps(order, matrices.size(-1)))
    parts = f.split([block.size(-1) for block in blocks], dim=-1)
    return torch.cat([p @ b.mT for p, b in zip(parts, blocks, strict=True)], dim=-1)


def transport_by_verbs(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """Parallel transport from ``y`` to ``x`` of the frame carried from the origin, its matrix."""
    dim = manifold.log0(x).size(-1)
    columns = []
    for unit in torch.eye(dim, dtype=x.dtype):
        v = manifold.transp0(y, unit.expand(*y.shape[:-1], dim))
        columns.append(manifold.transp0back(x, manifold.transp(y, x, v)))
    return torch.stack(columns, dim=-1)


def test_harmonics_of_the_plane_are_cosines_and_sines():
    angle, length = torch.rand(5, dtype=torch.float64) * 6, torch.rand(5, dtype=torch.float64)
    u = length[:, None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
    expected = [torch.ones_like(angle)]
    for order in range(1, 5):
        expected += [length**order * f(order * angle) for f in (torch.cos, torch.sin)]
    assert_near(har.harmonics(u, 4, har.steps(4, 2)), torch.stack(expected, dim=-1), 1e-14)


@needs_e3nn
def test_harmonics_of_space_are_those_of_e3nn():
    from e3nn.o3 import spherical_harmonics

    u = torch.randn(5, 3, dtype=torch.float64)
    expected = spherical_harmonics(list(range(6)), u, normalize=False, normalization="norm")
    assert_near(har.harmonics(u, 5, har.steps(5, 3)), expected, 1e-12)


@needs_e3nn
@pytest.mark.parametrize("determinant", [1, -1])
def test_matrices_of_space_are_those_of_e3nn(determinant):
    """Which are accurate to float32 only."""
    from e3nn.o3 import Irrep

    matrix = orthogonal(3, determinant)
    for order, block in enumerate(har.representation(matrix, 4, har.steps(4, 3))):
        assert_near(block, Irrep(order, (-1) ** order).D_from_matrix(matrix), 1e-5)


@each_dim
@pytest.mark.parametrize("determinant", [1, -1])
def test_harmonics_turn_by_the_representation(dim, determinant):
    steps = har.steps(4, dim)
    matrix, other = orthogonal(dim, determinant), orthogonal(dim, -1)
    u = torch.randn(5, 1, dim, dtype=torch.float64)
    harmonics = har.harmonics(u, 4, steps)
    assert_near(turned(harmonics, matrix, 4), har.harmonics(u @ matrix.T, 4, steps), 1e-12)
    blocks, others, both = (
        har.representation(m, 4, steps) for m in (matrix, other, matrix @ other)
    )
    for a, b, ab in zip(blocks, others, both, strict=True):
        assert_near(a @ b, ab, 1e-13)
        assert_near(a @ a.T, torch.eye(len(a), dtype=a.dtype), 1e-13)


@each_dim
@pytest.mark.parametrize("determinant", [1, -1])
def test_couplings_are_equivariant_and_orthonormal(dim, determinant):
    blocks = har.representation(orthogonal(dim, determinant), 4, har.steps(4, dim))
    for last, pairs in enumerate(har.paths(2, 2, dim)):
        for first, by in pairs:
            table = har.coupling(first, by, last, dim)
            gram = torch.einsum("ijk,ijl->kl", table, table)
            assert_near(gram, torch.eye(len(gram), dtype=gram.dtype), 1e-13)
            together = torch.einsum("abk,ai,bj->ijk", table, blocks[first], blocks[by])
            assert_near(together, table @ blocks[last].T, 1e-13)


@each_dim
def test_no_coupling_of_the_symmetry_is_left_out(dim):
    """By characters: how often order l' is in the product of order l and harmonics of order J."""
    angle = torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)
    rotation = torch.eye(dim, dtype=torch.float64).repeat(64, 1, 1)
    rotation[:, 0, 0] = rotation[:, 1, 1] = angle.cos()
    rotation[:, 1, 0], rotation[:, 0, 1] = angle.sin(), -angle.sin()
    reflected = -rotation if dim == 3 else rotation * torch.tensor([1.0, -1.0])
    share = (1 - angle.cos() if dim == 3 else torch.ones_like(angle)).repeat(2)  # Weyl
    blocks = har.representation(torch.cat([rotation, reflected]), 4, har.steps(4, dim))
    character = [block.diagonal(dim1=1, dim2=2).sum(-1) for block in blocks]
    for first, by, last in itertools.product(range(3), range(5), range(3)):
        times = (share * character[first] * character[by] * character[last]).mean().item()
        assert times == pytest.approx(har.paths(2, 2, dim)[last].count((first, by)), abs=1e-9)


@each_dim
@each_space
def test_transport_is_that_of_the_manifold(manifold, dim):
    x, y = points(manifold, 20, dim, radius=3.0), points(manifold, 20, dim, radius=3.0)
    c = manifold.c
    turn = har.transport(*manifold.to_ball(x), *manifold.to_ball(y), c)
    assert_near(turn, transport_by_verbs(manifold, x, y), 1e-10)
    assert_near(turn @ manifold.rel(y, x)[..., None], -manifold.rel(x, y)[..., None], 1e-10)
    same = har.transport(*manifold.to_ball(x), *manifold.to_ball(x), c)
    assert torch.equal(same, torch.eye(dim, dtype=x.dtype).expand(20, dim, dim))


@each_dim
@pytest.mark.parametrize("manifold", SPACES[:2], ids=str)
@pytest.mark.parametrize("radius", [12.0, 17.0])
def test_transport_is_a_rotation_at_every_radius(manifold, dim, radius):
    v = torch.randn(20, dim, dtype=torch.float64)
    v = v / v.norm(dim=-1, keepdim=True) * radius * manifold.rel_unit / 2
    near = v + torch.randn_like(v) * math.exp(-radius)
    for w in (v.roll(1, dims=0), near):
        x, y = manifold.exp0(v), manifold.exp0(w)
        turn = har.transport(*manifold.to_ball(x), *manifold.to_ball(y), manifold.c)
        assert_near(turn @ turn.mT, torch.eye(dim, dtype=x.dtype).expand_as(turn), 1e-13)
        back = turn @ manifold.rel(y, x)[..., None] + manifold.rel(x, y)[..., None]
        assert back.abs().max() < 1e-7  # as accurate as rel


@each_dim
def test_constants_keep_their_digits(dim):
    table = har.steps(3, dim)[-1]
    constant = har.Constant(table).float().double().to(torch.bfloat16)
    assert torch.equal(constant(table), table)
    assert constant(table.float()).dtype == torch.float32
    assert not constant.state_dict()


def test_bernstein_polynomials_are_bumps_that_add_up_to_one():
    far = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    values = har.bernstein(far, 1 - far, 5)
    assert_near(values.sum(-1), torch.ones(101, dtype=torch.float64), 1e-14)
    assert (values >= 0).all()
    assert values.argmax(dim=0).tolist() == [0, 25, 50, 75, 100]
