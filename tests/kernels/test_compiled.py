"""Loops over ranges in threads, and what is kept of their machine code."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from tests.kernels.graphs import strided, threads
from torch_geometric_hyperbolic.typing import WITH_NUMBA

pytestmark = pytest.mark.skipif(not WITH_NUMBA, reason="needs numba")

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import compiled as module
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel

ROOT = Path(__file__).parents[2]


class Pair(NamedTuple):
    """As loops take them."""

    x: torch.Tensor
    number: int


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [0, 1, 2, 7, 100])
def test_ranges_are_disjoint_and_cover_everything(count, size):
    ranges = []
    with threads(count):
        parallel(lambda start, stop: ranges.append(range(start, stop)), size)
    assert sorted(i for part in ranges for i in part) == list(range(size))
    assert len(ranges) == max(1, min(count, size))
    lengths = [len(part) for part in ranges]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("as_array", [lambda offsets: offsets, lambda offsets: offsets.numpy()])
@pytest.mark.parametrize(
    "degrees",
    [[], [0] * 9, [100, *[0] * 20], [*[50] * 5, *[0] * 200], list(range(30)), [*range(30, 0, -1)]],
)
def test_threads_share_edges_evenly(monkeypatch, degrees, as_array):
    monkeypatch.setattr("torch_geometric_hyperbolic.kernels._cpu.threads.FEW", 0)
    ranges, offsets = [], torch.tensor([0, *degrees]).cumsum(0)
    with threads(3):
        parallel(
            lambda start, stop: ranges.append(range(start, stop)),
            len(degrees),
            offsets=as_array(offsets),
        )
    assert sorted(i for part in ranges for i in part) == list(range(len(degrees)))
    work = [sum(1 + degrees[i] for i in part) for part in ranges]
    # no share is larger than a third by more than the one index that is cut off or not
    assert max(work) <= sum(work) / 3 + max(degrees, default=0) + 1


def test_parts_run_at_the_same_time():
    barrier = threading.Barrier(2, timeout=20)
    with threads(2):
        parallel(lambda start, stop: barrier.wait(), 2)


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("form", [lambda x: (x, x), lambda x: (Pair(x, 3), x)])
def test_a_loop_over_few_numbers_stays_in_its_thread(monkeypatch, form, always):
    monkeypatch.setattr("torch_geometric_hyperbolic.kernels._cpu.threads.FEW", 40)
    for numbers, alone in ((19, True), (20, False)):  # of each of two arrays
        found = []
        with threads(3):
            parallel(
                lambda start, stop, *_, found=found: found.append(threading.get_ident()),
                6, *form(torch.zeros(numbers)), always=always,
            )  # fmt: skip
        assert len(found) == (1 if alone and not always else 3)
        assert threading.get_ident() in found


def test_the_number_of_threads_may_change_between_calls():
    for count in (1, 3, 2, 1, 4):
        seen = []
        with threads(count):
            parallel(lambda start, stop, seen=seen: seen.append(start), 12)
        assert len(seen) == count


def test_tensors_arrive_as_contiguous_arrays_and_the_rest_as_it_is():
    x = torch.arange(6.0).view(2, 3).requires_grad_()
    out, seen = torch.zeros(2, 3), []

    def loop(start, stop, x, y, number, out):
        seen.append((x.flags.c_contiguous, y.flags.c_contiguous, number))
        out[start:stop] = x[start:stop] + y[start:stop]

    with threads(1):
        parallel(loop, 2, x, strided(x.detach()), 7, out)
    assert seen == [(True, True, 7)]
    assert torch.equal(out, 2 * x.detach())


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_errors_of_any_thread_surface(bad):
    def loop(start, stop):
        if start == bad:
            raise ValueError(f"part {start}")

    with threads(3), pytest.raises(ValueError, match=f"^part {bad}$"):
        parallel(loop, 3)
    done = []
    with threads(3):  # nothing is left broken
        parallel(lambda start, stop: done.append(start), 3)
    assert sorted(done) == [0, 1, 2]


def test_once_python_ends_everything_runs_in_this_thread(monkeypatch):
    """As in what is registered with ``atexit``."""
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    monkeypatch.setattr("torch_geometric_hyperbolic.kernels._cpu.threads._pool", ended)
    ranges = []
    with threads(3):
        parallel(lambda start, stop: ranges.append((start, stop)), 9)
    assert ranges == [(0, 3), (3, 6), (6, 9)]


def test_a_thread_that_cannot_be_started_is_an_error_and_no_share_runs_twice(monkeypatch):
    """As where a container limits the number of processes."""
    started, pool = threading.Thread.start, ThreadPoolExecutor(8)
    monkeypatch.setattr("torch_geometric_hyperbolic.kernels._cpu.threads._pool", pool)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    out = np.zeros(9)

    def add(start, stop):
        out[start:stop] += 1

    with threads(3), pytest.raises(RuntimeError, match="can't start new thread"):
        parallel(add, 9)
    monkeypatch.setattr(threading.Thread, "start", started)
    with threads(3):
        parallel(add, 9)
    pool.shutdown()  # after what was left in the queue
    assert (out <= 2).all()


def test_where_nothing_can_be_kept_loops_are_compiled_all_the_same(monkeypatch):
    from numba.core.caching import CacheImpl  # what looks for a folder

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    module._warn_without_cache.cache_clear()

    def double(x):
        return 2 * x

    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR names a folder"):
        loop = module.compiled(double)
    assert loop(3) == 6


FORK = """
import os
import signal

