"""The generated trees are what their families say, and who is invariant is measured both ways."""

import csv
import json

import _configurations
import isometry
import pytest
import torch
from _cloud_view import as_nodes
from _configurations import BALL, DEPTHS, FAMILIES, NOISE, depths, embed, make_trees, moved, parents
from torch import Generator

from torch_geometric_hyperbolic.nn import knn_graph

POINTS = 49


def degrees(family, number=1, num_points=POINTS):
    """Children of every node, and the parents."""
    parent = parents(family, number, num_points, Generator().manual_seed(0))
    children = torch.zeros_like(parent)
    children.scatter_add_(1, parent[:, 1:], torch.ones_like(parent[:, 1:]))
    return children, parent


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_a_tree(family):
    _, parent = degrees(family, number=20)
    assert parent.shape == (20, POINTS)
    assert (parent[:, 0] == 0).all()
    assert (parent[:, 1:] < torch.arange(1, POINTS)).all()
    assert (parent >= 0).all()


@pytest.mark.parametrize(
    ("family", "counts", "deepest"),
    [  # nodes by number of children, of 49 nodes
        ("caterpillar", {0: 25, 2: 24}, 24),
        ("comb", {0: 13, 1: 24, 2: 12}, 14),
        ("spider", {0: 6, 1: 42, 6: 1}, 8),
        ("broom", {0: 24, 1: 24, 24: 1}, 25),
        ("binary", {0: 25, 2: 24}, 5),
        ("ternary", {0: 33, 3: 16}, 4),
    ],
)
def test_a_family_has_its_shape(family, counts, deepest):
    children, parent = degrees(family)
    found = dict(zip(*(part.tolist() for part in children.unique(return_counts=True)), strict=True))
    assert found == counts
    assert depths(parent).max() == deepest


def test_random_families_choose_as_they_say():
    third = {name: degrees(name, 6000, 4)[1][:, 2:] for name in ("recursive", "preferential")}
    root = {name: (parent == 0).double().mean(0) for name, parent in third.items()}
    uniform, by_degree = torch.tensor([1 / 2, 1 / 3]), torch.tensor([2 / 3, 3 / 5])
    # By degree, with one more for each node: 2 of 3; then 3 of 5 or 2 of 5, the first in 2 of 3.
    by_degree[1] = 2 / 3 * 3 / 5 + 1 / 3 * 2 / 5
    torch.testing.assert_close(root["recursive"].float(), uniform, atol=0.025, rtol=0)
    torch.testing.assert_close(root["preferential"].float(), by_degree, atol=0.025, rtol=0)


def test_a_straight_path_is_a_geodesic_of_the_chosen_length(monkeypatch):
    monkeypatch.setattr(_configurations, "SPREAD", 1e-9)
    path = (torch.arange(12) - 1).abs().expand(5, -1)
    path = torch.where(torch.arange(12) == 0, 0, path)
    x = embed(path, Generator().manual_seed(0))
    table = BALL.dist(x[:, :, None], x[:, None])
    diameter = table.amax((1, 2))
    end = table.amax(2).argmax(1)
    steps = table[torch.arange(5), end].sort().values.diff()  # along the path from one end
    nearest = table.topk(2, largest=False).values[:, :, 1]
    # The first edge has a random direction of its own, but continues nothing: all is one geodesic.
    torch.testing.assert_close(steps.sum(1), diameter)
    assert (steps.amin(1) >= nearest.amin(1) - 1e-6).all()
    mean = diameter / 11
    assert (steps > (1 - NOISE) / (1 + NOISE) * mean[:, None]).all()
    assert ((1 - NOISE) * DEPTHS[0] < diameter).all()
    assert (diameter < (1 + NOISE) * DEPTHS[1]).all()


def test_trees_are_centred_shuffled_and_moderately_large():
    trees = make_trees(6, POINTS, seed=0)
    assert trees.x.shape == (6 * len(FAMILIES), POINTS, 3)
    assert trees.y.bincount().tolist() == [6] * len(FAMILIES)
    lorentz = torch.cat([1 + (s := trees.x.square().sum(-1, keepdim=True)), 2 * trees.x], -1)
    lorentz = lorentz / (1 - s)  # the centroid of the hyperboloid lies above the origin
    assert lorentz.mean(1)[:, 1:].abs().max() < 1e-9
    assert BALL.dist0(trees.x).max() < 4.5
    star = embed(torch.zeros(40, 12, dtype=torch.long), Generator().manual_seed(0))
    table = BALL.dist(star[:, :, None], star[:, None])
    assert len(table.sum(2).argmin(1).unique()) > 5  # the root's place in the order


def test_trees_are_decided_by_their_seed():
    assert torch.equal(make_trees(2, 12, seed=3).x, make_trees(2, 12, seed=3).x)
    assert not torch.equal(make_trees(2, 12, seed=3).x, make_trees(2, 12, seed=4).x)


