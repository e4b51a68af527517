r"""How each vector of a window lies among the others, in three numbers."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.edge_vectors import EdgeVectors, as_edge_vectors
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import windows
    from torch_geometric_hyperbolic.kernels._cpu.compiled import parallel


def gram_rows(v: Tensor | EdgeVectors, rowptr: Tensor) -> Tensor:
    r"""Of each vector's row of its window's Gram matrix the diagonal entry, the mean and the mean
    square: :math:`\|v_j\|^2`, :math:`\tfrac1k \sum_l \langle v_j, v_l \rangle` and
    :math:`\tfrac1k \sum_l \langle v_j, v_l \rangle^2`.

    Computed in float64: :math:`O(k^2 n)` per window of ``k`` vectors and :math:`O(E)` memory on the
    CPU; without an engine, as forms of each vector, :math:`O(E n^2)`.

    Args:
        v (torch.Tensor or EdgeVectors): vectors grouped by window, ``[E, n]``, float32 or float64.
        rowptr (torch.Tensor): offsets of each window's vectors, ``[M + 1]``, int64.

    Returns:
        Three numbers per vector, ``[E, 3]``, float64: fourth powers of lengths leave the range of
        float32 early. Once differentiable where fused.

    Example:
        >>> gram_rows(torch.tensor([[0.0, 2.0], [1.0, 1.0]]), torch.tensor([0, 2]))
        tensor([[ 4.,  3., 10.],
                [ 2.,  2.,  4.]], dtype=torch.float64)
    """
    vectors = as_edge_vectors(v, rowptr)
    if fused_engine(vectors.alpha) == "numba":
        return _gram_rows(*vectors, rowptr)
    wide, count = vectors.values(rowptr), rowptr.diff()
    i = torch.arange(len(count), device=wide.device).repeat_interleave(count)
    total = wide.new_zeros(len(count), wide.size(1)).index_add_(0, i, wide)
    outer = wide.new_zeros(len(count), wide.size(1), wide.size(1))
    outer = outer.index_add_(0, i, wide[:, :, None] * wide[:, None, :])
    sums = [dot(wide, total[i]), torch.einsum("en,enm,em->e", wide, outer[i], wide)[:, None]]
    means = torch.cat(sums, dim=-1) / count[i, None]
    return torch.cat([dot(wide, wide), means], dim=-1)


@torch.library.custom_op("tgh::gram_rows", mutates_args=(), device_types="cpu")
def _gram_rows(
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    col: Tensor,
    rowptr: Tensor,
) -> Tensor:
    out = torch.empty(len(col), 3, dtype=torch.float64)
    v = EdgeVectors(relative_i, relative_j, alpha, beta, col)
    parallel(windows.rows, len(rowptr) - 1, v, rowptr, out)
    return out


@_gram_rows.register_fake
def _(relative_i, relative_j, alpha, beta, col, rowptr):  # type: ignore[no-untyped-def]
    return relative_i.new_empty(col.size(0), 3, dtype=torch.float64)


@torch.library.custom_op("tgh::gram_rows_backward", mutates_args=(), device_types="cpu")
def _gram_rows_backward(
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    col: Tensor,
    rowptr: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    v = EdgeVectors(relative_i, relative_j, alpha, beta, col)
    return windows.gradients(windows.row_gradients, v, rowptr, grad)


@_gram_rows_backward.register_fake
def _(relative_i, relative_j, alpha, beta, *args):  # type: ignore[no-untyped-def]
    return tuple(t.new_empty(t.shape) for t in (relative_i, relative_j, alpha, beta))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("gram_rows")
    return *_gram_rows_backward(*ctx.saved_tensors, grad), None, None


_gram_rows.register_autograd(_backward, setup_context=_setup_context)
