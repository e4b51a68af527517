r"""Orders of the orthogonal group O(n), n = 2 or 3: harmonics, their rotations, their couplings.

A vector of order :math:`l` has 1 component for :math:`l = 0`, and otherwise 2 in the plane (the
cosine and the sine of :math:`l` times an angle) and :math:`2l + 1` in space. Order 1 is an ordinary
vector, and the others are made from it by couplings, so that no angle is ever taken: everything is
a polynomial, smooth at the zero vector and for any matrix, reflections included.

e3nn calls the axis of its angles y, and then the components of its order 1 are simply (x, y, z).
Coupling with order 1 is therefore all that has to follow its convention, and its harmonics result.
"""

import math
from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry._ball import turn
from torch_geometric_hyperbolic.typing import Curvature


class Constant(torch.nn.Module):
    """A float64 table of a module, which follows it to a device but is not rounded by its dtype."""

    bits: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self._bits = table.contiguous().view(torch.int64)
        bits = torch.empty(self._bits.shape, dtype=torch.int64)  # on the default device
        self.register_buffer("bits", bits, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Write the table where memory was left empty, as by ``to_empty``."""
        self.bits.copy_(self._bits)

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        if self.bits.is_meta:  # as ``assign=True`` gives parameters memory
            self.bits = self._bits.clone()
        self.reset_parameters()

    def forward(self, like: Tensor) -> Tensor:
        """The table in the dtype of a tensor."""
        return self.bits.view(torch.float64).to(like.dtype)


def width(order: int, dim: int) -> int:
    """Number of components of one order."""
    return 2 if dim == 2 and order else 2 * order + 1


def widths(max_order: int, dim: int) -> list[int]:
    """Numbers of components of the orders up to ``max_order``."""
    return [width(order, dim) for order in range(max_order + 1)]


def paths(in_order: int, max_order: int, dim: int) -> list[list[tuple[int, int]]]:
    """For every output order the pairs of an input order and an order of harmonics that make it.

    Products that would change sign under a reflection, such as the cross product, are not among
    them.
    """

    def between(first: int, last: int) -> list[int]:
        low, high = abs(first - last), first + last
        return sorted({low, high}) if dim == 2 else list(range(low, high + 1, 2))

    return [
        [(first, by) for first in range(in_order + 1) for by in between(first, last)]
        for last in range(max_order + 1)
    ]


def coupling(l1: int, l2: int, l3: int, dim: int) -> Tensor:
    r"""The equivariant bilinear map of orders ``l1``, ``l2`` to ``l3``, as a table
    :math:`C_{ijk}` in float64 with :math:`\sum_{ij} C_{ijk} C_{ijk'} = \delta_{kk'}`.
    """
    if dim == 3:
        from e3nn.o3 import wigner_3j

        return (2 * l3 + 1) ** 0.5 * wigner_3j(l1, l2, l3, dtype=torch.float64)
    # In the plane the components of an order l > 0 are the real and imaginary part of a number.
    basis = torch.tensor([1, 1j], dtype=torch.complex128)
    a, b = (basis[: width(order, 2)] for order in (l1, l2))
    if l3 == l1 - l2:
        b = b.conj()
    elif l3 == l2 - l1:
        a = a.conj()
    product = torch.view_as_real((a[:, None] * b).resolve_conj())[..., : width(l3, 2)]
    return product / product[..., 0].norm()


def joint_coupling(in_order: int, max_order: int, dim: int) -> Tensor:
    """The couplings of all :func:`paths` in one table: input components by harmonics by outcomes.

    Inputs and harmonics whose components have unit variance make outcomes of unit variance.
    """
    rows, columns = widths(in_order, dim), widths(in_order + max_order, dim)
    blocks = []
    for last, pairs in enumerate(paths(in_order, max_order, dim)):
        for first, by in pairs:
            block = torch.zeros(sum(rows), sum(columns), width(last, dim), dtype=torch.float64)
            i, j = sum(rows[:first]), sum(columns[:by])
            table = columns[by] ** 0.5 * coupling(first, by, last, dim)
            block[i : i + rows[first], j : j + columns[by]] = table
            blocks.append(block)
    return torch.cat(blocks, dim=-1)


def steps(order: int, dim: int) -> list[Tensor]:
    """The couplings with order 1 by which :func:`harmonics` and :func:`representation` climb."""
    return [coupling(low, 1, low + 1, dim) for low in range(1, order)]


def harmonics(u: Tensor, order: int, steps: list[Tensor]) -> Tensor:
    r"""Solid harmonics :math:`\|u\|^l Y_l(u / \|u\|)` of the orders 0 to ``order``, joined.

    Polynomials in ``u``, ``[..., n]``; the length of order :math:`l` is :math:`\|u\|^l`.
    """
    dim = u.size(-1)
    found = [torch.ones_like(u[..., :1]), u]
    for low, table in enumerate(steps, start=1):
        scale = ((2 * low + dim - 2) / (low + dim - 2)) ** 0.5
        found.append(scale * torch.einsum("...i,...j,ijk->...k", found[-1], u, table))
    return torch.cat(found[: order + 1], dim=-1)


def representation(matrix: Tensor, order: int, steps: list[Tensor]) -> list[Tensor]:
    r"""How orthogonal matrices, ``[..., n, n]``, turn each order, ``[..., width, width]``:
    :math:`Y_l(R u) = D_l(R) Y_l(u)`.
    """
    found = [torch.ones_like(matrix[..., :1, :1]), matrix]
    for table in steps[: max(order - 1, 0)]:
        found.append(torch.einsum("...ac,abm,...bd,cdn->...mn", found[-1], table, matrix, table))
    return found[: order + 1]


def bernstein(far: Tensor, near: Tensor, count: int) -> Tensor:
    """The Bernstein polynomials of numbers ``far + near = 1``: ``[..., 1]`` to ``[..., count]``."""
    top = count - 1
    terms = [math.comb(top, k) * far**k * near ** (top - k) for k in range(count)]
    return torch.cat(terms, dim=-1)


def transport(p: Tensor, gap_p: Tensor, q: Tensor, gap_q: Tensor, c: Curvature) -> Tensor:
    r"""The rotation :math:`\operatorname{gyr}[p, -q]` by which vectors turn that are carried from
    ``q`` to ``p``, each read at the origin, ``[..., n, n]``. Points of the ball and their gaps in
    float64.
    """
    axes = torch.eye(p.size(-1), dtype=p.dtype, device=p.device)
    p, gap_p, q, gap_q = (t.unsqueeze(-2) for t in (p, gap_p, q, gap_q))
    return turn(q, gap_q, p, gap_p, axes, c).mT
