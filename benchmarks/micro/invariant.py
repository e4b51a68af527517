"""Edge convolutions that no isometry changes, beside the plain one: forward and backward.

Checks that they are invariant, then times all interleaved and writes the medians to a JSON file:

    python benchmarks/micro/invariant.py --out benchmarks/results/micro-invariant.json
"""

from collections.abc import Callable
from typing import Any

from _timing import benchmark_parser, describe_machine, medians, write_record  # isort: split

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, LeakyReLU, Linear, Sequential

from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv, InvariantEdgeConv, knn_graph
from torch_geometric_hyperbolic.testing import random_isometry

CLOUDS, POINTS, NEIGHBOURS, OUT_CHANNELS = 8, 1024, 20, 64
IN_CHANNELS = (3, 8, 16, 64)
BALL = PoincareBall()


def network(in_channels: int) -> Sequential:
    """What most edge convolutions apply to an edge."""
    return Sequential(Linear(in_channels, OUT_CHANNELS), BatchNorm1d(OUT_CHANNELS), LeakyReLU(0.2))


def layers(channels: int) -> dict[str, HyperbolicEdgeConv]:
    """The plain layer and the invariant ones."""
    return {
        "HyperbolicEdgeConv": HyperbolicEdgeConv(network(2 * channels), manifold=BALL),
        "frame='local'": HyperbolicEdgeConv(network(2 * channels), manifold=BALL, frame="local"),
        "InvariantEdgeConv": InvariantEdgeConv(network(5), manifold=BALL),
    }


def check(channels: int) -> None:
    """An isometry changes the plain layer's points, and nothing else's."""
    x = BALL.random(64, channels, dtype=torch.float64)
    edge_index = knn_graph(x, NEIGHBOURS, manifold=BALL)
    moved = random_isometry(BALL, channels, length=2.0)(x)
    for name, layer in layers(channels).items():
        layer = layer.double().eval()
        error = (layer(moved, edge_index) - layer(x, edge_index)).abs().max()
        assert (error < 1e-9) == (name != "HyperbolicEdgeConv"), (name, float(error))


def measure(channels: int, repeats: int) -> dict[str, float]:
    """Medians of the three layers, ms."""
    x = BALL.random(CLOUDS * POINTS, channels).requires_grad_()
    batch = torch.arange(CLOUDS).repeat_interleave(POINTS)
    edge_index = knn_graph(x.detach(), NEIGHBOURS, batch, manifold=BALL)

    def call(layer: HyperbolicEdgeConv) -> Callable[[], tuple[Tensor, ...]]:
        inputs = (x, *layer.parameters())
        return lambda: torch.autograd.grad(layer(x, edge_index).square().sum(), inputs)

    return medians({name: call(layer) for name, layer in layers(channels).items()}, repeats)


def main() -> None:
    """Runs all and writes the file."""
    args = benchmark_parser(__doc__, repeats=9).parse_args()
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    for channels in IN_CHANNELS:
        check(channels)
        rows.append({"channels": channels, "ms": measure(channels, args.repeats)})
        print(rows[-1])
    record = describe_machine() | {
        "points": CLOUDS * POINTS,
        "neighbours": NEIGHBOURS,
        "out channels": OUT_CHANNELS,
        "layers": rows,
    }
    write_record(args.out, record)


if __name__ == "__main__":
    main()
