"""The commands `train`, `eval` and `report`, for any benchmark that describes itself."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from _checkpoint import load_checkpoint
from _cli import (
    HelpFormatter,
    Parser,
    UsageError,
    config_of,
    integer,
    one_line,
    run_command,
)
from _data import Samples, split_of
from _distributed import Process, choose_device, start_process
from _flags import add_run_arguments, add_training_arguments
from _report import add_report_command, command_report
from _run import execute, open_run
from _training import Splits, Task, evaluate
from torch import nn


@dataclass(frozen=True)
class Benchmark:
    """What a script says about itself; everything else is shared.

    Args:
        name (str): Name of the script, kept in checkpoints and results.
        description (str): Head of `--help`.
        train_arguments (callable): Adds the flags of data, augmentation, space and network to the
            parser of `train`; `--data` must be among them.
        eval_arguments (callable): Adds `--data` and what else `eval` may change; defaults are None.
        check (callable): Raises a `UsageError` for flags of `train` that contradict each other.
        eval_config (callable): The checkpoint's configuration with the flags of `eval` applied.
        data_name (callable): The value of `--data` as results call it, without any path.
        generated (callable): Whether data of that name needs no `--data` in `eval`.
        load (callable): Configuration and value of `--data` to samples.
        make_task (callable): Configuration to how samples meet the model.
        build (callable): Configuration, with the `shape` of a stored sample, and number of classes
            to the model.
        smoke (mapping): Defaults of `train --smoke`.
        named_by (sequence of str, optional): Flags whose values are in the name of a run.
            (default: the manifold)
        defaults (mapping, optional): Defaults of `train` that differ from the shared ones.
        pretrained (callable, optional): Name to a network that comes with the package, and what a
            checkpoint would hold beside its weights.
        report (callable, optional): The command `report`. (default: the shared one)
    """

    name: str
    description: str
    train_arguments: Callable[[argparse.ArgumentParser], None]
    eval_arguments: Callable[[argparse.ArgumentParser], None]
    check: Callable[[argparse.Namespace], None]
    eval_config: Callable[[dict[str, Any], argparse.Namespace], dict[str, Any]]
    data_name: Callable[[str], str]
    generated: Callable[[str], bool]
    load: Callable[[dict[str, Any], str], Splits]
    make_task: Callable[[dict[str, Any]], Task]
    build: Callable[[dict[str, Any], int], nn.Module]
    smoke: Mapping[str, Any]
    named_by: Sequence[str] = ("manifold",)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    pretrained: Callable[[str], tuple[nn.Module, dict[str, Any]]] | None = None
    report: Callable[[argparse.Namespace], None] = command_report

    def parser(self, smoke: bool = False) -> argparse.ArgumentParser:
        """All flags of all commands; `smoke` gives `train` the defaults of a tiny run."""
        parser = Parser(
            f"{self.name}.py", description=self.description, formatter_class=HelpFormatter
        )
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        train = commands.add_parser("train", help="train a network", formatter_class=HelpFormatter)
        self.train_arguments(train)
        add_training_arguments(train)
        parts = "-".join(key.upper() for key in self.named_by)
        add_run_arguments(train, f"name of the run (default: DATA-{parts}-seedSEED)")
        defaults = {**self.defaults, **(self.smoke if smoke else {})}
        train.set_defaults(handler=partial(command_train, self), **defaults)
        test = commands.add_parser(
            "eval", help="evaluate a checkpoint", formatter_class=HelpFormatter
        )
        self.eval_arguments(test)
        add_eval_arguments(test, self.pretrained is not None)
        test.set_defaults(handler=partial(command_eval, self))
        add_report_command(commands, self.report)
        return parser

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Runs the command line; returns the exit status."""
        argv = sys.argv[1:] if argv is None else argv
        parser = self.parser(smoke="--smoke" in argv and "--help" not in argv)
        args = parser.parse_args(argv)
        return run_command(parser.prog, args)


