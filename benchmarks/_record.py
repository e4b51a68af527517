"""The results file of a run: what it takes to believe a number."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import torch_geometric_hyperbolic

PACKAGES = ("torch", "torch_geometric", "torchmetrics", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of those it computes with."""
    found = {"python": platform.python_version()}
    found["torch_geometric_hyperbolic"] = torch_geometric_hyperbolic.__version__
    for package in PACKAGES:
        found[package] = str(__import__(package).__version__)
    return found


def git_state() -> dict[str, Any]:
    """Commit of the working tree and whether files differ from it; Nones outside a repository.

    A package that is imported from elsewhere differs, and so do modules of it that are not tracked.
    """
    root = Path(__file__).resolve().parents[1]
    package = Path(torch_geometric_hyperbolic.__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words],
                cwd=root,
                capture_output=True,
                text=True,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("status", "--porcelain", "--untracked-files=no")
    new = git("ls-files", "--others", "--exclude-standard", f"{package.name}/*.py")
    dirty = bool(changes or new) or package.parent != root
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if changes is None else dirty}


def provenance(device: torch.device | None = None, processes: int = 1) -> dict[str, Any]:
    """Software and hardware of a run, by default of one process on the CPU."""
    return {
        "versions": versions(),
        "git": git_state(),
        "device": device_state(device or torch.device("cpu"), processes),
    }


def device_state(device: torch.device, processes: int) -> dict[str, Any]:
    """The kind of hardware a run used."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "type": device.type,
        "name": name,
        "processes": processes,
        "threads": torch.get_num_threads(),
    }
