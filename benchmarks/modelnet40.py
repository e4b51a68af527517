"""Hyperbolic point-cloud classification: train, evaluate and report.

Trains `HyperbolicDGCNN` on ModelNet40 (or, with no download, on the embedded ShapePrimitives) in
the Poincare ball, on the hyperboloid, or in Euclidean space as the twin of equal size:

    python benchmarks/modelnet40.py train                          # embedded data
    python benchmarks/modelnet40.py train --data DIR --num-points 512 --epochs 2
    python benchmarks/modelnet40.py train --data DIR --manifold euclidean
    python benchmarks/modelnet40.py eval --checkpoint OUT/NAME/checkpoint.pt --data DIR
    python benchmarks/modelnet40.py report OUT/results --out OUT/report

The best epoch is chosen on a validation split of the training set; the test set is evaluated once,
at the end. With `torchrun --nproc-per-node 2` in place of `python`, two processes share the work.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import _openmp  # noqa: F401 (first of all)
import torch
from _checkpoint import load_checkpoint
from _cli import (
    HelpFormatter,
    UsageError,
    add_run_arguments,
    add_training_arguments,
    config_of,
    integer,
    run_command,
)
from _cloud_view import CloudView, add_augmentation_arguments, as_nodes
from _clouds import (
    add_cloud_arguments,
    check_cloud_arguments,
    data_name,
    load_clouds,
)
from _data import Samples, stratified_split
from _distributed import Process, choose_device, start_process
from _models import add_dgcnn_arguments, add_manifold_arguments, build_dgcnn
from _report import add_report_command
from _run import execute, open_run
from _training import Splits, Task, evaluate

BENCHMARK = "modelnet40"
SMOKE = {
    "data": "primitives",
    "per_class": 8,
    "num_points": 64,
    "epochs": 2,
    "batch_size": 16,
    "k": 8,
    "hidden_channels": (16, 16),
    "emb_channels": 32,
}


def make_parser(smoke: bool = False) -> argparse.ArgumentParser:
    """All flags of all sub-commands; `smoke` gives `train` the defaults of a tiny run."""
    parser = argparse.ArgumentParser(
        "modelnet40.py", description=__doc__, formatter_class=HelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a network", formatter_class=HelpFormatter)
    add_cloud_arguments(train)
    add_augmentation_arguments(train)
    add_manifold_arguments(train)
    add_dgcnn_arguments(train)
    add_training_arguments(train)
    add_run_arguments(train, "name of the run (default: DATA-MANIFOLD-seedSEED)")
    train.set_defaults(handler=command_train, **(SMOKE if smoke else {}))
    evaluation = commands.add_parser(
        "eval", help="evaluate a checkpoint", formatter_class=HelpFormatter
    )
    add_cloud_arguments(evaluation, data=None)
    evaluation.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help="checkpoint.pt of a run"
    )
    evaluation.add_argument(
        "--split", default="test", choices=["train", "val", "test"], help="which samples"
    )
    evaluation.add_argument(
        "--which",
        default="last",
        choices=["last", "best"],
        help="weights of the last or of the best-validation epoch",
    )
    evaluation.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="auto takes the GPU if there is one",
    )
    evaluation.add_argument(
        "--threads", type=integer(1), metavar="N", help="CPU threads (default: PyTorch's choice)"
    )
    evaluation.add_argument(
        "--json",
        action="store_true",
        help="print JSON, confusion matrix included (rows: true class)",
    )
    evaluation.set_defaults(handler=command_eval)
    add_report_command(commands)
    return parser


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The configuration of a run from checked arguments."""
    check_cloud_arguments(args)
    return config_of(args) | {"data": data_name(args.data)}


def cloud_task(config: dict[str, Any]) -> Task:
    """How clouds meet `HyperbolicDGCNN`."""
    view = CloudView(config)
    return Task(
        augment=view.augmented,
        view=view.plain,
        classify=lambda model, x: model(*as_nodes(x), batch_size=x.size(0)),
        radii=lambda model, x: model.radii(*as_nodes(x)),  # type: ignore[operator]
        embed=lambda model, x: model.embedding(*as_nodes(x)),  # type: ignore[operator]
    )


