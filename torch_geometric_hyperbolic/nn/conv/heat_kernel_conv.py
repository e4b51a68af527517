r"""Smoothing of signals by the heat kernel of a curved space."""

import math
from typing import Any, Union

import torch
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_edge_index,
    check_manifold,
    check_points,
    check_positive,
    has_values,
)
from torch_geometric_hyperbolic.geometry import harmonic
from torch_geometric_hyperbolic.geometry._numerics import bounded_exp
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._adjacency import with_int64


class HeatKernelConv(MessagePassing):
    r"""Lets the values of a signal flow between the points of each window, as heat does.

    .. math::
        \mathbf{h}^{\prime}_i = \sum_{j \in \mathcal{N}(i) \cup \{ i \}} p_{ij} \mathbf{h}_j, \qquad
        p_{ij} = \frac{K_t(d(\mathbf{x}_i, \mathbf{x}_j))}
        {\sum_{k \in \mathcal{N}(i) \cup \{ i \}} K_t(d(\mathbf{x}_i, \mathbf{x}_k))}

    where :math:`K_t`, :func:`~torch_geometric_hyperbolic.geometry.harmonic.heat_kernel` (sources
    there), is the density a time :math:`t` after all heat was at one point: for small times a
    Gaussian of deviation :math:`\sqrt{2t}` per coordinate, and exactly that on
    :class:`~torch_geometric_hyperbolic.manifolds.Euclidean`. Fine detail fades first: on the whole
    space smoothing multiplies a wave of frequency :math:`\lambda` by
    :math:`e^{-t (\lambda^2 + c \rho^2)}`, :math:`\rho = (n - 1)/2`. Here the sum over a window is
    normalised, so constants stay what they are. :math:`t \to 0` leaves every value alone;
    :math:`t \to \infty` weighs by the spherical function :math:`\varphi_0(d)`, which is the mean on
    :class:`~torch_geometric_hyperbolic.manifolds.Euclidean`.

    Values depend on distances only: no isometry applied to all points changes them. A node is
    always in its own window, once, whether the graph has loops or not; other repeated edges count
    as often as they are given. :math:`O(E F)` and one value of the kernel per edge.

    Args:
        in_channels (int): Dimension :math:`n` of the space, at most 32.
        manifold (Manifold): The space of the points.
        time (float, optional): :math:`t`, in squared units of the manifold's distance.
            (default: :obj:`1.0`)
        learnable (bool, optional): Learn the time, starting at ``time``. (default: :obj:`False`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing` other than ``aggr``, which is the sum.

    Shapes:
        - **input:** values :math:`(|\mathcal{V}|, F)`, points on ``manifold``
          :math:`(|\mathcal{V}|, n)`, or :math:`(|\mathcal{V}|, n + 1)` on the hyperboloid, edge
          indices :math:`(2, |\mathcal{E}|)`
        - **output:** values :math:`(|\mathcal{V}|, F)`

    Raises:
        TypeError, ValueError: naming the argument, for a wrong shape, dtype, time or manifold.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball = PoincareBall()
        >>> conv = HeatKernelConv(2, manifold=ball, time=0.5)
        >>> h = torch.tensor([[1.0], [0.0]])
        >>> conv(h, torch.tensor([[0.0, 0.0], [0.5, 0.0]]), torch.tensor([[0, 1], [1, 0]]))
        tensor([[0.6677],
                [0.3323]])
    """

    def __init__(
        self,
        in_channels: int,
        *,
        manifold: Manifold,
        time: float = 1.0,
        learnable: bool = False,
        **kwargs: Any,
    ) -> None:
        check_manifold(manifold)
        check_counts(in_channels=in_channels)
        if in_channels > harmonic.MAX_DIMENSION:
            raise ValueError(
                f"'in_channels' must be at most {harmonic.MAX_DIMENSION} (got {in_channels})"
            )
        check_positive(time, "time")
        super().__init__(aggr="sum", **kwargs)
        self.in_channels = in_channels
        self.manifold = manifold
        self.initial_time = float(time)
        self.log_time = torch.nn.Parameter(torch.empty(())) if learnable else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.log_time is not None:
            torch.nn.init.constant_(self.log_time, math.log(self.initial_time))

    @property
    def time(self) -> Union[float, Tensor]:
        """The time of smoothing, a float, or a 0-dimensional float64 tensor when learnable."""
        return self.initial_time if self.log_time is None else bounded_exp(self.log_time.double())

    def forward(self, h: Tensor, x: Tensor, edge_index: Adj) -> Tensor:
        check_points(h, "h", dim=2)
        check_points(x, "x", dim=2, width=self.manifold.ambient_dim(self.in_channels))
        if h.size(0) != x.size(0):
            raise ValueError(
                f"'h' must have one row per point of 'x' (got {h.size(0)} for {x.size(0)} points)"
            )
        size = (x.size(0), x.size(0))
        check_edge_index(edge_index, size, self.flow)
        # The kernel is largest at distance 0: the node's own share is 1 before normalisation.
        out = self.propagate(with_int64(edge_index), h=h, x=x, size=size)
        return (h + out[:, :-1]) / (1 + out[:, -1:])

    def message(
        self,
        h_j: Tensor,
        x_i: Tensor,
        x_j: Tensor,
        edge_index_i: Tensor,
        edge_index_j: Tensor,
    ) -> Tensor:
        distance = self.manifold.dist(x_i, x_j).double()
        # Of the time that is read once: the gradients of both logarithms cancel.
        log = self._log_kernel(torch.cat([distance, distance.new_zeros(1)]))
        share = (log[:-1] - log[-1]).exp() * (edge_index_i != edge_index_j)
        share = share.to(h_j.dtype).unsqueeze(-1)
        return torch.cat([share * h_j, share], dim=-1)

    def _log_kernel(self, distance: Tensor) -> Tensor:
        return harmonic.log_heat_kernel(distance, self.time, n=self.in_channels, c=self.manifold.c)

    def __repr__(self) -> str:
        time = torch.as_tensor(self.time)
        shown = f", time={time.item():.6g}" if has_values(time) else ""
        return f"{self.__class__.__name__}({self.in_channels}, manifold={self.manifold}{shown})"
