r"""Trees in hyperbolic space, given up to an isometry: who knows them wherever they lie?

    python benchmarks/isometry.py --out benchmarks/results/isometry.json --table isometry.csv
    python benchmarks/isometry.py --augment --out benchmarks/results/isometry-augmented.json

Points of H^3, grown as trees of eight families and shuffled; a network sees the points alone and
joins nearest neighbours. It learns from trees centred on their midpoints (with `--augment`: under
random isometries) and is tested on others, centred and under random isometries. All networks are
one convolution, a layer on every point's vector, pooling and a classifier, of about equal size.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import _openmp  # noqa: F401 (first of all)
import torch
from _cli import HelpFormatter, Parser, integer, run_command
from _cloud_view import as_nodes
from _configurations import BALL, CHANNELS, FAMILIES, make_trees, moved
from _data import Samples
from _models import count_parameters
from _record import provenance
from _report import check_outputs, write_outputs
from _tables import percent
from _training import Splits, Task, Trainer
from torch import Generator, Tensor
from torch.nn import BatchNorm1d, LeakyReLU, Linear, Module, Sequential
from torch_geometric.nn import MLP
from torch_geometric.nn.aggr import MultiAggregation
from tqdm import tqdm

from torch_geometric_hyperbolic.manifolds import Euclidean
from torch_geometric_hyperbolic.nn import (
    EquivariantGNN,
    HyperbolicEdgeConv,
    InvariantEdgeConv,
    SphericalPowerConv,
    knn_graph,
)
from torch_geometric_hyperbolic.nn.inits import moderate_radius_

NEIGHBOURS = 8
WIDTH = 64
SCALARS = 16  # of the equivariant network, which has layers of its own before them

SIZES = {"train": 1504, "test": 504, "points": 48, "epochs": 15}
SMOKE = {"train": 64, "test": 16, "points": 24, "epochs": 1}
RECIPE = {
    "batch_size": 32,
    "eval_batch_size": 72,
    "lr": 4e-3,
    "schedule": "onecycle",
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "clip_norm": 5.0,
}
LENGTH = 4.0  # of the longest translation
#: Of the test trees; isometries but for the first, with translations between two lengths.
PLACES: dict[str, tuple[float, float] | None] = {
    "same position": None,
    "turned": (0.0, 0.0),
    "under isometries": (0.0, LENGTH),
    "moved by 4": (LENGTH, LENGTH),
}


def edge_conv(kind: Callable[..., Any], in_channels: int, **options: Any) -> Module:
    """An edge convolution whose points start at moderate radius."""
    linear = Linear(in_channels, WIDTH, bias=False)
    conv = kind(Sequential(linear, BatchNorm1d(WIDTH), LeakyReLU(0.2)), **options)
    moderate_radius_(conv.nn[1], 1.0)
    return conv


def from_points(conv: Module, x: Tensor, edge_index: Tensor) -> Tensor:
    """The tangent vectors of a convolution of points."""
    return BALL.log0(conv(x, edge_index))


def from_vectors(conv: Module, x: Tensor, edge_index: Tensor) -> Tensor:
    """A convolution of the points' tangent vectors."""
    return conv(BALL.log0(x), edge_index)


def from_scalars(conv: Module, x: Tensor, edge_index: Tensor) -> Tensor:
    """The scalars of an equivariant network."""
    return conv(None, x, edge_index)[0]


#: How a network makes a vector of every point: its layer, what is asked of it, the vector's size.
NETWORKS: dict[str, tuple[Callable[[], Module], Callable[..., Tensor], int]] = {
    "edge": (
        lambda: edge_conv(HyperbolicEdgeConv, 2 * CHANNELS, manifold=BALL),
        from_points,
        WIDTH,
    ),
    "euclidean": (
        lambda: edge_conv(HyperbolicEdgeConv, 2 * CHANNELS, manifold=Euclidean()),
        from_vectors,
        WIDTH,
    ),
    "frame": (
        lambda: edge_conv(HyperbolicEdgeConv, 2 * CHANNELS, manifold=BALL, frame="local"),
        from_points,
        WIDTH,
    ),
    "invariant": (
        lambda: edge_conv(InvariantEdgeConv, InvariantEdgeConv.num_invariants, manifold=BALL),
        from_points,
        WIDTH,
    ),
    "power": (
        lambda: SphericalPowerConv(CHANNELS, WIDTH, manifold=BALL),
        from_points,
        WIDTH,
    ),
    "equivariant": (
        lambda: EquivariantGNN(0, SCALARS, manifold=BALL, hidden_channels=16, num_layers=2),
        from_scalars,
        SCALARS,
    ),
}