def test_isometries_keep_distances_and_move_every_tree_differently():
    x = make_trees(4, 12, seed=0).x
    y = moved(x, 0.0, 4.0, Generator().manual_seed(0))
    torch.testing.assert_close(
        BALL.dist(x[:, :, None], x[:, None]), BALL.dist(y[:, :, None], y[:, None])
    )
    zero = torch.zeros(len(x), 1, 3, dtype=x.dtype)
    length = BALL.dist0(moved(zero, 0.0, 4.0, Generator().manual_seed(0)))
    assert length.max() < 4
    assert length.min() < 0.5
    assert length.std() > 0.5


def as_graph(trees):
    """Points and neighbours of a batch of trees."""
    x, batch = as_nodes(trees)
    return x, knn_graph(x, isometry.NEIGHBOURS, batch, manifold=BALL)


@pytest.mark.parametrize("name", isometry.NETWORKS)
def test_who_is_invariant_and_who_is_not(name):
    x = make_trees(2, 24, seed=0).x
    net = isometry.TreeNet(name, len(FAMILIES)).double().eval()
    vectors, changed = (
        net.describe(net.conv, *as_graph(trees))
        for trees in (x, moved(x, 0.0, 4.0, Generator().manual_seed(0)))
    )
    change = (changed - vectors).norm() / vectors.norm()
    assert change > 0.2 if name in ("edge", "euclidean") else change < 1e-6


def test_networks_are_of_about_equal_size():
    sizes = [
        sum(p.numel() for p in isometry.TreeNet(name, 8).parameters()) for name in isometry.NETWORKS
    ]
    assert max(sizes) < 1.1 * min(sizes)


@pytest.mark.parametrize("augment", [False, True])
def test_a_run_becomes_a_record_and_a_table(augment, tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(isometry, "moved", lambda x, *rest: seen.append(len(x)) or moved(x, *rest))
    out, table = tmp_path / "isometry.json", tmp_path / "isometry.csv"
    argv = ["--smoke", "--seeds", "2", "--networks", "edge", "frame", "--out", str(out)]
    argv += ["--table", str(table), *(["--augment"] if augment else [])]
    assert isometry.main(argv) == 0
    record = json.loads(out.read_text())
    assert set(record["networks"]) == {"edge", "frame"}
    assert record["config"]["augment"] is augment
    assert seen == [16] * 3 + (
        [32] * 8 if augment else []
    )  # three copies of the test trees, every batch
    runs = record["networks"]["frame"]
    assert [run["seed"] for run in runs] == [0, 1]
    assert all(run["same position"] == run["under isometries"] for run in runs)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["network"] for row in rows] == ["edge", "frame"]
    assert rows[0]["trained"] == ("under isometries" if augment else "in one position")
    assert rows[0]["parameters"] == f"{record['networks']['edge'][0]['parameters']:,}"
    assert capsys.readouterr().out.count("\n") == 4


def test_an_unknown_network_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        isometry.main(["--out", "x.json", "--networks", "mlp"])
    assert "invalid choice: 'mlp'" in capsys.readouterr().err


def test_the_record_tells_the_epochs_that_were_trained(tmp_path, monkeypatch):
    done = []
    train = isometry.Trainer.run_epoch
    monkeypatch.setattr(isometry.Trainer, "run_epoch", lambda self: done.append(1) or train(self))
    out = tmp_path / "isometry.json"
    argv = ["--smoke", "--seeds", "1", "--networks", "invariant", "--out", str(out)]
    assert isometry.main([*argv, "--epochs", "2"]) == 0
    config = json.loads(out.read_text())["config"]
    assert config["epochs"] == len(done) == 2
    assert config["points"] == 24


def test_children_go_on_where_their_parent_went_up_to_the_spread():
    """Paths of three nodes: their largest angle is 180 degrees less how far they turn."""
    x = embed(torch.tensor([[0, 0, 1]]).expand(4000, 3), Generator().manual_seed(0))
    a, b, c = (BALL.dist(x[:, i], x[:, i - 1]) for i in range(3))
    sides = torch.stack([a, b, c], dim=1).sort(dim=1).values
    a, b, c = sides.unbind(1)
    turned = (c.cosh() - a.cosh() * b.cosh()) / (a.sinh() * b.sinh())
    drawn = 0.6 * torch.randn(100_000, 3) + torch.tensor([1.0, 0.0, 0.0])
    expected = torch.nn.functional.cosine_similarity(drawn, torch.tensor([[1.0, 0.0, 0.0]]))
    assert (turned.mean() - expected.mean()).abs() < 0.02
    assert (turned.quantile(0.2) - expected.quantile(0.2)).abs() < 0.05
