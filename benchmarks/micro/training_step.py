"""A whole training step of the classifier: graphs, forward, backward, optimiser; beside its peer.

Writes medians of interleaved steps to a JSON file:

    python benchmarks/micro/training_step.py --out benchmarks/results/micro-training_step.json

The peer is a Euclidean DGCNN of the same widths from PyG's EdgeConv and torch-cluster's graphs, or
where there is no torch-cluster, graphs by torch.cdist and topk.
"""

from collections.abc import Callable
from typing import Any

from _timing import (
    add_device_argument,
    benchmark_parser,
    describe_machine,
    medians,
    on_gpu,
    replayed,
    write_record,
)

# isort: split

import torch
from torch import Tensor
from torch_geometric.nn import EdgeConv

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import HyperbolicDGCNN
from torch_geometric_hyperbolic.typing import WITH_TORCH_CLUSTER

if WITH_TORCH_CLUSTER:
    import torch_cluster

CLOUDS, POINTS, K = 16, 1024, 20


def peers_graph(x: Tensor, batch: Tensor) -> Tensor:
    """Edges to the nearest neighbours in flat space, of clouds of `POINTS` points."""
    if WITH_TORCH_CLUSTER:
        return torch_cluster.knn_graph(x, K, batch, loop=True)
    clouds = x.detach().unflatten(0, (-1, POINTS))
    table = torch.cdist(clouds, clouds).topk(K, largest=False).indices
    table += POINTS * torch.arange(len(clouds)).view(-1, 1, 1)
    return torch.stack([table.flatten(), torch.arange(len(x)).repeat_interleave(K)])


class EuclideanDGCNN(torch.nn.Module):
    """The network of :class:`HyperbolicDGCNN` on other libraries' parts alone."""

    def __init__(self) -> None:
        super().__init__()
        twin = HyperbolicDGCNN(manifold=Euclidean(), k=K)
        self.convs = torch.nn.ModuleList(EdgeConv(conv.nn) for conv in twin.convs)
        self.embed, self.pool, self.head = twin.embed, twin.pool, twin.head

    def forward(self, pos: Tensor, batch_size: int) -> Tensor:
        """Logits of each cloud."""
        batch = torch.arange(batch_size).repeat_interleave(POINTS)
        x, features = pos, []
        for conv in self.convs:
            x = conv(x, peers_graph(x, batch))
            features.append(x)
        embedded = self.embed(torch.cat(features, dim=-1))
        return self.head(self.pool(embedded, batch, dim_size=batch_size))


def step(model: torch.nn.Module) -> Callable[[], None]:
    """A training step on random points of the sphere, ready to be timed."""
    optimizer = torch.optim.AdamW(model.parameters(), capturable=on_gpu())
    pos = torch.nn.functional.normalize(torch.randn(CLOUDS * POINTS, 3), dim=1)
    label = torch.randint(0, 40, (CLOUDS,))

    def run() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pos, batch_size=CLOUDS), label).backward()
        optimizer.step()

    return run


def main() -> None:
    """Runs all and writes the file."""
    parser = benchmark_parser(__doc__, repeats=5)
    add_device_argument(parser)
    args = parser.parse_args()
    torch.set_default_device(args.device)
    torch.manual_seed(0)
    spaces = {
        "Euclidean": Euclidean(),
        "PoincareBall": PoincareBall(),
        "PoincareBall, learnable": PoincareBall(learnable=True),
        "Lorentz": Lorentz(),
    }
    models: dict[str, torch.nn.Module] = {"PyG": EuclideanDGCNN()}
    models |= {name: HyperbolicDGCNN(manifold=space, k=K) for name, space in spaces.items()}
    record: dict[str, Any] = describe_machine() | {
        "clouds": CLOUDS,
        "points": POINTS,
        "neighbours": K,
        "parameters": {name: sum(p.numel() for p in m.parameters()) for name, m in models.items()},
    }
    record["ms"] = medians({name: step(m) for name, m in models.items()}, args.repeats)
    if on_gpu():
        calls = {name: replayed(step(model)) for name, model in models.items()}
        record["ms, replayed"] = medians(calls, args.repeats)
    write_record(args.out, record)
    for name, ms in record["ms"].items():
        print(f"{name:24}{ms:10.1f} ms {record['ms']['PyG'] / ms:8.1f}x")


if __name__ == "__main__":
    main()
