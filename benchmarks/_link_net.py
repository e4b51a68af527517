"""A network that predicts links of a graph, and its training."""

from time import perf_counter
from typing import Any

import torch
from _cli import UsageError
from _models import build_manifold, count_parameters
from _optimizers import make_optimizers
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch_geometric import seed_everything
from torch_geometric.data import Data
from torch_geometric.nn import GAE
from torch_geometric.transforms import RandomLinkSplit
from torch_geometric.utils import add_self_loops, negative_sampling
from torchmetrics.functional.classification import binary_auroc

from torch_geometric_hyperbolic.kernels import exp0
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn import FermiDiracDecoder, HyperbolicEdgeConv

#: Epochs between two looks at the validation edges.
EVERY = 5
#: What a run's record keeps of its configuration.
KEPT = ("manifold", "channels", "lr", "dropout", "seed")


class Diverged(UsageError):
    """A loss or points that are no numbers."""


class Encoder(nn.Module):
    """Features of a node to its point: a linear map into the space, two edge convolutions."""

    def __init__(self, in_channels: int, channels: int, dropout: float, manifold: Manifold) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.manifold = manifold
        self.lin = nn.Linear(in_channels, channels)
        first, last = (nn.Linear(2 * channels, channels) for _ in range(2))
        self.convs = nn.ModuleList(
            HyperbolicEdgeConv(net, "mean", manifold=manifold)
            for net in (nn.Sequential(first, nn.ReLU()), last)
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        z = exp0(self.lin(self.drop(x)), self.manifold)
        for conv in self.convs:
            z = conv(z, edge_index)
        return z


def split(graph: Data, seed: int) -> list[Data]:
    """Three views of a graph: all see the same edges, each has pairs of its own to be judged by."""
    seed_everything(seed)
    cut = RandomLinkSplit(0.05, 0.1, is_undirected=True, add_negative_train_samples=False)
    train, *others = cut(graph)
    for part in others:
        part.edge_index = train.edge_index
    return [train, *others]


def area(model: GAE, z: Tensor, part: Data) -> float:
    """Area under the ROC curve, for the pairs of one part."""
    scores = model.decode(z, part.edge_label_index, sigmoid=False)
    order = scores.unique(return_inverse=True)[1].double()  # sigmoids of large scores would be ties
    return float(binary_auroc(order / order.max().clamp(min=1), part.edge_label.long()))


def fit(graph: Data, config: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """Trains one network; its scores, and every node's point at the epoch that validation chose.

    Raises:
        Diverged: If loss or points are not finite.
    """
    train, val, test = split(graph, config["seed"])
    manifold = build_manifold(config)
    model = GAE(
        Encoder(graph.num_features, config["channels"], config["dropout"], manifold),
        FermiDiracDecoder(manifold),
    )
    (optimizer,) = make_optimizers(model, config)
    # A node sees itself too: one whose edges are all held out is not forgotten.
    edge_index, _ = add_self_loops(train.edge_index, num_nodes=graph.num_nodes)
    linked = train.edge_label_index
    start, best = perf_counter(), {"val": -1.0}
    for epoch in range(1, config["epochs"] + 1):
        model.train()
        apart = negative_sampling(train.edge_index, graph.num_nodes, linked.size(1))
        pairs = torch.cat([linked, apart], 1)
        truth = torch.cat([torch.ones(linked.size(1)), torch.zeros(apart.size(1))])
        z = model.encode(graph.x, edge_index)
        loss = binary_cross_entropy_with_logits(model.decode(z, pairs, sigmoid=False), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % EVERY and epoch < config["epochs"]:
            continue
        if not loss.isfinite():
            raise Diverged(f"--lrs: the loss became {loss.item()} (got {config['lr']:g})")
        model.eval()
        with torch.no_grad():
            z = model.encode(graph.x, edge_index)
            if not z.isfinite().all():
                raise Diverged(f"--lrs: points became no numbers (got {config['lr']:g})")
            found = {"val": area(model, z, val), "test": area(model, z, test), "epoch": epoch}
            found["curvature"] = torch.as_tensor(manifold.c, dtype=torch.float64).item()
        if found["val"] > best["val"]:
            best, points = found, z
    about = {key: config[key] for key in KEPT}
    size = {
        "parameters": count_parameters(model),
        "seconds": round(perf_counter() - start, 1),
    }
    return {**about, **best, "last": found["test"], "loss": loss.item(), **size}, points
