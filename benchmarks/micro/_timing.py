"""Medians of interleaved calls. Imported before torch: idle threads sleep instead of spinning."""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402  (after the environment is set)


def medians(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each contender, one call of each in turn after a warm-up.

    One that took 10 times as long as the fastest in the warm-up is called but twice more.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            if repeat > 2 and times[name][0] > 10 * min(first[0] for first in times.values()):
                continue
            start = time.perf_counter()
            run()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(values[1:]), 1) for name, values in times.items()}


def describe_machine() -> dict[str, Any]:
    """What the times of a record depend on."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}
