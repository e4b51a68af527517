"""The operators against their references, run by Triton: on a GPU, or interpreted on the CPU.

``TRITON_INTERPRET=1 python tests/kernels/triton_cases.py`` prints a line for each case. Triton
reads the variable when it is imported, hence a process of its own.
"""

import itertools
import sys
import traceback
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels import (
    affine_activation,
    ball_and_log,
    batch_affine,
    edge_coefficients,
    edge_max,
    edge_sum,
    edge_values,
    exp0,
    knn,
    radial,
    to_ball,
)
from torch_geometric_hyperbolic.kernels.affine_activation import _affine_activation_backward
from torch_geometric_hyperbolic.kernels.batch_affine import _batch_affine_backward
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
from torch_geometric_hyperbolic.kernels.farthest_points import (
    farthest_points,
    farthest_points_reference,
)
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall

OPERATORS = (
    *(affine_activation, _affine_activation_backward, batch_affine, _batch_affine_backward),
    *(
        radial._ball_and_log,
        radial._ball_and_log_backward,
        radial._exp0,
        radial._exp0_backward,
        farthest_points,
    ),
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


def no_channels(device: torch.device) -> None:
    """Nothing of every edge; and the scalars of points without coordinates, all in one place."""
    given = terms(device, torch.float64, 0)
    assert edge_values(*given).shape == (len(given[-1]), 0)
    points, gap = (torch.zeros(n, k).double().to(device) for n, k in ((7, 0), (7, 1)))
    c = torch.ones((), dtype=torch.float64, device=device)
    alpha, beta = edge_coefficients(points, 1 + gap, points, 1 + gap, c, 1.0, *given[-2:], SINGLE)
    assert (alpha == 1).all() and (beta == 0).all()


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


def shared_nodes(device: torch.device, dtype: torch.dtype) -> None:
    """Targets that are the sources: the operators return one gradient for both."""
    absolute, _, _, alpha, beta, rowptr, col = terms(device, dtype, 5, sources=len(DEGREES))
    relative = torch.randn(len(DEGREES), 5, dtype=torch.float64, device=device)

    def of(operator: Callable[..., Any]) -> Callable[..., Any]:
        return lambda r, a, *rest: operator(a, r, r, *rest)

    given = [relative, absolute, alpha, beta, rowptr, col]
    compare_with_gradients(of(edge_values), of(values_reference), given)
    compare_with_gradients(of(edge_max), of(edge_max_reference), [*given, signs(5, device)])
    compare_with_gradients(of(edge_sum), of(edge_sum_reference), given, 0.2)
    points = (absolute / 9).detach()
    gap = 1 - points.double().square().sum(1, keepdim=True)
    c = torch.ones((), dtype=torch.float64, device=device)
    fixed = (2.0, rowptr, col, dtype)

    def scalars_of(operator: Callable[..., Any]) -> Callable[..., Any]:
        return lambda p, g, *rest: operator(p, g, p, g, *rest)

    pair = (scalars_of(edge_coefficients), scalars_of(edge_coefficients_reference))
    compare_with_gradients(*pair, [points, gap, c], *fixed)


#: Distances from the origin in units of the radius of curvature; the series end at 0.03, the ball
#: of float32 at 17 and that of float64 at 35, and 50 is too long for any.
RADII = [0.0, 1e-8, 1e-4, 0.03, 0.035, 0.5, 2.0, 8.0, 16.0, 30.0, 50.0]


def along_rays(device: torch.device, manifold: Manifold, dtype: torch.dtype, channels: int) -> None:
    """Charts and exponentials, as the verbs of the manifold have them, and their gradients.

    Where points are shortened a derivative is of no size that both could share.
    """
    c = float(manifold.c)
    v = torch.nn.functional.normalize(torch.randn(len(RADII), channels, dtype=torch.float64))
    half = 0.5 if isinstance(manifold, PoincareBall) else 1.0
    v *= half * torch.tensor(RADII, dtype=torch.float64)[:, None] / c**0.5
    v = v.to(device, dtype)
    x = manifold.exp0(v)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(exp0(v, manifold), x, rtol=4 * eps + 1e-13, atol=0)
    point, gap, log = ball_and_log(x, manifold)
    expected = (*manifold.to_ball(x), manifold.log0(x))
    torch.testing.assert_close(point, expected[0], rtol=4 * eps, atol=0)
    inner = slice(0, 8)  # beyond, a rounding of a coordinate is more than a gap's
    for own in (gap, to_ball(x, manifold)[1]):
        torch.testing.assert_close(own[inner], expected[1][inner], rtol=1e-12, atol=0)
    torch.testing.assert_close(log[inner], expected[2][inner], rtol=4 * eps + 1e-12, atol=0)

    def of_ball_and_log(x: Tensor) -> tuple[Tensor, ...]:
        return ball_and_log(x, manifold)

    def of_verbs(x: Tensor) -> tuple[Tensor, ...]:
        return (*manifold.to_ball(x), manifold.log0(x))

    compare_with_gradients(of_ball_and_log, of_verbs, [x[:7]])
    compare_with_gradients(lambda v: exp0(v, manifold), manifold.exp0, [v[:7]])


def shortened(device: torch.device, space: type[PoincareBall] | type[Lorentz]) -> None:
    """What is too long ends where its ray does, and gradients do not look along the ray."""
    manifold = space(0.7)
    long = 1e21 * torch.randn(5, 3, dtype=torch.float64, device=device)

    def charts(v: Tensor) -> list[Tensor]:
        x = torch.cat([v[:, :1], v], dim=1) if space is Lorentz else v
        point, gap, log = ball_and_log(x, manifold)
        return [point, log, gap]

    def exponential(v: Tensor) -> list[Tensor]:
        x = exp0(v, manifold)
        return [x[:, 1:], x[:, :1]] if space is Lorentz else [x]

    def by_rays(v: Tensor, ends: list[Tensor]) -> list[Tensor]:
        ray = torch.nn.functional.normalize(v)
        vectors = [ray * end.norm(dim=1, keepdim=True) for end in ends if end.size(1) == 3]
        return vectors + [end + 0 * ray[:, :1] for end in ends if end.size(1) == 1]

    for function in (charts, exponential):
        compare_with_gradients(function, partial(by_rays, ends=function(long)), [long])


def near_the_boundary(device: torch.device, c: float) -> None:
    """Gaps keep their digits, against fractions, where products with ``c`` are exact: elsewhere a
    GPU's are as good, but not the interpreter's. See test_to_ball.py.
    """
    manifold = PoincareBall(c)
    ray = torch.nn.functional.normalize(torch.randn(20, 5, dtype=torch.float64, device=device))
    radii = torch.linspace(2, 28, 20, dtype=torch.float64, device=device)[:, None]
    x = manifold.exp0(ray * radii / 2 / c**0.5)
    for row, gap in zip(x.tolist(), ball_and_log(x, manifold)[1][:, 0].tolist(), strict=True):
        exact = 1 - Fraction(c) * sum(Fraction(entry) ** 2 for entry in row)
        assert abs(Fraction(gap) / exact - 1) < 2.0**-52 + 5 * 2.0**-72 / gap


def learnt_curvature(device: torch.device, space: type[PoincareBall] | type[Lorentz]) -> None:
    """Gradients by the curvature."""
    manifold = space(0.7, learnable=True).to(device)
    (parameter,) = manifold.parameters()
    v = torch.randn(9, 3, dtype=torch.float64, device=device)
    x = manifold.exp0(v).detach()
    weights = torch.randn(4, 9, 4, dtype=torch.float64, device=device)
    grads = []
    for to, back in ((exp0, ball_and_log), (by_verb_exp0, by_verbs)):
        out = (*back(x, manifold), to(v, manifold))
        total = sum((w[:, : o.size(1)] * o).sum() for w, o in zip(weights, out, strict=True))
        grads.append(torch.autograd.grad(total, parameter)[0])
    torch.testing.assert_close(*grads, rtol=1e-6, atol=0)  # in float32, as the parameter


def by_verb_exp0(v: Tensor, manifold: Manifold) -> Tensor:
    return manifold.exp0(v)


def by_verbs(x: Tensor, manifold: Manifold) -> tuple[Tensor, Tensor, Tensor]:
    return (*manifold.to_ball(x), manifold.log0(x))


def batch_norm(device: torch.device, dtype: torch.dtype, channels: int, slope: float) -> None:
    """A batch norm and an activation of chosen values, as PyTorch's layers."""
    z = torch.randn(40, channels, dtype=dtype, device=device)
    edge = torch.randint(-1, 3, z.shape, dtype=torch.int32, device=device)
    weight, bias = torch.randn(2, channels, dtype=dtype, device=device)

    def fused(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        wide = z.double()
        sums = (wide.sum(0), wide.square().sum(0))
        scale, shift, _, _ = batch_affine(*sums, weight, bias, len(z), 1e-5)
        return affine_activation(z, edge, scale, shift, slope)

    def by_layers(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        terms = (t.double() for t in (weight, bias))
        y = torch.nn.functional.batch_norm(z.double(), None, None, *terms, training=True)
        y = torch.nn.functional.leaky_relu(y, slope)
        return torch.where(edge >= 0, y, 0.0).to(dtype)

    compare_with_gradients(fused, by_layers, [z, weight, bias])


def bends(device: torch.device, slope: float) -> None:
    """Activations where they bend, and of infinite values, as PyTorch's layers."""
    z = torch.tensor([[0.0, -torch.inf, torch.inf, -1.0]] * 3, device=device)
    edge = torch.zeros(z.shape, dtype=torch.int32, device=device)
    scale = torch.ones(4, dtype=torch.float64, device=device)
    layer = torch.nn.LeakyReLU(slope) if slope else torch.nn.ReLU()

    def by_layers(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return layer(z.double() * scale + shift).float()

    def operator(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return affine_activation(z, edge, scale, shift, slope)

    compare_with_gradients(operator, by_layers, [z, scale, torch.zeros_like(scale)])


def moments(device: torch.device) -> None:
    """Every result may be differentiated; a variance below 0, by rounding, is 0 and has no
    gradient.
    """
    total, weight, bias = torch.randn(3, 5, dtype=torch.float64, device=device)
    squares = total.square() / 40 + torch.tensor([1.0, 0.1, -0.01, 2.0, -1e-9], device=device)

    def formula(total: Tensor, squares: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        mean = total / 40
        variance = (squares / 40 - mean.square()).relu()
        scale = (variance + 1e-3).rsqrt() * weight
        return scale, bias - mean * scale, mean, variance

    def operator(*given: Tensor) -> tuple[Tensor, ...]:
        return batch_affine(*given, 40, 1e-3)

    compare_with_gradients(operator, formula, [total, squares, weight, bias])


def points_that_are_none(device: torch.device, space: type[PoincareBall] | type[Lorentz]) -> None:
    """Their images, gaps and logarithms are NaN, and those of other rows are what they were."""
    manifold = space(0.7)
    x = manifold.exp0(torch.randn(4, 3, dtype=torch.float64, device=device))
    expected = ball_and_log(x, manifold)
    x[1, -1], x[2, -1] = torch.nan, torch.inf
    for out, kept in zip(ball_and_log(x, manifold), expected, strict=True):
        assert out[1:3].isnan().any(1).all()
        assert torch.equal(out[::3], kept[::3])


def clouds(
    device: torch.device, manifold: Manifold, sizes: list[int], channels: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Points of the ball, some of them equal and one that is none, their gaps and clouds."""
    x = manifold.exp0(torch.randn(sum(sizes), channels, dtype=torch.float64) / channels**0.5)
    x[3:6] = x[6:9]
    x[10] = torch.nan
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(device)
    return (*manifold.to_ball(x.to(device, dtype)), batch)


def nearest(
    device: torch.device,
    manifold: Manifold,
    channels: int,
    dtype: torch.dtype,
    sizes: tuple[int, ...] = (20, 0, 4, 40),
    k: int = 3,
) -> None:
    """All neighbours, with and without loops, and of other queries than the points."""
    points, gap, batch = clouds(device, manifold, list(sizes), channels, dtype)
    c = torch.as_tensor(manifold.c, dtype=torch.float64)
    some = torch.arange(len(points), device=device)[1::9]
    for loop, asked in ((False, slice(None)), (True, some)):
        queries, of_queries = points[asked], batch[asked]
        given = (points, gap, queries, batch, of_queries)
        expected = knn.knn_table(*given, k, c, loop, "dense")
        ptr, _ = knn._pointers(queries, len(points), batch, of_queries, 1)
        table = torch.full_like(expected, -1)
        knn._search_on_gpu(points, gap, queries, ptr, max(sizes), loop, table)
        assert torch.equal(table, expected)


def farthest(
    device: torch.device, manifold: Manifold, channels: int, most: int | None = None
) -> None:
    """The choice of the formula, also of clouds of one size, and of more points than there are
    kernels for.
    """
    from torch_geometric_hyperbolic.kernels._triton import farthest as kernels

    points, gap, batch = clouds(device, manifold, [40, 0, 1, 33], channels, torch.float32)
    before, kernels.MOST = kernels.MOST, most or kernels.MOST
    for ratio in (0.01, 0.4, 1.0):
        for given in ((points, gap, batch, ratio), (points, gap, None, ratio, 2)):
            assert torch.equal(farthest_points(*given), farthest_points_reference(*given))
    kernels.MOST = before


SINGLE, DOUBLE = torch.float32, torch.float64
SPACES = {"flat": Euclidean(), "ball": PoincareBall(0.4), "hyperboloid": Lorentz(0.4)}
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
    **{f"shared nodes, {dtype}": partial(shared_nodes, dtype=dtype) for dtype in (SINGLE, DOUBLE)},
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
    **{
        f"rays, {name}, {channels} channels, {dtype}, c = {c}": partial(
            along_rays, manifold=space(c), dtype=dtype, channels=channels
        )
        for name, space in (("ball", PoincareBall), ("hyperboloid", Lorentz))
        for channels, dtype, c in ((1, DOUBLE, 0.3), (3, SINGLE, 1.0), (200, SINGLE, 1e3))
    },
    **{f"rays, boundary, c = {c}": partial(near_the_boundary, c=c) for c in (1.0, 4.0)},
    **{
        f"rays, {space.__name__}, shortened": partial(shortened, space=space)
        for space in (PoincareBall, Lorentz)
    },
    **{
        f"rays, {space.__name__}, learnt": partial(learnt_curvature, space=space)
        for space in (PoincareBall, Lorentz)
    },
    **{
        f"batch norm, {channels} channels, {dtype}, slope {slope}": partial(
            batch_norm, dtype=dtype, channels=channels, slope=slope
        )
        for channels, dtype, slope in ((1, DOUBLE, 0.0), (5, SINGLE, 0.2), (200, SINGLE, 1.0))
    },
    **{f"bends, slope {slope}": partial(bends, slope=slope) for slope in (0.0, 0.2)},
    "moments": moments,
    **{
        f"points that are none, {space.__name__}": partial(points_that_are_none, space=space)
        for space in (PoincareBall, Lorentz)
    },
    **{
        f"nearest, {name}, {channels} channels, {dtype}": partial(
            nearest, manifold=space, channels=channels, dtype=dtype
        )
        for name, space in SPACES.items()
        for channels, dtype in ((1, DOUBLE), (5, SINGLE))
    },
    **{
        f"farthest, {name}": partial(farthest, manifold=space, channels=3)
        for name, space in SPACES.items()
    },
    "farthest of many": partial(farthest, manifold=SPACES["ball"], channels=3, most=8),
    "no channels": no_channels,
}


def main() -> int:
    """Run every case on the CPU, where Triton is to stand in for what else runs there."""
    from torch_geometric_hyperbolic.kernels._triton import affine, coefficients, edges
    from torch_geometric_hyperbolic.kernels._triton import knn as triton_knn

    edges.PROGRAMS, coefficients.EDGES = 3, 32  # fewer than there are targets and edges
    affine.CHANNELS, affine.PROGRAMS = 64, 2  # than there are channels and blocks of rows
    triton_knn.TILE = 32  # than there are points in a cloud
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
