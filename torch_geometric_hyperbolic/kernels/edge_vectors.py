r"""Vectors on edges that are made where they are used."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels.group_edges import targets_of_edges

#: What :func:`edge_max`, :func:`edge_sum` and :func:`edge_values` take first.
OperatorTerms = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class EdgeVectors(NamedTuple):
    r""":math:`v_e = \alpha_e (R_j - R_i) - \beta_e R_i` of edges :math:`e = (j \to i)` grouped by
    target, as :func:`edge_values` without :math:`A`: two numbers of each edge and vectors of nodes,
    :math:`O(E + N n)` memory.

    Attributes:
        relative_i (torch.Tensor): :math:`R` of targets, ``[M, n]``, float64.
        relative_j (torch.Tensor): :math:`R` of sources, ``[N, n]``.
        alpha (torch.Tensor): see :func:`edge_coefficients`, ``[E]``, float32 or float64, the dtype
            of what is made of the vectors.
        beta (torch.Tensor): see :func:`edge_coefficients`, ``[E]``.
        col (torch.Tensor): source of each edge, ``[E]``, int32.

    Example:
        >>> import torch
        >>> rowptr, v = torch.tensor([0, 2]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
        >>> EdgeVectors.stored(v, rowptr).values(rowptr)
        tensor([[0., 2.],
                [1., 1.]], dtype=torch.float64)
    """

    relative_i: Tensor
    relative_j: Tensor
    alpha: Tensor
    beta: Tensor
    col: Tensor

    @classmethod
    def stored(cls, v: Tensor, rowptr: Tensor) -> "EdgeVectors":
        """Vectors that exist already, ``[E, n]``: each edge is its own source."""
        none = v.new_zeros(rowptr.size(0) - 1, v.size(1), dtype=torch.float64)
        beta = v.new_zeros(v.size(0))
        col = torch.arange(v.size(0), dtype=torch.int32, device=v.device)
        return cls(none, v, torch.ones_like(beta), beta, col)

    def terms(self, absolute: Tensor, rowptr: Tensor) -> OperatorTerms:
        """What :func:`edge_max` and its siblings take to add ``absolute``, ``[M, n]``, to them."""
        return absolute, self.relative_i, self.relative_j, self.alpha, self.beta, rowptr, self.col

    def values(self, rowptr: Tensor) -> Tensor:
        """All of them, ``[E, n]``, in plain PyTorch and float64."""
        i = targets_of_edges(rowptr, self.col.size(0))
        of_i = self.relative_i.double()[i]
        difference = self.relative_j.double()[self.col.long()] - of_i
        return self.alpha[:, None] * difference - self.beta[:, None] * of_i


def as_edge_vectors(v: Tensor | EdgeVectors, rowptr: Tensor) -> EdgeVectors:
    """``v`` itself, or the stored vectors ``[E, n]``."""
    return v if isinstance(v, EdgeVectors) else EdgeVectors.stored(v, rowptr)
