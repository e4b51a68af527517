"""An edge convolution on one large graph, beside PyG's: forward and backward.

The edges of a cloud stay in the cache; those of a graph do not. Checks that the flat layer is PyG's
EdgeConv, then times all interleaved and writes the medians to a JSON file:

    python benchmarks/micro/graph.py --out benchmarks/results/micro-graph.json

Sources and targets are drawn at random and edges are not sorted. The network is a linear layer and
a ReLU, with and without a batch norm in training mode between them.
"""

from collections.abc import Callable
from typing import Any

from _timing import benchmark_parser, describe_machine, medians, write_record  # isort: split

import torch
from _spaces import SPACES, points_at
from torch import Tensor
from torch.nn import BatchNorm1d, Linear, Module, ReLU, Sequential
from torch_geometric.nn import EdgeConv
from tqdm import tqdm

from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv

#: Nodes, edges, channels in and out.
SHAPES = [(3_000, 12_000, 64), (10_000, 100_000, 64), (50_000, 1_000_000, 64)]
NETWORKS = ("linear, ReLU", "linear, batch norm, ReLU")


def layer(name: str, channels: int, network: str, aggr: str) -> Module:
    """A contender by its name, with the same weights in every call."""
    torch.manual_seed(0)
    norm = [BatchNorm1d(channels)] if "norm" in network else []
    nn = Sequential(Linear(2 * channels, channels), *norm, ReLU())
    if name == "PyG":
        return EdgeConv(nn, aggr=aggr)
    return HyperbolicEdgeConv(nn, aggr=aggr, manifold=SPACES[name])


def vectors_and_edges(nodes: int, edges: int, channels: int) -> tuple[Tensor, Tensor]:
    """Vectors of length about 1, and a random graph of their nodes."""
    torch.manual_seed(1)
    return torch.randn(nodes, channels) / channels**0.5, torch.randint(nodes, (2, edges))


def check(network: str, aggr: str) -> None:
    """In flat space ours is PyG's."""
    x, edge_index = vectors_and_edges(300, 2_000, 8)
    outputs = [layer(name, 8, network, aggr)(x, edge_index) for name in ("PyG", "Euclidean")]
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)


def calls(
    nodes: int, edges: int, channels: int, network: str, aggr: str
) -> dict[str, Callable[[], Any]]:
    """Forward and backward of every contender, ready to be timed."""
    v, edge_index = vectors_and_edges(nodes, edges, channels)

    def call(name: str) -> Callable[[], Any]:
        conv, space = layer(name, channels, network, aggr), SPACES.get(name, SPACES["Euclidean"])
        x = points_at(space, v).requires_grad_()
        inputs = (x, *conv.parameters())
        return lambda: torch.autograd.grad(conv(x, edge_index).square().sum(), inputs)

    return {name: call(name) for name in ("PyG", *SPACES)}


def main() -> None:
    """Runs all and writes the file."""
    args = benchmark_parser(__doc__, repeats=7).parse_args()
    rows: list[dict[str, Any]] = []
    for nodes, edges, channels in tqdm(SHAPES):
        for network in NETWORKS:
            for aggr in ("max", "mean"):
                check(network, aggr)
                ms = medians(calls(nodes, edges, channels, network, aggr), args.repeats)
                shape = {"nodes": nodes, "edges": edges, "channels": channels}
                rows.append({**shape, "network": network, "aggr": aggr, "ms": ms})
    record = describe_machine() | {"layers": rows}
    write_record(args.out, record)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
