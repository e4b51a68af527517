"""Pure functions of tensors: the formulas of hyperbolic geometry, ``c`` always keyword-only."""

from torch_geometric_hyperbolic.geometry import convert, harmonic, lorentz, poincare

__all__ = ["convert", "harmonic", "lorentz", "poincare"]
