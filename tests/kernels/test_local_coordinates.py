"""Coordinates in a window's own frame, against Gram-Schmidt one vector at a time."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from torch_geometric_hyperbolic.kernels import EdgeVectors, local_coordinates, set_fused
from torch_geometric_hyperbolic.kernels.local_coordinates import _local_coordinates
from torch_geometric_hyperbolic.typing import WITH_NUMBA

compiled = pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
SIZES = [5, 0, 2, 1, 9, 0]


@pytest.fixture(params=[True, False], ids=["fused", "plain"])
def fused(request):
    set_fused(request.param)
    yield request.param
    set_fused(True)


def offsets(sizes: list[int]) -> Tensor:
    return torch.tensor([0, *sizes]).cumsum(0)


def windows(n: int, sizes: list[int] = SIZES) -> tuple[Tensor, Tensor]:
    return torch.randn(sum(sizes), n, dtype=torch.float64), offsets(sizes)


def one(vectors: list[list[float]]) -> tuple[Tensor, Tensor]:
    return torch.tensor(vectors, dtype=torch.float64), offsets([len(vectors)])


def turn(n: int) -> Tensor:
    """A rotation or reflection."""
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))[0]


def by_definition(v: Tensor) -> Tensor:
    """One window: the residual with the largest <r, r + mean> leads, again and again."""
    z = torch.zeros_like(v)
    residuals, shortest = list(v), 4e-6 * max(float(r.norm()) for r in v)
    for s in range(v.size(1)):
        mean = sum(residuals) / len(residuals)
        long = [j for j, r in enumerate(residuals) if r.norm() > shortest]
        if not long:
            break
        leader = max(long, key=lambda j: float(residuals[j] @ (residuals[j] + mean)))
        axis = residuals[leader] / residuals[leader].norm()
        for j, vector in enumerate(v):
            z[j, s] = vector @ axis
            residuals[j] = residuals[j] - (residuals[j] @ axis) * axis
    return z


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_it_is_gram_schmidt(fused, n):
    v, rowptr = windows(n)
    z = local_coordinates(v, rowptr)
    for start, stop in zip(rowptr[:-1], rowptr[1:], strict=True):
        if stop > start:
            torch.testing.assert_close(z[start:stop], by_definition(v[start:stop]))


@pytest.mark.parametrize("n", [1, 3, 7])
def test_inner_products_are_kept(fused, n):
    v, rowptr = windows(n)
    z = local_coordinates(v, rowptr)
    for start, stop in zip(rowptr[:-1], rowptr[1:], strict=True):
        gram = v[start:stop] @ v[start:stop].T
        torch.testing.assert_close(z[start:stop] @ z[start:stop].T, gram)


@pytest.mark.parametrize("n", [1, 3, 7])
def test_rotations_and_reflections_change_nothing(fused, n):
    v, rowptr = windows(n)
    for _ in range(4):
        turned = v @ turn(n)
        torch.testing.assert_close(local_coordinates(turned, rowptr), local_coordinates(v, rowptr))
    assert n == 1 or not torch.allclose(turned, v, atol=0.1)


def test_windows_do_not_see_each_other(fused):
    v, rowptr = windows(3)
    z = local_coordinates(v, rowptr)
    for start, stop in zip(rowptr[:-1], rowptr[1:], strict=True):
        alone = local_coordinates(v[start:stop], offsets([int(stop - start)]))
        torch.testing.assert_close(z[start:stop], alone, atol=0.0, rtol=0.0)


FLAT = {
    "a line": [[1, 2, -1], [2, 4, -2], [-3, -6, 3]],
    "a plane": [[1, 0, 1], [0, 2, 0], [1, 2, 1], [-3, 1, -3]],
    "one vector twice": [[1, 2, 3], [1, 2, 3]],
    "zeros": [[0, 0, 0], [0, 0, 0]],
    "a zero and a vector": [[0, 0, 0], [0, 3, 4]],
    "thin": [[1, 2, -1], [2, 4, -2 + 1e-4], [-3, -6, 3]],
    "thinner than any axis": [[1, 2, -1], [2, 4, -2 + 1e-9], [-3, -6, 3]],
}


@pytest.mark.parametrize("name", FLAT)
def test_flat_windows_have_fewer_axes(fused, name):
    v, rowptr = one(FLAT[name])
    z = local_coordinates(v, rowptr)
    torch.testing.assert_close(z @ z.T, v @ v.T, atol=1e-7, rtol=0.0)
    for _ in range(4):
        error = (local_coordinates(v @ turn(3), rowptr) - z).abs().max()
        assert error < 1e-9
    rank = int(torch.linalg.matrix_rank(v, rtol=1e-6))
    assert (z[:, rank:] == 0).all()
    assert bool((z[:, :rank].abs().amax(0) > 0).all())


@pytest.mark.parametrize("name", FLAT)
def test_gradients_of_flat_windows_are_finite(fused, name):
    v, rowptr = one(FLAT[name])
    v.requires_grad_()
    (grad,) = torch.autograd.grad(local_coordinates(v, rowptr).square().sum(), v)
    torch.testing.assert_close(grad, 2 * v.detach(), atol=1e-6, rtol=0.0)  # of the sum of |v|^2


SYMMETRIC = {
    "a pair": [[1, 0, 0], [-1, 0, 0]],
    "a square": [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]],
    "a triangle": [[1, 0, 0], [-0.5, 0.75**0.5, 0], [-0.5, -(0.75**0.5), 0]],
    "an octahedron": [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]],
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_windows_give_one_set_of_coordinates(fused, name):
    """Whoever leads, and in whatever order the vectors come."""
    v, rowptr = one(SYMMETRIC[name])
    z = local_coordinates(v, rowptr)
    for _ in range(6):
        order = torch.randperm(len(v))
        other = local_coordinates(v[order] @ turn(3), rowptr)
        distance = torch.cdist(other, z)
        assert distance.amin(0).max() < 1e-9
        assert distance.amin(1).max() < 1e-9


def bent_sheet(bend: float) -> tuple[Tensor, Tensor]:
    """Windows of a gently bent sheet, as surfaces of point clouds are."""
    flat = torch.rand(200, 8, 2, dtype=torch.float64) - 0.5
    height = bend * flat.square().sum(-1, keepdim=True)
    return torch.cat([flat, height], dim=-1), offsets([8] * 200)


@pytest.mark.parametrize("bend", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_nearly_flat_windows_depend_neither_on_order_nor_on_direction(fused, bend):
    v, rowptr = bent_sheet(bend)
    z = local_coordinates(v.flatten(0, 1), rowptr).view_as(v)
    turned = local_coordinates(v.flatten(0, 1) @ turn(3), rowptr).view_as(v)
    torch.testing.assert_close(turned, z, atol=1e-9, rtol=0.0)
    back = local_coordinates(v.flip(1).flatten(0, 1), rowptr).view_as(v).flip(1)
    torch.testing.assert_close(back, z, atol=1e-9, rtol=0.0)


def test_rounding_does_not_choose_between_equals(fused):
    """A labelled window: mirror images keep their roles under translations' rounding."""
    v, rowptr = one([[1, 1, 0], [1, -1, 0], [0, 0, 1]])
    z = local_coordinates(v, rowptr)
    for _ in range(20):
        noise = 1e-12 * torch.randn(3, 3, dtype=torch.float64)
        torch.testing.assert_close(
            local_coordinates(v @ turn(3) + noise, rowptr), z, atol=1e-9, rtol=0
        )


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_gradients_are_those_of_finite_differences(fused, n):
    v, rowptr = windows(n)
    assert torch.autograd.gradcheck(lambda v: local_coordinates(v, rowptr), v.requires_grad_())


