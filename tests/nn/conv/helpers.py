"""Cases, and what several tests of layers do with them."""

import pickle
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall

SPACES = [PoincareBall(1.0), Lorentz(1.0), Euclidean()]
CURVED = [space(c) for space in (PoincareBall, Lorentz) for c in (0.3, 1.0, 4.0)]


def points(
    manifold: Manifold, *size: int, radius: float = 1.0, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Random points at distances up to ``radius`` from the origin."""
    v = torch.randn(*size, dtype=torch.float64)
    v = v / v.norm(dim=-1, keepdim=True)
    unit = manifold.dist0(manifold.exp0(v)).unsqueeze(-1)
    return manifold.exp0(v * torch.rand_like(unit) * radius / unit).to(dtype)


def edges(num_source: int, num_target: int, count: int) -> Tensor:
    """Random edges, row 0 from the sources, row 1 from the targets."""
    return torch.stack(
        [torch.randint(0, num_source, (count,)), torch.randint(0, num_target, (count,))]
    )


def assert_near(actual: Tensor, expected: Tensor, atol: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0.0)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def check_gradients(layer: torch.nn.Module, x: Tensor, *args: Tensor) -> int:
    """Compare gradients in ``x`` and all parameters with finite differences; how many there are."""
    names, values = zip(*layer.named_parameters(), strict=True)

    def function(x: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, parameters, (x, *args))

    inputs = [tensor.detach().clone().requires_grad_() for tensor in (x, *values)]
    assert torch.autograd.gradcheck(function, inputs)
    return len(inputs)


def check_compiled(
    layer: torch.nn.Module,
    cases: Iterable[tuple[Tensor, ...]],
    *,
    backend: str,
    atol: float,
    dynamic: bool = True,
) -> None:
    """Compare outputs and gradients of the layer with those of one compilation for all cases."""
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend=backend)
    for x, *args in cases:
        leaves = [x.detach().requires_grad_(), *layer.parameters()]
        results = []
        for run in (compiled, layer):
            out = run(leaves[0], *args)
            results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
        for actual, expected in zip(*results, strict=True):
            scale = expected.abs().max().clamp(min=1.0)
            torch.testing.assert_close(actual / scale, expected / scale, atol=atol, rtol=0.0)