def add_eval_arguments(parser: argparse.ArgumentParser, pretrained: bool) -> None:
    """Adds the flags of `eval` that no benchmark changes."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, metavar="FILE", help="checkpoint.pt of a run")
    if pretrained:
        source.add_argument("--pretrained", metavar="NAME", help="a network of the package")
    parser.add_argument(
        "--split", default="test", choices=["train", "val", "test"], help="which samples"
    )
    parser.add_argument(
        "--which",
        default="last",
        choices=["last", "best"],
        help="weights of the last or of the best-validation epoch",
    )
    parser.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="auto takes the GPU if there is one",
    )
    parser.add_argument(
        "--threads", type=integer(1), metavar="N", help="CPU threads (default: PyTorch's choice)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, confusion matrix included (rows: truth)"
    )


def train(
    benchmark: Benchmark, args: argparse.Namespace, process: Process
) -> dict[str, Any] | None:
    """Trains one network; returns its record, or None if the run was finished before."""
    benchmark.check(args)
    data_name = benchmark.data_name(args.data)
    config = config_of(args) | {"data": data_name, "nproc_per_node": process.world}
    start = None
    if args.start is not None:
        start = load_checkpoint(args.start, benchmark.name)
        check_same_split(args, config, start["config"])
        config["start"] = f"{args.start.resolve().parent.name}, epoch {start['epoch']}"
    parts = "-".join(config[key] for key in benchmark.named_by)
    label = f"{data_name.replace(':', '-')}-{parts}-seed{config['seed']}"
    run = open_run(args, benchmark.name, args.name or label, config)
    if run.finished:
        if process.is_main:
            epochs = config["epochs"]
            print(f"{run.name} is finished ({epochs} epochs): nothing to do", file=sys.stderr)
        return None
    with process.main_first():
        data = benchmark.load(config, args.data)
    if start is not None:
        check_classes(data.train, start, "--start", args.start)
    classes = len(data.train.class_names)
    shape = list(data.train.x.shape[1:])

    def build() -> nn.Module:
        model = benchmark.build(config | {"shape": shape}, classes)
        if start is not None:
            try:
                model.load_state_dict(start["model"])
            except RuntimeError as error:
                raise UsageError(f"--start: another network ({one_line(error)})") from None
        return model

    return execute(
        run,
        build,
        benchmark.make_task(config),
        data,
        process,
        args.progress,
    )


def check_same_split(
    args: argparse.Namespace, config: Mapping[str, Any], start: Mapping[str, Any]
) -> None:
    """Raises a `UsageError` if the run of `--start` may have fitted what now validates."""
    share, seed = split_of(start)
    if config["val_fraction"] > 0 and split_of(config) != (share, seed):
        raise UsageError(
            f"--start: it was trained on samples that are held out here; --val-fraction {share:g} "
            f"--split-seed {seed} are its own (got {args.start})"
        )


def check_classes(samples: Samples, state: Mapping[str, Any], flag: str, given: Any) -> None:
    """Raises a `UsageError` if a checkpoint has learnt other classes than those of the samples."""
    if list(samples.class_names) != state["class_names"]:
        raise UsageError(f"{flag}: the checkpoint was trained on other classes (got {given})")


def command_train(benchmark: Benchmark, args: argparse.Namespace) -> None:
    """The command `train`."""
    process = start_process(args.device)
    try:
        record = train(benchmark, args, process)
        if record is not None and process.is_main:
            for which in ("last", "best"):
                if which in record["test"]:
                    print(f"{which:>4} epoch: {describe_score(record['test'][which])}")
    finally:
        process.close()


def load_model(benchmark: Benchmark, path: Path, which: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, with weights of its last or best epoch, and the whole state."""
    state = load_checkpoint(path, benchmark.name)
    if which == "best" and state["best"] is None:
        raise UsageError("--which: this run had no validation split (got best)")
    state["config"]["shape"] = state.get("shape")
    model = benchmark.build(state["config"], len(state["class_names"]))
    model.load_state_dict(state["best"]["model"] if which == "best" else state["model"])
    return model, state


def command_eval(benchmark: Benchmark, args: argparse.Namespace) -> None:
    """The command `eval`."""
    if args.checkpoint is None:
        if args.which == "best":
            raise UsageError("--which: a pretrained network has one set of weights (got best)")
        model, state = benchmark.pretrained(args.pretrained)  # type: ignore[misc]
    else:
        model, state = load_model(benchmark, args.checkpoint, args.which)
    trained_on = state["config"]["data"]
    if args.data is None and not benchmark.generated(trained_on):
        raise UsageError(f"--data is needed: this run was trained on {trained_on}")
    config = benchmark.eval_config(state["config"], args)
    data = benchmark.load(config, args.data or trained_on)
    check_classes(data.test, state, "--data", args.data)
    samples: Samples = getattr(data, args.split)
    if len(samples) == 0:
        raise UsageError(f"--split: there are no such samples (got {args.split})")
    process = Process(device=choose_device(args.device))
    task = benchmark.make_task(config)
    score = evaluate(model.to(process.device), task, samples, config, process)
    score["epoch"] = state["best"]["epoch"] if args.which == "best" else state["epoch"]
    if args.json:
        about = {"split": args.split, "which": args.which, "samples": len(samples)}
        print(json.dumps(about | score))
    else:
        weights = args.pretrained if args.checkpoint is None else f"{args.which} epoch"
        print(f"{args.split}, {len(samples)} samples, {weights}: {describe_score(score)}")


def describe_score(score: dict[str, Any]) -> str:
    """One line about a score."""
    return (
        f"OA {100 * score['oa']:.2f} %, mAcc {100 * score['macc']:.2f} % "
        f"(epoch {score['epoch']}, loss {score['loss']:.4f})"
    )
