"""The one place where a manifold's name on the command line becomes an object."""

import argparse
from collections.abc import Mapping
from typing import Any

import torch
from _cli import UsageError, integer, integers, real, shares
from torch import nn

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import HyperbolicDGCNN

MANIFOLDS = ("poincare", "lorentz", "euclidean")


def add_manifold_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose the space."""
    group = parser.add_argument_group("space")
    group.add_argument(
        "--manifold",
        default="poincare",
        choices=MANIFOLDS,
        help="space the points live in; euclidean is the twin of equal size",
    )
    group.add_argument(
        "--curvature",
        type=real(0, open_low=True),
        default=1.0,
        metavar="C",
        help="the space has curvature -C (no meaning for euclidean)",
    )
    group.add_argument("--learnable-curvature", action="store_true", help="train C as well")


def add_dgcnn_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that size the point-cloud network."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--k",
        type=integer(1),
        default=20,
        help="neighbours of a point in every layer",
    )
    group.add_argument(
        "--hidden-channels",
        type=integers,
        default=(32, 32, 64, 96),
        metavar="F,F,..",
        help="channels of the edge convolutions",
    )
    group.add_argument(
        "--ratios",
        type=shares,
        metavar="R,R,..",
        help="share of the points each edge convolution keeps (default: all of them)",
    )
    group.add_argument(
        "--static",
        action="store_true",
        help="seek neighbours among positions, not among the features of each layer",
    )
    group.add_argument(
        "--frame",
        choices=["local"],
        help="make the network invariant to isometries, rotations of the cloud included",
    )
    group.add_argument(
        "--emb-channels", type=integer(1), default=128, help="channels of the embedding of a cloud"
    )
    group.add_argument(
        "--head-channels",
        type=integer(0),
        help="channels of the classifier's hidden layer, 0 for none (default: the model's own)",
    )
    group.add_argument(
        "--dropout", type=real(0, 1), help="in the classifier (default: the model's)"
    )
    group.add_argument(
        "--aggr",
        default="max",
        choices=["max", "mean", "sum"],
        help="aggregation over the neighbours, in the tangent space",
    )


def check_dgcnn_arguments(args: argparse.Namespace) -> None:
    """Raises a `UsageError` for flags of the network that contradict each other or the data's."""
    if args.ratios is not None and len(args.ratios) != len(args.hidden_channels):
        raise UsageError(
            f"--ratios must be {len(args.hidden_channels)} numbers, one for each of "
            f"--hidden-channels (got {len(args.ratios)})"
        )
    if args.frame and args.static:
        raise UsageError(
            "--frame: positions, which --static puts beside features, are not invariant"
        )
    least = build_dgcnn(vars(args), num_classes=1).min_points
    for flag in ("num_points", "first_points", "fewest_points"):
        points = getattr(args, flag)
        if points is not None and points < least:
            raise UsageError(
                f"--{flag.replace('_', '-')} must be at least {least}, so that every level has "
                f"--k {args.k} points (got {points})"
            )


def build_manifold(config: Mapping[str, Any]) -> Manifold:
    """The manifold named by `manifold`, `curvature` and `learnable_curvature`."""
    if config["manifold"] == "euclidean":
        return Euclidean()
    kind = PoincareBall if config["manifold"] == "poincare" else Lorentz
    return kind(c=config["curvature"], learnable=config["learnable_curvature"])


def build_dgcnn(config: Mapping[str, Any], num_classes: int) -> HyperbolicDGCNN:
    """The point-cloud classifier of a configuration."""
    own = {key: config[key] for key in ("head_channels", "dropout") if config[key] is not None}
    return HyperbolicDGCNN(
        in_channels=3,
        out_channels=num_classes,
        manifold=build_manifold(config),
        hidden_channels=tuple(config["hidden_channels"]),
        ratios=config.get("ratios"),
        dynamic=not config.get("static", False),
        frame=config.get("frame"),
        emb_channels=config["emb_channels"],
        k=config["k"],
        aggr=config["aggr"],
        **own,
    )


def count_parameters(model: nn.Module) -> int:
    """Number of trainable numbers of a model."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def curvatures(model: nn.Module) -> dict[str, float]:
    """The curvature of every manifold inside a model, by its place."""
    found = {}
    for place, module in model.named_modules():
        if isinstance(module, PoincareBall | Lorentz):
            found[place] = torch.as_tensor(module.c, dtype=torch.float64).item()
    return found
