"""The network that comes with the package: it loads offline, and names simple shapes."""

import json
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from torch_geometric_hyperbolic.nn import HyperbolicDGCNN
from torch_geometric_hyperbolic.nn.models._pretrained import FOLDER, find_pretrained

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
each_name = pytest.mark.parametrize("name", NAMES)


def box(number: int, low: list[float], high: list[float]) -> NDArray[np.float64]:
    """Points on the surface of a box, uniformly by area."""
    random = np.random.default_rng(0)
    size = np.subtract(high, low)
    areas = size.prod() / size
    x, side = random.random((number, 3)), random.integers(2, size=number)
    x[np.arange(number), random.choice(3, number, p=areas / areas.sum())] = side
    return low + x * size


def turned(radius: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points at these distances from the z axis, in random directions."""
    angle = np.random.default_rng(1).random(len(z)) * 2 * math.pi
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], 1)


def table() -> NDArray[np.float64]:
    legs = [
        box(116, [x - 0.04, y - 0.04, 0], [x + 0.04, y + 0.04, 0.7])
        for x in (-0.95, 0.95)
        for y in (-0.55, 0.55)
    ]
    return np.concatenate([box(560, [-1, -0.6, 0.7], [1, 0.6, 0.75]), *legs])


def cone() -> NDArray[np.float64]:
    share = np.sqrt(np.random.default_rng(2).random(1024))
    return np.concatenate(
        [
            turned(0.5 * share[:800], 1.4 - 1.4 * share[:800]),
            turned(0.5 * share[800:], np.zeros(224)),
        ]
    )


def laptop() -> NDArray[np.float64]:
    base, screen = box(512, [-1, -0.7, 0], [1, 0.7, 0.04]), box(512, [-1, 0, 0], [1, 0.04, 1.3])
    screen[:, 1] += 0.7 + 0.3 * screen[:, 2]
    return np.concatenate([base, screen])


def bowl() -> NDArray[np.float64]:
    z = -np.random.default_rng(3).random(1024)
    return turned(np.sqrt(1 - z**2), z)


def wardrobe() -> NDArray[np.float64]:
    return box(1024, [-0.6, -0.3, 0], [0.6, 0.3, 1.8])


SHAPES = (table, cone, laptop, bowl, wardrobe)


def clouds(num_points: int) -> torch.Tensor:
    """All shapes as ModelNet's clouds are, `[len(SHAPES), num_points, 3]`."""
    found = []
    for shape in SHAPES:
        x = np.random.default_rng(4).permutation(shape())[:num_points]
        x = x - x.mean(0)
        found.append(x / np.linalg.norm(x, axis=1).max())
    return torch.from_numpy(np.stack(found)).float()


def test_one_is_there():
    assert "modelnet40-85k" in NAMES


@each_name
def test_it_names_simple_shapes(name):
    model = HyperbolicDGCNN.from_pretrained(name)
    assert not model.training
    x = clouds(model.num_points)
    batch = torch.arange(len(SHAPES)).repeat_interleave(model.num_points)
    best = model(x.flatten(0, 1), batch).argmax(-1).tolist()
    assert [model.class_names[i] for i in best] == [shape.__name__ for shape in SHAPES]


@each_name
def test_it_is_as_small_as_its_name_says_and_knows_its_scores(name):
    model = HyperbolicDGCNN.from_pretrained(name)
    about = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert sum(p.numel() for p in model.parameters()) <= 85_000
    assert len(model.class_names) == model.out_channels == 40
    assert all(parameter.isfinite().all() for parameter in model.state_dict().values())
    assert about["config"]["num_points"] == model.num_points
    assert 0.8 < about["test"]["macc"] < about["test"]["oa"] < 1


@each_name
def test_two_calls_share_nothing(name):
    first, second = (HyperbolicDGCNN.from_pretrained(name) for _ in range(2))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert any(bool((parameter != 0).any()) for parameter in second.parameters())


def test_one_names_sparse_shapes_too():
    model = HyperbolicDGCNN.from_pretrained("modelnet40-85k-sparse")
    for num_points in (768, 384, 256):
        best = model(clouds(num_points).flatten(0, 1), batch_size=len(SHAPES)).argmax(-1).tolist()
        assert [model.class_names[i] for i in best] == [shape.__name__ for shape in SHAPES]


@each_name
def test_fewer_neighbours_take_fewer_points(name):
    usual, sparse = (HyperbolicDGCNN.from_pretrained(name, k=k) for k in (None, 8))
    assert sparse.min_points < usual.min_points
    pos = clouds(sparse.min_points)[0]
    assert sparse(pos).isfinite().all()
    with pytest.raises(ValueError, match="'k' must be at most the number of points of a cloud"):
        usual(pos)


@pytest.mark.parametrize("name", ["", "modelnet40", "../modelnet40-85k"])
def test_an_unknown_name_is_one_line(name):
    with pytest.raises(ValueError, match=r"'name' must be one of .*modelnet40-85k.* \(got '"):
        find_pretrained(name)
