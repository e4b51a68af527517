"""Hyperbolic point-cloud classification: train, evaluate and report.

Trains `HyperbolicDGCNN` on ModelNet40 (or, with no download, on the generated ShapePrimitives) in
the Poincare ball, on the hyperboloid, or in Euclidean space as the twin of equal size:

    python benchmarks/modelnet40.py train                          # generated data
    python benchmarks/modelnet40.py train --data DIR --num-points 512 --epochs 2
    python benchmarks/modelnet40.py train --data DIR --manifold euclidean
    python benchmarks/modelnet40.py eval --checkpoint OUT/NAME/checkpoint.pt --data DIR
    python benchmarks/modelnet40.py eval --pretrained modelnet40-85k --data DIR
    python benchmarks/modelnet40.py report OUT/results --out OUT/report

The best epoch is chosen on a validation split of the training set; the test set is evaluated once,
at the end. With `torchrun --nproc-per-node 2` in place of `python`, two processes share the work.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import _openmp  # noqa: F401 (first of all)
from _cli import UsageError
from _cloud_view import CloudView, add_augmentation_arguments, as_nodes
from _clouds import add_cloud_arguments, check_cloud_arguments, data_name, load_clouds
from _data import hold_out
from _models import (
    add_dgcnn_arguments,
    add_manifold_arguments,
    build_dgcnn,
    check_dgcnn_arguments,
)
from _script import Benchmark
from _training import Splits, Task
from torch import Tensor, nn

from torch_geometric_hyperbolic.nn import HyperbolicDGCNN
from torch_geometric_hyperbolic.nn.models._pretrained import find_pretrained


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of data, augmentation, space and network."""
    add_cloud_arguments(parser)
    add_augmentation_arguments(parser)
    add_manifold_arguments(parser)
    add_dgcnn_arguments(parser)


def check_arguments(args: argparse.Namespace) -> None:
    """Raises a `UsageError` for flags that contradict each other."""
    check_cloud_arguments(args)
    check_dgcnn_arguments(args)
    if args.fewest_points is not None and args.cuda_graph is not None:
        raise UsageError(
            f"--cuda-graph: needs clouds of one size (got --fewest-points {args.fewest_points})"
        )


def eval_config(config: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The configuration of training, with another number of points if `eval` asks for it."""
    if args.num_points is None:
        return config
    least = max(config["k"] + 1, build_dgcnn(config, num_classes=1).min_points)
    if args.num_points < least:
        raise UsageError(f"--num-points must be at least {least} (got {args.num_points})")
    return config | {"num_points": args.num_points, "pool_points": None}


def load_splits(config: dict[str, Any], spec: str) -> Splits:
    """Loads the clouds and splits the validation set off the training set."""
    samples = load_clouds(config, spec, train=True)
    return Splits(*hold_out(samples, config), load_clouds(config, spec, train=False))


def make_task(config: dict[str, Any]) -> Task:
    """How clouds meet `HyperbolicDGCNN`."""
    view = CloudView(config)

    def classify(model: nn.Module, x: Tensor) -> Tensor:
        if model.training and config.get("fewest_points"):
            return model(*as_nodes(x), batch_size=x.size(0))
        return model(x.flatten(0, 1), batch_size=x.size(0))

    return Task(
        augment=view.augmented,
        view=view.plain,
        classify=classify,
        radii=lambda model, x: model.radii(*as_nodes(x)),  # type: ignore[operator]
        embed=lambda model, x: model.embedding(*as_nodes(x)),  # type: ignore[operator]
    )


def load_network(name: str) -> tuple[HyperbolicDGCNN, dict[str, Any]]:
    """A network of the package, and its configuration, classes and epoch."""
    try:
        model = HyperbolicDGCNN.from_pretrained(name)
    except ValueError as error:
        raise UsageError(f"--pretrained: {error}") from None
    about, _ = find_pretrained(name)
    state = {key: about[key] for key in ("config", "class_names")}
    return model, state | {"epoch": about["test"]["epoch"]}


BENCHMARK = Benchmark(
    name="modelnet40",
    description=__doc__ or "",
    train_arguments=add_train_arguments,
    eval_arguments=lambda parser: add_cloud_arguments(parser, data=None),
    check=check_arguments,
    eval_config=eval_config,
    data_name=data_name,
    generated=lambda name: name == "primitives",
    load=load_splits,
    make_task=make_task,
    build=build_dgcnn,
    pretrained=load_network,
    smoke={
        "data": "primitives",
        "per_class": 8,
        "num_points": 64,
        "epochs": 2,
        "batch_size": 16,
        "k": 8,
        "hidden_channels": (16, 16),
        "emb_channels": 32,
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return BENCHMARK.main(argv)


if __name__ == "__main__":
    sys.exit(main())