class TreeNet(Module):
    """One convolution over nearest neighbours, a layer on points, pooling and a classifier.

    Args:
        name (str): Of :data:`NETWORKS`.
        num_classes (int): Number of families.
    """

    def __init__(self, name: str, num_classes: int) -> None:
        super().__init__()
        make, self.describe, channels = NETWORKS[name]
        self.conv = make()
        self.mix = MLP([channels, WIDTH], plain_last=False)
        self.pool = MultiAggregation(["mean", "max"])
        self.head = MLP([2 * WIDTH, WIDTH, num_classes])

    def forward(self, trees: Tensor) -> Tensor:
        """Logits of trees ``[B, P, 3]``."""
        x, batch = as_nodes(trees)
        edge_index = knn_graph(x, NEIGHBOURS, batch, manifold=BALL)
        v = self.mix(self.describe(self.conv, x, edge_index))
        return self.head(self.pool(v, batch, dim_size=trees.size(0)))


def make_task(augment: bool) -> Task:
    """How trees meet a network: as they are, or in training each under its own isometry."""
    return Task(
        augment=lambda x, generator, progress: moved(x, 0.0, LENGTH, generator) if augment else x,
        view=lambda x: x,
        classify=lambda model, x: model(x.float()),
        radii=lambda model, x: {},
        embed=lambda model, x: x[:, 0],
    )


def run(
    name: str, task: Task, train: Samples, tests: dict[str, Samples], config: dict[str, Any]
) -> dict[str, Any]:
    """Trains one network with one seed; its accuracies on the test trees at the end."""
    torch.manual_seed(config["seed"])
    net = TreeNet(name, len(train.class_names))
    trainer = Trainer(net, task, Splits(train, train[:0], train[:0]), config)
    start = perf_counter()
    for _ in tqdm(range(config["epochs"]), f"{name}, seed {config['seed']}", file=sys.stderr):
        trainer.run_epoch()
    scores = {place: trainer.evaluate(samples)["oa"] for place, samples in tests.items()}
    seconds = round(perf_counter() - start, 1)
    return {
        "seed": config["seed"],
        "train": trainer.curves["train_oa"][-1],
        **scores,
        "parameters": count_parameters(net),
        "seconds": seconds,
    }


def table_cells(record: dict[str, Any]) -> list[list[str]]:
    """Accuracies in percent, a row for each network."""
    trained = "under isometries" if record["config"]["augment"] else "in one position"
    rows = [["network", "trained", "parameters", "seeds", *PLACES, "seconds"]]
    for name, runs in record["networks"].items():
        scores = [percent([run[place] for run in runs]) for place in PLACES]
        seconds = f"{mean(run['seconds'] for run in runs):.0f}"
        size = f"{runs[0]['parameters']:,}"
        rows.append([name, trained, size, str(len(runs)), *scores, seconds])
    return rows


def command(args: argparse.Namespace) -> None:
    """Trains all networks and writes their scores."""
    check_outputs(args)
    sizes = SMOKE if args.smoke else SIZES
    families = len(FAMILIES)
    train = make_trees(sizes["train"] // families, sizes["points"], seed=0)
    test = make_trees(sizes["test"] // families, sizes["points"], seed=1)
    tests = {
        place: replace(test, x=moved(test.x, *lengths, Generator().manual_seed(2)))
        if lengths
        else test
        for place, lengths in PLACES.items()
    }
    config = RECIPE | {"epochs": args.epochs or sizes["epochs"]}
    record: dict[str, Any] = {
        "benchmark": "isometry",
        "config": sizes | config | {"augment": args.augment, "longest_translation": LENGTH},
        "families": list(FAMILIES),
        **provenance(),
        "networks": {},
    }
    task = make_task(args.augment)
    for name in args.networks:
        seeds = range(args.seeds)
        runs = [run(name, task, train, tests, config | {"seed": seed}) for seed in seeds]
        record["networks"][name] = runs
    cells = table_cells(record)
    write_outputs(args, record, cells)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = Parser("isometry.py", description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file")
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write the table as CSV")
    parser.add_argument(
        "--networks",
        nargs="+",
        default=list(NETWORKS),
        choices=NETWORKS,
        metavar="NAME",
        help="which of them to train",
    )
    parser.add_argument("--augment", action="store_true", help="train under random isometries")
    parser.add_argument("--seeds", type=integer(1), default=3, help="number of runs of each")
    parser.add_argument(
        "--epochs", type=integer(1), help=f"passes over the trees (default: {SIZES['epochs']})"
    )
    parser.add_argument("--threads", type=integer(1), metavar="N", help="CPU threads")
    parser.add_argument("--smoke", action="store_true", help="few small trees, one epoch")
    parser.set_defaults(handler=command, command="")
    return run_command(parser.prog, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
