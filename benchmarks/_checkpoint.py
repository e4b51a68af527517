"""Checkpoints: written atomically, read without running code."""

from pathlib import Path
from typing import Any

import torch
from _cli import UsageError
from _files import atomic_path

FORMAT = "torch_geometric_hyperbolic checkpoint 1"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint of tensors, numbers, strings, lists and dicts.

    Args:
        path (Path): The file; an existing one is replaced only when the new one is complete.
        state (dict): Must hold `benchmark` (the script's name) and whatever that script wants back.
    """
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def load_checkpoint(path: Path, benchmark: str) -> dict[str, Any]:
    """Reads a checkpoint to the CPU; a pickle that would run code is refused, not run.

    Args:
        path (Path): A file of :func:`save_checkpoint`.
        benchmark (str): The script it has to come from.

    Raises:
        UsageError: If the file is missing, damaged, or not a checkpoint of this script.
    """
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged archive raises nearly anything, from KeyError to BadZipFile
        raise UsageError(f"{path} is damaged or not a checkpoint") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UsageError(f"{path} is not a checkpoint of these benchmarks ({FORMAT!r} expected)")
    if state.get("benchmark") != benchmark:
        raise UsageError(
            f"{path} is a checkpoint of {state.get('benchmark')!r}, not of {benchmark!r}"
        )
    return state
