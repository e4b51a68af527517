"""Hyperbolic neural layers for PyTorch Geometric."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["checks", "datasets", "geometry", "kernels", "manifolds", "nn", "testing"]

if TYPE_CHECKING:
    from torch_geometric_hyperbolic import (
        checks,
        datasets,
        geometry,
        kernels,
        manifolds,
        nn,
        testing,
    )
else:

    def __getattr__(name: str) -> ModuleType:
        """Import subpackages when asked for: `geometry` works without PyTorch Geometric."""
        if name in __all__:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
