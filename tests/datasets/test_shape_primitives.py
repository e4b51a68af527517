import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_geometric.loader import DataLoader

from torch_geometric_hyperbolic.datasets import ShapePrimitives
from torch_geometric_hyperbolic.datasets._surfaces import SURFACES
from torch_geometric_hyperbolic.datasets.shape_primitives import (
    _draw_by_area,
    _draw_deformation,
    _draw_rotations,
    _make_clouds,
)


def test_items():
    dataset = ShapePrimitives(num_per_class=3, num_points=50)
    num_classes = dataset.num_classes
    assert str(dataset) == f"ShapePrimitives({3 * num_classes})"
    assert num_classes == len(dataset.class_names) == len(set(dataset.class_names)) >= 12
    assert dataset.y.tolist() == 3 * list(range(num_classes))

    for data in dataset:
        assert sorted(data.keys()) == ["pos", "y"]
        assert data.pos.shape == (50, 3)
        assert data.pos.dtype == torch.float32
        assert data.y.shape == (1,)
        assert data.y.dtype == torch.int64
        assert data.pos.mean(dim=0).abs().max() < 1e-6
        assert abs(data.pos.norm(dim=-1).max() - 1) < 1e-6
        assert data.pos.unique(dim=0).shape == data.pos.shape

    batch = next(iter(DataLoader(dataset[4:6], batch_size=2)))
    assert torch.equal(batch.pos, torch.cat([dataset[4].pos, dataset[5].pos]))
    assert batch.y.tolist() == [4, 5]


def test_transform_at_every_access():
    calls = []
    dataset = ShapePrimitives(num_per_class=1, num_points=8, transform=lambda x: calls.append(x))
    assert dataset.num_classes == 16
    assert not calls
    assert dataset[0] is dataset[0] is None
    assert len(calls) == 2


def test_seeds_and_splits():
    def make(**kwargs):
        return ShapePrimitives(num_per_class=2, num_points=32, **kwargs).pos

    assert torch.equal(make(), make(seed=0, train=True))
    assert torch.equal(make(seed=7, train=False), make(seed=7, train=False))

    pos = torch.cat([make(seed=seed, train=train) for seed in range(3) for train in (True, False)])
    assert pos.unique(dim=0).shape == pos.shape  # no point occurs twice


def test_global_random_states_are_left_alone():
    def states():
        numpy_state = np.random.get_state()[1:3]  # noqa: NPY002
        return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

    before = states()
    pos = ShapePrimitives(num_per_class=1, num_points=16).pos
    assert states() == before
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    random.seed(1)
    assert torch.equal(ShapePrimitives(num_per_class=1, num_points=16).pos, pos)


@pytest.mark.parametrize("name", ["num_per_class", "num_points", "seed"])
def test_counts_that_are_no_integers_are_refused(name):
    with pytest.raises(TypeError, match=rf"'{name}' must be an int \(got '8'\)"):
        ShapePrimitives(**{name: "8"})


@pytest.mark.parametrize(("name", "value"), [("num_per_class", 0), ("num_points", 1), ("seed", -1)])
def test_invalid_arguments(name, value):
    with pytest.raises(ValueError, match=rf"^'{name}' must .*\(got {value}\)$"):
        ShapePrimitives(**{name: value})


def on_surface(name, pos, p):
    """The defining equations of some surfaces: zero on the surface."""
    x, y, z = np.moveaxis(pos, -1, 0)
    rho = np.hypot(x, y)
    if name == "ellipsoid":
        return (x / (0.5 + 0.5 * p[0])) ** 2 + (y / (0.5 + 0.5 * p[1])) ** 2 + z**2 - 1
    if name == "box":
        sides = [abs(x) / (0.4 + 0.6 * p[0]), abs(y) / (0.4 + 0.6 * p[1]), abs(z)]
        return np.max(sides, axis=0) - 1
    if name == "cylinder":
        return np.maximum(rho / (0.4 + 0.5 * p[0]), abs(z)) - 1
    if name == "cone":
        return np.minimum(abs(z + 1), abs(rho - (0.5 + 0.5 * p[0]) * (1 - z) / 2))
    if name == "torus":
        return np.hypot(rho - 1, z) - (0.2 + 0.3 * p[0])
    if name == "capsule":
        return np.hypot(rho, np.maximum(abs(z) - (0.5 + 0.5 * p[1]), 0)) - (0.3 + 0.3 * p[0])
    if name == "saddle":
        return z - (0.4 + 0.6 * p[0]) * (x**2 - y**2)
    if name == "moebius":  # half the azimuth is the angle of the cross-section, up to pi
        half = np.arctan2(y, x) / 2
        return (rho - 1) * np.sin(half) - z * np.cos(half)
    if name == "hyperboloid_one_sheet":
        return (rho / (0.2 + 0.2 * p[0])) ** 2 - (z / (0.3 + 0.3 * p[1])) ** 2 - 1
    if name == "hyperboloid_two_sheets":
        return (z / (0.15 + 0.25 * p[0])) ** 2 - (rho / (0.2 + 0.2 * p[1])) ** 2 - 1
    return None


