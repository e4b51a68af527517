"""Medians of interleaved calls. Imported before torch: idle threads sleep instead of spinning."""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402  (after the environment is set)


def medians(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each contender, two calls of each in turn after a warm-up, of which
    the second counts: as in a loop of its own, it finds memory as its own kind left it.

    One that took 10 times as long as the fastest in the warm-up is called but twice more.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            if repeat > 2 and times[name][0] > 10 * min(first[0] for first in times.values()):
                continue
            run()
            finish()
            start = time.perf_counter()
            run()
            finish()
            times[name].append(1000 * (time.perf_counter() - start))
    digits = 3 if on_gpu() else 1
    return {name: round(statistics.median(values[1:]), digits) for name, values in times.items()}


def on_gpu() -> bool:
    """Whether tensors are made on a GPU unless told otherwise."""
    return torch.get_default_device().type == "cuda"


def finish() -> None:
    """Waits for a GPU that still computes."""
    if on_gpu():
        torch.cuda.synchronize()


def replayed(run: Callable[[], Any]) -> Callable[[], Any]:
    """The same call on a GPU as a CUDA graph, which launches all its kernels at once."""
    run()  # compiles what is compiled at the first call
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()

    def again() -> Callable[[], Any]:
        graph.replay()
        return run  # whose tensors are the graph's: as long as this function lives, so do they

    return again


def describe_machine() -> dict[str, Any]:
    """What the times of a record depend on."""
    gpu = {"device": torch.cuda.get_device_name()} if on_gpu() else {}
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), **gpu}


def benchmark_parser(description: str | None, repeats: int) -> argparse.ArgumentParser:
    """The arguments of every benchmark here, `--out` and `--repeats`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=_new_file, required=True, help="the JSON file to write")
    parser.add_argument(
        "--repeats", type=_count, default=repeats, help=f"timed calls of each (default: {repeats})"
    )
    return parser


def _count(text: str) -> int:
    """At least one."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer (got {text!r})")
    return count


def _new_file(name: str) -> Path:
    """A path that can be a file: asked before the minutes of work whose result goes there."""
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists (got {name})")
    return path


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Writes what was measured as JSON."""
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written: {path}")


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of where all is computed, for `torch.set_default_device`."""
    parser.add_argument(
        "--device", default="cpu", choices=["cpu", "cuda"], help="where (default: cpu)"
    )
