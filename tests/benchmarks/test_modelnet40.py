import json
from pathlib import Path

import modelnet40
import pytest
import torch
from _checkpoint import load_checkpoint, save_checkpoint
from _cloud_view import CloudView

from tests.data_fixture import write_modelnet_fixture
from torch_geometric_hyperbolic.nn import HyperbolicDGCNN

NAME = "primitives-poincare-seed0"


def train(out, *flags):
    return modelnet40.main(["train", "--smoke", "--progress", "off", "--out", str(out), *flags])


def result(out, name=NAME):
    return json.loads((out / "results" / f"{name}.json").read_text())


def without_times(curves):
    return {key: value for key, value in curves.items() if not key.endswith("seconds")}


def test_a_run_leaves_a_whole_record(tmp_path, capsys):
    assert train(tmp_path) == 0
    record = result(tmp_path)
    assert record["parameters"] > 0
    assert record["seed"] == 0
    assert record["config"]["manifold"] == "poincare"
    assert record["versions"]["torch"] == torch.__version__
    assert set(record["git"]) == {"commit", "dirty"}
    assert record["timing"]["train_seconds_per_epoch"] > 0
    assert all(len(curve) == 2 for curve in record["curves"].values())
    assert all(radius > 0 for radius in record["radii"].values())
    test = record["data"]["test"]
    assert sum(map(sum, record["confusion"])) == test
    right = sum(row[i] for i, row in enumerate(record["confusion"]))
    assert record["test"]["last"]["oa"] == pytest.approx(right / test)
    assert len(record["embedding"]["xy"]) == len(record["embedding"]["y"]) == test
    assert f"OA {100 * right / test:.2f} %" in capsys.readouterr().out
    assert list((tmp_path / NAME / "tensorboard").iterdir())
    assert str(Path.cwd()) not in (tmp_path / "results" / f"{NAME}.json").read_text()


def test_the_twins_have_equal_size(tmp_path):
    sizes = set()
    for manifold in ("poincare", "lorentz", "euclidean"):
        assert train(tmp_path, "--manifold", manifold, "--epochs", "1") == 0
        sizes.add(result(tmp_path, f"primitives-{manifold}-seed0")["parameters"])
    assert len(sizes) == 1


def test_a_hierarchy_trains(tmp_path, capsys):
    flags = ["--ratios", "1,0.5", "--static", "--head-channels", "0", "--epochs", "1"]
    assert train(tmp_path, *flags) == 0
    record = result(tmp_path)
    assert record["config"]["ratios"] == [1.0, 0.5]
    assert list(record["radii"]) == ["input", "conv1", "conv2"]
    checkpoint = str(tmp_path / NAME / "checkpoint.pt")
    capsys.readouterr()
    assert modelnet40.main(["eval", "--checkpoint", checkpoint, "--num-points", "8"]) == 2
    assert "--num-points must be at least 9 (got 8)" in last_error(capsys)


def test_clouds_of_several_sizes_are_trained_on_and_whole_ones_evaluated(tmp_path, monkeypatch):
    sizes = {True: set(), False: set()}
    original = HyperbolicDGCNN.forward

    def forward(self, pos, batch=None, batch_size=None):
        which = torch.arange(batch_size).repeat_interleave(64) if batch is None else batch
        sizes[self.training].update(which.bincount(minlength=batch_size).tolist())
        return original(self, pos, batch, batch_size)

    monkeypatch.setattr(HyperbolicDGCNN, "forward", forward)
    assert train(tmp_path, "--epochs", "1", "--fewest-points", "48") == 0
    assert sizes[True] <= set(range(48, 65))
    assert len(sizes[True]) > 8
    assert sizes[False] == {64}