@pytest.mark.parametrize("name", SURFACES)
def test_surface(name):
    rng = np.random.default_rng(0)
    u, v, p = rng.random((5, 200)), rng.random((5, 200)), rng.random((3, 5, 1))
    pos = SURFACES[name](u, v, p)
    assert pos.shape == (5, 200, 3)
    assert np.isfinite(pos).all()
    assert 0.5 < np.abs(pos).max() < 4
    residual = on_surface(name, pos, p)
    if residual is not None:
        np.testing.assert_allclose(residual, np.zeros((5, 200)), atol=1e-9)


@pytest.mark.parametrize("name", ["helix", "trefoil"])
def test_tube_has_its_radius(name):
    rng = np.random.default_rng(0)
    u, v, p = rng.random((4, 50)), rng.random((4, 50)), rng.random((3, 4, 1))
    opposite = SURFACES[name](u, v, p) - SURFACES[name](u, v + 0.5, p)
    radius = 0.08 + 0.08 * p[2 if name == "helix" else 1]
    diameter = np.linalg.norm(opposite, axis=-1)
    np.testing.assert_allclose(diameter, np.broadcast_to(2 * radius, (4, 50)), rtol=1e-6)


def test_points_are_uniform_by_area():
    rng, p = np.random.default_rng(0), np.full((3, 1, 1), 0.5)

    def draw(name):
        def surface(u, v):
            return SURFACES[name](u, v, p)

        return np.moveaxis(surface(*_draw_by_area(surface, 1, 40_000, rng))[0], -1, 0)

    def assert_share(found, expected):  # five standard deviations
        assert abs(found.mean() - expected) < 5 * (expected * (1 - expected) / 40_000) ** 0.5

    x, y, z = draw("box")  # half edges 0.7, 0.7, 1
    assert_share(abs(z) > 1 - 1e-9, 0.7 * 0.7 / (0.7 * 0.7 + 2 * 0.7))
    assert_share(x > 0, 0.5)
    strip = (abs(z) > 1 - 1e-9) & (abs(x) < 0.35)
    assert_share(strip, 0.7 * 0.7 / (0.7 * 0.7 + 2 * 0.7) / 2)
    x, y, z = draw("cone")  # radius 0.75, height 2
    assert_share(z < -1 + 1e-9, 0.75 / (0.75 + np.hypot(0.75, 2)))
    x, y, z = draw("annulus")  # radii 0.5 and 1
    assert_share(np.hypot(x, y) < 0.75, (0.75**2 - 0.5**2) / (1 - 0.5**2))
    x, y, z = draw("torus")  # radii 1 and 0.35
    assert_share(np.hypot(x, y) > 1, 0.5 + 0.35 / np.pi)
    x, y, z = draw("pipe")  # radii 0.455 and 0.7, height 2
    whole = 2 * 0.455 + 2 * 0.7 + 0.7**2 - 0.455**2
    assert_share(np.hypot(x, y) < 0.455 + 1e-9, 2 * 0.455 / whole)
    assert_share(np.hypot(x, y) > 0.7 - 1e-9, 2 * 0.7 / whole)
    x, y, z = draw("pyramid")  # half edges 1 and 0.8, height 1.3
    sides = 2 * np.hypot(1.3, 0.8), 2 * 0.8 * np.hypot(1.3, 1)
    assert_share(z < 1e-9, 4 * 0.8 / (4 * 0.8 + sum(sides)))
    assert_share((z > 1e-9) & (abs(x) > abs(y) / 0.8), sides[1] / (4 * 0.8 + sum(sides)))
    x, y, z = draw("tetrahedron")  # edges of the base are the root of 3, height 1.4
    base, side = 0.75 * 3**0.5, 3**0.5 / 2 * np.hypot(1.4, 0.5)
    assert_share(z < 1e-9, base / (base + 3 * side))
    third = np.arctan2(y, x) // (2 * np.pi / 3) % 3
    for side_of in range(3):
        assert_share((z > 1e-9) & (third == side_of), side / (base + 3 * side))
    x, y, z = draw("cylinder")  # radius 0.65, height 2
    assert_share(abs(z) > 1 - 1e-9, 0.65 / (0.65 + 2))
    for side in (z > 0, z < 0):  # closed up to the centre of the lid
        assert np.hypot(x, y)[side].min() < 0.03


