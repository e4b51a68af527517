"""Random ragged graphs, what edge operators take on them, and what their tests share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

#: Half a unit in the last place of float32, and of float64 sums in another order: results are
#: computed in float64 and rounded once.
ROUNDED = {torch.float32: 2.0**-24 * 1.001, torch.float64: 1e-13}


class Size(NamedTuple):
    """Numbers of targets, sources and edges."""

    targets: int
    sources: int
    edges: int


SIZES = {
    "ragged": Size(7, 6, 25),
    "several blocks": Size(300, 40, 900),
    "one edge": Size(1, 1, 1),
    "no edges": Size(3, 2, 0),
    "no targets": Size(0, 3, 0),
    "no sources": Size(3, 0, 0),
    "nothing": Size(0, 0, 0),
}
each_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def random_edges(size: Size) -> tuple[Tensor, Tensor]:
    """Sources and targets, unsorted; some nodes have no edges, and some edges are there twice."""
    source = torch.randint(0, max(1, size.sources - 1), (size.edges,))
    target = torch.randint(0, max(1, size.targets), (size.edges,))
    if size.edges > 10:
        target = torch.where((target == 0) | (target == 3), size.targets - 2, target)
        source[1::9], target[1::9] = (
            source[::9][: len(source[1::9])],
            target[::9][: len(target[1::9])],
        )
    return source, target


def random_graph(size: Size) -> tuple[Tensor, Tensor]:
    """``rowptr`` and ``col`` of :func:`random_edges`, counted one edge at a time."""
    source, target = random_edges(size)
    rows: list[list[int]] = [[] for _ in range(size.targets)]
    for j, i in zip(source.tolist(), target.tolist(), strict=True):
        rows[i].append(j)
    rowptr = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return rowptr, torch.tensor(sum(rows, []), dtype=torch.int32)


def clouds(count: int, nodes: int, degree: int, shift: int = 0) -> tuple[Tensor, Tensor]:
    """``rowptr`` and ``col`` of edges to nodes of the same cloud, or to those ``shift`` further."""
    rowptr = torch.arange(count * nodes + 1) * degree
    first = torch.arange(count).repeat_interleave(nodes * degree) * nodes + shift
    col = first + torch.randint(nodes, (len(first),))
    return rowptr, col.clamp(max=count * nodes - 1).int()


def random_terms(
    size: Size, channels: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, ...]:
    """What ``edge_values`` takes: A, R of targets, R of sources, alpha, beta, rowptr, col."""
    double = torch.float64
    return (
        torch.randn(size.targets, channels, dtype=dtype),
        torch.randn(size.targets, channels, dtype=double),
        torch.randn(size.sources, channels, dtype=double),
        torch.rand(size.edges, dtype=dtype) + 0.5,
        torch.randn(size.edges, dtype=dtype),
        *random_graph(size),
    )


def endpoints(rowptr: Tensor, col: Tensor) -> Iterator[tuple[int, int, int]]:
    """Number, target and source of every edge."""
    for i, (start, stop) in enumerate(zip(rowptr.tolist(), rowptr.tolist()[1:], strict=False)):
        for e in range(start, stop):
            yield e, i, int(col[e])


def values_of_edges(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
) -> Tensor:
    """``A_i + alpha (R_j - R_i) - beta R_i`` of every edge, one after the other in float64."""
    out = [
        absolute[i].double()
        + alpha[e].double() * (relative_j[j] - relative_i[i])
        - beta[e].double() * relative_i[i]
        for e, i, j in endpoints(rowptr, col)
    ]
    return torch.stack(out) if out else relative_i.new_zeros(0, absolute.size(1))


def strided(x: Tensor) -> Tensor:
    """The same numbers, every other place in memory, columns before rows."""
    if x.dim() == 0:
        return x
    wide = x.new_zeros([*x.shape[::-1], 2])
    view = wide[..., 0].permute(*reversed(range(x.dim())))
    return view.copy_(x)


def leaves(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies to differentiate by."""
    return [t.detach().clone().requires_grad_() for t in tensors]


def gradients(function: Callable[..., Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Of a random combination of all differentiable results, by all inputs, in their dtypes."""
    given = leaves(inputs)
    out = function(*given)
    outputs = [out] if isinstance(out, Tensor) else [o for o in out if o.requires_grad]
    generator = torch.Generator().manual_seed(7)
    weights = [
        torch.randn(o.shape, generator=generator, dtype=torch.float32).to(o.dtype) for o in outputs
    ]
    return list(torch.autograd.grad(outputs, given, weights))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch's number of threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def assert_same_for_any_number_of_threads(function: Callable[[], Sequence[Tensor]]) -> None:
    """Results are the same to the last bit."""
    with threads(1):
        expected = function()
    for count in (2, 3):
        with threads(count):
            results = function()
        for actual, other in zip(results, expected, strict=True):
            assert torch.equal(actual, other)


def assert_rounded(actual: Tensor, expected: Tensor) -> None:
    """Float64 ``expected`` rounded once to the dtype of ``actual``, but for the order of sums."""
    assert actual.shape == expected.shape
    size = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(
        actual.double(), expected.double(), rtol=ROUNDED[actual.dtype], atol=1e-13 * size
    )


def assert_compiles(
    function: Callable[..., Any], inputs: Sequence[Tensor], backend: str = "aot_eager"
) -> None:
    """One graph, the same results and gradients."""
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend=backend)
    expected = [function(*inputs), *gradients(function, inputs)]
    for actual, other in zip(
        [compiled(*inputs), *gradients(compiled, inputs)], expected, strict=True
    ):
        torch.testing.assert_close(actual, other, rtol=1e-12, atol=1e-12)
