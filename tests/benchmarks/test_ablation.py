"""Each variant changes what its name says and nothing else; its runs become a table."""

import csv
import json

import ablation
import pytest
import torch
from _cli import config_of
from _variants import VARIANTS, build_variant

from torch_geometric_hyperbolic.manifolds import Euclidean, PoincareBall

POINTS, K = 12, 4


def make(variant, *flags):
    """The network of a variant and its configuration."""
    argv = ["train", "--variant", variant, "--k", str(K), "--hidden-channels", "6,5", *flags]
    args = ablation.BENCHMARK.parser().parse_args(argv)
    ablation.BENCHMARK.check(args)
    torch.manual_seed(0)
    config = config_of(args)
    return build_variant(config, num_classes=7), config


def neighbours(table):
    """The k nearest of each point, from all distances."""
    return table.topk(K, largest=False).indices


def expected(variant, conv, x, manifold):
    """One layer by its definition, in a loop over points; batch norm over all messages."""
    first, norm, activation = conv.nn
    log = manifold.log0(x)
    if variant == "euclidean-knn":
        table = neighbours(torch.cdist(log, log))
    else:
        table = neighbours(manifold.dist(x[:, None], x[None]))
    messages = []
    for i, row in enumerate(table):
        centre, relative = log[i].expand(K, -1), manifold.rel(x[i], x[row])
        vectors = {
            "absolute": log[row],
            "relative": torch.cat([torch.zeros_like(centre), relative], dim=-1),
        }.get(variant, torch.cat([centre, relative], dim=-1))
        messages.append(vectors @ first.weight.double().T)
    z = torch.cat(messages)
    mean, variance = z.mean(0), z.var(0, unbiased=False)
    if variant == "absolute":  # whose messages belong to nodes
        nodes = log @ first.weight.double().T
        mean, variance = nodes.mean(0), nodes.var(0, unbiased=False)
    z = (z - mean) / (variance + norm.eps).sqrt() * norm.weight.double() + norm.bias.double()
    return manifold.exp0(activation(z).view(len(x), K, -1).amax(1))


@pytest.mark.parametrize("variant", ["edge", "absolute", "relative", "euclidean-knn"])
def test_a_layer_is_what_its_name_says(variant):
    model, _ = make(variant)
    ball, conv = model.manifold, model.convs[1]
    x = ball.random(POINTS, 6, std=0.6, dtype=torch.float64)
    conv.double()
    out = conv((x, x), (None, None))
    torch.testing.assert_close(out, expected(variant, conv, x, ball))
    graph = {"edge": "euclidean-knn", "euclidean-knn": "edge"}.get(variant)
    if graph is not None:
        assert not torch.allclose(out, expected(graph, conv, x, ball))


def test_the_graph_of_a_variant_does_not_leave_its_cloud():
    for variant in ("absolute", "relative", "euclidean-knn"):
        model, _ = make(variant)
        model.eval()
        pos, batch = torch.randn(2 * POINTS, 3), torch.arange(2).repeat_interleave(POINTS)
        torch.testing.assert_close(model(pos, batch)[:1], model(pos[:POINTS]))


def test_all_weights_learn_and_the_absent_half_is_no_parameter():
    sizes = {}
    for variant in VARIANTS:
        model, _ = make(variant)
        pos, batch = torch.randn(2 * POINTS, 3), torch.arange(2).repeat_interleave(POINTS)
        model(pos, batch).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in model.convs.parameters())
        sizes[variant] = sum(p.numel() for p in model.parameters())
    half = 6 * 3 + 5 * 6
    full = {key: sizes.pop(key) for key in ("absolute", "relative", "learnt")}
    assert set(sizes.values()) == {sizes["edge"]}
    assert full == {
        "absolute": sizes["edge"] - half,
        "relative": sizes["edge"] - half,
        "learnt": sizes["edge"] + 1,
    }


def test_the_points_of_a_replaced_layer_start_at_moderate_radius():
    for variant in ("absolute", "relative", "euclidean-knn"):
        model, _ = make(variant, "--hidden-channels", "32,64")
        radii = model.radii(torch.randn(64, 3) / 2)
        assert all(0.3 < radius < 2 for radius in radii.values()), (variant, radii)


