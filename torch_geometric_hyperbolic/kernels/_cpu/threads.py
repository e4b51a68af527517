"""How loops and tasks are spread over threads."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

#: A loop over fewer numbers than this is over before another thread has begun.
FEW = 65536

_pool: ThreadPoolExecutor | None = None
_starting = threading.Lock()


def parallel(
    loop: Callable[..., None], size: int, *args: Any, offsets: Any = None, always: bool = False
) -> None:
    """Run ``loop(start, stop, *args)`` over ``range(size)`` on PyTorch's number of threads.

    Where the range is cut depends on the number of threads, so the result for one index must not
    depend on where the loop's own range starts or stops. With ``offsets``, a tensor or array, index
    i has edges ``offsets[i]`` to ``offsets[i + 1]``, and threads get equally many edges and indices
    together; without, equally many indices.

    Tensors, also those in named tuples, are handed over as contiguous arrays: those that are
    written to must be contiguous themselves.

    If these arrays hold few numbers, the loop runs in this thread alone; one that looks at every
    number many times is worth spreading ``always``.
    """
    arrays = [_as_array(arg) for arg in args]
    alone = not always and _numbers(arrays) < FEW
    threads = 1 if alone else max(1, min(torch.get_num_threads(), size))
    cuts = [size * part // threads for part in range(threads + 1)]
    if threads > 1 and offsets is not None:
        work = np.arange(size + 1) + np.asarray(offsets)
        shares = [work[-1] * part // threads for part in range(1, threads)]
        cuts[1:-1] = np.searchsorted(work, shares).tolist()
    own, others = [(cuts[0], cuts[1])], []
    for share in zip(cuts[1:-1], cuts[2:], strict=True):
        try:
            others.append(_threads().submit(loop, *share, *arrays))
        except RuntimeError as error:
            if not str(error).startswith("cannot schedule"):
                raise  # no thread could be started, but the share is in the queue already
            own.append(share)  # Python ends, and begins nothing in other threads
    try:
        for start, stop in own:
            loop(start, stop, *arrays)
    finally:
        for other in others:
            other.exception()  # waits for its end
    for other in others:
        other.result()


def _as_array(arg: Any) -> Any:
    """A tensor as a contiguous array, also those in a named tuple; anything else as it is."""
    if isinstance(arg, torch.Tensor):
        return arg.detach().contiguous().numpy()
    return type(arg)(*map(_as_array, arg)) if hasattr(arg, "_fields") else arg


def _numbers(arrays: Iterable[Any]) -> int:
    """How many numbers arrays hold, also those in named tuples."""
    return sum(
        _numbers(array) if hasattr(array, "_fields") else getattr(array, "size", 0)
        for array in arrays
    )


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _starting:
        if _pool is None:
            _pool = ThreadPoolExecutor(os.cpu_count() or 1, "tgh")
    return _pool


def _forget_threads() -> None:
    """A forked process has none of its parent's threads."""
    global _pool, _starting
    _pool, _starting = None, threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget_threads)