def test_a_learnable_curvature_is_one_more_parameter_and_moves(tmp_path):
    flags = ["--epochs", "1", "--curvature", "0.5"]
    assert train(tmp_path, *flags, "--name", "fixed") == 0
    assert train(tmp_path, *flags, "--name", "learnt", "--learnable-curvature") == 0
    fixed, learnt = result(tmp_path, "fixed"), result(tmp_path, "learnt")
    assert learnt["parameters"] == fixed["parameters"] + 1
    assert set(fixed["curvature"].values()) == {0.5}
    assert all(c != 0.5 and c == pytest.approx(0.5, rel=0.2) for c in learnt["curvature"].values())


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    flags = ["--epochs", "3", "--learnable-curvature", "--first-points", "32"]
    flags += ["--fewest-points", "24"]
    assert train(whole, *flags) == 0

    calls = []
    original = CloudView.augmented

    def augmented(self, x, generator, progress):
        calls.append(1)
        if len(calls) == steps + 2:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return original(self, x, generator, progress)

    steps = result(whole)["data"]["train"] // 16
    monkeypatch.setattr(CloudView, "augmented", augmented)
    assert train(cut, *flags) == 130
    assert load_checkpoint(cut / NAME / "checkpoint.pt", "modelnet40")["epoch"] == 1
    assert not (cut / "results").exists()
    torch.manual_seed(777)
    assert train(cut, *flags, "--resume") == 0

    one, other = result(whole), result(cut)
    assert without_times(one["curves"]) == without_times(other["curves"])
    for which in ("last", "best"):
        assert one["test"][which] == other["test"][which]
    assert one["embedding"] == other["embedding"]
    states = [load_checkpoint(d / NAME / "checkpoint.pt", "modelnet40") for d in (whole, cut)]
    assert states[0]["model"].keys() == states[1]["model"].keys()
    for key, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][key]), key

    capsys.readouterr()
    before = (cut / "results" / f"{NAME}.json").read_bytes()
    assert train(cut, *flags, "--resume") == 0
    assert "is finished (3 epochs): nothing to do" in capsys.readouterr().err
    assert (cut / "results" / f"{NAME}.json").read_bytes() == before


def test_a_lost_result_is_made_again(tmp_path):
    assert train(tmp_path) == 0
    first = result(tmp_path)
    (tmp_path / "results" / f"{NAME}.json").unlink()
    assert train(tmp_path, "--resume") == 0
    again = result(tmp_path)
    assert again["confusion"] == first["confusion"]
    assert again["curves"] == first["curves"]


def test_an_existing_run_is_not_lost_by_accident(tmp_path, capsys):
    assert train(tmp_path) == 0
    checkpoint = tmp_path / NAME / "checkpoint.pt"
    before = checkpoint.read_bytes()
    assert train(tmp_path) == 2
    assert "--name: " in last_error(capsys)
    assert train(tmp_path, "--resume", "--lr", "0.5") == 2
    assert "--lr differs from the checkpoint's (got 0.5" in last_error(capsys)
    assert train(tmp_path, "--resume", "--label-smoothing", "0") == 2
    assert "--label-smoothing differs" in last_error(capsys)
    assert checkpoint.read_bytes() == before
    assert train(tmp_path, "--overwrite", "--lr", "0.5") == 0
    assert result(tmp_path)["config"]["lr"] == 0.5


def test_a_run_may_begin_with_the_weights_of_another(tmp_path, capsys):
    assert train(tmp_path) == 0
    checkpoint = tmp_path / NAME / "checkpoint.pt"
    start = ["--start", str(checkpoint), "--lr", "1e-9", "--schedule", "constant"]
    assert train(tmp_path, "--name", "second", "--epochs", "1", *start) == 0
    states = [
        load_checkpoint(path, "modelnet40")["model"]
        for path in (checkpoint, tmp_path / "second" / "checkpoint.pt")
    ]
    for name, value in states[0].items():
        if not name.endswith(("mean", "var", "tracked")):  # statistics go on
            torch.testing.assert_close(states[1][name], value, atol=1e-6, rtol=0)
    epochs = load_checkpoint(checkpoint, "modelnet40")["epoch"]
    assert result(tmp_path, "second")["config"]["start"] == f"{NAME}, epoch {epochs}"
    capsys.readouterr()
    assert train(tmp_path, "--name", "third", "--emb-channels", "8", *start) == 2
    assert "--start: another network (" in last_error(capsys)


def test_a_second_part_keeps_split_and_classes_of_the_first(tmp_path, capsys):
    assert train(tmp_path, "--epochs", "1", "--seed", "1") == 0
    checkpoint = tmp_path / "primitives-poincare-seed1" / "checkpoint.pt"
    second = ["--start", str(checkpoint), "--epochs", "1"]
    for flags in ([], ["--split-seed", "1", "--val-fraction", "0.25"]):
        assert train(tmp_path, *second, *flags) == 2
        own = "--val-fraction 0.1 --split-seed 1 are its own"
        message = f"--start: it was trained on samples that are held out here; {own}"
        assert message in last_error(capsys)
    for flags in (["--split-seed", "1"], ["--val-fraction", "0", "--overwrite"]):
        assert train(tmp_path, *second, *flags) == 0
    state = load_checkpoint(checkpoint, "modelnet40")
    state["class_names"].reverse()
    save_checkpoint(checkpoint, state)
    capsys.readouterr()
    assert train(tmp_path, *second, "--split-seed", "1", "--overwrite") == 2
    assert "--start: the checkpoint was trained on other classes (got /" in last_error(capsys)


