r"""A procedurally generated point-cloud dataset that needs no download."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from torch_geometric_hyperbolic.checks import check_counts
from torch_geometric_hyperbolic.datasets._point_clouds import PointClouds
from torch_geometric_hyperbolic.datasets._surfaces import SURFACES, Array, Surface

_CELLS = 24  # cells along u and along v: a multiple of the number of pieces of every surface


class ShapePrimitives(PointClouds):
    r"""Noisy point clouds of 16 kinds of deformed parametric surfaces, made in memory from a seed.

    Ellipsoid, box, cylinder, cone, torus, capsule, pyramid, tetrahedron, helix, trefoil knot,
    Moebius band, annulus, pipe, saddle, and the hyperboloids of one and of two sheets. Each cloud
    has random proportions, a random pose (uniform in SO(3)), a random stretch, taper, twist and
    bend, and Gaussian noise. It is centred on the mean of its points and scaled so that the
    farthest one has radius 1.

    Points are uniform by area of the deformed surface up to the variation of the area element
    inside one cell of a 24 x 24 grid of its parameters: a cell is drawn by its area, then a point
    of the cell. Clouds are ordered so that every :obj:`num_classes` consecutive ones hold each
    class once; the points of a cloud are in no order.

    The same arguments give the same bits (on one machine and one NumPy version); global random
    states are neither used nor changed.

    Args:
        train (bool, optional): If :obj:`True`, makes the training split, otherwise the test split.
            The two draw from unrelated random streams. (default: :obj:`True`)
        num_per_class (int, optional): The number of clouds per class. (default: :obj:`96`)
        num_points (int, optional): The number of points per cloud. (default: :obj:`256`)
        seed (int, optional): The seed, not negative. (default: :obj:`0`)
        transform (callable, optional): A transform applied to a
            :class:`~torch_geometric.data.Data` object at every access. (default: :obj:`None`)

    Raises:
        ValueError: If :obj:`num_per_class < 1`, :obj:`num_points < 2` or :obj:`seed < 0`.

    Shapes:
        - **pos**: points ``[num_points, 3]`` (float32), in units of the unit sphere
        - **y**: the label ``[1]`` (int64)

    Example:
        >>> from torch_geometric_hyperbolic.datasets import ShapePrimitives
        >>> dataset = ShapePrimitives(num_per_class=2, num_points=64)
        >>> dataset
        ShapePrimitives(32)
        >>> dataset[0]
        Data(pos=[64, 3], y=[1])
        >>> dataset.class_names[:3]
        ('ellipsoid', 'box', 'cylinder')
    """

    class_names = tuple(SURFACES)

    def __init__(
        self,
        train: bool = True,
        *,
        num_per_class: int = 96,
        num_points: int = 256,
        seed: int = 0,
        transform: Callable[[Data], Any] | None = None,
    ) -> None:
        check_counts(num_per_class=num_per_class)
        check_counts(least=2, num_points=num_points)
        check_counts(least=0, seed=seed)
        super().__init__(None, transform)

        clouds = []
        for label, surface in enumerate(SURFACES.values()):
            stream = np.random.SeedSequence(seed, spawn_key=(int(train), label))
            rng = np.random.default_rng(stream)
            clouds.append(_make_clouds(surface, num_per_class, num_points, rng))
        pos = torch.from_numpy(np.stack(clouds, axis=1)).view(-1, num_points, 3)
        self._set_clouds(pos.float(), torch.arange(len(clouds)).repeat(num_per_class))


def _make_clouds(
    surface: Surface, num_clouds: int, num_points: int, rng: np.random.Generator
) -> Array:
    r"""Draws deformed clouds of one surface, ``[num_clouds, num_points, 3]``."""
    proportions = rng.random((3, num_clouds, 1))
    deform = _draw_deformation(num_clouds, rng)

    def deformed(u: Array, v: Array) -> Array:
        return deform(surface(u, v, proportions))

    pos = deformed(*_draw_by_area(deformed, num_clouds, num_points, rng))
    noise = rng.uniform(0.005, 0.02, (num_clouds, 1, 1))
    pos = pos + noise * rng.standard_normal(pos.shape)
    pos = pos - pos.mean(axis=1, keepdims=True)
    return pos / np.linalg.norm(pos, axis=-1).max(axis=1)[:, None, None]


def _draw_by_area(
    surface: Callable[[Array, Array], Array],
    num_clouds: int,
    num_points: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    r"""Draws parameters ``(u, v)`` nearly uniform by area of the surface, ``[clouds, points]``."""
    row, column = np.divmod(np.arange(_CELLS**2)[None], _CELLS)  # [1, cells]
    inside = 0.499  # from the middle of a cell almost to its border
    u, v = (row + 0.5) / _CELLS, (column + 0.5) / _CELLS
    step = inside / _CELLS
    along_u = surface(u + step, v) - surface(u - step, v)
    along_v = surface(u, v + step) - surface(u, v - step)
    area = np.linalg.norm(np.cross(along_u, along_v), axis=-1)  # [clouds, cells]

    total = area.cumsum(axis=1)
    target = rng.random((num_clouds, num_points)) * total[:, -1:]
    pairs = zip(total, target, strict=True)
    cell = np.stack([np.searchsorted(*pair, side="right") for pair in pairs])
    offset = rng.random((2, num_clouds, num_points))
    return (cell // _CELLS + offset[0]) / _CELLS, (cell % _CELLS + offset[1]) / _CELLS


def _draw_deformation(num_clouds: int, rng: np.random.Generator) -> Callable[[Array], Array]:
    r"""Draws a rotation, followed by a stretch, a taper, a twist and a bend along the z-axis."""
    rotation = _draw_rotations(num_clouds, rng)
    stretch = rng.uniform(0.75, 1.25, (num_clouds, 1, 3))
    taper, twist, bend = rng.uniform(-1, 1, (3, num_clouds, 1)) * [[[0.25]], [[0.5]], [[0.25]]]

    def deform(pos: Array) -> Array:
        x, y, z = np.moveaxis(stretch * np.einsum("nij,npj->npi", rotation, pos), -1, 0)
        x, y = (1 + taper * z) * x, (1 + taper * z) * y
        cos, sin = np.cos(twist * z), np.sin(twist * z)
        return np.stack([cos * x - sin * y + bend * z**2, sin * x + cos * y, z], axis=-1)

    return deform


def _draw_rotations(num_clouds: int, rng: np.random.Generator) -> Array:
    r"""Draws rotation matrices uniformly, ``[num_clouds, 3, 3]``, from random unit quaternions."""
    w, x, y, z = q = rng.standard_normal((4, num_clouds))
    matrix = np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
        ]
    )
    return np.moveaxis(matrix / (q**2).sum(axis=0), -1, 0)
