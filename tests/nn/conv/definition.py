"""The layers as their formulas say, one point and one edge at a time, in float64.

Written with Moebius additions, Minkowski products and parallel transport instead of what the
package computes with. ``definition_of(manifold)`` gives the verbs of a manifold on single points.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall

REDUCE: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda messages: messages.amax(0),
    "min": lambda messages: messages.amin(0),
    "mean": lambda messages: messages.sum(0) / len(messages),
    "sum": lambda messages: messages.sum(0),
}


class Flat:
    def __init__(self, c: float) -> None:
        self.c = c

    def exp0(self, v: Tensor) -> Tensor:
        return v

    def log0(self, x: Tensor) -> Tensor:
        return x

    def rel(self, x: Tensor, y: Tensor) -> Tensor:
        return y - x

    def move(self, x: Tensor, v: Tensor) -> Tensor:
        return x + v

    def midpoint(self, points: Tensor) -> Tensor:
        return points.mean(0)


class Ball:
    def __init__(self, c: float) -> None:
        self.c = c

    def exp0(self, v: Tensor) -> Tensor:
        length = self.c**0.5 * v.norm()
        return v if length == 0 else torch.tanh(length) / length * v

    def log0(self, x: Tensor) -> Tensor:
        length = self.c**0.5 * x.norm()
        return x if length == 0 else torch.atanh(length) / length * x

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        c, xy, xx, yy = self.c, x @ y, x @ x, y @ y
        upper = (1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y
        return upper / (1 + 2 * c * xy + c**2 * xx * yy)

    def rel(self, x: Tensor, y: Tensor) -> Tensor:
        return self.log0(self.add(-x, y))

    def move(self, x: Tensor, v: Tensor) -> Tensor:
        return self.add(x, self.exp0(v))

    def midpoint(self, points: Tensor) -> Tensor:
        """Through the hyperboloid, where it is the normalised sum."""
        root, squares = self.c**0.5, (points * points).sum(-1, keepdim=True)
        time = (1 + self.c * squares) / (1 - self.c * squares) / root
        space = 2 * points / (1 - self.c * squares)
        point = Hyperboloid(self.c).midpoint(torch.cat([time, space], dim=-1))
        return point[1:] / (1 + root * point[0])


class Hyperboloid:
    def __init__(self, c: float) -> None:
        self.c = c

    def inner(self, x: Tensor, y: Tensor) -> Tensor:
        return x[1:] @ y[1:] - x[0] * y[0]

    def origin(self, x: Tensor) -> Tensor:
        return torch.cat([x.new_tensor([self.c**-0.5]), torch.zeros_like(x[1:])])

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        length = (self.c * self.inner(u, u)).clamp(min=0).sqrt()
        return x if length == 0 else torch.cosh(length) * x + torch.sinh(length) / length * u

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        cosh = -self.c * self.inner(x, y)
        if cosh <= 1 or torch.equal(x, y):
            return torch.zeros_like(x)
        return torch.acosh(cosh) / (cosh**2 - 1).sqrt() * (y - cosh * x)

    def transport(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        return u + self.c * self.inner(y, u) / (1 - self.c * self.inner(x, y)) * (x + y)

    def exp0(self, v: Tensor) -> Tensor:
        u = torch.cat([v.new_zeros(1), v])
        return self.exp(self.origin(u), u)

    def log0(self, x: Tensor) -> Tensor:
        return self.log(self.origin(x), x)[1:]

    def rel(self, x: Tensor, y: Tensor) -> Tensor:
        return self.transport(x, self.origin(x), self.log(x, y))[1:]

    def move(self, x: Tensor, v: Tensor) -> Tensor:
        u = torch.cat([v.new_zeros(1), v])
        return self.exp(x, self.transport(self.origin(x), x, u))

    def midpoint(self, points: Tensor) -> Tensor:
        total = points.sum(0)
        return total / (-self.c * self.inner(total, total)).sqrt()


Definition = Flat | Ball | Hyperboloid


def definition_of(manifold: Manifold) -> Definition:
    kinds = {PoincareBall: Ball, Lorentz: Hyperboloid, Euclidean: Flat}
    return kinds[type(manifold)](float(manifold.c))


def edge_messages(
    manifold: Manifold,
    nn: Callable[[Tensor], Tensor],
    source: Tensor,
    target: Tensor,
    edge_index: Tensor,
) -> Tensor:
    """``nn(log0(x_i) || rel(x_i, x_j))`` for every edge from ``j`` to ``i``."""
    space = definition_of(manifold)
    rows = [
        torch.cat([space.log0(target[i]), space.rel(target[i], source[j])])
        for j, i in edge_index.T.tolist()
    ]
    return nn(torch.stack(rows))


def edge_conv(
    manifold: Manifold,
    nn: Callable[[Tensor], Tensor],
    x: Tensor,
    edge_index: Tensor,
    reduce: Callable[[Tensor], Tensor],
    *,
    target: Tensor | None = None,
    on_points: bool = False,
) -> Tensor:
    """``exp0(reduce_j message_ij)``, or ``reduce_j exp0(message_ij)`` if ``on_points``."""
    space = definition_of(manifold)
    target = x if target is None else target
    messages = edge_messages(manifold, nn, x, target, edge_index)
    out = []
    for i in range(len(target)):
        own = [m for m, t in zip(messages, edge_index[1].tolist(), strict=True) if t == i]
        if not own:
            out.append(space.exp0(torch.zeros_like(messages[0])))
        elif on_points:
            out.append(reduce(torch.stack([space.exp0(m) for m in own])))
        else:
            out.append(space.exp0(reduce(torch.stack(own))))
    return torch.stack(out)


def pivot_conv(space: Definition, pivot: Tensor, v: Tensor, lin_pivot: Tensor | None) -> Tensor:
    """``move(b, v)`` with the base point ``b`` of H-Conv 0.2."""
    if lin_pivot is not None:
        pivot = space.exp0(lin_pivot @ space.log0(pivot))
    return space.move(pivot, v)


def h_conv(
    manifold: Manifold,
    x: Tensor,
    edge_index: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor,
    lin_pivot: Tensor | None = None,
    *,
    pivot: bool = True,
    target: Tensor | None = None,
) -> Tensor:
    """H-Conv over a graph, ``weight`` is ``[out, in, K]``."""
    space = definition_of(manifold)
    target = x if target is None else target
    edges = list(zip(*edge_index.tolist(), offset.tolist(), strict=True))
    out = []
    for i, centre in enumerate(target):
        v = bias.clone()
        for j, t, o in edges:
            if t == i:
                v = v + weight[:, :, o] @ (space.rel(centre, x[j]) if pivot else space.log0(x[j]))
        out.append(pivot_conv(space, centre, v, lin_pivot) if pivot else space.exp0(v))
    return torch.stack(out)


def h_conv2d(
    manifold: Manifold,
    image: Tensor,
    weight: Tensor,
    bias: Tensor,
    lin_pivot: Tensor | None = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
) -> Tensor:
    """H-Conv 0.2 over an image ``[B, F, H, W]``, pixel by pixel and offset by offset."""
    space = definition_of(manifold)
    batch, _, height, width = image.shape
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    rows = (height + 2 * padding[0] - spans[0]) // stride[0] + 1
    cols = (width + 2 * padding[1] - spans[1]) // stride[1] + 1
    origin = space.exp0(image.new_zeros(weight.size(1)))

    def pixel(b: int, row: int, col: int) -> Tensor | None:
        inside = 0 <= row < height and 0 <= col < width
        return image[b, :, row, col] if inside else None

    out = image.new_empty(batch, len(space.exp0(bias)), rows, cols)
    for b in range(batch):
        for r in range(rows):
            for c in range(cols):
                top, left = r * stride[0] - padding[0], c * stride[1] - padding[1]
                middle = [(k - 1) // 2 for k in weight.shape[2:]]
                centre = pixel(b, top + middle[0] * dilation[0], left + middle[1] * dilation[1])
                centre = origin if centre is None else centre
                v = bias.clone()
                for p in range(weight.size(2)):
                    for q in range(weight.size(3)):
                        point = pixel(b, top + p * dilation[0], left + q * dilation[1])
                        if point is not None:
                            v = v + weight[:, :, p, q] @ space.rel(centre, point)
                out[b, :, r, c] = pivot_conv(space, centre, v, lin_pivot)
    return out
