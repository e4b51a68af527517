r"""The surfaces of :class:`~torch_geometric_hyperbolic.datasets.ShapePrimitives`.

A surface is a map ``f(u, v, p)`` of the open unit square: ``u`` and ``v`` broadcast against
``[clouds, points]``, and ``p`` (``[3, clouds, 1]``, numbers between 0 and 1) sets the proportions
of each cloud. It returns the points ``[clouds, points, 3]``, of order one in size. A map need not
preserve area: the sampler corrects for that. Where a map has pieces, their borders lie at multiples
of 1/24 in ``u``.

In the formulas ``s = 2 pi u`` and ``t = 2 pi v``.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Surface = Callable[[Array, Array, Array], Array]


def _between(low: float, high: float, p: Array) -> Array:
    return low + (high - low) * p


def _xyz(x: Array, y: Array, z: Array) -> Array:
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _revolve(rho: Array, z: Array, v: Array) -> Array:
    r"""Turns the profile ``(rho, z)`` about the z-axis: ``(rho cos t, rho sin t, z)``."""
    t = 2 * np.pi * v
    return _xyz(rho * np.cos(t), rho * np.sin(t), z)


def _polyline(u: Array, *knots: tuple[Array | float, Array | float]) -> tuple[Array, Array]:
    r"""The profile ``(rho, z)`` that joins the knots by lines, as sums of hat functions."""
    hats = [np.clip(1 - np.abs(u * (len(knots) - 1) - k), 0, None) for k in range(len(knots))]
    rho = sum((hat * knot[0] for hat, knot in zip(hats, knots, strict=True)), np.zeros(1))
    z = sum((hat * knot[1] for hat, knot in zip(hats, knots, strict=True)), np.zeros(1))
    return rho, z


def _tube(curve: Callable[[Array], Array], u: Array, v: Array, radius: Array) -> Array:
    r"""``curve + radius (cos t normal + sin t binormal)`` in the Frenet frame, by differences."""
    step = 1e-4
    before, center, after = curve(u - step), curve(u), curve(u + step)
    tangent = after - before
    binormal = np.cross(tangent, after - 2 * center + before)
    normal = np.cross(binormal, tangent)
    binormal = binormal / np.linalg.norm(binormal, axis=-1, keepdims=True)
    normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    t = 2 * np.pi * v[..., None]
    return center + radius[..., None] * (np.cos(t) * normal + np.sin(t) * binormal)


def _faces(u: Array, v: Array, corners: Array) -> Array:
    r"""Bilinear patches ``[clouds, F, 4, 3]``, face after face along ``u``.

    A triangle repeats its last corner.
    """
    face = np.floor(u * corners.shape[1]).astype(np.int64)
    a, b, c, d = np.moveaxis(corners[np.arange(len(corners))[:, None], face], -2, 0)
    u, v = (u * corners.shape[1] - face)[..., None], v[..., None]
    return (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)


def ellipsoid(u: Array, v: Array, p: Array) -> Array:
    r"""``(a sin(pi u) cos t, b sin(pi u) sin t, cos(pi u))``."""
    scale = _xyz(_between(0.5, 1, p[0]), _between(0.5, 1, p[1]), np.ones(1))
    return scale * _revolve(np.sin(np.pi * u), np.cos(np.pi * u), v)


def box(u: Array, v: Array, p: Array) -> Array:
    r"""``|x| <= a, |y| <= b, |z| <= 1``: six faces."""
    faces = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
            faces.append(np.insert(square, axis, side, axis=1))
    scale = _xyz(_between(0.4, 1, p[0]), _between(0.4, 1, p[1]), np.ones(1))  # [clouds, 1, 3]
    return _faces(u, v, scale[:, None] * np.stack(faces))


def cylinder(u: Array, v: Array, p: Array) -> Array:
    r"""``rho = a, |z| <= 1``, with both lids."""
    a = _between(0.4, 0.9, p[0])
    return _revolve(*_polyline(u, (0, -1), (a, -1), (a, 1), (0, 1)), v)


def cone(u: Array, v: Array, p: Array) -> Array:
    r"""``rho = a (1 - z) / 2, |z| <= 1``, with its base."""
    return _revolve(*_polyline(u, (0, -1), (_between(0.5, 1, p[0]), -1), (0, 1)), v)


def torus(u: Array, v: Array, p: Array) -> Array:
    r"""``rho = 1 + a cos s, z = a sin s``."""
    a, s = _between(0.2, 0.5, p[0]), 2 * np.pi * u
    return _revolve(1 + a * np.cos(s), a * np.sin(s), v)


def capsule(u: Array, v: Array, p: Array) -> Array:
    r"""All points at distance ``a`` from the segment ``x = y = 0, |z| <= b``."""
    a, b = _between(0.3, 0.6, p[0]), _between(0.5, 1, p[1])
    lower, middle, upper = (np.clip(3 * u - k, 0, 1) for k in range(3))
    latitude = np.pi / 2 * (lower + upper - 1)
    return _revolve(a * np.cos(latitude), b * (2 * middle - 1) + a * np.sin(latitude), v)


def pyramid(u: Array, v: Array, p: Array) -> Array:
    r"""An apex of height ``b`` over the rectangle ``|x| <= 1, |y| <= a``; base in two triangles."""
    a, b = _between(0.6, 1, p[0]), _between(0.8, 1.8, p[1])
    base = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    apex = np.array([0.0, 0, 1])
    triangles = [(base[k - 1], base[k], apex) for k in range(4)]
    triangles += [(base[0], base[1], base[2]), (base[2], base[3], base[0])]
    scale = _xyz(np.ones(1), a, b)
    return _faces(u, v, scale[:, None] * np.array([(*corner, corner[-1]) for corner in triangles]))


def tetrahedron(u: Array, v: Array, p: Array) -> Array:
    r"""Any point of height ``a`` over a regular triangle, somewhat off its centre."""
    t = 2 * np.pi / 3 * np.arange(3)
    base = np.broadcast_to(_xyz(np.cos(t), np.sin(t), np.zeros(3)), (p.shape[1], 3, 3))
    apex = _xyz(p[0] - 0.5, p[1] - 0.5, _between(1, 1.8, p[2]))
    corners = np.concatenate([base, apex], axis=1)
    triangles = [[0, 1, 2, 2], [0, 1, 3, 3], [1, 2, 3, 3], [2, 0, 3, 3]]
    return _faces(u, v, corners[:, triangles])


def helix(u: Array, v: Array, p: Array) -> Array:
    r"""A tube about ``(a cos ws, a sin ws, 2 u - 1)`` with ``w`` turns."""
    a, w = _between(0.4, 0.8, p[0]), _between(1.5, 3, p[1])

    def curve(u: Array) -> Array:
        s = 2 * np.pi * u
        return _xyz(a * np.cos(w * s), a * np.sin(w * s), 2 * u - 1)

    return _tube(curve, u, v, _between(0.08, 0.16, p[2]))


def trefoil(u: Array, v: Array, p: Array) -> Array:
    r"""A tube about the knot ``(sin s + 2 sin 2s, cos s - 2 cos 2s, -a sin 3s) / 3``."""
    a = _between(0.8, 1.4, p[0])

    def curve(u: Array) -> Array:
        s = 2 * np.pi * u
        x, y = np.sin(s) + 2 * np.sin(2 * s), np.cos(s) - 2 * np.cos(2 * s)
        return _xyz(x, y, -a * np.sin(3 * s)) / 3

    return _tube(curve, u, v, _between(0.08, 0.16, p[1]))


def moebius(u: Array, v: Array, p: Array) -> Array:
    r"""``rho = 1 + h cos(t / 2), z = h sin(t / 2)`` with ``|h| <= a``: a band with half a twist."""
    h = _between(0.3, 0.6, p[0]) * (2 * u - 1)
    return _revolve(1 + h * np.cos(np.pi * v), h * np.sin(np.pi * v), v)


def annulus(u: Array, v: Array, p: Array) -> Array:
    r"""``a <= rho <= 1, z = 0``."""
    a = _between(0.3, 0.7, p[0])
    return _revolve(a + (1 - a) * u, np.zeros(1), v)


def pipe(u: Array, v: Array, p: Array) -> Array:
    r"""``a <= rho <= b, |z| <= 1``: an open tube with a thick wall."""
    b = _between(0.5, 0.9, p[0])
    a = b * _between(0.5, 0.8, p[1])
    return _revolve(*_polyline(u, (a, -1), (b, -1), (b, 1), (a, 1), (a, -1)), v)


def saddle(u: Array, v: Array, p: Array) -> Array:
    r"""The hyperbolic paraboloid ``z = a (x^2 - y^2), |x| <= 1, |y| <= 1``."""
    x, y = 2 * u - 1, 2 * v - 1
    return _xyz(x, y, _between(0.4, 1, p[0]) * (x**2 - y**2))


def hyperboloid_one_sheet(u: Array, v: Array, p: Array) -> Array:
    r"""``rho^2 / a^2 - z^2 / b^2 = 1, |z| <= 1``."""
    a, b, z = _between(0.2, 0.4, p[0]), _between(0.3, 0.6, p[1]), 2 * u - 1
    return _revolve(a * np.sqrt(1 + (z / b) ** 2), z, v)


def hyperboloid_two_sheets(u: Array, v: Array, p: Array) -> Array:
    r"""``z^2 / a^2 - rho^2 / b^2 = 1, rho <= 1``: one sheet for each half of ``u``."""
    a, b = _between(0.15, 0.4, p[0]), _between(0.2, 0.4, p[1])
    rho = 2 * u % 1
    return _revolve(rho, np.where(u < 0.5, -a, a) * np.sqrt(1 + (rho / b) ** 2), v)


SURFACES: dict[str, Surface] = {
    surface.__name__: surface
    for surface in (
        ellipsoid,
        box,
        cylinder,
        cone,
        torus,
        capsule,
        pyramid,
        tetrahedron,
        helix,
        trefoil,
        moebius,
        annulus,
        pipe,
        saddle,
        hyperboloid_one_sheet,
        hyperboloid_two_sheets,
    )
}