def load_splits(config: dict[str, Any], spec: str) -> Splits:
    """Loads the clouds and splits the validation set off the training set."""
    samples = load_clouds(config, spec, train=True)
    kept, held = stratified_split(samples.y, config["val_fraction"], config["seed"])
    return Splits(samples[kept], samples[held], load_clouds(config, spec, train=False))


def train(args: argparse.Namespace, process: Process) -> dict[str, Any] | None:
    """Trains one network; returns its record, or None if the run was finished before."""
    config = settings(args) | {"nproc_per_node": process.world}
    name = (
        args.name or f"{config['data'].replace(':', '-')}-{config['manifold']}-seed{config['seed']}"
    )
    run = open_run(args, BENCHMARK, name, config)
    if run.finished:
        if process.is_main:
            print(f"{name} is finished ({config['epochs']} epochs): nothing to do", file=sys.stderr)
        return None
    with process.main_first():
        data = load_splits(config, args.data)
    num_classes = len(data.train.class_names)
    return execute(
        run,
        lambda: build_dgcnn(config, num_classes),
        cloud_task(config),
        data,
        process,
        args.progress,
    )


def command_train(args: argparse.Namespace) -> None:
    """The sub-command `train`."""
    process = start_process(args.device)
    try:
        record = train(args, process)
        if record is not None and process.is_main:
            for which in ("last", "best"):
                if which in record["test"]:
                    print(f"{which:>4} epoch: {describe_score(record['test'][which])}")
    finally:
        process.close()


def load_model(path: Path, which: str) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network of a checkpoint and the checkpoint itself."""
    state = load_checkpoint(path, BENCHMARK)
    if which == "best" and state["best"] is None:
        raise UsageError("--which: this run had no validation split (got best)")
    model = build_dgcnn(state["config"], len(state["class_names"]))
    model.load_state_dict(state["best"]["model"] if which == "best" else state["model"])
    return model, state


def command_eval(args: argparse.Namespace) -> None:
    """The sub-command `eval`."""
    model, state = load_model(args.checkpoint, args.which)
    config = dict(state["config"])
    if args.data is None and config["data"] != "primitives":
        raise UsageError(f"--data is needed: this run was trained on {config['data']}")
    spec = args.data or "primitives"
    config["num_points"] = args.num_points or config["num_points"]
    config["pool_points"] = None if args.num_points else config["pool_points"]
    if config["k"] >= config["num_points"]:
        raise UsageError(f"--num-points must exceed k = {config['k']} (got {args.num_points})")
    data = load_splits(config, spec)
    if list(data.test.class_names) != state["class_names"]:
        raise UsageError(f"--data: the checkpoint was trained on other classes (got {spec})")
    device = choose_device(args.device)
    samples: Samples = getattr(data, args.split)
    if len(samples) == 0:
        raise UsageError(f"--split: there are no such samples (got {args.split})")
    score = evaluate(model.to(device), cloud_task(config), samples, config, Process(device=device))
    score["epoch"] = state["best"]["epoch"] if args.which == "best" else state["epoch"]
    if args.json:
        print(
            json.dumps({"split": args.split, "which": args.which, "samples": len(samples), **score})
        )
    else:
        print(f"{args.split}, {len(samples)} clouds, {args.which} epoch: {describe_score(score)}")


def describe_score(score: dict[str, Any]) -> str:
    """One line about a test score."""
    return (
        f"OA {100 * score['oa']:.2f} %, mAcc {100 * score['macc']:.2f} % "
        f"(epoch {score['epoch']}, loss {score['loss']:.4f})"
    )


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    parser = make_parser(smoke="--smoke" in argv and "--help" not in argv)
    args = parser.parse_args(argv)
    if getattr(args, "threads", None) is not None:
        torch.set_num_threads(args.threads)
    return run_command(parser.prog, args)


if __name__ == "__main__":
    sys.exit(main())