import torch
from torch_geometric_hyperbolic.kernels._cpu import threads

def number(start, stop, out):
    out[start:stop] = range(start, stop)

def numbers():
    out = torch.zeros(4)
    threads.parallel(number, 4, out, always=True)
    return out.tolist()

torch.set_num_threads(2)
assert numbers() == [0, 1, 2, 3]
assert threads._pool is not None  # has a thread, which a child does not have
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if numbers() == [0, 1, 2, 3] else 1)
assert os.waitpid(child, 0)[1] == 0
assert numbers() == [0, 1, 2, 3]
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_it_works_in_a_forked_process():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


WITHOUT_FORKS = """
import os

import torch
import torch_geometric

del os.register_at_fork
from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.nn import knn_graph

ball = PoincareBall()
print(knn_graph(ball.random(5, 3), 2, manifold=ball).shape)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there it is as it is")
def test_it_works_where_processes_do_not_fork():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_FORKS],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "torch.Size([2, 10])"


# Machine code ----------------------------------------------------------------------------------


@pytest.fixture
def sources(monkeypatch, tmp_path):
    """A folder of sources in place of the package's."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("compiled.py", "edges.py", "numerics.py"):
        (folder / name).write_text(f"# {name}\n")
    (tmp_path / "numerics.py").write_text("# numerics\n")
    monkeypatch.setattr(module, "__file__", str(folder / "compiled.py"))
    monkeypatch.setattr(module._numerics, "__file__", str(tmp_path / "numerics.py"))
    return folder


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "__pycache__"
    folder.mkdir()
    return folder


def left(cache: Path) -> set[str]:
    """What is still there after a new process has looked at the folder."""
    for name in ("edges.values-1.py311.nbi", "edges.values-1.py311.1.nbc", "edges.cpython.pyc"):
        (cache / name).touch()
    module._drop_stale.__wrapped__(str(cache))
    return {file.suffix for file in cache.iterdir()} - {".sha256"}


def test_machine_code_of_unknown_sources_is_dropped_and_of_known_ones_kept(sources, cache):
    assert left(cache) == {".pyc"}
    assert left(cache) == {".pyc", ".nbi", ".nbc"}


@pytest.mark.parametrize("changed", ["edges.py", "../numerics.py", "new.py"])
def test_a_changed_source_drops_all_machine_code(sources, cache, changed):
    left(cache)
    with (sources / changed).open("a") as file:
        file.write("# changed\n")
    assert left(cache) == {".pyc"}
    assert left(cache) == {".pyc", ".nbi", ".nbc"}


def test_a_folder_that_cannot_be_written_is_left_alone(sources, tmp_path):
    module._drop_stale.__wrapped__(str(tmp_path / "missing"))
    assert not (tmp_path / "missing").exists()


def test_compiled_functions_keep_nan_and_infinity():
    """Sums may be reordered, but a comparison with NaN stays false."""

    @module.compiled
    def count(x):
        known = 0
        for value in x:
            if value == value and value - value == 0:
                known += 1
        return known

    x = torch.tensor([1.0, torch.nan, torch.inf, 2.0]).numpy()
    assert count(x) == 2
