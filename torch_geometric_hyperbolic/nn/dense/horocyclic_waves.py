r"""Features of points: the plane waves of a curved space."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_manifold,
    check_points,
    check_weight,
)
from torch_geometric_hyperbolic.geometry._numerics import limited_exp
from torch_geometric_hyperbolic.manifolds import Manifold


class HorocyclicWaves(torch.nn.Module):
    r"""Horocyclic waves, the plane waves of hyperbolic space (S. Helgason, "Groups and Geometric
    Analysis", 1984; as features: T. Yu and C. De Sa, `"Random Laplacian Features for Learning with
    Hyperbolic Space" <https://arxiv.org/abs/2202.06854>`_).

    .. math::
        f_k(\mathbf{x}) = \exp \bigl( (\rho \sqrt c + i \lambda_k) \,
        B(\mathbf{x}, \boldsymbol{\omega}_k) \bigr), \qquad \rho = (n - 1) / 2

    with learnable frequencies :math:`\lambda_k` and directions :math:`\boldsymbol{\omega}_k`. A
    plane wave :math:`e^{i \lambda \langle \mathbf{x}, \boldsymbol{\omega} \rangle}` is constant on
    planes and oscillates across them. In hyperbolic space the planes are horospheres, the spheres
    around a point at infinity, and how far :math:`\mathbf{x}` has come towards that point is the
    Busemann function :math:`B`. Horospheres get smaller on the way there, so a wave that keeps its
    energy grows like :math:`e^{\rho \sqrt c B}`. These waves are eigenfunctions of the Laplacian,

    .. math::
        \Delta f_k = -(\lambda_k^2 + c \rho^2) f_k,

    and any well-behaved function is a sum of them, as of plane waves in flat space. On
    :class:`~torch_geometric_hyperbolic.manifolds.Euclidean` they *are* the plane waves. Lengths are
    those of ``manifold.dist``, whose flat limit in the ball is twice the Euclidean length.

    Under an isometry :math:`\phi` a wave becomes another one of the same frequency:
    :math:`f_{\lambda, \phi \boldsymbol{\omega}}(\phi \mathbf{x})` is
    :math:`f_{\lambda, \boldsymbol{\omega}}(\mathbf{x})` times a constant, which is 1 for rotations
    and reflections about the origin. The features themselves are not invariant.

    The exponent of the amplitude ends at 40, :math:`e^{40} = 2 \cdot 10^{17}`, so that nothing
    overflows in float32. Until :math:`B = 40 / (\rho \sqrt c)` the waves are eigenfunctions: on all
    float32 points of the ball for :math:`n \le 5`, but only to :math:`B = 1.3 / \sqrt c` for
    :math:`n = 64`. Waves are for spaces of few dimensions.

    Cost :math:`O(N K n)` for :math:`K` waves.

    Args:
        in_channels (int): Dimension :math:`n` of the space.
        num_waves (int): Number :math:`K` of waves.
        manifold (Manifold): The space of the input points.

    Shapes:
        - **input:** points on ``manifold`` :math:`(*, F)`
        - **output:** ordinary features :math:`(*, 2 K)`: real parts, then imaginary parts

    Raises:
        TypeError, ValueError: naming the argument, for a wrong last dimension, dtype or manifold.

    Example:
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball = PoincareBall()
        >>> waves = HorocyclicWaves(3, num_waves=8, manifold=ball)
        >>> waves(ball.random(5, 3)).shape
        torch.Size([5, 16])
    """

    def __init__(self, in_channels: int, num_waves: int, *, manifold: Manifold) -> None:
        super().__init__()
        check_manifold(manifold)
        check_counts(in_channels=in_channels, num_waves=num_waves)
        self.in_channels = in_channels
        self.num_waves = num_waves
        self.manifold = manifold
        self.frequency = torch.nn.Parameter(torch.empty(num_waves))
        self.direction = torch.nn.Parameter(torch.empty(num_waves, in_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Directions uniform on the sphere, frequencies standard normal."""
        torch.nn.init.normal_(self.frequency)
        torch.nn.init.normal_(self.direction)

    def forward(self, x: Tensor) -> Tensor:
        """The waves at each point."""
        check_points(x, "x", width=self.manifold.ambient_dim(self.in_channels))
        check_weight(x, "x", self.direction)
        return self.of(x)

    def of(self, x: Tensor) -> Tensor:
        """The waves at points of any dtype, ``[..., ambient_dim]``: ``[..., 2 * num_waves]``, in
        that dtype.
        """
        return self._waves(self.manifold.busemann(x.unsqueeze(-2), self.direction.to(x.dtype)))

    def of_vectors(self, v: Tensor) -> Tensor:
        """The waves at ``exp0(v)`` for vectors of any length, ``[..., in_channels]``:
        ``[..., 2 * num_waves]``.
        """
        return self._waves(self.manifold.busemann0(v.unsqueeze(-2), self.direction.to(v.dtype)))

    def _waves(self, ahead: Tensor) -> Tensor:
        growth = (self.in_channels - 1) / 2 * self.manifold.c**0.5
        amplitude, phase = limited_exp(growth * ahead), self.frequency * ahead
        return torch.cat([amplitude * phase.cos(), amplitude * phase.sin()], dim=-1)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, num_waves={self.num_waves}, "
            f"manifold={self.manifold})"
        )
