"""Aggregations of sorted edges, forward and backward, beside PyG's mean; and which engine reduces.

Checks that the engines agree, then times all interleaved and writes the medians to a JSON file:

    python benchmarks/micro/aggregations.py --out benchmarks/results/micro-aggregations.json

Needs torch-scatter.
"""

from collections.abc import Callable
from typing import Any

from _timing import benchmark_parser, describe_machine, medians, write_record  # isort: split

import torch
import torch_scatter
from torch import Tensor
from torch_geometric.nn import MeanAggregation
from torch_geometric.utils import scatter, segment

from torch_geometric_hyperbolic.manifolds import Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import (
    FrechetMeanAggregation,
    MidpointAggregation,
    TangentAggregation,
)

NODES, NEIGHBOURS, CHANNELS = 8192, 20, 64
FEW_NODES = 512  # of the means: one of them takes hundreds of passes


def gradients(run: Callable[[], Tensor], x: Tensor) -> Callable[[], Any]:
    """A forward and backward call."""
    return lambda: torch.autograd.grad(run().sum(), x)


def reductions(reduce: str, repeats: int) -> dict[str, float]:
    """The engines of one reduction."""
    x = torch.randn(NODES * NEIGHBOURS, CHANNELS, requires_grad=True)
    index = torch.arange(NODES).repeat_interleave(NEIGHBOURS)
    ptr = torch.arange(NODES + 1) * NEIGHBOURS
    operations: dict[str, Callable[[], Tensor]] = {
        "torch scatter": lambda: scatter(x, index, 0, NODES, reduce),
        "torch segment": lambda: torch.segment_reduce(x, reduce, offsets=ptr),
        "torch_scatter segment": lambda: torch_scatter.segment_csr(x, ptr, reduce=reduce),
        "used (segment)": lambda: segment(x, ptr, reduce=reduce),
    }
    expected = operations["torch scatter"]()
    for operation in operations.values():
        torch.testing.assert_close(operation(), expected)
    return medians({name: gradients(run, x) for name, run in operations.items()}, repeats)


def means(repeats: int) -> dict[str, float]:
    """Means on manifolds beside PyG's mean of vectors."""
    ball, hyperboloid = PoincareBall(), Lorentz()
    v = torch.randn(FEW_NODES * NEIGHBOURS, CHANNELS) / CHANNELS**0.5
    index = torch.arange(FEW_NODES).repeat_interleave(NEIGHBOURS)
    contenders = {}
    for name, x, aggr in (
        ("PyG mean of vectors", v, MeanAggregation()),
        ("tangent mean, ball", ball.exp0(v / 2), TangentAggregation("mean", manifold=ball)),
        ("midpoint, ball", ball.exp0(v / 2), MidpointAggregation(manifold=ball)),
        ("midpoint, hyperboloid", hyperboloid.exp0(v), MidpointAggregation(manifold=hyperboloid)),
        ("Frechet mean, ball", ball.exp0(v / 2), FrechetMeanAggregation(manifold=ball)),
    ):
        x.requires_grad_()
        contenders[name] = gradients(lambda x=x, aggr=aggr: aggr(x, index, dim_size=FEW_NODES), x)
    return medians(contenders, repeats)


def main() -> None:
    """Runs all and writes the file."""
    args = benchmark_parser(__doc__, repeats=5).parse_args()
    torch.manual_seed(0)
    record = describe_machine() | {
        "groups": {"reductions": NODES, "means": FEW_NODES},
        "edges per group": NEIGHBOURS,
        "channels": CHANNELS,
        "reductions ms": {r: reductions(r, args.repeats) for r in ("max", "mean", "sum")},
        "means ms": means(args.repeats),
    }
    write_record(args.out, record)
    for title, times in (*record["reductions ms"].items(), ("means", record["means ms"])):
        print(title)
        for name, ms in times.items():
            print(f"  {name:24}{ms:10.1f} ms")


if __name__ == "__main__":
    main()
