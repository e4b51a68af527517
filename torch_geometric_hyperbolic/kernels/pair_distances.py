r"""The distances between all points of both ends of an edge."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry._numerics import asinhc, safe_sqrt
from torch_geometric_hyperbolic.geometry._precision import working_dtype
from torch_geometric_hyperbolic.kernels._space import curvature
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.edge_coefficients import edge_coefficients
from torch_geometric_hyperbolic.kernels.to_ball import to_ball
from torch_geometric_hyperbolic.manifolds import Manifold


def pair_distances(x: Tensor, y: Tensor, manifold: Manifold) -> Tensor:
    r""":math:`d(\mathbf{x}^a_e, \mathbf{y}^b_e)` of all points that ``E`` edges have at their ends.

    .. math::
        d = \frac{2}{\sqrt c} \operatorname{asinh} \sqrt q, \qquad
        q = c \|p_x - p_y\|^2 / (g_x g_y) = \beta / (\alpha\, g_y)

    with the scalars of :func:`edge_coefficients`, so that no difference of points is stored:
    :math:`O(E P Q n)` time and :math:`O(E (P + Q) n + E P Q)` memory where fused, and
    :math:`O(E P Q n)` memory elsewhere. In Euclidean space :math:`q` is taken with
    :math:`c` and the gaps 1, and :math:`d = \sqrt q`.

    Args:
        x (torch.Tensor): points, ``[E, P, ambient_dim]``.
        y (torch.Tensor): points, ``[E, Q, ambient_dim]``.
        manifold (Manifold): their space.

    Returns:
        Distances, ``[E, P, Q]``; differentiable once where fused, with gradient 0 where they are 0.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import Euclidean
        >>> x, y = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.0], [2.0], [4.0]]])
        >>> pair_distances(x, y, Euclidean())
        tensor([[[0., 2., 4.],
                 [1., 1., 3.]]])
    """
    if torch.is_autocast_enabled(x.device.type):
        x, y = x.to(working_dtype(x)), y.to(working_dtype(y))
    if fused_engine(x) is None or x.dtype != working_dtype(x):
        return manifold.dist(x[:, :, None], y[:, None])
    edges, rows, columns = x.size(0), x.size(1), y.size(1)
    c = curvature(manifold, x)
    p_x, gap_x = to_ball(x.flatten(0, 1), manifold, c)
    p_y, gap_y = to_ball(y.flatten(0, 1), manifold, c)
    c = torch.ones_like(c) if manifold.flat else c
    rowptr = columns * torch.arange(edges * rows + 1, device=x.device)
    col = torch.arange(edges * columns, dtype=torch.int32, device=x.device).view(edges, 1, columns)
    given = (p_x, gap_x, p_y, gap_y, c, 1.0, rowptr, col.expand(-1, rows, -1).flatten())
    alpha, beta = edge_coefficients(*given, torch.float64)
    shape = (edges, rows, columns)
    q = beta.view(shape) / (alpha.view(shape) * gap_y.view(edges, 1, columns))
    distance = safe_sqrt(q) if manifold.flat else 2 / c.sqrt() * safe_sqrt(q) * asinhc(q)
    return distance.to(x.dtype)