def test_a_variant_decides_on_its_own_flags_only():
    flags = [
        "--curvature",
        "0.5",
        "--learnable-curvature",
        "--aggr",
        "mean",
        "--manifold",
        "lorentz",
    ]
    keys = ("manifold", "curvature", "learnable_curvature", "aggr")
    given = ("lorentz", 0.5, True, "mean")
    for variant, change in {
        "edge": {},
        "relative": {},
        "sum": {"aggr": "sum"},
        "midpoint": {"aggr": "midpoint"},
        "c1": {"curvature": 1.0, "learnable_curvature": False},
        "learnt": {"curvature": 0.25, "learnable_curvature": True},
        "euclidean": {"manifold": "euclidean"},
    }.items():
        _, config = make(variant, *flags)
        assert {key: config[key] for key in keys} == dict(zip(keys, given, strict=True)) | change
    assert isinstance(make("euclidean")[0].manifold, Euclidean)
    assert isinstance(make("c0.25")[0].manifold, PoincareBall)


def train(out, *flags):
    """A tiny run."""
    argv = ["train", "--smoke", "--epochs", "1", "--progress", "off", "--out", str(out), *flags]
    return ablation.main(argv)


def test_runs_become_a_table(tmp_path, capsys):
    for variant in ("relative", "edge"):
        assert train(tmp_path, "--variant", variant) == 0
    assert train(tmp_path, "--variant", "edge", "--seed", "1") == 0
    out = tmp_path / "report"
    assert ablation.main(["report", str(tmp_path / "results"), "--out", str(out)]) == 0
    with open(out / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seeds"]) for row in rows] == [("edge", "2"), ("relative", "1")]
    edge, relative = (int(row["parameters"].replace(",", "")) for row in rows)
    assert edge - relative == 3 * 16 + 16 * 16  # of the smoke run's two layers of 16
    record = json.loads((tmp_path / "results" / "primitives-relative-seed0.json").read_text())
    assert rows[1]["radii"] == " ".join(f"{radius:.2f}" for radius in record["radii"].values())
    assert rows[1]["OA %"] == f"{100 * record['test']['last']['oa']:.1f}"
    assert "| relative |" in capsys.readouterr().out
    assert not (out / "width.csv").exists()


def test_a_run_resumes_and_evaluates_with_its_own_convolutions(tmp_path, capsys):
    assert train(tmp_path, "--variant", "absolute") == 0
    assert train(tmp_path, "--variant", "absolute", "--resume") == 0
    assert "is finished (1 epochs): nothing to do" in capsys.readouterr().err
    folder = tmp_path / "primitives-absolute-seed0"
    record = json.loads((tmp_path / "results" / f"{folder.name}.json").read_text())
    checkpoint = str(folder / "checkpoint.pt")
    assert ablation.main(["eval", "--checkpoint", checkpoint, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == record["test"]["last"]["loss"]
    assert train(tmp_path, "--variant", "relative", "--name", folder.name, "--resume") == 2
    assert "--variant differs from the checkpoint's" in capsys.readouterr().err


def test_static_neighbours_contradict_a_dynamic_variant(tmp_path, capsys):
    assert train(tmp_path, "--variant", "absolute", "--static") == 2
    assert "--static: there is no such network of --variant absolute" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["absolute", "relative", "euclidean-knn"])
def test_a_variant_without_the_local_frame_refuses_it(variant, tmp_path, capsys):
    assert train(tmp_path, "--variant", variant, "--frame", "local") == 2
    assert f"--frame: there is no such network of --variant {variant}" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["c1", "c0.25", "learnt"])
def test_flat_space_has_no_curvature_to_vary(variant, tmp_path, capsys):
    assert train(tmp_path, "--variant", variant, "--manifold", "euclidean") == 2
    assert f"--manifold: --variant {variant} is curved (got euclidean)" in capsys.readouterr().err


def write_width(folder, width, manifold, seed, oa):
    """A results file as `modelnet40.py` writes it, as far as the report reads it."""
    folder.mkdir(exist_ok=True)
    score = {"epoch": 8, "loss": 1.0, "oa": oa, "macc": oa / 2}
    config = {"manifold": manifold, "curvature": 0.25, "learnable_curvature": True, "epochs": 8}
    record = {
        "benchmark": "modelnet40",
        "name": f"width{width}-{manifold}-seed{seed}",
        "config": config | {"hidden_channels": [width] * 5, "seed": seed},
        "data": {"name": "toy", "class_names": ["a"], "test": 10},
        "parameters": 100 * width,
        "timing": {"train_seconds_per_epoch": 2.0},
        "test": {"last": score, "best": score},
        "radii": {},
        "curves": {},
    }
    (folder / f"{record['name']}.json").write_text(json.dumps(record))


def test_widths_become_a_picture_and_a_table(tmp_path, monkeypatch):
    for width, manifold, seed, oa in (
        (16, "poincare", 0, 0.7),
        (4, "poincare", 0, 0.5),
        (4, "poincare", 1, 0.6),
        (4, "euclidean", 0, 0.4),
    ):
        write_width(tmp_path / "runs", width, manifold, seed, oa)
    drawn = []
    save = ablation.plot_widths.__globals__["save"]
    monkeypatch.setitem(
        ablation.plot_widths.__globals__,
        "save",
        lambda figure, path: drawn.append(figure.axes[0]) or save(figure, path),
    )
    out = tmp_path / "report"
    assert ablation.main(["report", str(tmp_path / "runs"), "--out", str(out)]) == 0
    rows = list(csv.reader((out / "width.csv").read_text().splitlines()))
    assert [row[:2] + row[4:5] for row in rows] == [
        ["space", "width", "OA %"],
        ["Euclidean", "4", "40.0"],
        ["Poincaré ball, c = 0.25 at first, learnt", "4", "55.0 ± 7.1"],
        ["Poincaré ball, c = 0.25 at first, learnt", "16", "70.0"],
    ]
    (axis,) = drawn
    curves = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert curves["Poincaré ball, c = 0.25 at first, learnt"] == [[4, 55], [16, 70]]
    markers = [line.get_xydata().tolist() for line in axis.lines if line.get_linestyle() == "None"]
    assert [[4, 50], [4, 60]] in map(sorted, markers)
    assert axis.get_xscale() == "log"
    assert (out / "width.png").stat().st_size > 10_000
    assert not (out / "table.csv").exists()


def change(path, **flags):
    """Writes other values of flags into a results file."""
    record = json.loads(path.read_text())
    record["config"] |= flags
    path.write_text(json.dumps(record))


def test_variants_of_two_recipes_are_refused(tmp_path, capsys):
    for width, variant in enumerate(("edge", "mean", "learnt"), 1):
        write_width(tmp_path, width, "poincare", 0, 0.5)
        own = {"aggr": "mean" if variant == "mean" else "max", "hidden_channels": [4, 8]}
        change(tmp_path / f"width{width}-poincare-seed0.json", variant=variant, lr=0.01, **own)
    report = ["report", str(tmp_path), "--out", str(tmp_path / "report")]
    assert ablation.main(report) == 0
    for flags, words in (
        ({"lr": 0.02}, "--lr (got 0.01 and 0.02)"),
        ({"lr": 0.01, "ratios": [1, 0.5]}, "--ratios (got None and [1, 0.5])"),
        ({"ratios": None, "aggr": "sum"}, "--aggr (got max and sum)"),
    ):
        change(tmp_path / "width3-poincare-seed0.json", **flags)
        capsys.readouterr()
        assert ablation.main(report) == 2
        names = "width1-poincare-seed0 and width3-poincare-seed0"
        assert f"RESULTS: {names} differ in {words}" in capsys.readouterr().err


def test_widths_of_two_recipes_are_refused(tmp_path, capsys):
    for width in (4, 8):
        for manifold in ("poincare", "euclidean"):
            write_width(tmp_path, width, manifold, 0, 0.5)
            change(tmp_path / f"width{width}-{manifold}-seed0.json", emb_channels=width)
    report = ["report", str(tmp_path), "--out", str(tmp_path / "report")]
    assert ablation.main(report) == 0
    for flags, words in (
        ({"emb_channels": 128}, "--emb-channels (got 4 and 128)"),
        ({"emb_channels": 4, "epochs": 9}, "--epochs (got 8 and 9)"),
    ):
        change(tmp_path / "width4-poincare-seed0.json", **flags)
        capsys.readouterr()
        assert ablation.main(report) == 2
        assert f"differ in {words}" in capsys.readouterr().err


def test_a_run_of_several_widths_is_refused(tmp_path, capsys):
    write_width(tmp_path / "runs", 4, "poincare", 0, 0.5)
    path = next((tmp_path / "runs").iterdir())
    path.write_text(path.read_text().replace("[4, 4,", "[4, 8,"))
    assert ablation.main(["report", str(path), "--out", str(tmp_path)]) == 2
    assert "is no variant, nor has it one width" in capsys.readouterr().err
