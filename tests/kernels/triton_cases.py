"""The operators against their references, run by Triton: on a GPU, or interpreted on the CPU.

``TRITON_INTERPRET=1 python tests/kernels/triton_cases.py`` prints a line for each case. Triton
reads the variable when it is imported, hence a process of its own.
"""

import itertools
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels import edge_coefficients, edge_max, edge_sum, edge_values
from torch_geometric_hyperbolic.kernels.edge_coefficients import (
    _edge_coefficients,
    _edge_coefficients_backward,
    edge_coefficients_reference,
)
from torch_geometric_hyperbolic.kernels.edge_max import _edge_max_backward, edge_max_reference
from torch_geometric_hyperbolic.kernels.edge_sum import _edge_sum_backward, edge_sum_reference
from torch_geometric_hyperbolic.kernels.edge_values import (
    _edge_values_backward,
    edge_values_reference,
)

OPERATORS = (
    *(_edge_coefficients, _edge_coefficients_backward, edge_max, _edge_max_backward),
    *(edge_sum, _edge_sum_backward, edge_values, _edge_values_backward),
)
#: Edges of each target: none, few, and more than any kernel takes at a time.
DEGREES = [3, 0, 1, 35, 2, 0, 5]
SOURCES = 6  # the last of which has no edge
#: Of the largest entry. Autograd through the references adds gradients in their own dtype.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def graph(device: torch.device, degrees: list[int], sources: int) -> tuple[Tensor, Tensor]:
    rowptr = torch.tensor([0, *itertools.accumulate(degrees)])
    col = torch.randint(max(1, sources - 1), (sum(degrees),), dtype=torch.int32)
    return rowptr.to(device), col.to(device)


def terms(
    device: torch.device,
    dtype: torch.dtype,
    channels: int,
    degrees: list[int] = DEGREES,
    sources: int = SOURCES,
) -> list[Tensor]:
    """Random A, R of targets and sources, alpha, beta, rowptr and col."""
    rowptr, col = graph(device, degrees, sources)
    absolute, relative_i = torch.randn(2, len(degrees), channels, dtype=torch.float64)
    relative_j = torch.randn(sources, channels, dtype=torch.float64)
    alpha, beta = torch.rand(2, len(col), dtype=torch.float64)
    narrow = [t.to(device, dtype) for t in (absolute, alpha, beta)]
    return [narrow[0], relative_i.to(device), relative_j.to(device), *narrow[1:], rowptr, col]


def signs(channels: int, device: torch.device) -> Tensor:
    sign = torch.ones(channels, dtype=torch.float64, device=device)
    sign[::2] = -1
    return sign


