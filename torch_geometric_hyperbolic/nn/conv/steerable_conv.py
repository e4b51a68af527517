r"""Steerable convolution of vector and tensor features on a curved space."""

import math
from typing import Any, Union

import torch
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, PairTensor

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_manifold,
    check_points,
    check_positive,
    check_weight,
)
from torch_geometric_hyperbolic.geometry._numerics import dot, safe_sqrt
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv import _harmonics as har
from torch_geometric_hyperbolic.nn.conv._adjacency import with_int64
from torch_geometric_hyperbolic.nn.conv._pair import checked_pair
from torch_geometric_hyperbolic.typing import WITH_E3NN


class SteerableConv(MessagePassing):
    r"""Gauge-equivariant steerable convolution of features that turn with the space.

    .. math::
        \mathbf{f}^{\prime}_i = \frac{1}{|\mathcal{N}(i)|} \sum_{j \in \mathcal{N}(i)}
        \sum_{l, J, l'} \mathbf{W}_{l J l'}(\|\mathbf{u}_{ij}\|) \bigl[ Y_J(\mathbf{u}_{ij}) \otimes
        D_l(\mathbf{T}_{ij}) \, \mathbf{f}_j^{(l)} \bigr]_{l'}, \qquad
        \mathbf{u}_{ij} = \frac{\operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j)}
        {\sqrt{r^2 + \| \operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j) \|^2}}

    A feature of order 0 is a number, of order 1 a vector, of order 2 a symmetric tensor without
    trace, and so on: coefficients of spherical harmonics, which can say, for example, how the
    neighbours of a node are spread over the directions around it. The features of a neighbour are
    first carried to the node by parallel transport, :math:`\mathbf{T}_{ij}` in :math:`O(n)`, which
    turns their order :math:`l` by :math:`D_l`. They are multiplied by the harmonics :math:`Y_J` of
    the direction in which the neighbour lies, and Clebsch-Gordan coefficients sort the products
    into orders :math:`l'`. What is learnt is one matrix of channels :math:`\mathbf{W}` for each
    path :math:`(l, J, l')`, as a smooth function of the distance. Nothing else that is linear has
    the symmetry below (in the plane: `Weiler and Cesa <https://arxiv.org/abs/1911.08251>`_; in
    space: `Thomas et al. <https://arxiv.org/abs/1802.08219>`_; with transport on curved spaces:
    `Cohen et al. <https://arxiv.org/abs/1902.04615>`_).

    The vectors :math:`\mathbf{u}` are shorter than 1, and :math:`\|Y_J\| = \|\mathbf{u}\|^J`, so
    that directions fade out smoothly where points coincide. :math:`\mathbf{W}` is a sum of the
    Bernstein polynomials of :math:`\|\mathbf{u}\|^2`, bumps that cover all distances from 0 to
    infinity and add up to 1. In every model :math:`\operatorname{rel}` is measured in the ball's
    units (half the hyperbolic distance): all models, and their flat limit, give the same numbers.

    An isometry of the space turns all :math:`\operatorname{rel}(\mathbf{x}_i, \cdot)` of a node by
    one :math:`\mathbf{R}_i` in :math:`O(n)`. If the input turns too, :math:`D(\mathbf{R}_j)
    \mathbf{f}_j`, then so does the output, :math:`D(\mathbf{R}_i) \mathbf{f}^{\prime}_i`, under
    reflections as well. Input numbers (``in_order=0``, for example all 1) turn by staying as they
    are. Then the output's order 0, and the length of every order of every channel
    (:func:`order_norms`), are invariant; single components of orders above 0 are not. Layers may be
    stacked; between them mix channels linearly, or multiply by functions of invariants.

    Cost :math:`O(E P (K C + M C + M Q) + N P K C C')` and memory for :math:`E P K C` numbers, with
    :math:`C` and :math:`C'` channels, :math:`K` radial functions, :math:`M` input components,
    :math:`Q` components of harmonics and :math:`P` of all paths (in space 9 from order 0 to 2, 48
    from 2 to 2).

    Args:
        in_channels (int): Number of channels of the input features.
        out_channels (int): Number of channels of the output features.
        max_order (int, optional): Highest order of the output features. (default: :obj:`2`)
        in_order (int, optional): Highest order of the input features. (default: :obj:`0`)
        dim (int): Dimension :math:`n` of the space, 2 or 3. Three dimensions need e3nn, the extra
            ``harmonics``.
        manifold (Manifold): The space of the points.
        num_radial (int, optional): Number of radial functions. (default: :obj:`8`)
        radius (float, optional): Length :math:`r` of :math:`\operatorname{rel}` below which half
            of the radial functions lie. (default: :obj:`1.0`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing` other than ``aggr``, which is the mean,
            and ``node_dim``.

    Shapes:
        - **input:** features :math:`(|\mathcal{V}|, C_{in}, M_{in})`, points on ``manifold``
          :math:`(|\mathcal{V}|, F)` or
          :math:`((|\mathcal{V}_s|, F), (|\mathcal{V}_t|, F))` if bipartite, with features of the
          sources; edge indices :math:`(2, |\mathcal{E}|)`
        - **output:** features :math:`(|\mathcal{V}_t|, C_{out}, M_{out})`; zero for a node without
          edges

        (:math:`M` counts components up to the highest order :math:`L`: :math:`2L + 1` in the plane,
        the cosine and sine parts in turn, and :math:`(L + 1)^2` in space, in e3nn's basis.)

    Raises:
        ImportError: for ``dim=3`` without e3nn.
        TypeError, ValueError: naming the argument, for a wrong shape, dtype, order or manifold.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball = PoincareBall()
        >>> first = SteerableConv(1, 4, dim=2, manifold=ball)
        >>> second = SteerableConv(4, 8, in_order=2, dim=2, manifold=ball)
        >>> x, edge_index = ball.random(4, 2), torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> f = second(first(torch.ones(4, 1, 1), x, edge_index), x, edge_index)
        >>> f.shape, order_norms(f, dim=2).shape
        (torch.Size([4, 8, 5]), torch.Size([4, 8, 3]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        max_order: int = 2,
        in_order: int = 0,
        *,
        dim: int,
        manifold: Manifold,
        num_radial: int = 8,
        radius: float = 1.0,
        **kwargs: Any,
    ) -> None:
        check_manifold(manifold)
        check_counts(in_channels=in_channels, out_channels=out_channels, num_radial=num_radial)
        check_counts(least=0, max_order=max_order, in_order=in_order)
        check_positive(radius, "radius")
        check_counts(dim=dim)
        if dim not in (2, 3):
            raise ValueError(f"'dim' must be 2 or 3 (got {dim!r})")
        if dim == 3 and not WITH_E3NN:
            raise ImportError(
                "'dim' = 3 needs e3nn: the extra torch_geometric_hyperbolic[harmonics]"
            )
        super().__init__(aggr="mean", node_dim=0, **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.max_order = max_order
        self.in_order = in_order
        self.dim = dim
        self.manifold = manifold
        self.num_radial = num_radial
        self.radius = radius
        self.paths = har.paths(in_order, max_order, dim)
        with torch.device("cpu"):  # tables have values, on the meta device too
            coupling = har.joint_coupling(in_order, max_order, dim)
            steps = har.steps(in_order + max_order, dim)
        self.coupling = har.Constant(coupling)
        self.steps = torch.nn.ModuleList(map(har.Constant, steps))
        num_paths = sum(map(len, self.paths))
        self.weight = torch.nn.Parameter(
            torch.empty(num_paths, num_radial, in_channels, out_channels)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Output components start about as large as input components, for neighbours far away."""
        super().reset_parameters()
        for table in (self.coupling, *self.steps):
            table.reset_parameters()
        paths_per_order = self.weight.size(0) / (self.max_order + 1)
        torch.nn.init.normal_(self.weight, std=(self.in_channels * paths_per_order) ** -0.5)

    def forward(self, f: Tensor, x: Union[Tensor, PairTensor], edge_index: Adj) -> Tensor:
        source, target, sizes = checked_pair(self, x, edge_index, self.dim, self.weight, dim=2)
        check_points(f, "f", dim=3, width=sum(har.widths(self.in_order, self.dim)))
        if f.shape[:2] != (source.size(0), self.in_channels):
            raise ValueError(
                f"'f' must have shape [{source.size(0)}, {self.in_channels}, {f.size(2)}] "
                f"(got {tuple(f.shape)})"
            )
        check_weight(f, "f", self.weight)

        p_j, gap_j = self.manifold.to_ball(source)
        p_i, gap_i = (p_j, gap_j) if source is target else self.manifold.to_ball(target)
        windows = self.propagate(
            with_int64(edge_index),
            f=f if source is target else (f, None),
            x=(source, target),
            p=(p_j.double(), p_i.double()),
            gap=(gap_j, gap_i),
            size=sizes,
            num_targets=sizes[1],
        )
        counts, widths = [len(p) for p in self.paths], har.widths(self.max_order, self.dim)
        columns = windows.split([p * m for p, m in zip(counts, widths, strict=True)], dim=-1)
        orders = [
            torch.einsum("nkcpm,pkco->nom", block.unflatten(-1, (-1, width)), weight)
            for block, width, weight in zip(columns, widths, self.weight.split(counts), strict=True)
        ]
        return torch.cat(orders, dim=-1)

    def message(
        self,
        f_j: Tensor,
        x_i: Tensor,
        x_j: Tensor,
        p_i: Tensor,
        p_j: Tensor,
        gap_i: Tensor,
        gap_j: Tensor,
    ) -> Tensor:
        """Radial functions times the components of all paths: ``[E, K, C, P]``."""
        steps = [step(f_j) for step in self.steps]
        turn = har.transport(p_i, gap_i, p_j, gap_j, self.manifold.c).to(f_j.dtype)
        matrices = har.representation(turn, self.in_order, steps)
        parts = f_j.split(har.widths(self.in_order, self.dim), dim=-1)
        carried = torch.cat([part @ m.mT for part, m in zip(parts, matrices, strict=True)], dim=-1)

        v = self.manifold.rel(x_i, x_j).double() / self.manifold.rel_unit
        squared = dot(v, v)
        total = self.radius**2 + squared
        u = (v / total.sqrt()).to(f_j.dtype)
        spherical = har.harmonics(u, self.in_order + self.max_order, steps)
        components = carried @ torch.einsum("ej,ijp->eip", spherical, self.coupling(f_j))
        radial = har.bernstein(squared / total, self.radius**2 / total, self.num_radial)
        return radial.to(f_j.dtype)[:, :, None, None] * components[:, None]

    def aggregate(self, inputs: Tensor, index: Tensor, num_targets: int) -> Tensor:
        # PyG's dim_size counts the first of a pair where the flow is reversed.
        return self.aggr_module(inputs, index, dim_size=num_targets, dim=self.node_dim)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"max_order={self.max_order}, in_order={self.in_order}, dim={self.dim}, "
            f"manifold={self.manifold})"
        )


