"""Scale, shift and activation against PyTorch's own layers in float64."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.kernels.graphs import (
    assert_compiles,
    assert_rounded,
    assert_same_for_any_number_of_threads,
    each_dtype,
    gradients,
    strided,
)
from torch_geometric_hyperbolic.kernels import affine_activation

ACTIVATIONS = {0.0: torch.nn.ReLU(), 0.2: torch.nn.LeakyReLU(0.2), 1.0: torch.nn.Identity()}
each_slope = pytest.mark.parametrize("slope", ACTIVATIONS)


def arguments(rows: int = 9, channels: int = 5, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    z = torch.randn(rows, channels, dtype=dtype)
    edge = torch.randint(-1, 3, (rows, channels), dtype=torch.int32)
    scale, shift = torch.randn(2, channels, dtype=torch.float64)
    return [z, edge, scale, shift]


def by_layers(z: Tensor, edge: Tensor, scale: Tensor, shift: Tensor, slope: float) -> Tensor:
    y = ACTIVATIONS[slope](torch.addcmul(shift, z.double(), scale))
    return torch.where(edge >= 0, y, 0.0)


@each_slope
@each_dtype
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_values_and_gradients(slope, dtype, rows):
    z, edge, scale, shift = arguments(rows, dtype=dtype)
    z[:, 0], shift[0] = 0, 0  # where the activation bends
    assert_rounded(
        affine_activation(z, edge, scale, shift, slope), by_layers(z, edge, scale, shift, slope)
    )
    inputs = (z, scale, shift)
    actual = gradients(lambda z, a, b: affine_activation(z, edge, a, b, slope), inputs)
    expected = gradients(lambda z, a, b: by_layers(z, edge, a, b, slope).to(dtype), inputs)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-6 if dtype == torch.float32 else 1e-12, atol=1e-12
        )


@each_slope
def test_not_finite(slope):
    z = torch.tensor([[torch.nan, torch.inf, -torch.inf, 0.0]])
    given = (
        z,
        torch.zeros(1, 4, dtype=torch.int32),
        torch.ones(4).double(),
        torch.zeros(4).double(),
    )
    expected = ACTIVATIONS[slope](z)
    torch.testing.assert_close(affine_activation(*given, slope), expected, equal_nan=True)


def test_threads_strides_and_compilation():
    z, edge, scale, shift = arguments(1000)

    def function(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return affine_activation(z, edge, scale, shift, 0.2)

    inputs = (z, scale, shift)
    assert_same_for_any_number_of_threads(lambda: [function(*inputs), *gradients(function, inputs)])
    assert torch.equal(
        affine_activation(strided(z), strided(edge), scale, shift, 0.2), function(*inputs)
    )
    assert_compiles(function, inputs)


def test_second_derivatives_are_refused():
    z, edge, scale, shift = arguments()
    out = affine_activation(z.requires_grad_(), edge, scale, shift, 0.2)
    with pytest.raises(RuntimeError, match=r"affine_activation .*differentiable once"):
        torch.autograd.grad(out.sum(), z, create_graph=True)


def test_the_operators_are_registered_as_torch_expects():
    z, edge, scale, shift = arguments()
    given = (*(t.requires_grad_(t.is_floating_point()) for t in (z, edge, scale, shift)), 0.2)
    opcheck(torch.ops.tgh.affine_activation.default, given)
    plain = tuple(t.detach() if isinstance(t, Tensor) else t for t in given)
    opcheck(torch.ops.tgh.affine_activation_backward.default, (*plain, plain[0]))