def test_float32_is_as_good_as_its_input(fused):
    v, rowptr = windows(5, [20] * 50)
    v = v.float()
    z = local_coordinates(v, rowptr)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.double(), local_coordinates(v.double(), rowptr), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sizes", [[], [0], [0, 0, 0]])
def test_nothing_in_nothing_out(fused, sizes):
    v, rowptr = windows(3, sizes)
    out = local_coordinates(v.requires_grad_(), rowptr)
    assert out.shape == (0, 3)
    out.sum().backward()


@compiled
def test_the_number_of_threads_does_not_matter():
    v, rowptr = windows(4, [7] * 40)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        leaf = v.clone().requires_grad_()
        z = local_coordinates(leaf, rowptr)
        results.append((z, *torch.autograd.grad(z.sin().sum(), leaf)))
    torch.set_num_threads(before)
    for one_thread, two_threads in zip(*results, strict=True):
        assert torch.equal(one_thread, two_threads)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_a_proper_operator(dtype):
    v, rowptr = windows(3)
    given = EdgeVectors.stored(v.to(dtype).requires_grad_(), rowptr)
    opcheck(_local_coordinates, (*given, rowptr, 3, 1e-9))


@compiled
def test_second_derivatives_are_refused():
    v, rowptr = windows(3)
    z = local_coordinates(v.requires_grad_(), rowptr)
    with pytest.raises(RuntimeError, match="local_coordinates is differentiable once"):
        torch.autograd.grad(z.sum(), v, create_graph=True)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_seen_and_stays_in_its_window(fused, bad):
    v, rowptr = windows(3)
    expected = local_coordinates(v, rowptr)
    v[1, 2] = bad  # in the first window, of five
    z = local_coordinates(v, rowptr)
    assert z.isnan().any(1).nonzero().flatten().tolist() == [1]
    assert torch.equal(z[5:], expected[5:])
