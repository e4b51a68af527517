"""Command-line parts every benchmark script shares: flag types, training flags, error style."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

DEFAULT_OUT = Path(__file__).parent / "out"

#: The largest integer that PyTorch takes.
LARGEST = 2**63 - 1

#: Flags that say where or how a run is computed, not what: they may change when it is resumed.
NOT_CONFIG = frozenset(
    "command handler out results name resume overwrite threads device smoke progress".split()
)


#: Flags of the configuration that may change too: the record tells them of every part of a run.
OF_A_PART = ("cuda_graph",)


class UsageError(ValueError):
    """A mistake of the user: shown as one line, exit status 2."""


class Parser(argparse.ArgumentParser):
    """Its errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's lines and shows every default that says something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.nargs == 0:
            return action.help
        return super()._get_help_string(action)


def integer(low: int) -> Callable[[str], int]:
    """Flag type: an integer of at least `low` that fits 64 bits."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer (got {text!r})") from None
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low} (got {value})")
        if value > LARGEST:
            raise argparse.ArgumentTypeError(f"must be at most {LARGEST} (got {value})")
        return value

    return parse


def real(
    low: float, high: float = float("inf"), *, open_low: bool = False
) -> Callable[[str], float]:
    """Flag type: a finite number in [low, high), or in (low, high) if `open_low`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number (got {text!r})") from None
        inside = low < value < high if open_low else low <= value < high
        if not inside:
            bracket = "(" if open_low else "["
            raise argparse.ArgumentTypeError(f"must lie in {bracket}{low}, {high}) (got {text})")
        return value

    return parse


def integers(text: str) -> tuple[int, ...]:
    """Flag type: positive integers separated by commas."""
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(
            f"must be positive integers separated by commas (got {text!r})"
        )
    return values


def shares(text: str) -> tuple[float, ...]:
    """Flag type: numbers above 0 and at most 1 separated by commas."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value <= 1 for value in values):
        raise argparse.ArgumentTypeError(
            f"must be numbers above 0 and at most 1 separated by commas (got {text!r})"
        )
    return values


def add_run_arguments(parser: argparse.ArgumentParser, name_help: str) -> None:
    """Adds the flags that say where a run is written and how it is computed."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT,
        metavar="DIR",
        help="folder for checkpoints and logs, in DIR/NAME",
    )
    group.add_argument(
        "--results", type=Path, metavar="DIR", help="folder for NAME.json (default: OUT/results)"
    )
    group.add_argument("--name", help=name_help)
    group.add_argument(
        "--seed",
        type=integer(0),
        default=0,
        help="seed of weights, shuffling, augmentation, dropout and the split",
    )
    again = group.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        action="store_true",
        help="go on exactly from the last finished epoch; start anew if there is none",
    )
    again.add_argument(
        "--overwrite", action="store_true", help="start anew even if DIR/NAME already holds a run"
    )
    group.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="auto takes the GPU if there is one",
    )
    group.add_argument(
        "--threads",
        type=integer(1),
        metavar="N",
        help="CPU threads of one process (default: PyTorch's choice)",
    )
    group.add_argument(
        "--progress",
        default="auto",
        choices=["auto", "on", "off"],
        help="progress bar; auto refreshes it rarely when the output is no terminal",
    )
    group.add_argument(
        "--smoke",
        action="store_true",
        help="tiny data and network: the whole path in about a minute",
    )


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the optimisation."""
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=integer(1), default=50, help="passes over the training set")
    group.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="checkpoint.pt of another run, whose last weights to begin with",
    )
    group.add_argument(
        "--batch-size",
        type=integer(2),  # a batch norm needs two
        default=32,
        help="samples per step and process; an incomplete last batch is dropped",
    )
    group.add_argument(
        "--eval-batch-size",
        type=integer(1),
        default=32,
        help="samples per step when evaluating (does not change the numbers)",
    )
    group.add_argument(
        "--optimizer",
        default="adamw",
        choices=["adamw", "muon"],
        help="muon: for matrices but the classifier's last, AdamW for the rest",
    )
    group.add_argument(
        "--lr",
        type=real(0, open_low=True),
        default=4e-3,
        help="highest learning rate of the schedule",
    )
    group.add_argument(
        "--schedule",
        default="onecycle",
        choices=["onecycle", "cosine", "constant"],
        help="course of the learning rate, one step per batch",
    )
    group.add_argument(
        "--weight-decay",
        type=real(0),
        default=0.05,
        help="decoupled weight decay of matrices (not of biases, norms, curvature)",
    )
    group.add_argument(
        "--label-smoothing",
        type=real(0, 1),
        default=0.1,
        help="of the cross-entropy, in training and evaluation",
    )
    group.add_argument(
        "--clip-norm",
        type=real(0),
        default=5.0,
        help="largest norm of the gradient; 0 switches clipping off",
    )
    group.add_argument(
        "--sam",
        type=real(0, open_low=True),
        metavar="RHO",
        help="sharpness-aware minimisation: gradients from weights moved by RHO up the gradient, "
        "in twice the time (default: no)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        help="run the network through torch.compile, which takes minutes to start",
    )
    group.add_argument(
        "--cuda-graph",
        type=integer(2),
        metavar="STEPS",
        help="on a GPU: record a step and replay it for the rest of STEPS steps, which is many "
        "times faster; learning rate and number of points change only then (default: no)",
    )
    group.add_argument(
        "--val-fraction",
        type=real(0, 1),
        default=0.1,
        help="share of every training class held out to choose the best epoch",
    )
    group.add_argument(
        "--split-seed",
        type=integer(0),
        metavar="SEED",
        help="seed of the split alone (default: --seed)",
    )


def plain(value: Any) -> Any:
    """The same value in JSON's types."""
    if isinstance(value, Path):
        return value.name
    return list(value) if isinstance(value, tuple) else value


def config_of(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments that determine a run's numbers, in JSON's types."""
    return {key: plain(value) for key, value in vars(args).items() if key not in NOT_CONFIG}


def check_same_config(given: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Raises a `UsageError` naming the first flag that differs from a checkpoint's."""
    for key in sorted((given.keys() | saved.keys()) - {*OF_A_PART}):
        if given.get(key) != saved.get(key):
            raise UsageError(
                f"--{key.replace('_', '-')} differs from the checkpoint's "
                f"(got {given.get(key)!r}, the checkpoint has {saved.get(key)!r})"
            )


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def run_command(prog: str, args: argparse.Namespace) -> int:
    """Calls the sub-command's handler, on `--threads` of the CPU if it has that flag, and turns
    mistakes of the user into one line and status 2.
    """
    name = f"{prog} {args.command}".rstrip()
    if getattr(args, "threads", None) is not None:
        torch.set_num_threads(args.threads)
    try:
        args.handler(args)
    except UsageError as error:
        if os.environ.get("RANK", "0") == "0":  # torchrun: say it once
            print(f"{name}: error: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{name}: error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = " (--resume goes on)" if hasattr(args, "resume") else ""
        print(f"{name}: interrupted{goes_on}", file=sys.stderr)
        return 130
    return 0