def test_eval_reads_back_what_training_reported(tmp_path, capsys):
    assert train(tmp_path) == 0
    record = result(tmp_path)
    checkpoint = str(tmp_path / NAME / "checkpoint.pt")
    capsys.readouterr()
    for which in ("last", "best"):
        assert (
            modelnet40.main(["eval", "--checkpoint", checkpoint, "--which", which, "--json"]) == 0
        )
        score = json.loads(capsys.readouterr().out)
        for key in ("oa", "macc", "loss", "epoch"):
            assert score[key] == record["test"][which][key]
    assert modelnet40.main(["eval", "--checkpoint", checkpoint, "--split", "val"]) == 0
    oa, loss = (record["curves"][key][-1] for key in ("val_oa", "val_loss"))
    words = capsys.readouterr().out
    assert words.startswith(f"val, {record['data']['val']} samples, last epoch: ")
    assert f"OA {100 * oa:.2f} %" in words
    assert f"loss {loss:.4f}" in words


def test_real_layout_trains_and_wants_its_data_again(tmp_path, capsys):
    root = str(write_modelnet_fixture(tmp_path / "toy", num_train=40, num_points=80))
    assert train(tmp_path, "--data", root, "--val-fraction", "0.2") == 0
    name = "toy-poincare-seed0"
    assert result(tmp_path, name)["data"]["train"] == 32
    evaluate = ["eval", "--checkpoint", str(tmp_path / name / "checkpoint.pt")]
    assert modelnet40.main(evaluate) == 2
    assert "--data is needed: this run was trained on toy" in last_error(capsys)
    assert modelnet40.main([*evaluate, "--data", "primitives"]) == 2
    assert "--data: the checkpoint was trained on other classes" in last_error(capsys)
    assert modelnet40.main([*evaluate, "--data", root, "--num-points", "80"]) == 0
    report = ["report", str(tmp_path / "results"), "--out", str(tmp_path / "report")]
    assert modelnet40.main(report) == 0
    row = (tmp_path / "report" / "table.md").read_text().splitlines()[2]
    assert row.startswith("| 64 | Poincaré ball, c = 1 |") and row.endswith("| toy |")


def last_error(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("train --epochs 0", "argument --epochs: must be at least 1 (got 0)"),
        ("train --lr nan", "argument --lr: must lie in (0, inf) (got nan)"),
        ("train --val-fraction 1", "argument --val-fraction: must lie in [0, 1) (got 1)"),
        ("train --curvature -1", "argument --curvature: must lie in (0, inf) (got -1)"),
        ("train --hidden-channels 8,x", "positive integers separated by commas (got '8,x')"),
        ("train --ratios 1,2", "numbers above 0 and at most 1 separated by commas (got '1,2')"),
        ("train --ratios 1,0.5", "--ratios must be 4 numbers, one for each of --hidden-channels"),
        (
            "train --ratios 1,0.5,0.5,0.5 --num-points 60 --k 16",
            "--num-points must be at least 61, so that every level has --k 16 points (got 60)",
        ),
        (
            "train --first-points 15 --k 16",
            "--first-points must be at least 16, so that every level has --k 16 points (got 15)",
        ),
        ("train --fewest-points 600", "--fewest-points must not exceed --num-points 512 (got 600)"),
        ("train --fewest-points 15 --k 16", "--fewest-points must be at least 16, so that every"),
        (
            "train --fewest-points 64 --cuda-graph 9",
            "--cuda-graph: needs clouds of one size (got --fewest-points 64)",
        ),
        ("train --manifold sphere", "argument --manifold: invalid choice: 'sphere'"),
        ("train --k 600", "--k must be smaller than --num-points 512 (got 600)"),
        ("train --data /nowhere", "--data: no such folder"),
        ("train --smoke --batch-size 9999", "--batch-size: 1 x 9999 exceeds"),
        ("train --name .a", "without a path or a dot before it (got .a)"),
        ("train --resume --overwrite", "argument --overwrite: not allowed with argument --resume"),
        ("eval --checkpoint /nowhere/c.pt", "no checkpoint at /nowhere/c.pt"),
        ("report /nowhere.json --out x", "cannot read /nowhere.json"),
    ],
)
def test_mistakes_are_one_line_and_status_2(argv, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--out", str(tmp_path)] if argv.startswith("train") else []
    try:
        status = modelnet40.main([*argv.split(), *flags])
    except SystemExit as stop:  # argparse's own
        status = stop.code
    assert status == 2
    assert words in last_error(capsys)


def test_every_flag_is_explained():
    parser = modelnet40.BENCHMARK.parser()
    commands = parser._subparsers._group_actions[0].choices
    assert list(commands) == ["train", "eval", "report"]
    for command in commands.values():
        text = " ".join(command.format_help().split())
        for action in command._actions:
            assert action.help, action.dest
            if action.default is not None and action.nargs != 0 and action.dest != "help":
                assert f"(default: {action.default})" in text, action.dest
