"""How loops are compiled."""

import functools
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from torch_geometric_hyperbolic.geometry import _numerics

#: Multiplications up to which BLAS computes a product in the thread that asks for it.
PRODUCT = 2**18
#: What may be done to sums and products.
FAST = {"contract", "nsz", "reassoc"}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function for each combination of dtypes it meets, once per machine.

    Sums may be reordered to fill vector registers; NaN and infinity keep their meaning.
    """
    return _compile(function, fastmath=FAST)


def inlined(function: Callable[..., Any]) -> Any:
    """As :func:`compiled`, and part of the loops that call it for every row: a call with arrays
    takes as long as a few functions of a number.
    """
    return _compile(function, fastmath=FAST, forceinline=True)


def compiled_in_order(function: Callable[..., Any]) -> Any:
    """As :func:`compiled`, but every operation of the function itself stays where it is written."""
    return _compile(function, fastmath=False)


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    compile_ = functools.partial(numba.njit, nogil=True, error_model="numpy", **options)
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
