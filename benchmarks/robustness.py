r"""How trained point-cloud networks take fewer points, noise and turns.

    python benchmarks/robustness.py OUT/A/checkpoint.pt OUT/B/checkpoint.pt --data DIR \
        --out benchmarks/results/robustness.json

Evaluates the last epoch of each run on the same disturbed test clouds, prints a Markdown table of
overall accuracies and writes overall and class-mean accuracies as JSON. No weight depends on the
number of neighbours, so sparse clouds can also be read with fewer of them (k = 8), whose windows
stay smaller.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import _openmp  # noqa: F401 (first of all)
from _cli import Parser, integer, run_command
from _cloud_view import CloudView
from _clouds import data_name, load_clouds
from _distributed import Process
from _models import build_dgcnn
from _record import provenance
from _report import check_once, check_outputs, write_outputs
from _script import check_classes, load_model
from _training import Task, evaluate
from modelnet40 import BENCHMARK
from torch import Generator
from tqdm import tqdm

#: Settings of an undisturbed cloud, and those that all runs share.
STILL = {
    "scale_low": 1.0,
    "scale_high": 1.0,
    "shift": 0.0,
    "jitter": 0.0,
    "rotate": "none",
    "fewest_points": None,
    "eval_batch_size": 32,  # clouds are disturbed batch by batch
}
DISTURBANCES: dict[str, dict[str, Any]] = {
    "as in training": {},
    "512 points": {"num_points": 512},
    "256 points": {"num_points": 256},
    "128 points": {"num_points": 128},
    "256 points (k = 8)": {"num_points": 256, "k": 8},
    "128 points (k = 8)": {"num_points": 128, "k": 8},
    "jitter 0.01": {"jitter": 0.01},
    "jitter 0.02": {"jitter": 0.02},
    "jitter 0.05": {"jitter": 0.05},
    "turned about z": {"rotate": "z"},
    "turned at random": {"rotate": "so3"},
}


def disturbed(task: Task, config: dict[str, Any]) -> Task:
    """The task on clouds that are disturbed in the same way at every call."""
    view, generator = CloudView(config | {"subsample": "first"}), Generator().manual_seed(0)
    return replace(task, view=lambda x: view.augmented(x, generator))


def measure(path: Path, data: str, names: Sequence[str]) -> dict[str, Any]:
    """Scores of one checkpoint under the disturbances of these names."""
    model, state = load_model(BENCHMARK, path, "last")
    config = state["config"] | STILL
    test = load_clouds(config, data, train=False)
    check_classes(test, state, "--data", data)
    scores = {}
    for name in tqdm(names, path.parent.name, file=sys.stderr):
        given = config | DISTURBANCES[name]
        network = build_dgcnn(given, len(test.class_names))
        network.load_state_dict(model.state_dict())
        if not network.min_points <= given["num_points"] <= config["num_points"]:
            continue
        task = disturbed(BENCHMARK.make_task(given), given)
        score = evaluate(network, task, test, given, Process())
        scores[name] = {key: score[key] for key in ("oa", "macc")}
    about = {"data": {"name": data_name(data), "test": len(test)}, **provenance()}
    return {"config": state["config"], "epoch": state["epoch"], **about, "scores": scores}


def table_cells(runs: dict[str, dict[str, Any]], names: Sequence[str]) -> list[list[str]]:
    """Overall accuracies in percent, a row for each run."""
    rows = [["run", *names]]
    for name, run in runs.items():
        found = (run["scores"].get(disturbance) for disturbance in names)
        rows.append([name, *(f"{100 * score['oa']:.1f}" if score else "-" for score in found)])
    return rows


def command(args: argparse.Namespace) -> None:
    """Measures all checkpoints."""
    check_outputs(args)
    names, called = args.disturbances, [path.parent.name for path in args.checkpoints]
    check_once("CHECKPOINT: runs must have different names", called)
    runs = {path.parent.name: measure(path, args.data, names) for path in args.checkpoints}
    cells = table_cells(runs, names)
    write_outputs(args, runs, cells)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = Parser(
        "robustness.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--data", required=True, help="as in modelnet40.py")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file")
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write the table as CSV")
    parser.add_argument(
        "--disturbances",
        nargs="+",
        choices=DISTURBANCES,
        default=list(DISTURBANCES),
        metavar="NAME",
        help="which of them (default: all)",
    )
    parser.add_argument("--threads", type=integer(1), metavar="N", help="CPU threads")
    parser.set_defaults(handler=command, command="")
    return run_command(parser.prog, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
