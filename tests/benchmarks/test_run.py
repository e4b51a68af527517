"""Runs in several parts, and runs that share a folder of results."""

import json
from types import SimpleNamespace

import _record
import _run
import modelnet40
from _checkpoint import load_checkpoint, save_checkpoint
from _distributed import Process
from _files import write_json
from _progress import Progress

from tests.benchmarks.conftest import stop_after

NAME = "primitives-poincare-seed0"


def train(out, *flags):
    return modelnet40.main(["train", "--smoke", "--progress", "off", "--out", str(out), *flags])


def result(out):
    return json.loads((out / "results" / f"{NAME}.json").read_text())


def test_a_record_tells_the_parts_of_a_resumed_run(tmp_path, monkeypatch):
    for commit, epochs in (("first", 1), ("second", 2), ("third", 9)):
        with monkeypatch.context() as patch:
            patch.setattr(_record, "git_state", lambda commit=commit: {"commit": commit})
            stop_after(patch, epochs)
            assert train(tmp_path, "--epochs", "3", "--resume") == (0 if epochs == 9 else 130)
    record = result(tmp_path)
    assert record["git"] == {"commit": "third"}
    about = {key: record[key] for key in ("versions", "device")} | {"cuda_graph": None}
    assert record["resumed"] == [
        {"from_epoch": 1, "git": {"commit": "first"}, **about},
        {"from_epoch": 2, "git": {"commit": "second"}, **about},
    ]
    assert train(tmp_path / "whole", "--epochs", "1") == 0
    assert result(tmp_path / "whole")["resumed"] == []


def test_what_an_older_checkpoint_does_not_tell_is_unknown(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert train(tmp_path) == 130
    path = tmp_path / NAME / "checkpoint.pt"
    state = load_checkpoint(path, "modelnet40")
    del state["parts"]
    save_checkpoint(path, state)
    assert train(tmp_path, "--resume") == 0
    (part,) = result(tmp_path)["resumed"]
    assert part == {"from_epoch": 1, "versions": None, "git": None, "device": None}


def test_the_results_of_another_folders_run_are_not_overwritten(tmp_path, monkeypatch, capsys):
    shared = ["--results", str(tmp_path / "shared")]
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert train(tmp_path / "a", *shared) == 130
    assert train(tmp_path / "b", *shared) == 0
    before = (tmp_path / "shared" / f"{NAME}.json").read_bytes()
    assert train(tmp_path / "a", *shared, "--resume") == 2
    assert f"--results: another run wrote {NAME}.json" in capsys.readouterr().err

    def meanwhile(*words):
        write_json(tmp_path / "late" / f"{NAME}.json", {})
        return original(*words)

    original = _run.evaluate_test
    monkeypatch.setattr(_run, "evaluate_test", meanwhile)
    assert train(tmp_path / "a", "--results", str(tmp_path / "late"), "--resume") == 2
    assert f"--results: another run wrote {NAME}.json" in capsys.readouterr().err
    monkeypatch.undo()
    assert train(tmp_path / "a", "--results", str(tmp_path / "free"), "--resume") == 0
    assert (tmp_path / "shared" / f"{NAME}.json").read_bytes() == before
    assert (tmp_path / "free" / f"{NAME}.json").is_file()


def test_an_overwritten_run_leaves_nothing_behind(tmp_path, monkeypatch):
    assert train(tmp_path, "--epochs", "1") == 0
    folder = tmp_path / NAME
    old = set((folder / "tensorboard").iterdir())
    stop_after(monkeypatch, 0)
    assert train(tmp_path, "--epochs", "1", "--overwrite") == 130
    assert not old & set((folder / "tensorboard").iterdir())
    assert not (folder / "checkpoint.pt").exists()  # which --resume would go on from


def test_times_are_per_epoch():
    trainer = SimpleNamespace(
        curves={"train_seconds": [1.0, 3.0], "eval_seconds": [0.5, 0.5]},
        steps=3,
        config={"batch_size": 8},
        process=Process(),
    )
    assert _run.timing(trainer) == {
        "train_seconds_per_epoch": 2.0,
        "eval_seconds_per_epoch": 0.5,
        "total_seconds": 5.0,
        "train_samples_per_second": 12.0,
    }


def test_the_bar_of_a_resumed_run_begins_where_it_was(tmp_path):
    how = {"epochs": 3, "done": 2, "steps": 5, "mode": "on", "main": True}
    with Progress(tmp_path, **how) as progress:
        assert (progress.bar.n, progress.bar.total) == (10, 15)