def order_norms(f: Tensor, *, dim: int) -> Tensor:
    r"""The length of every order of every channel, invariant to isometries.

    Order 0 is a number, invariant as it is: read ``f[..., 0]`` where its sign matters.

    Args:
        f (torch.Tensor): features of :class:`SteerableConv`, ``[..., M]``.
        dim (int): dimension of the space, 2 or 3.

    Returns:
        Lengths ``[..., L + 1]`` of the orders 0 to :math:`L`, gradient 0 where they are 0.
        :math:`O(N C M)`.

    Raises:
        ValueError: if ``dim`` is not 2 or 3, or ``f`` does not hold all components of some orders.

    Example:
        >>> import torch
        >>> order_norms(torch.tensor([1.0, 3.0, 4.0]), dim=2)
        tensor([1., 5.])
    """
    if dim not in (2, 3):
        raise ValueError(f"'dim' must be 2 or 3 (got {dim!r})")
    check_points(f, "f")
    size = f.size(-1) if f.dim() else 0
    max_order = (size - 1) // 2 if dim == 2 else math.isqrt(size) - 1
    widths = har.widths(max_order, dim)
    if size == 0 or sum(widths) != size:
        raise ValueError(f"'f' must hold all components of orders 0 to L (got {size})")
    return torch.cat([safe_sqrt(dot(part, part)) for part in f.split(widths, dim=-1)], dim=-1)
