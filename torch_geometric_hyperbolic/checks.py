"""Checks of arguments: one line that names the argument and its value.

Shapes and dtypes are always checked: that costs nothing. Most values are looked at only after
:func:`set_validation`, because reading them from a GPU waits for it, and never while compiling. Two
kinds are always checked, because loops would follow them blindly: on the CPU offsets and indices
(of compiled code when it runs), and on every device whether a ``batch`` is sorted.
"""

import math
import os
from numbers import Integral, Real

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from torch_geometric_hyperbolic.geometry._precision import check_device, lift
from torch_geometric_hyperbolic.manifolds import Manifold

_validation = os.environ.get("TGH_VALIDATION", "0") == "1"


def set_validation(enabled: bool) -> None:
    """Switch checks of values on or off: checks of the indices in ``edge_index`` and in
    ``HConv``'s ``offset``, and of the signs of weights. Off unless ``TGH_VALIDATION=1``.
    """
    global _validation
    _validation = enabled


def validation_enabled() -> bool:
    """Whether values are looked at."""
    return _validation and not torch.compiler.is_compiling()


def has_values(x: Tensor) -> bool:
    """Whether ``x`` has values to look at: not while compiling, on the meta device, as a fake
    tensor, or under ``torch.vmap``.
    """
    known = not (torch.compiler.is_compiling() or x.is_meta or isinstance(x, FakeTensor))
    return known and not torch._C._functorch.is_batchedtensor(x)


def is_readable(x: Tensor) -> bool:
    """Whether values may be looked at: where there are any, and no GPU must be waited for."""
    return has_values(x) and x.device.type == "cpu"


def check_manifold(manifold: object) -> None:
    """Raise a :class:`TypeError` unless ``manifold`` is one of this package's manifolds."""
    if not isinstance(manifold, Manifold):
        raise TypeError(
            "'manifold' must be a torch_geometric_hyperbolic.manifolds.Manifold; "
            f"use from_geoopt for geoopt's (got {manifold!r})"
        )


def check_counts(least: int = 1, **counts: int) -> None:
    """Raise unless all are integers of at least ``least``."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, (Integral, torch.SymInt)):
            raise TypeError(f"'{name}' must be an int (got {value!r})")
        if value < least:
            raise ValueError(f"'{name}' must be at least {least} (got {value})")


def check_positive(value: object, name: str) -> None:
    """Raise unless ``value`` is a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"'{name}' must be a float (got {value!r})")
    if not (float(value) > 0 and math.isfinite(value)):
        raise ValueError(f"'{name}' must be positive and finite (got {value})")


def check_frame(frame: object) -> None:
    """Raise a :class:`ValueError` unless ``frame`` is None or ``'local'``."""
    if frame is not None and frame != "local":
        raise ValueError(f"'frame' must be None or 'local' (got {frame!r})")


def check_points(
    x: Tensor,
    name: str,
    *,
    dim: int | None = None,
    min_dim: int = 0,
    width: int | None = None,
    like: Tensor | None = None,
) -> None:
    """Raise unless ``x`` is a floating-point tensor of ``dim`` dimensions and last size ``width``.

    ``min_dim`` is the least number of dimensions. With ``like`` it must also share that tensor's
    dtype, device and last size.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"'{name}' must be a tensor (got {type(x).__name__})")
    if not x.is_floating_point():
        raise TypeError(f"'{name}' must be a floating-point tensor (got {x.dtype})")
    check_device(x.device, name)
    if dim is not None and x.dim() != dim:
        raise ValueError(f"'{name}' must have {dim} dimensions (got shape {tuple(x.shape)})")
    if x.dim() < min_dim:
        raise ValueError(
            f"'{name}' must have at least {min_dim} dimensions (got shape {tuple(x.shape)})"
        )
    if width is not None and x.size(-1) != width:
        raise ValueError(f"'{name}' must have last dimension {width} (got {x.size(-1)})")
    if like is None:
        return
    if x.dtype != like.dtype:
        raise TypeError(f"'{name}' must have dtype {like.dtype} as the other input (got {x.dtype})")
    if x.device != like.device:
        raise ValueError(f"'{name}' must be on {like.device} as the other input (got {x.device})")
    if x.size(-1) != like.size(-1):
        raise ValueError(
            f"'{name}' must have last dimension {like.size(-1)} as the other input "
            f"(got {x.size(-1)})"
        )


def check_precision(x: Tensor, name: str) -> None:
    """Raise if ``x`` has half precision outside autocast, in flat space too."""
    lift(x, name)


def check_batch(batch: Tensor | None, name: str, x: Tensor) -> None:
    """Raise unless ``batch`` is None or has an integer for each point of ``x``."""
    if batch is None:
        return
    check_integers(batch, name, or_bools=True)
    if batch.shape != x.shape[:1]:
        raise ValueError(
            f"'{name}' must have one entry per point (got shape {tuple(batch.shape)} "
            f"for {x.size(0)} points)"
        )


def check_sorted(batch: Tensor, name: str) -> None:
    """Raise a :class:`ValueError` unless ``batch`` rises from 0 or more; waits for its device."""
    falls = (batch.diff(prepend=batch.new_zeros(1)) < 0).nonzero()
    if len(falls):
        place = int(falls[0])
        raise ValueError(
            f"'{name}' must be sorted and non-negative (got {batch[place].item()} at {place})"
        )


def num_clouds(batch_size: int | None, batch: Tensor | None, x: Tensor) -> int:
    """The number of clouds of one size where there is no ``batch``: ``batch_size``, or 1."""
    if batch_size is None or batch is not None:
        return 1
    check_counts(batch_size=batch_size)
    if x.size(0) % batch_size:
        raise ValueError(f"'batch_size' must divide the {x.size(0)} points (got {batch_size})")
    return batch_size


def check_weight(x: Tensor, name: str, weight: object) -> None:
    """Raise unless ``x`` shares dtype and device with a layer's weight; autocast casts dtypes."""
    if not isinstance(weight, Tensor):
        return  # a quantized layer's is a method
    if x.device != weight.device:
        raise ValueError(f"'{name}' must be on the layer's device {weight.device} (got {x.device})")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"'{name}' must have the layer's dtype {weight.dtype} (got {x.dtype})")


