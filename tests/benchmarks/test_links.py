"""Link prediction: what is held out stays out, settings are chosen by validation."""

import csv
import json

import _link_net
import links
import pytest
import torch
from _cli import UsageError
from _link_graphs import load_graph
from _link_net import Diverged, Encoder, area, fit, split
from _link_pictures import geodesics, seen_from_mean
from links import chosen, table_cells
from torch_geometric.data import Data

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import global_frechet_mean_pool

CONFIG = {
    "curvature": 1.0,
    "learnable_curvature": True,
    "weight_decay": 0.0,
    "epochs": 40,
    "channels": 4,
    "manifold": "poincare",
    "lr": 0.05,
    "dropout": 0.0,
    "seed": 0,
}
FEW = ["--channels", "2", "--lrs", "0.05", "0.01", "--dropouts", "0", "--epochs", "6"]


@pytest.fixture(scope="module")
def graph():
    return load_graph("tree")


def pairs(edge_index):
    return {tuple(sorted(pair)) for pair in edge_index.t().tolist()}


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_held_out_is_not_seen(graph, seed):
    train, val, test = split(graph, seed)
    edges = pairs(graph.edge_index)
    seen = pairs(train.edge_index)
    held = [pairs(part.edge_label_index[:, part.edge_label == 1]) for part in (val, test)]
    assert [len(part) for part in held] == [29, 59]  # of 599
    assert not held[0] & held[1]
    assert seen == pairs(train.edge_label_index) == edges - held[0] - held[1]
    for part, linked in zip((val, test), held, strict=True):
        apart = pairs(part.edge_label_index[:, part.edge_label == 0])
        assert not apart & edges
        assert 0.9 * len(linked) < len(apart) <= len(linked)
        assert pairs(part.edge_index) == seen


def test_a_seed_decides_on_the_split(graph):
    one, same, other = (split(graph, seed)[2].edge_label_index for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_score_is_the_share_of_pairs_in_the_right_order():
    scores = torch.tensor([3.0, 1.0, 2.0, 0.0, 2.0])
    truth = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0])

    class Model:
        def decode(self, z, edge_index, sigmoid):
            return z[edge_index[0]]

    part = Data(edge_label_index=torch.arange(5).expand(2, -1), edge_label=truth)
    right = [a > b for a in scores[truth == 1] for b in scores[truth == 0]]
    ties = [a == b for a in scores[truth == 1] for b in scores[truth == 0]]
    expected = (sum(right) + 0.5 * sum(ties)) / 6
    assert area(Model(), scores, part) == pytest.approx(float(expected))


def test_twins_have_the_same_parameters_and_points_on_their_manifolds(graph):
    spaces = (PoincareBall(), Lorentz(), Euclidean())
    nets = [Encoder(8, 3, 0.0, manifold) for manifold in spaces]
    shapes = [[p.shape for p in net.parameters()] for net in nets]
    assert shapes[0] == shapes[1] == shapes[2]
    for net in nets:
        z = net(graph.x, graph.edge_index)
        net.manifold.assert_check_point_on_manifold(z, atol=1e-4)


@pytest.mark.parametrize("space", links.SPACES)
def test_a_network_learns_the_tree_and_does_so_again(graph, space):
    config = CONFIG | {"manifold": space}
    run, points = fit(graph, config)
    assert run["val"] > 0.75
    assert run["test"] > 0.75
    assert points.shape == (600, 4)
    assert {key: run[key] for key in ("manifold", "channels", "lr", "dropout", "seed")} == {
        key: config[key] for key in ("manifold", "channels", "lr", "dropout", "seed")
    }
    assert (run["curvature"] > 0) == (space == "poincare")
    again, same = fit(graph, config)
    assert torch.equal(points, same)
    assert again["test"] == run["test"]


def run_with(lr, seed, val, **more):
    about = {"manifold": "poincare", "channels": 2, "dropout": 0.0, "parameters": 5}
    return about | {"lr": lr, "seed": seed, "val": val, "test": val / 2, "last": 0.25} | more


def test_settings_are_chosen_by_the_seeds_that_all_have():
    runs = [
        run_with(0.1, 0, 0.8),
        run_with(0.1, 1, 0.6),
        run_with(0.2, 0, 0.7),
        run_with(0.2, 1, 0.9),
    ]
    later = [run_with(0.2, seed, 0.1) for seed in (2, 3)]  # as only the chosen have
    assert [run["seed"] for run in chosen(runs + later)] == [0, 1, 2, 3]
    assert {run["lr"] for run in chosen(runs + later)} == {0.2}