def test_rotations():
    rotation = _draw_rotations(2_000, np.random.default_rng(0))
    eye = np.broadcast_to(np.eye(3), rotation.shape)
    np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), eye, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation), np.ones(2_000), atol=1e-12)
    # Uniform in SO(3): no preferred direction, and every entry has variance 1 / 3.
    assert np.abs(rotation.mean(axis=0)).max() < 5 * (1 / 3 / 2_000) ** 0.5
    assert np.abs((rotation**2).mean(axis=0) - 1 / 3).max() < 0.035


def test_poses_are_random():
    pos = _make_clouds(SURFACES["capsule"], 500, 64, np.random.default_rng(0))
    axis = np.linalg.svd(pos, full_matrices=False)[2][:, 0]  # the longest
    np.testing.assert_allclose(axis.T @ axis / len(axis), np.eye(3) / 3, atol=0.1)


def ridge_accuracy(features):
    """Accuracy on the test split of a one-vs-all ridge classifier fitted on the training split."""
    train = ShapePrimitives(num_per_class=60, num_points=128)
    test = ShapePrimitives(train=False, num_per_class=20, num_points=128)
    x, x_test = (features(data.pos.view(len(data), -1, 3).double()) for data in (train, test))
    mean, std = x.mean(dim=0), x.std(dim=0)
    x, x_test = (x - mean) / std, (x_test - mean) / std
    target = F.one_hot(train.y).double() - 1 / train.num_classes
    dual = torch.linalg.solve(x @ x.T + torch.eye(len(x)), target)
    return ((x_test @ (x.T @ dual)).argmax(dim=1) == test.y).double().mean().item()


def test_too_hard_for_a_linear_model_yet_learnable():
    assert ridge_accuracy(lambda pos: pos.flatten(1)) < 0.15
    # The same classifier succeeds on features that ignore order and pose.
    assert ridge_accuracy(lambda pos: pos.norm(dim=-1).sort(dim=1).values) > 0.3


@pytest.mark.parametrize(
    ("name", "parameters", "proportions", "corner"),
    [
        ("tetrahedron", (0.375, 1.0), (0.1, 0.6, 0.5), (-0.4, 0.1, 1.4)),
        ("pipe", (0.0, 0.0), (0.5, 1.0, 0.0), (0.7 * 0.8, 0.0, -1.0)),
    ],
)
def test_corners_follow_their_own_proportions(name, parameters, proportions, corner):
    u, v = (np.full((1, 1), value) for value in parameters)
    found = SURFACES[name](u, v, np.array(proportions)[:, None, None])
    np.testing.assert_allclose(found, [[corner]])


def test_shapes_are_turned_stretched_tapered_twisted_and_bent():
    pos = np.random.default_rng(1).standard_normal((2, 50, 3))
    found = _draw_deformation(2, np.random.default_rng(0))(pos)
    rng = np.random.default_rng(0)
    turned = _draw_rotations(2, rng) @ pos.swapaxes(1, 2)
    x, y, z = np.moveaxis(turned * rng.uniform(0.75, 1.25, (2, 1, 3)).swapaxes(1, 2), 1, 0)
    taper, twist, bend = rng.uniform(-1, 1, (3, 2, 1)) * [[[0.25]], [[0.5]], [[0.25]]]
    plane = (1 + taper * z) * np.exp(1j * twist * z) * (x + 1j * y) + bend * z**2
    np.testing.assert_allclose(found, np.stack([plane.real, plane.imag, z], axis=-1))
