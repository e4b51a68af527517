r"""How the vectors of a window lie among each other, in lengths."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry._numerics import dot, safe_sqrt
from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.edge_vectors import EdgeVectors, as_edge_vectors
from torch_geometric_hyperbolic.kernels.group_edges import sum_of_groups, targets_of_edges
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import windows
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
    from torch_geometric_hyperbolic.kernels._cpu.window_lengths import length_gradients, lengths


def window_lengths(v: Tensor | EdgeVectors, rowptr: Tensor) -> tuple[Tensor, Tensor]:
    r"""Of each window the root mean square length :math:`s` of its vectors and the length of their
    mean; of each vector :math:`v_j` its length :math:`\|v_j\|`, and of the products with the
    window's vectors, :math:`\langle v_j, v_l \rangle / s`, the mean and the root mean square.

    Zero vectors have zeros throughout. Computed in float64: :math:`O(k^2 n)` per window of ``k``
    vectors and :math:`O(E)` memory on the CPU; without an engine as forms of each vector,
    :math:`O(E n^2)`.

    Args:
        v (torch.Tensor or EdgeVectors): vectors grouped by window, ``[E, n]``, float32 or float64.
        rowptr (torch.Tensor): offsets of each window's vectors, ``[M + 1]``, int64.

    Returns:
        Lengths of windows, ``[M, 2]``, and of vectors, ``[E, 3]``. Differentiable once where fused;
        the gradient of a length that is 0 is 0.

    Example:
        >>> import torch
        >>> of_windows, of_vectors = window_lengths(torch.eye(2), torch.tensor([0, 2]))
        >>> of_windows
        tensor([[1.0000, 0.7071]])
        >>> of_vectors
        tensor([[1.0000, 0.5000, 0.7071],
                [1.0000, 0.5000, 0.7071]])
    """
    vectors = as_edge_vectors(v, rowptr)
    if fused_engine(vectors.alpha) == "numba":
        return _window_lengths(*vectors, rowptr)
    wide, count = vectors.values(rowptr), rowptr.diff()
    i, windows = targets_of_edges(rowptr, wide.size(0)), count.size(0)
    total = sum_of_groups(wide, i, windows)
    outer = sum_of_groups(wide[:, :, None] * wide[:, None, :], i, windows)
    size = torch.where(count > 0, count, 1)[:, None]
    own, square = dot(wide, wide), dot(wide, (outer[i] @ wide[:, :, None])[:, :, 0])
    of_all = sum_of_groups(own, i, windows)
    of_windows = safe_sqrt(torch.cat([of_all, dot(total, total) / size], dim=-1) / size)
    unit = torch.where(of_windows == 0, 1.0, of_windows)[i, :1]
    means = [dot(wide, total[i]) / size[i] / unit, safe_sqrt(square / size[i]) / unit]
    of_vectors = torch.cat([safe_sqrt(own), *means], dim=-1)
    return of_windows.to(vectors.alpha.dtype), of_vectors.to(vectors.alpha.dtype)


@torch.library.custom_op("tgh::window_lengths", mutates_args=(), device_types="cpu")
def _window_lengths(
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    col: Tensor,
    rowptr: Tensor,
) -> tuple[Tensor, Tensor]:
    v = EdgeVectors(relative_i, relative_j, alpha, beta, col)
    outputs = _outputs(*v, rowptr)
    parallel(lengths, len(rowptr) - 1, v, rowptr, *outputs, offsets=rowptr, always=True)
    return outputs


@_window_lengths.register_fake
def _outputs(
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    col: Tensor,
    rowptr: Tensor,
) -> tuple[Tensor, Tensor]:
    return alpha.new_empty(rowptr.size(0) - 1, 2), alpha.new_empty(col.size(0), 3)


@torch.library.custom_op("tgh::window_lengths_backward", mutates_args=(), device_types="cpu")
def _window_lengths_backward(
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    col: Tensor,
    rowptr: Tensor,
    of_windows: Tensor,
    of_vectors: Tensor,
    grad_windows: Tensor,
    grad_vectors: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    v = EdgeVectors(relative_i, relative_j, alpha, beta, col)
    outputs = (of_windows, of_vectors, grad_windows, grad_vectors)
    return windows.gradients(length_gradients, v, rowptr, *outputs)


@_window_lengths_backward.register_fake
def _(relative_i, relative_j, alpha, beta, *args):  # type: ignore[no-untyped-def]
    return tuple(t.new_empty(t.shape) for t in (relative_i, relative_j, alpha, beta))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs, *output)


def _backward(ctx, *grads):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("window_lengths")
    return *_window_lengths_backward(*ctx.saved_tensors, *grads), None, None


_window_lengths.register_autograd(_backward, setup_context=_setup_context)
