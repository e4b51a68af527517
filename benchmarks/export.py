r"""Puts the network of a finished point-cloud run into the package, for `from_pretrained`.

    python benchmarks/export.py OUT/NAME/checkpoint.pt --results OUT/results/NAME.json \
        --name modelnet40-85k

Writes `NAME.safetensors` (weights) and `NAME.json` (everything else it takes to use them, and the
test scores of the results file) into `torch_geometric_hyperbolic/nn/models/pretrained`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _openmp  # noqa: F401 (first of all)
import torch
from _cli import Parser, UsageError, run_command
from _files import atomic_path, write_json
from _script import load_model
from modelnet40 import BENCHMARK
from safetensors.torch import save_model
from torch import nn

from torch_geometric_hyperbolic.nn.models._pretrained import FOLDER

#: Constructor arguments that a configuration knows by the same name.
SAME = ("hidden_channels", "emb_channels", "k", "aggr")


def describe_model(config: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """The arguments of `HyperbolicDGCNN` that rebuild the network, in JSON's types."""
    space: dict[str, Any] = {"name": model.manifold.name}
    if config["manifold"] != "euclidean":
        c = torch.as_tensor(model.manifold.c, dtype=torch.float64).item()
        space |= {"c": c, "learnable": config["learnable_curvature"]}
    given = {key: config[key] for key in ("head_channels", "dropout") if config[key] is not None}
    return {
        "out_channels": model.out_channels,
        "manifold": space,
        **{key: config[key] for key in SAME},
        "ratios": config["ratios"],
        "dynamic": not config["static"],
        "frame": config.get("frame"),
        **given,
    }


def export(args: argparse.Namespace) -> None:
    """Writes both files."""
    model, state = load_model(BENCHMARK, args.checkpoint, args.which)
    try:
        record = json.loads(args.results.read_text(encoding="utf-8"))
        config, epoch = record["config"], record["test"]["last"]["epoch"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--results: {args.results} is no results file ({error!r})") from None
    if config != {k: v for k, v in state["config"].items() if k != "shape"}:
        raise UsageError(f"--results: another run than the checkpoint's (got {args.results})")
    if epoch != state["epoch"]:
        raise UsageError(
            f"--results: of epoch {epoch}, and the checkpoint of epoch {state['epoch']} "
            f"(got {args.results})"
        )
    with atomic_path(args.folder / f"{args.name}.safetensors") as path:
        save_model(model, str(path))
    about = {
        "model": describe_model(state["config"], model),
        "class_names": state["class_names"],
        "num_points": state["config"]["num_points"],
        "config": record["config"],
        "test": record["test"][args.which],
    }
    write_json(args.folder / f"{args.name}.json", about)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = Parser(
        "export.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a finished run")
    parser.add_argument("--results", type=Path, required=True, help="its results file")
    parser.add_argument("--name", required=True, help="what from_pretrained will call it")
    parser.add_argument("--which", default="last", choices=["last", "best"], help="which weights")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write")
    parser.set_defaults(handler=export, command="")
    return run_command(parser.prog, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
