"""Aliases, and flags for what is installed and changes how layers run.

``TGH_HIDE=torch_cluster,torch_scatter`` in the environment hides packages, as if not installed.
"""

import importlib
import os

from torch import Tensor
from torch.torch_version import TorchVersion

#: A curvature parameter: the curvature is ``-c``.
Curvature = float | Tensor

_HIDDEN = os.environ.get("TGH_HIDE", "").split(",")


def _available(package: str, oldest: str | None = None) -> bool:
    if package in _HIDDEN:
        return False
    try:
        module = importlib.import_module(package)
    except (ImportError, OSError, RuntimeError, SystemError):
        return False  # the last three if built for another torch, or another NumPy
    return oldest is None or TorchVersion(getattr(module, "__version__", "0")) >= oldest


WITH_TORCH_CLUSTER = _available("torch_cluster")
WITH_TORCH_SCATTER = _available("torch_scatter")
WITH_NUMBA = _available("numba") and not importlib.import_module("numba").config.DISABLE_JIT
WITH_TRITON = _available("triton", oldest="3.4")  # the first whose kernels index constant tuples
WITH_E3NN = _available("e3nn", oldest="0.5")  # torch loads no tables of older ones

__all__ = [
    "Curvature",
    "WITH_E3NN",
    "WITH_NUMBA",
    "WITH_TORCH_CLUSTER",
    "WITH_TORCH_SCATTER",
    "WITH_TRITON",
]
