"""Disturbed test clouds: the same for all runs, and what their names say."""

import json

import modelnet40
import robustness
import torch
from _checkpoint import load_checkpoint, save_checkpoint

CONFIG = {"num_points": 64, **robustness.STILL}


def view(x, **change):
    config = CONFIG | change
    return robustness.disturbed(
        modelnet40.make_task(config | {"subsample": "random"}), config
    ).view(x)


def test_disturbances_are_what_their_names_say():
    x = torch.randn(4, 64, 3)
    assert torch.equal(view(x), x)
    assert torch.equal(view(x, num_points=16), x[:, :16])
    noise = view(x, jitter=0.02) - x
    assert 0.018 < noise.std() < 0.022
    turned = view(x, rotate="z")
    torch.testing.assert_close(turned[..., 2], x[..., 2])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert (turned - x).norm(dim=-1).mean() > 0.3
    assert torch.equal(view(x, rotate="z"), turned)


def test_sparse_clouds_can_be_read_with_fewer_neighbours(tmp_path, monkeypatch):
    flags = ["--smoke", "--epochs", "1", "--progress", "off", "--out", str(tmp_path)]
    assert modelnet40.main(["train", *flags, "--name", "run"]) == 0
    seen = {}

    def evaluate(model, task, samples, config, process):
        seen[config["k"]] = task.view(samples.x).size(1)
        assert {conv.k for conv in model.convs} == {config["k"]}
        return original(model, task, samples, config, process)

    original = robustness.evaluate
    monkeypatch.setattr(robustness, "evaluate", evaluate)
    few = {"num_points": 8, "k": 4}
    monkeypatch.setattr(robustness, "DISTURBANCES", {"whole": {}, "few": few, "8": few | {"k": 9}})
    run = robustness.measure(
        tmp_path / "run" / "checkpoint.pt", "primitives", ["whole", "few", "8"]
    )
    assert seen == {8: 64, 4: 8}
    assert list(run["scores"]) == ["whole", "few"]  # no 9 of 8 points


def test_two_runs_become_two_rows(tmp_path, capsys):
    for manifold in ("poincare", "euclidean"):
        flags = ["--smoke", "--epochs", "1", "--progress", "off", "--out", str(tmp_path)]
        assert modelnet40.main(["train", *flags, "--manifold", manifold, "--name", manifold]) == 0
    checkpoints = [str(tmp_path / name / "checkpoint.pt") for name in ("poincare", "euclidean")]
    out = tmp_path / "robustness.json"
    capsys.readouterr()
    argv = [*checkpoints, "--data", "primitives", "--out", str(out)]
    assert robustness.main([*argv, "--table", str(tmp_path / "table.csv")]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows] == ["| poincare", "| euclidean"]
    assert rows[0].count("| -") == 5  # of 64 points there are no 512, 256 or 128
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",") for line in lines] == [
        row.replace("| -", "| –").strip("| ").split(" | ") for row in (head, *rows)
    ]
    record = json.loads(out.read_text())
    trained = json.loads((tmp_path / "results" / "poincare.json").read_text())
    assert record["poincare"]["scores"]["as in training"]["oa"] == trained["test"]["last"]["oa"]
    assert set(record["poincare"]["scores"]) == set(record["euclidean"]["scores"])
    assert record["poincare"]["data"] == {"name": "primitives", "test": trained["data"]["test"]}
    for key in ("git", "versions", "device"):
        assert record["poincare"][key].keys() == trained[key].keys()

    capsys.readouterr()
    assert robustness.main([*checkpoints[:1] * 2, "--data", "primitives", "--out", str(out)]) == 2
    assert "must have different names (got two of poincare)" in capsys.readouterr().err
    argv = [*checkpoints[:1], "--data", "primitives", "--out", str(out)]
    assert robustness.main([*argv, "--disturbances", "turned at random", "jitter 0.01"]) == 0
    few = json.loads(out.read_text())["poincare"]["scores"]
    assert few == {name: record["poincare"]["scores"][name] for name in few}
    assert list(few) == ["turned at random", "jitter 0.01"]


def test_runs_of_other_batches_see_the_same_clouds(tmp_path, monkeypatch):
    seen = []

    def evaluate(model, task, samples, config, process):
        seen.append([task.view(x) for x in samples.x.split(config["eval_batch_size"])])
        return {"oa": 0.5, "macc": 0.5}

    monkeypatch.setattr(robustness, "evaluate", evaluate)
    for size in ("8", "32"):
        flags = ["--smoke", "--epochs", "1", "--progress", "off", "--out", str(tmp_path)]
        assert modelnet40.main(["train", *flags, "--eval-batch-size", size, "--name", size]) == 0
        path = tmp_path / size / "checkpoint.pt"
        robustness.measure(path, "primitives", ["turned at random"])
    assert torch.equal(*(torch.cat(clouds) for clouds in seen))


def test_clouds_of_other_classes_are_refused(tmp_path, capsys):
    flags = ["--smoke", "--epochs", "1", "--progress", "off", "--out", str(tmp_path)]
    assert modelnet40.main(["train", *flags, "--name", "run"]) == 0
    path = tmp_path / "run" / "checkpoint.pt"
    state = load_checkpoint(path, "modelnet40")
    state["class_names"].reverse()
    save_checkpoint(path, state)
    argv = [str(path), "--data", "primitives", "--out", str(tmp_path / "r.json")]
    assert robustness.main(argv) == 2
    message = "--data: the checkpoint was trained on other classes (got primitives)"
    assert message in capsys.readouterr().err