def test_the_table_compares_seed_by_seed():
    ball = [run_with(0.1, seed, val) for seed, val in enumerate((0.8, 0.9))]
    flat = [run_with(0.1, seed, val, manifold="euclidean") for seed, val in enumerate((0.7, 0.84))]
    record = {"data": {"name": "g", "nodes": 1234, "edges": 5}, "runs": ball + flat}
    head, row = table_cells([record])
    found = dict(zip(head, row, strict=True))
    assert found["nodes"] == "1,234"
    assert found["seeds"] == "2"
    assert found["Poincaré ball"] == "42.5 ± 3.5"
    assert found["Euclidean"] == "38.5 ± 4.9"
    assert found["Euclidean (last epoch)"] == "25.0 ± 0.0"
    assert found["difference"] == "+4.0 ± 1.0"  # of 5 and 3


def test_runs_become_a_record_a_table_and_pictures(tmp_path, capsys):
    out, picture = tmp_path / "links-tree.json", tmp_path / "points.png"
    argv = ["train", *FEW, "--seeds", "3", "--tuning-seeds", "1"]
    assert links.main([*argv, "--out", str(out), "--picture", str(picture)]) == 0
    record = json.loads(out.read_text())
    assert record["data"] == {"name": "tree", "nodes": 600, "edges": 599, "features": 8}
    assert record["config"]["lrs"] == [0.05, 0.01]
    assert len(record["runs"]) == 2 * (2 + 2)  # spaces, two settings with a seed and two more seeds
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("\n") == 3
    assert links.main(["report", str(out), "--out", str(tmp_path / "report")]) == 0
    (row,) = csv.DictReader((tmp_path / "report" / "table.csv").read_text().splitlines())
    assert (row["graph"], row["channels"], row["seeds"]) == ("tree", "2", "3")
    assert (tmp_path / "report" / "links.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_wrong_is_one_line(tmp_path, capsys):
    def error(*argv):
        assert links.main([str(word) for word in argv]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    out = tmp_path / "out.json"
    assert error("train", "--data", "nowhere", "--out", out).startswith(
        "links.py train: error: --data: no such folder"
    )
    assert "--out: cannot write" in error("train", "--out", tmp_path)
    assert "--picture: cannot write" in error("train", "--out", out, "--picture", tmp_path)
    assert error("train", "--out", out, "--lrs", "0.1", "0.1").endswith("once (got 0.1 0.1)")
    assert error("train", "--out", out, "--channels", "4,2", "--picture", out).endswith(
        "--picture: the first of --channels must be 2 (got 4)"
    )
    diverges = ["--lrs", "1e37", "--channels", "2", "--epochs", "5", "--seeds", "1"]
    assert "--lrs: fits became no numbers with every one (got 1e+37)" in error(
        "train", "--out", out, *diverges
    )
    assert not out.exists()
    for text in ("{}", '{"benchmark": "isometry"}', "no JSON"):
        out.write_text(text)
        assert f"RESULTS: cannot read {out}" in error("report", out, "--out", tmp_path)


@pytest.mark.parametrize("manifold", [PoincareBall(), Euclidean()], ids=repr)
def test_points_are_moved_by_an_isometry(manifold):
    z = manifold.exp0(torch.randn(7, 2) + 1)
    x = seen_from_mean(z, manifold)
    z = z.double()
    torch.testing.assert_close(
        manifold.dist(x[:, None], x[None]), manifold.dist(z[:, None], z[None]), atol=1e-9, rtol=0
    )
    centre = global_frechet_mean_pool(x, None, manifold=manifold)
    assert centre.abs().max() < 1e-7


@pytest.mark.parametrize("manifold", [PoincareBall(), Euclidean()], ids=repr)
def test_edges_are_drawn_along_geodesics(manifold):
    x = manifold.exp0(2 * torch.randn(6, 2, dtype=torch.float64))
    edge_index = torch.tensor([[0, 1, 4, 5], [1, 0, 5, 4]])
    curves = geodesics(x, edge_index, isinstance(manifold, PoincareBall))
    for curve, (i, j) in zip(curves, ((0, 1), (4, 5)), strict=True):
        start, end = x[i].expand_as(curve), x[j].expand_as(curve)
        torch.testing.assert_close(curve[0], x[i])
        torch.testing.assert_close(curve[-1], x[j])
        there = manifold.dist(start, curve)
        assert (there.diff() > 0).all()
        torch.testing.assert_close(there + manifold.dist(curve, end), manifold.dist(start, end))


def test_a_loss_that_is_no_number_is_an_error(graph):
    flat = CONFIG | {"manifold": "euclidean", "lr": 1e37}  # the ball's stays finite for longer
    with pytest.raises(UsageError, match="--lrs: the loss became (nan|inf) \\(got 1e\\+37\\)"):
        fit(graph, flat | {"epochs": 5})
    with pytest.raises(UsageError, match="--lrs: points became no numbers \\(got 1e\\+37\\)"):
        fit(graph, flat | {"epochs": 1})


def test_a_setting_that_diverges_loses(tmp_path):
    out = tmp_path / "links.json"
    argv = ["train", "--channels", "2", "--dropouts", "0", "--epochs", "6", "--seeds", "2"]
    assert (
        links.main([*argv, "--tuning-seeds", "1", "--lrs", "1e37", "0.05", "--out", str(out)]) == 0
    )
    record = json.loads(out.read_text())
    lost = [run for run in record["runs"] if run["lr"] == 1e37]
    assert [(run["manifold"], run["seed"], run["val"], run["loss"]) for run in lost] == [
        ("poincare", 0, -1.0, None),
        ("euclidean", 0, -1.0, None),
    ]
    assert all("test" not in run for run in lost)
    for runs in links.by_network(record).values():
        assert [(run["lr"], run["seed"]) for run in runs] == [(0.05, 0), (0.05, 1)]


def test_a_chosen_fit_that_diverges_is_an_error(tmp_path, capsys, monkeypatch):
    def diverges(graph, config):
        if config["seed"] == 1:
            raise Diverged("--lrs: the loss became nan (got 0.05)")
        return fit(graph, config)

    monkeypatch.setattr(links, "fit", diverges)
    argv = ["train", *FEW, "--seeds", "2", "--tuning-seeds", "1", "--out", str(tmp_path / "x.json")]
    assert links.main(argv) == 2
    assert "--lrs: the loss became nan (got 0.05)" in capsys.readouterr().err


def test_the_curvature_is_that_of_the_chosen_epoch(graph):
    config = CONFIG | {"lr": 0.3}
    run, points = fit(graph, config)
    short, same = fit(graph, config | {"epochs": run["epoch"]})
    assert run["epoch"] < config["epochs"]
    assert run["curvature"] == short["curvature"]
    assert torch.equal(points, same)


@pytest.mark.parametrize("shift", [-100.0, 0.0, 30.0, 100.0])
def test_large_scores_are_no_ties(shift):
    scores = torch.tensor([3.0, 2.0, 1.0, 0.0]) + shift
    part = Data(
        edge_label_index=torch.arange(4).expand(2, -1), edge_label=torch.tensor([1.0, 0, 1, 0])
    )

    class Model:
        def decode(self, z, edge_index, sigmoid):
            return z[edge_index[0]]

    assert area(Model(), scores, part) == 0.75


def test_a_graph_is_reported_once(tmp_path, capsys):
    files = [str(tmp_path / f"{name}.json") for name in "ab"]
    for file in files:
        assert links.main(["train", *FEW, "--seeds", "1", "--out", file]) == 0
    out = tmp_path / "report"
    assert links.main(["report", *files, "--out", str(out)]) == 2
    assert "RESULTS: one file for each graph (got two of tree)" in capsys.readouterr().err
    assert not out.exists()


def test_every_step_is_taken_in_training_and_every_look_is_not(graph, monkeypatch):
    training, forward = [], Encoder.forward

    def watched(self, *given):
        training.append(self.training)
        return forward(self, *given)

    monkeypatch.setattr(Encoder, "forward", watched)
    fit(graph, CONFIG | {"epochs": 6})
    assert training == [*[True] * 5, False, True, False]


def test_features_are_dropped_in_training_alone(graph):
    net = Encoder(8, 3, 0.5, PoincareBall())
    assert not torch.equal(*(net(graph.x, graph.edge_index) for _ in range(2)))
    net.eval()
    assert torch.equal(*(net(graph.x, graph.edge_index) for _ in range(2)))


def test_the_first_of_equally_good_looks_is_best(graph, monkeypatch):
    monkeypatch.setattr(_link_net, "area", lambda *args: 0.5)
    assert fit(graph, CONFIG | {"epochs": 12})[0]["epoch"] == 5
