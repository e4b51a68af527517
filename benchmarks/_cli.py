"""Command-line parts every benchmark script shares: types of flags, configurations, error style."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that its encoding lacks
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