def check_edge_index(edge_index: Tensor, sizes: tuple[int, int], flow: str) -> None:
    """Raise if ``edge_index`` points outside the nodes; does nothing unless validation is on.

    ``sizes`` are the numbers of source and target nodes, ``x_j`` and ``x_i``.
    """
    dense = isinstance(edge_index, Tensor) and edge_index.layout == torch.strided
    if not (validation_enabled() and dense and edge_index.numel()):
        return
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        return  # PyG raises its own error
    rows = edge_index if flow == "source_to_target" else edge_index.flip(0)
    for row, size, role in zip(rows, sizes, ("source", "target"), strict=True):
        low, high = int(row.min()), int(row.max())
        if low < 0 or high >= size:
            raise ValueError(
                f"'edge_index' must hold {role} indices in [0, {size}) (got {low} to {high})"
            )


def check_integers(x: object, name: str, *, or_bools: bool = False) -> None:
    """Raise a :class:`TypeError` unless ``x`` is a tensor of integers, or of bools if they will do:
    two groups may be told apart by them, nodes not.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"'{name}' must be a tensor of integers (got {type(x).__name__})")
    whole = not (x.is_floating_point() or x.is_complex())
    if not whole or (x.dtype == torch.bool and not or_bools):
        raise TypeError(f"'{name}' must be a tensor of integers (got {x.dtype})")


def check_range(index: Tensor, name: str, size: int, what: str) -> None:
    """Raise an :class:`IndexError` unless all lie in [0, size); waits for their device."""
    low, high = index.aminmax() if index.numel() else (0, -1)
    if low < 0 or high >= size:
        raise IndexError(
            f"'{name}' must hold {what} in [0, {size}) (got {int(low)} to {int(high)})"
        )


def check_rising(ptr: Tensor, name: str, count: int) -> None:
    """Raise a :class:`ValueError` unless these are offsets that rise from 0 to ``count``."""
    first, last = int(ptr[0]), int(ptr[-1])
    falls = (ptr.diff() < 0).nonzero()
    if len(falls):
        place = int(falls[0])
        got = f"{ptr[place].item()} before {ptr[place + 1].item()}"
    elif (first, last) != (0, count):
        got = f"{first} to {last}"
    else:
        return
    raise ValueError(f"'{name}' must hold offsets that rise from 0 to {count} (got {got})")


def check_offsets(rowptr: Tensor, col: Tensor, num_sources: int, num_targets: int) -> None:
    """Raise unless these are offsets of each target's edges, and their sources.

    What they hold is looked at on the CPU only: a GPU would have to be waited for.
    """
    check_integers(rowptr, "edge_index")
    check_integers(col, "edge_index")
    if rowptr.shape != (num_targets + 1,) or col.dim() != 1:
        raise ValueError(
            f"'edge_index' must be offsets of {num_targets} targets, and sources "
            f"(got shapes {tuple(rowptr.shape)} and {tuple(col.shape)})"
        )
    if not is_readable(rowptr):
        return
    check_rising(rowptr, "edge_index", col.numel())
    check_range(col, "edge_index", num_sources, "source indices")
