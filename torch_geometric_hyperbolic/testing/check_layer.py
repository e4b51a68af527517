"""The battery of tests that every graph layer of this package passes, for layers of your own."""

import copy
import pickle
from collections.abc import Callable

import torch
from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.testing.tolerance import assert_close

#: Lengths of tangent vectors of the boundary sweep.
RADII = (0.0, 1e-8, 1e-3, 1.0, 5.0, 10.0, 20.0, 40.0)


def assert_on_manifold(x: Tensor, manifold: Manifold) -> None:
    """Raise an :class:`AssertionError` unless ``x`` holds finite points of ``manifold``.

    Example:
        >>> from torch_geometric_hyperbolic.manifolds import Lorentz
        >>> assert_on_manifold(Lorentz().random(4, 3), Lorentz())
    """
    assert bool(x.isfinite().all()), "not finite"
    ok, reason = manifold.check_point(x, explain=True)
    assert ok, f"not on the manifold: {reason}"


def check_layer(
    layer: torch.nn.Module,
    manifold: Manifold,
    in_channels: int,
    *,
    compiled: bool = False,
) -> None:
    """Raise an :class:`AssertionError` if a layer breaks a rule that any graph layer must keep.

    In float32 and float64, on small generated graphs, in evaluation mode: outputs lie on the
    manifold and keep the dtype; a permutation of nodes or edges does not change the result; graphs
    in one batch do not see each other; nodes without edges, graphs without edges and duplicate
    points give points; gradients reach the points; outputs and gradients are finite from the origin
    to beyond the boundary; copying, pickling and loading a state keep the function;
    ``reset_parameters`` changes it.

    Args:
        layer (torch.nn.Module): called as ``layer(x, edge_index)``; maps points to points.
        manifold (Manifold): the space of its input and output.
        in_channels (int): dimension of its input space.
        compiled (bool, optional): also compare ``torch.compile(fullgraph=True)``, outputs and
            gradients; takes up to a minute. (default: :obj:`False`)

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv
        >>> ball = PoincareBall()
        >>> layer = HyperbolicEdgeConv(torch.nn.Linear(2 * 3, 5), manifold=ball)
        >>> check_layer(layer, ball, in_channels=3)
    """
    generator = torch.Generator().manual_seed(0)
    original = layer
    for dtype in (torch.float32, torch.float64):
        layer = copy.deepcopy(original).to(dtype).eval()
        space = _own_manifold(layer, manifold)
        v = torch.randn(12, in_channels, generator=generator, dtype=dtype) / in_channels**0.5
        x = space.exp0(v).detach()
        edge_index = torch.randint(0, 12, (2, 40), generator=generator)
        for check in (_permutation, _degenerate, _batching, _copies):
            check(layer, space, x, edge_index)
        _boundary(layer, space, v, edge_index)
        if compiled:
            _compilation(layer, x, edge_index)
    _reset(copy.deepcopy(original).eval())


def _own_manifold(layer: torch.nn.Module, manifold: Manifold) -> Manifold:
    """The manifold object inside a copied layer that stands for ``manifold``."""
    found = (m for m in layer.modules() if isinstance(m, Manifold) and repr(m) == repr(manifold))
    return next(found, manifold)


def _permutation(layer: torch.nn.Module, space: Manifold, x: Tensor, edge_index: Tensor) -> None:
    out = layer(x, edge_index)
    assert_on_manifold(out, space)
    assert out.dtype == x.dtype, f"dtype changed from {x.dtype} to {out.dtype}"
    nodes = torch.arange(x.size(0)).flip(0)
    edges = torch.arange(edge_index.size(1)).flip(0)
    assert_close(layer(x, edge_index[:, edges]), out, factor=10)  # sums in another order
    assert_close(layer(x[nodes], nodes[edge_index]), out[nodes], factor=10)


def _batching(layer: torch.nn.Module, space: Manifold, x: Tensor, edge_index: Tensor) -> None:
    y = space.exp0(-0.5 * space.log0(x)).detach()
    for edges in (edge_index, edge_index[:, :0]):
        together = layer(torch.cat([x, y]), torch.cat([edges, edges + x.size(0)], dim=1))
        apart = torch.cat([layer(x, edges), layer(y, edges)])
        assert_close(together, apart, factor=10)  # blocks of another size


def _degenerate(layer: torch.nn.Module, space: Manifold, x: Tensor, edge_index: Tensor) -> None:
    assert_on_manifold(layer(x, edge_index[:, :0]), space)  # no edges
    isolated = edge_index.clamp(max=x.size(0) - 2)
    assert_on_manifold(layer(x, isolated), space)  # a node without edges
    same = x[:1].expand_as(x).clone().requires_grad_()
    out = layer(same, edge_index)
    assert_on_manifold(out, space)
    _assert_finite_gradients(layer, out, same)


def _boundary(layer: torch.nn.Module, space: Manifold, v: Tensor, edge_index: Tensor) -> None:
    direction = v / v.norm(dim=-1, keepdim=True)
    inside = [space.exp0(radius * direction) for radius in RADII]
    outside = 2 * space.exp0(RADII[-1] * direction)  # no point of the ball or the hyperboloid
    for x in [*inside, outside]:
        x = x.detach().requires_grad_()
        out = layer(x, edge_index)
        assert_on_manifold(out, space)
        _assert_finite_gradients(layer, out, x)


def _assert_finite_gradients(layer: torch.nn.Module, out: Tensor, x: Tensor) -> None:
    layer.zero_grad()
    assert out.requires_grad, "no gradient reaches x"
    out.sum().backward()
    assert x.grad is not None, "no gradient reaches x"
    for name, parameter in [("x", x), *layer.named_parameters()]:
        grad = parameter.grad
        assert grad is None or grad.isfinite().all(), f"gradient of {name} is not finite"


def _copies(layer: torch.nn.Module, space: Manifold, x: Tensor, edge_index: Tensor) -> None:
    out = layer(x, edge_index)
    other = copy.deepcopy(layer)
    for parameter in other.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    other.load_state_dict(layer.state_dict())
    assert_close(other(x, edge_index), out)
    assert_close(pickle.loads(pickle.dumps(layer))(x, edge_index), out)


def _reset(layer: torch.nn.Module) -> None:
    parameters = list(layer.parameters())
    if not any(p.dim() > 1 for p in parameters):
        return
    before = [p.detach().clone() for p in parameters]
    layer.reset_parameters()  # type: ignore[operator]
    changed = [
        not torch.equal(p, b) for p, b in zip(parameters, before, strict=True) if p.dim() > 1
    ]
    assert all(changed), "reset_parameters() left a weight matrix as it was"


def _compilation(layer: torch.nn.Module, x: Tensor, edge_index: Tensor) -> None:
    def run(function: Callable[..., Tensor]) -> list[Tensor]:
        point = x.clone().requires_grad_()
        layer.zero_grad()
        out = function(point, edge_index)
        out.square().sum().backward()
        assert point.grad is not None
        return [
            out.detach(),
            point.grad,
            *[p.grad for p in layer.parameters() if p.grad is not None],
        ]

    for compiled, eager in zip(run(torch.compile(layer, fullgraph=True)), run(layer), strict=True):
        assert_close(compiled, eager, factor=10)  # fused sums
