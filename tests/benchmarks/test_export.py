"""A run's network, put where `from_pretrained` finds it, is the network of the run."""

import json

import export
import modelnet40
import pytest
import torch

from torch_geometric_hyperbolic.nn import HyperbolicDGCNN
from torch_geometric_hyperbolic.nn.models import _pretrained

FLAGS = {
    "flat": [],
    "learnt-curvature": ["--learnable-curvature", "--curvature", "0.5"],
    "hierarchy": ["--ratios", "1,0.5", "--static", "--head-channels", "0", "--dropout", "0.1"],
    "twin": ["--manifold", "euclidean", "--head-channels", "8", "--aggr", "mean"],
}


def train(out, name):
    flags = ["--smoke", "--epochs", "1", "--name", name, "--progress", "off", "--out", str(out)]
    assert modelnet40.main(["train", *flags, *FLAGS[name]]) == 0
    return str(out / name / "checkpoint.pt"), str(out / "results" / f"{name}.json")


@pytest.mark.parametrize("name", FLAGS)
def test_the_pretrained_network_is_the_runs(name, tmp_path, monkeypatch, capsys):
    checkpoint, results = train(tmp_path, name)
    folder = tmp_path / "pretrained"
    argv = [checkpoint, "--results", results, "--name", name, "--folder", str(folder)]
    assert export.main(argv) == 0
    monkeypatch.setattr(_pretrained, "FOLDER", folder)

    model = HyperbolicDGCNN.from_pretrained(name)
    record = json.loads((tmp_path / "results" / f"{name}.json").read_text())
    assert not model.training
    assert model.num_points == record["config"]["num_points"]
    assert model.class_names == record["data"]["class_names"]
    state = torch.load(checkpoint, weights_only=True)["model"]
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())

    capsys.readouterr()
    assert modelnet40.main(["eval", "--pretrained", name, "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    for key in ("oa", "macc", "loss", "epoch"):
        assert score[key] == record["test"]["last"][key]


def test_mistakes_are_one_line(tmp_path, capsys):
    checkpoint, _ = train(tmp_path, "flat")
    _, results = train(tmp_path, "twin")
    argv = [checkpoint, "--results", results, "--name", "x", "--folder", str(tmp_path)]
    for command, words in (
        (lambda: export.main(argv), "--results: another run than the checkpoint's"),
        (
            lambda: modelnet40.main(["eval", "--pretrained", "none"]),
            "--pretrained: 'name' must be one of",
        ),
        (
            lambda: modelnet40.main(["eval", "--pretrained", "none", "--which", "best"]),
            "--which: a pretrained network has one set of weights",
        ),
    ):
        capsys.readouterr()
        assert command() == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert not (tmp_path / "x.safetensors").exists()


def test_a_checkpoint_of_an_earlier_epoch_is_not_the_runs(tmp_path, capsys):
    checkpoint, results = train(tmp_path, "flat")
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"epoch": 0}, checkpoint)
    argv = [checkpoint, "--results", results, "--name", "x", "--folder", str(tmp_path)]
    assert export.main(argv) == 2
    message = f"--results: of epoch 1, and the checkpoint of epoch 0 (got {results})"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()
