r"""Hyperbolic convolution of images whose pixels are points."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_frame,
    check_manifold,
    check_points,
    check_precision,
    check_weight,
)
from torch_geometric_hyperbolic.geometry._precision import FULL, working_dtype
from torch_geometric_hyperbolic.kernels import (
    channels_last,
    curvature,
    exp0,
    fused_engine,
    local_coordinates,
    log0,
    move,
    relative_windows,
    to_ball,
)
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._image_windows import ImageWindows
from torch_geometric_hyperbolic.nn.conv.h_conv import base_point, reset_window
from torch_geometric_hyperbolic.nn.pool.grid_graph import Size2, as_pair, centre_offset


class HConv2d(torch.nn.Module):
    r"""H-Conv of "Geometric Deep Learning for Inverse Graphics" (S. Kozlukov, 2020) for images of
    points, the :class:`torch.nn.Conv2d` of a manifold, without ``groups`` and ``padding_mode``.

    .. math::
        \text{H-Conv 0.2 (pivot):} \quad
        \mathbf{y} &= \operatorname{move} \bigl( \mathbf{z}, \;
        \textstyle\sum_o \mathbf{W}_o \operatorname{rel}(\mathbf{x}, \mathbf{x}_o)
        + \mathbf{b} \bigr)

        \text{H-Conv 0.1:} \quad
        \mathbf{y} &= \exp_0 \bigl(
        \textstyle\sum_o \mathbf{W}_o \log_0 \mathbf{x}_o + \mathbf{b} \bigr)

    The pivot :math:`\mathbf{x}` is the pixel at the window's centre (the upper left one for
    even sizes; the origin where the centre lies on padding). The base point :math:`\mathbf{z}` is
    the pivot itself when in- and out-channels agree and the stride is 1, and otherwise
    :math:`\exp_0(\mathbf{A} \log_0 \mathbf{x})` with a learnable linear map :math:`\mathbf{A}`,
    which starts semi-orthogonal so that pivots keep their radius. Padding contributes the zero
    vector. The same numbers come from :class:`~torch_geometric_hyperbolic.nn.HConv` over
    :func:`~torch_geometric_hyperbolic.nn.grid_graph` (which has a pivot map only where channels
    differ), and with ``pivot=False`` from
    :class:`torch.nn.Conv2d` between ``log0`` and ``exp0``. Neither is invariant to isometries.

    With ``frame='local'`` it is exactly invariant: the window's vectors are written in an
    orthonormal frame that turns with them (see :class:`HyperbolicEdgeConv`). Isometries move the
    pivot, so it cannot be the base point:

    .. math::
        \mathbf{y} = \exp_0 \bigl( \textstyle\sum_o \mathbf{W}_o \, \mathbf{Q}^{\top}
        \operatorname{rel}(\mathbf{x}, \mathbf{x}_o) + \mathbf{b} \bigr) .

    Of the ``in_channels`` coordinates those beyond the dimension of the window's span are 0. A
    window whose centre lies on padding has no pivot; it gives :math:`\exp_0 \mathbf{b}`.

    Cost :math:`O(H W K F F')` with :math:`K` pixels in a window. On the CPU the fused engine
    holds the relative vectors of a few windows at a time (or of a few images); otherwise memory is
    :math:`O(H W K F)` per image. Fused, it is differentiable once.

    Args:
        in_channels (int): Dimension of the input space.
        out_channels (int): Dimension of the output space.
        kernel_size (int or tuple): Size of the window.
        stride (int or tuple, optional): Step between windows. (default: :obj:`1`)
        padding (int or tuple, optional): Rows and columns added on each side.
            (default: :obj:`0`)
        dilation (int or tuple, optional): Step within a window. (default: :obj:`1`)
        manifold (Manifold): The space of the pixels.
        pivot (bool, optional): H-Conv 0.2 if :obj:`True`, else 0.1. (default: :obj:`True`)
        bias (bool, optional): Learn an additive bias, a tangent vector. (default: :obj:`True`)
        frame (str, optional): :obj:`'local'` for the invariant form of H-Conv 0.2.
            (default: :obj:`None`)

    Shapes:
        - **input:** points on ``manifold`` along the second dimension,
          :math:`(B, F_{in}, H, W)`, or of one image :math:`(F_{in}, H, W)`
        - **output:** points on ``manifold`` :math:`(B, F_{out}, H', W')`, with :math:`H', W'` of
          :class:`torch.nn.Conv2d`

    Raises:
        TypeError, ValueError: naming the argument, for a wrong shape, dtype or manifold.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball = PoincareBall()
        >>> conv = HConv2d(3, 8, kernel_size=3, padding=1, manifold=ball)
        >>> image = torch.rand(2, 3, 5, 5)  # a verb takes the coordinates of a point last
        >>> conv(ball.exp0(image.movedim(1, -1)).movedim(-1, 1)).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2,
        stride: Size2 = 1,
        padding: Size2 = 0,
        dilation: Size2 = 1,
        *,
        manifold: Manifold,
        pivot: bool = True,
        bias: bool = True,
        frame: str | None = None,
    ) -> None:
        super().__init__()
        check_manifold(manifold)
        check_frame(frame)
        if frame is not None and not pivot:
            raise ValueError(f"'pivot' must be True with frame={frame!r} (got {pivot})")
        check_counts(in_channels=in_channels, out_channels=out_channels)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = as_pair(kernel_size, "kernel_size")
        self.stride = as_pair(stride, "stride")
        self.padding = as_pair(padding, "padding", low=0)
        self.dilation = as_pair(dilation, "dilation")
        self.manifold = manifold
        self.pivot = pivot
        self.frame = frame
        self.weight = torch.nn.Parameter(torch.empty(out_channels, in_channels, *self.kernel_size))
        self.bias = torch.nn.Parameter(torch.empty(out_channels)) if bias else None
        same = in_channels == out_channels and self.stride == (1, 1)
        mapped = pivot and frame is None and not same
        self.lin_pivot = torch.nn.Linear(in_channels, out_channels, bias=False) if mapped else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        reset_window(self.weight, self.bias, self.lin_pivot)

    @property
    def _grid(self) -> ImageWindows:
        return ImageWindows(self.kernel_size, self.stride, self.padding, self.dilation)

    def forward(self, x: Tensor) -> Tensor:
        """An image of points from one, or a batch of them."""
        if isinstance(x, Tensor) and x.dim() == 3:
            return self.forward(x[None])[0]
        check_points(x, "x", dim=4)
        width = self.manifold.ambient_dim(self.in_channels)
        if x.size(1) != width:
            raise ValueError(f"'x' must have second dimension {width} (got {x.size(1)})")
        check_weight(x, "x", self.weight)
        if self.frame is not None:
            check_precision(x, "x")
        self._grid.check(*x.shape[2:])
        x = channels_last(x)  # [B, H, W, ambient]
        if not self.pivot:
            return exp0(self._absolute(x), self.manifold).movedim(-1, 1)
        if self.frame is not None:
            return exp0(self._framed(x), self.manifold).movedim(-1, 1)
        full = {x.dtype, self.weight.dtype} <= {*FULL}
        v = self._fused(x) if full and fused_engine(x) == "numba" else self._relative(x)
        base = base_point(self._grid.pivots(x), self.lin_pivot, self.manifold)
        return move(base, v, self.manifold).movedim(-1, 1)

    def _absolute(self, x: Tensor) -> Tensor:
        """The ordinary convolution of log0, ``[B, H', W', out_channels]``."""
        log = log0(x, self.manifold).movedim(-1, 1)
        return torch.nn.functional.conv2d(
            log, self.weight, self.bias, self.stride, self.padding, self.dilation
        ).movedim(1, -1)

    def _relative(self, x: Tensor) -> Tensor:
        """The convolution of the windows seen from their pivots, ``[B, H', W', out_channels]``."""
        relative = self._vectors(x).flatten(-3).to(self.weight.dtype)
        return torch.nn.functional.linear(relative, self._matrices().flatten(1), self.bias)

    def _framed(self, x: Tensor) -> Tensor:
        """The same in the windows' own frames."""
        grid = self._grid
        vectors = torch.where(grid.of_pivots(grid.inside(x)), self._vectors(x), 0.0)
        size = self.kernel_size[0] * self.kernel_size[1]
        rows = vectors.flatten(0, -2)  # [B * H' * W' * kh * kw, in_channels]
        rowptr = torch.arange(0, rows.size(0) + 1, size, device=x.device)
        # In float64 for the sake of gradients, see relative_vectors of edge convolutions.
        z = local_coordinates(rows.double(), rowptr, dtype=rows.dtype)
        z = z.view(vectors.shape).flatten(-3)
        return torch.nn.functional.linear(z, self._matrices().flatten(1), self.bias)

    def _vectors(self, x: Tensor) -> Tensor:
        """What each pivot sees: ``[B, H', W', kh, kw, in_channels]``, 0 for padding."""
        grid = self._grid
        p, s = (grid.of(values) for values in self.manifold.chart(grid.pad(x)))
        p_i, s_i = grid.of_pivots(p), grid.of_pivots(s)
        alpha, beta = self.manifold.rel_coefficients(p_i, s_i, p, s)
        relative = alpha * (p - p_i) - beta * p_i
        return torch.where(grid.inside(x), relative, 0.0).to(working_dtype(x))

    def _fused(self, x: Tensor) -> Tensor:
        """The same without the relative vectors in memory."""
        points, gap = to_ball(x, self.manifold)
        height, width = x.shape[1:3]
        pixels = torch.arange(height * width, dtype=torch.int32, device=x.device)
        pixels = pixels.view(1, height, width, 1)
        windows = self._grid.of(self._grid.pad(pixels, -1))
        table = windows.flatten(3).flatten(0, 2)
        pivot = centre_offset(self.kernel_size)
        return relative_windows(
            points.flatten(1, 2),
            gap.flatten(1, 2),
            curvature(self.manifold, x),
            _without(self._matrices(), pivot).flatten(1),
            self.bias,
            _without(table, pivot),
            table[:, pivot],
            self.manifold.rel_unit,
        ).unflatten(1, windows.shape[1:3])

    def _matrices(self) -> Tensor:
        return self.weight.movedim(1, -1).flatten(1, 2)  # [out_channels, kh * kw, in_channels]

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.in_channels}, {self.out_channels}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, manifold={self.manifold}, pivot={self.pivot}"
            + (f", frame={self.frame!r})" if self.frame else ")")
        )


def _without(values: Tensor, place: int) -> Tensor:
    """All but one of the second dimension: a pivot sees itself as the zero vector."""
    return torch.cat([values[:, :place], values[:, place + 1 :]], dim=1)
