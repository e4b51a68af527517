"""Hierarchies as points of hyperbolic space: trees of several families, generated."""

from collections.abc import Callable, Mapping

import torch
from _data import Samples
from torch import Generator, Tensor
from torch.nn.functional import normalize

from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.nn.aggr import MidpointAggregation
from torch_geometric_hyperbolic.testing import random_isometry

BALL = PoincareBall(c=1.0)
CHANNELS = 3
SPREAD = 0.6  # of the directions of children about straight ahead
DEPTHS = (2.0, 4.0)  # length of the longest branch
NOISE = 0.4  # of the length of an edge, as a share


def caterpillar(node: Tensor, draw: Tensor) -> Tensor:
    """A spine, each of whose nodes has a leaf."""
    return torch.where(node % 2 == 0, node - 2, node - 1)


def comb(node: Tensor, draw: Tensor) -> Tensor:
    """A spine, each of whose nodes has a tooth of three."""
    return torch.where(node % 4 == 0, node - 4, node - 1)


def spider(node: Tensor, draw: Tensor) -> Tensor:
    """Six paths from one node."""
    return node - 6


def broom(node: Tensor, draw: Tensor) -> Tensor:
    """A path that ends in a star."""
    return (node - 1).clamp(max=node.size(-1) // 2)


def binary(node: Tensor, draw: Tensor) -> Tensor:
    """Two children each, level by level."""
    return (node - 1) // 2


def ternary(node: Tensor, draw: Tensor) -> Tensor:
    """Three children each, level by level."""
    return (node - 1) // 3


def recursive(node: Tensor, draw: Tensor) -> Tensor:
    """The child of any earlier node."""
    return (draw * node).long()


def preferential(node: Tensor, draw: Tensor) -> Tensor:
    """The child of an earlier node, more often of one with many children."""
    chosen = (draw * (2 * node - 1)).long()  # half of the choices: a node; the others: a parent
    parent = torch.zeros_like(chosen)
    for i in range(1, node.size(-1)):
        copied = parent.gather(1, (chosen[:, i, None] - i + 1).clamp(min=0))[:, 0]
        parent[:, i] = torch.where(chosen[:, i] < i, chosen[:, i], copied)
    return parent


#: Numbers of the nodes and uniform random numbers, both ``[M, P]``, to the numbers of the parents;
#: of what is no node, the root is the parent.
FAMILIES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    rule.__name__: rule
    for rule in (caterpillar, comb, spider, broom, binary, ternary, recursive, preferential)
}


def parents(family: str, number: int, num_points: int, generator: Generator) -> Tensor:
    """The parent of every node, ``[number, num_points]``, an earlier node; the root's is itself."""
    node = torch.arange(num_points).expand(number, -1)
    draw = torch.rand(number, num_points, generator=generator, dtype=torch.float64)
    return FAMILIES[family](node, draw).clamp(min=0)


def depths(parent: Tensor) -> Tensor:
    """Number of edges from the root to every node, ``[M, P]``."""
    depth = torch.zeros_like(parent)
    for i in range(1, parent.size(1)):
        depth[:, i] = depth.gather(1, parent[:, i, None])[:, 0] + 1
    return depth


def embed(parent: Tensor, generator: Generator) -> Tensor:
    """Grows trees in the ball, each node from its parent, and centres them on their midpoints.

    A child continues its parent's edge, up to :data:`SPREAD`. The edges of a tree are about equally
    long, such that its longest branch is as :data:`DEPTHS` says.

    Args:
        parent (torch.Tensor): From :func:`parents`.
        generator (torch.Generator): Of lengths and directions.

    Returns:
        Points of :data:`BALL`, ``[M, P, 3]``, float64, in random order.
    """
    number, size = parent.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    longest = depths(parent).amax(1, keepdim=True)
    edge = uniform(*DEPTHS, number, 1) / longest * uniform(1 - NOISE, 1 + NOISE, number, size)
    noise = torch.randn(number, size, CHANNELS, generator=generator, dtype=torch.float64)
    x = torch.zeros(number, size, CHANNELS, dtype=torch.float64)
    tree = torch.arange(number)
    for i in range(1, size):
        own = parent[:, i]
        start, before = x[tree, own], x[tree, parent[tree, own]]
        ahead = normalize(-BALL.rel(start, before), dim=-1)
        direction = normalize(ahead + SPREAD * noise[:, i], dim=-1)
        x[:, i] = BALL.move(start, direction * edge[:, i, None] / 2)  # dist is 2 |rel|
    index = tree.repeat_interleave(size)
    centre = MidpointAggregation(manifold=BALL)(x.flatten(0, 1), index)
    x = BALL.exp0(BALL.rel(centre[:, None], x))
    order = torch.rand(number, size, generator=generator).argsort(1)
    return x.gather(1, order[..., None].expand_as(x))


def make_trees(per_family: int, num_points: int, seed: int) -> Samples:
    """Equally many trees of every family, ``[M, num_points, 3]``."""
    generator = Generator().manual_seed(seed)
    x = [embed(parents(name, per_family, num_points, generator), generator) for name in FAMILIES]
    y = torch.arange(len(FAMILIES)).repeat_interleave(per_family)
    return Samples(torch.cat(x), y, list(FAMILIES))


def moved(x: Tensor, shortest: float, longest: float, generator: Generator) -> Tensor:
    """Every tree under its own random isometry, with a translation between the two lengths."""
    lengths = shortest + (longest - shortest) * torch.rand(x.size(0), generator=generator)
    return torch.stack(
        [
            random_isometry(BALL, CHANNELS, length=float(d), generator=generator)(tree)
            for d, tree in zip(lengths, x, strict=True)
        ]
    )
