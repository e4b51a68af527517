"""How loops are compiled, and how they are spread over threads."""

import functools
import hashlib
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numba
import torch

from torch_geometric_hyperbolic.geometry import _numerics

#: Multiplications up to which BLAS computes a product in the thread that asks for it.
PRODUCT = 2**18

_pool: ThreadPoolExecutor | None = None
_starting = threading.Lock()


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function for each combination of dtypes it meets, once per machine.

    Sums may be reordered to fill vector registers; NaN and infinity keep their meaning.
    """
    return _compile(function, fastmath={"contract", "nsz", "reassoc"})


def compiled_in_order(function: Callable[..., Any]) -> Any:
    """As :func:`compiled`, but every operation of the function itself stays where it is written."""
    return _compile(function, fastmath=False)


def _compile(function: Callable[..., Any], fastmath: Any) -> Any:
    compile_ = functools.partial(numba.njit, nogil=True, error_model="numpy", fastmath=fastmath)
    try:
        dispatcher = compile_(cache=True)(function)
    except RuntimeError:  # neither beside this file nor at home can anything be kept
        _warn_without_cache()
        return compile_()(function)
    _drop_stale(dispatcher.stats.cache_path)
    return dispatcher


@functools.cache
def _warn_without_cache() -> None:
    warnings.warn(
        "no folder for numba's machine code can be written: loops are compiled anew in every "
        "process; NUMBA_CACHE_DIR names a folder",
        stacklevel=3,
    )


@functools.cache
def _drop_stale(cache_path: str) -> None:
    """Forget machine code of other sources than these.

    numba looks only at the file of a function, not at the files of what it calls.
    """
    folder = Path(cache_path)
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(_numerics.__file__)]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    seal = folder / "sources.sha256"
    try:
        if seal.is_file() and seal.read_text() == digest:
            return
        for file in folder.glob("*.nb?"):
            file.unlink(missing_ok=True)
        seal.write_text(digest)
    except OSError:  # nothing can be written there, numba will not either
        return


def parallel(loop: Callable[..., None], size: int, *args: Any) -> None:
    """Run ``loop(start, stop, *args)`` over ``range(size)`` on PyTorch's number of threads.

    The range is cut where it pleases the number of threads, so a loop's result for one index must
    not depend on where its own range starts or stops. Tensors, also those in named tuples, are
    handed over as contiguous arrays: those that are written to must be contiguous themselves.
    """
    arrays = as_arrays(*args)
    threads = max(1, min(torch.get_num_threads(), size))
    cuts = [size * part // threads for part in range(threads + 1)]
    others = [
        _threads().submit(loop, start, stop, *arrays)
        for start, stop in zip(cuts[1:-1], cuts[2:], strict=True)
    ]
    try:
        loop(cuts[0], cuts[1], *arrays)
    finally:
        wait(others)
    for other in others:
        other.result()


def in_threads(task: Callable[[int], None], parts: int) -> None:
    """Run ``task(part)`` for each part on PyTorch's number of threads.

    In a task PyTorch's functions use one thread and no autocast, so that what they find does not
    depend on either; nothing is recorded for gradients.
    """
    todo = iter(range(parts))

    def work() -> None:
        with torch.inference_mode():
            for part in todo:
                task(part)

    threads = torch.get_num_threads()
    if threads == 1:
        with torch.autocast("cpu", enabled=False):  # as it is in any other thread
            work()
        return
    workers = [_threads().submit(work) for _ in range(min(threads, parts))]
    wait(workers)
    for worker in workers:
        worker.result()


def as_arrays(*args: Any) -> list[Any]:
    """Tensors as contiguous arrays, also those in named tuples; anything else as it is."""
    return [_as_array(arg) for arg in args]


def _as_array(arg: Any) -> Any:
    if isinstance(arg, torch.Tensor):
        return arg.detach().contiguous().numpy()
    return type(arg)(*map(_as_array, arg)) if hasattr(arg, "_fields") else arg


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _starting:
        if _pool is None:
            _pool = _started_threads(os.cpu_count() or 1)
    return _pool


def _started_threads(count: int) -> ThreadPoolExecutor:
    """Threads in which PyTorch's functions use one thread each.

    ``torch.set_num_threads`` also tells all threads to come: afterwards they are told again what
    they were told before, as a new thread knows it.
    """
    with ThreadPoolExecutor(1) as other:
        number = other.submit(torch.get_num_threads).result()
    pool = ThreadPoolExecutor(count, "tgh", initializer=_use_one_thread)
    together = threading.Barrier(count)
    list(pool.map(lambda _: together.wait(), range(count)))
    with ThreadPoolExecutor(1) as other:
        other.submit(torch.set_num_threads, number)
    return pool


def _use_one_thread() -> None:
    torch.get_num_threads()  # a thread that never asked would be told again
    torch.set_num_threads(1)


def _forget_threads() -> None:
    """A forked process has none of its parent's threads."""
    global _pool, _starting
    _pool, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_threads)