def compare(actual: Tensor, expected: Tensor) -> None:
    """Equal up to the rounding of the dtype they share, relative to the largest entry."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    finite = expected[expected.isfinite()]
    largest = finite.abs().max().item() if finite.numel() else 1.0
    atol = TOLERANCE.get(expected.dtype, 0.0) * largest
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol, equal_nan=True)


def compare_with_gradients(
    operator: Callable[..., Any], reference: Callable[..., Any], inputs: list[Tensor], *rest: object
) -> None:
    """Results, and the gradients of all inputs that the reference has."""
    results: list[list[Tensor]] = []
    for function in (operator, reference):
        leaves = [t.detach().requires_grad_(t.is_floating_point()) for t in inputs]
        out = function(*leaves, *rest)
        out = [out] if isinstance(out, Tensor) else list(out)
        smooth = [o for o in out if o.requires_grad]
        torch.manual_seed(1)
        grads = [torch.randn_like(o) for o in smooth]
        wanted = [t for t in leaves if t.requires_grad]
        results.append([*out, *torch.autograd.grad(smooth, wanted, grads, allow_unused=True)])
    for actual, expected in zip(*results, strict=True):
        if expected is not None:
            compare(actual, expected)


def every_operator(
    device: torch.device,
    dtype: torch.dtype,
    channels: int,
    degrees: list[int] = DEGREES,
    sources: int = SOURCES,
) -> None:
    given = terms(device, dtype, channels, degrees, sources)
    compare_with_gradients(edge_values, values_reference, given)
    compare_with_gradients(edge_max, edge_max_reference, [*given, signs(channels, device)])
    for slope in (0.0, 0.2):
        compare_with_gradients(edge_sum, edge_sum_reference, given, slope)


def values_reference(*args: Tensor) -> Tensor:
    return edge_values_reference(*args)[1].to(args[0].dtype)


def equals(device: torch.device) -> None:
    """Of equal edges the first is chosen."""
    given = terms(device, torch.float64, 5)
    given = [t.round() if t.is_floating_point() else t for t in given]
    compare_with_gradients(edge_max, edge_max_reference, [*given, signs(5, device)])


def not_finite(device: torch.device) -> None:
    """The first NaN of a target is chosen, and an infinity is a value as any other."""
    given = terms(device, torch.float32, 3)
    given[2][:, 0] = torch.nan
    given[2][:3, 1] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    given[0][3:5, 2] = -torch.inf  # no edge of these targets is better
    sign = torch.ones(3, dtype=torch.float64, device=device)
    actual, expected = edge_max(*given, sign), edge_max_reference(*given, sign)
    assert expected[0].isnan().any() and expected[0].isinf().any()
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=TOLERANCE[torch.float32], atol=0, equal_nan=True)


def strided(device: torch.device) -> None:
    """Rows need not lie one after the other."""
    given = [t.t().contiguous().t() for t in terms(device, torch.float64, 4)[:3]]
    given += [t.repeat_interleave(2)[::2] for t in terms(device, torch.float64, 4)[3:]]
    given[5:] = graph(device, DEGREES, SOURCES)
    compare_with_gradients(edge_max, edge_max_reference, [*given, signs(4, device)])


def repeated(device: torch.device) -> None:
    """Every run has the same bits."""
    given = [t.requires_grad_(t.is_floating_point()) for t in terms(device, torch.float32, 5)]
    runs = []
    for _ in range(2):
        z, _, total, squares = edge_max(*given, signs(5, device))
        grads = torch.autograd.grad((z.sum(), total.sum(), squares.sum()), given[:5])
        runs.append((z, total, squares, *grads))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def scalars(
    device: torch.device,
    dtype: torch.dtype,
    channels: int,
    c: float = 0.7,
    spread: float = 1.0,
    degrees: list[int] = DEGREES,
    sources: int = SOURCES,
) -> None:
    """Points about a third of the way to the boundary, ``spread`` of that apart."""
    rowptr, col = graph(device, degrees, sources)
    centre = torch.nn.functional.normalize(torch.randn(1, channels, dtype=torch.float64))
    inputs = []
    for n in (len(degrees), sources):
        offset = torch.nn.functional.normalize(torch.randn(n, channels, dtype=torch.float64))
        points = ((centre + spread * offset) / 3).to(device, dtype)
        inputs += [points, 1 - c * points.double().square().sum(1, keepdim=True)]
    curvature = torch.tensor(c, dtype=torch.float64, device=device)
    if c > 0:
        rest = (2.0, rowptr, col, dtype)
        given = [*inputs, curvature]
        compare_with_gradients(edge_coefficients, edge_coefficients_reference, given, *rest)
    else:  # Euclidean space has no curvature to learn
        rest = (curvature, 2.0, rowptr, col, dtype)
        compare_with_gradients(edge_coefficients, edge_coefficients_reference, inputs, *rest)


def flat_and_far(device: torch.device) -> None:
    """In Euclidean space the distance does not matter, even where its square overflows."""
    rowptr, col = graph(device, DEGREES, SOURCES)
    points_i, points_j = (torch.randn(n, 3).double().to(device) for n in (len(DEGREES), SOURCES))
    gap_i, gap_j = (torch.ones(len(p), 1).double().to(device) for p in (points_i, points_j))
    inputs = [points_i * 1e200, gap_i, points_j * 1e200, gap_j]
    inputs = [t.requires_grad_() for t in inputs]
    zero = torch.zeros((), dtype=torch.float64, device=device)
    alpha, beta = edge_coefficients(*inputs, zero, 0.5, rowptr, col, torch.float64)
    assert (alpha == 0.5).all() and (beta == 0).all()
    *others, d_gap_j = torch.autograd.grad(alpha.sum() + beta.sum(), inputs)
    assert not any(grad.any() for grad in others)
    compare(d_gap_j, -0.5 * col.bincount(minlength=SOURCES)[:, None].double())


SINGLE, DOUBLE = torch.float32, torch.float64
#: Degrees and number of sources.
EMPTY = {"edges": ([0, 0, 0], 4), "targets": ([], 4), "nodes": ([], 0)}

CASES: dict[str, Callable[[torch.device], None]] = {
    "one channel": partial(every_operator, dtype=DOUBLE, channels=1),
    "few channels": partial(every_operator, dtype=SINGLE, channels=3),
    "many channels": partial(every_operator, dtype=SINGLE, channels=70),
    "most channels": partial(every_operator, dtype=DOUBLE, channels=200),
    **{
        f"no {what}": partial(every_operator, dtype=SINGLE, channels=3, degrees=d, sources=n)
        for what, (d, n) in EMPTY.items()
    },
    "equals": equals,
    "not finite": not_finite,
    "strided": strided,
    "repeated": repeated,
    **{
        f"scalars, {channels} channels, {name}, c = {c}": partial(
            scalars, dtype=dtype, channels=channels, c=c, spread=spread
        )
        for channels, dtype in ((1, DOUBLE), (3, SINGLE), (40, SINGLE), (200, DOUBLE))
        for name, spread, c in (("far", 1.0, 0.7), ("close", 0.03, 0.7), ("far", 1.0, 0.0))
    },
    **{
        f"scalars, no {what}": partial(scalars, dtype=SINGLE, channels=3, degrees=d, sources=n)
        for what, (d, n) in EMPTY.items()
    },
    "flat and far": flat_and_far,
}


def main() -> int:
    """Run every case on the CPU, where Triton is to stand in for what else runs there."""
    from torch_geometric_hyperbolic.kernels._triton import coefficients, edges

    edges.PROGRAMS, coefficients.EDGES = 3, 32  # fewer than there are targets and edges
    for operator in OPERATORS:
        operator.register_kernel("cpu", operator._backend_fns["cuda"])
    failed = 0
    for name, case in CASES.items():
        torch.manual_seed(0)
        try:
            case(torch.device("cpu"))
            print("ok", name, flush=True)
        except Exception:
            failed += 1
            print("FAILED", name, traceback.format_exc(), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
