r"""The power of a window's signal at given frequencies, a feature that no isometry changes."""

import math
from typing import Any, Union

import torch
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, PairTensor

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_manifold,
)
from torch_geometric_hyperbolic.geometry.harmonic import spherical_function
from torch_geometric_hyperbolic.kernels.group_edges import sum_of_groups
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._adjacency import with_int64
from torch_geometric_hyperbolic.nn.conv._pair import checked_pair


class SphericalPowerConv(MessagePassing):
    r"""Measures how strongly each window oscillates at learnt frequencies, whatever its place and
    direction.

    .. math::
        \mathbf{x}^{\prime}_i &= \exp_0 ( \mathbf{W} \mathbf{P}_i + \mathbf{b} )

        P_{im} &= u_m^2 + \frac{2 u_m v_m}{k_i} \sum_{j} \varphi_{\lambda_m}(d_{ij})
        + \frac{v_m^2}{k_i^2} \sum_{j, k} \varphi_{\lambda_m}(d_{jk}), \qquad
        j, k \in \mathcal{N}(i)

    with learnable weights :math:`u_m` of the pivot and :math:`v_m` of its :math:`k_i` neighbours,
    and learnable positive frequencies :math:`\lambda_m`. :math:`\varphi_\lambda` is the
    :func:`~torch_geometric_hyperbolic.geometry.harmonic.spherical_function`: the wave of frequency
    :math:`\lambda` that looks the same in every direction, the cosine's counterpart.

    The window of node :math:`i` is read as a signal, a sum of point masses
    :math:`f_m = u_m \delta_{\mathbf{x}_i} + v_m k_i^{-1} \sum_j \delta_{\mathbf{x}_j}`. Its
    Helgason-Fourier transform :math:`\hat f_m(\lambda, \omega)` (Helgason, "Groups and Geometric
    Analysis", 1984, chapter IV) tells how much of the plane wave of
    frequency :math:`\lambda` and direction :math:`\omega` it holds, and
    :math:`P_{im} = \int \lvert \hat f_m(\lambda_m, \omega) \rvert^2 \, d\omega` is its power at
    :math:`\lambda_m`. An isometry that moves the window changes the phases of its plane waves and
    mixes their directions but not their frequencies, so the integral over all directions stays as
    it was: an integral over the whole isometry group, in closed form. The output is therefore
    invariant to every isometry applied to all points. On
    :class:`~torch_geometric_hyperbolic.manifolds.Euclidean` the waves are those of the ordinary
    Fourier transform.

    All pairs of a window meet: :math:`O(M \sum_i k_i^2)` with :math:`M` frequencies, in memory too
    (about 1.3 kB per pair for 16 frequencies), and 64 times that unless :math:`n` is 1 or 3.
    Repeated edges are repeated neighbours; a node without edges has its pivot alone, of power
    :math:`u_m^2`. For dimensions other than 1 and 3 the values are those of the formula while
    :math:`\lambda d \le 160`.

    Args:
        in_channels (int): Dimension :math:`n` of the input space.
        out_channels (int): Dimension of the output space.
        manifold (Manifold): The space of the input and output points.
        num_frequencies (int, optional): Number :math:`M` of frequencies, in radians per unit of the
            manifold's distance; at first :math:`\pi m / M` for :math:`m = 1, \ldots, M`.
            (default: :obj:`16`)
        bias (bool, optional): Learn an additive bias, a tangent vector at the origin.
            (default: :obj:`True`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing` other than ``aggr``.

    Shapes:
        - **input:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{in})` or
          :math:`((|\mathcal{V}_s|, F_{in}), (|\mathcal{V}_t|, F_{in}))` if bipartite, the pivots
          being the targets, edge indices :math:`(2, |\mathcal{E}|)`
        - **output:** points on ``manifold`` :math:`(|\mathcal{V}_t|, F_{out})`

    Raises:
        TypeError, ValueError: naming the argument, for a wrong shape, dtype or manifold.

    Example:
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> from torch_geometric_hyperbolic.nn import knn_graph
        >>> ball = PoincareBall()
        >>> conv = SphericalPowerConv(3, 8, manifold=ball)
        >>> x = ball.random(20, 3)
        >>> conv(x, knn_graph(x, 4, manifold=ball)).shape
        torch.Size([20, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        manifold: Manifold,
        num_frequencies: int = 16,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        check_manifold(manifold)
        check_counts(
            in_channels=in_channels, out_channels=out_channels, num_frequencies=num_frequencies
        )
        super().__init__(aggr=None, **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_frequencies = num_frequencies
        self.manifold = manifold
        self.log_frequency = torch.nn.Parameter(torch.empty(num_frequencies))
        self.pivot_weight = torch.nn.Parameter(torch.empty(num_frequencies))
        self.neighbour_weight = torch.nn.Parameter(torch.empty(num_frequencies))
        self.lin = torch.nn.Linear(num_frequencies, out_channels, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        last, device = self.num_frequencies, self.log_frequency.device
        steps = torch.arange(1, last + 1, device=device) / last
        with torch.no_grad():
            self.log_frequency.copy_((math.pi * steps).log())
        for weight in (self.pivot_weight, self.neighbour_weight):
            torch.nn.init.constant_(weight, 0.5)  # a power of at most 1
        self.lin.reset_parameters()

    @property
    def frequency(self) -> Tensor:
        r"""The frequencies :math:`\lambda_m`, ``[num_frequencies]``, float64."""
        return self.log_frequency.double().exp()

    def forward(self, x: Union[Tensor, PairTensor], edge_index: Adj) -> Tensor:
        weight = self.lin.weight
        source, target, sizes = checked_pair(self, x, edge_index, self.in_channels, weight, dim=2)
        power = self.propagate(
            with_int64(edge_index), x=(source, target), size=sizes, num_targets=sizes[1]
        )
        return self.manifold.exp0(self.lin(power.to(self.pivot_weight.dtype)))

    def message(self, x_j: Tensor) -> Tensor:
        return x_j

    def explain_message(self, inputs: Tensor, dim_size: int) -> Tensor:
        raise NotImplementedError("SphericalPowerConv weighs pairs of edges: it takes no edge mask")

    def aggregate(self, inputs: Tensor, index: Tensor, x_i: Tensor, num_targets: int) -> Tensor:
        """The power of every window at every frequency, ``[N, num_frequencies]``, float64."""
        order = index.argsort(stable=True)
        window, neighbour, pivot = index[order], inputs[order], x_i[order]
        first, second = pairs(window, num_targets)

        count = torch.bincount(window, minlength=num_targets).double().unsqueeze(-1)
        share = 1 / torch.where(count > 0, count, 1.0)
        to_pivot = share * self._sum(pivot, neighbour, window, num_targets)
        among = self._sum(neighbour[first], neighbour[second], window[first], num_targets)
        among = share**2 * (count + 2 * among)  # each with itself, and two orders of each pair
        u, v = self.pivot_weight.double(), self.neighbour_weight.double()
        return u**2 + 2 * u * v * to_pivot + v**2 * among

    def _sum(self, x: Tensor, y: Tensor, window: Tensor, size: int) -> Tensor:
        """Spherical functions of the pairs of each window, added up."""
        values = spherical_function(
            self.manifold.dist(x, y).double().unsqueeze(-1),
            self.frequency,
            n=self.in_channels,
            c=self.manifold.c,
        )
        return sum_of_groups(values, window, size)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"manifold={self.manifold}, num_frequencies={self.num_frequencies})"
        )


def pairs(window: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """All pairs ``first < second`` of equal entries of the sorted ``window``, as positions."""
    position = torch.arange(window.numel(), device=window.device)
    later = torch.bincount(window, minlength=size).cumsum(0)[window] - 1 - position
    first = position.repeat_interleave(later)
    start = (later.cumsum(0) - later)[first]
    return first, first + 1 + torch.arange(first.numel(), device=window.device) - start
