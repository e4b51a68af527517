"""Which engine runs the fused operators."""

import functools
import os
import warnings

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

_fused = os.environ.get("TGH_FUSED", "1") == "1"


def set_fused(enabled: bool) -> None:
    """Switch the fused operators of layers on or off; on unless ``TGH_FUSED=0``.

    Without them layers run the same formulas in plain PyTorch: slower and with more memory, and
    the results are equal up to rounding.

    Example:
        >>> import torch
        >>> set_fused(False)
        >>> fused_engine(torch.zeros(3))
        >>> set_fused(True)
    """
    global _fused
    _fused = enabled


def fused_engine(x: Tensor) -> str | None:
    """The engine for tensors on the device of ``x``: ``'numba'``, ``'triton'`` or :obj:`None`.

    Args:
        x (torch.Tensor): any tensor.

    Returns:
        :obj:`None` where layers are to run in plain PyTorch: switched off by :func:`set_fused`, no
        numba (which warns once) or Triton, a device that has neither, in ``torch.jit.trace``,
        which would keep the sizes of the graph it sees, or in transforms of ``torch.func`` and
        forward-mode differentiation, which custom operators do not know.
    """
    if not _fused or torch.jit.is_tracing() or in_transforms():
        return None
    if x.device.type == "cpu" and not WITH_NUMBA and not torch.compiler.is_compiling():
        _warn_without_numba()
    return installed_engine(x)


def installed_engine(x: Tensor) -> str | None:
    """The engine there is for the device of ``x``, whatever :func:`set_fused` says."""
    if x.device.type == "cpu":
        return "numba" if WITH_NUMBA else None
    return "triton" if x.device.type == "cuda" and WITH_TRITON else None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def in_transforms() -> bool:
    """Whether a transform of ``torch.func``, or forward-mode differentiation, is active.

    PyTorch has no public function for it. What is compiled inside of one is compiled anew outside.
    """
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


@functools.cache
def _warn_without_numba() -> None:
    warnings.warn(
        "numba cannot be imported or compiles nothing: layers run in plain PyTorch, several times "
        "slower",
        stacklevel=3,
    )
