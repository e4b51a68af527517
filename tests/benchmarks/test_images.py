import json
import math

import images
import numpy as np
import pytest
from _checkpoint import load_checkpoint

from tests.benchmarks.conftest import stop_after

NAME = "bars-hconv2-poincare-seed0"


def train(out, *flags):
    return images.main(["train", "--smoke", "--progress", "off", "--out", str(out), *flags])


def result(out, name=NAME):
    return json.loads((out / "results" / f"{name}.json").read_text())


def last_error(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(lines) == 1
    return lines[0]


def write_colours(path, shape=(8, 8, 3)):
    """Three classes, each of one colour."""
    random = np.random.default_rng(0)
    arrays = {}
    for name, number in (("train", 60), ("test", 30)):
        y = np.arange(number) % 3
        x = random.integers(0, 100, (number, *shape))
        x[np.arange(number), ..., y % shape[-1]] += 150
        arrays |= {f"x_{name}": x.astype(np.uint8), f"y_{name}": y}
    np.savez(path, **arrays)
    return str(path)


def test_a_run_leaves_a_whole_record_and_eval_reads_it_back(tmp_path, capsys):
    assert train(tmp_path) == 0
    record = result(tmp_path)
    assert record["benchmark"] == "images"
    assert record["data"]["train"] == 216
    assert sum(map(sum, record["confusion"])) == record["data"]["test"] == 60
    assert len(record["embedding"]["xy"]) == 60
    assert set(record["radii"]) == {"input", "conv1", "conv2"}
    assert set(record["train"]) == {"oa", "macc", "loss"}
    capsys.readouterr()
    evaluate = ["eval", "--checkpoint", str(tmp_path / NAME / "checkpoint.pt"), "--json"]
    for split, expected in (("test", record["test"]["last"]), ("train", record["train"])):
        assert images.main([*evaluate, "--split", split]) == 0
        score = json.loads(capsys.readouterr().out)
        assert {key: score[key] for key in expected} == expected
    wrong = write_colours(tmp_path / "colours.npz")
    assert images.main([*evaluate, "--data", wrong]) == 2
    assert f"--data: images of [1, 16, 16] are needed (got [3, 8, 8] in {wrong})" in last_error(
        capsys
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays | {"x_train": 255 - arrays["x_train"]},
        lambda arrays: arrays | {key: arrays[key][:-3] for key in ("x_train", "y_train")},
        lambda arrays: arrays | {"class_names": np.array(["c", "b", "a"])},
        lambda arrays: arrays | {"y_test": arrays["y_test"][::-1]},
    ],
)
def test_a_run_goes_on_with_its_own_samples_only(tmp_path, monkeypatch, capsys, change):
    arrays = dict(np.load(write_colours(tmp_path / "colours.npz")))
    arrays["class_names"] = np.array(["a", "b", "c"])
    for folder, values in (("own", arrays), ("other", change(arrays))):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "colours.npz", **values)
    own, other = (["--data", str(tmp_path / name / "colours.npz")] for name in ("own", "other"))
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert train(tmp_path, *own) == 130
    capsys.readouterr()
    assert train(tmp_path, *other, "--resume") == 2
    message = "--data: other samples than the checkpoint's (got colours)"
    assert message in last_error(capsys)
    assert train(tmp_path, *own, "--resume") == 0


def test_it_learns_colours_and_reports_the_gap(tmp_path):
    data = write_colours(tmp_path / "colours.npz")
    for layer in ("hconv1", "hconv2", "edgeconv"):
        flags = ["--layer", layer, "--data", data, "--epochs", "12", "--shift", "0"]
        assert train(tmp_path, *flags) == 0
        record = result(tmp_path, f"colours-{layer}-poincare-seed0")
        assert record["test"]["last"]["oa"] > 0.6  # by chance a third
    report = ["report", str(tmp_path / "results"), "--out", str(tmp_path / "report")]
    assert images.main(report) == 0
    header, _, *rows = (tmp_path / "report" / "table.md").read_text().splitlines()
    assert header.startswith("| layer | space |")
    assert "train - test OA" in header
    assert [row.split(" | ")[0] for row in rows] == ["| edgeconv", "| hconv1", "| hconv2"]


def test_the_twins_have_equal_size(tmp_path):
    sizes = set()
    for manifold in ("lorentz", "euclidean"):
        assert train(tmp_path, "--manifold", manifold, "--epochs", "1") == 0
        sizes.add(result(tmp_path, f"bars-hconv2-{manifold}-seed0")["parameters"])
    assert len(sizes) == 1


def test_a_resumed_run_goes_on_exactly(tmp_path, monkeypatch):
    flags = ["--flip", "--cutout", "3", "--rotate", "10"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(whole, *flags) == 0
    calls = []
    original = images.ImageView.augmented

    def augmented(self, x, generator):
        calls.append(1)
        if len(calls) == 15:  # in the second epoch of 13 steps
            raise KeyboardInterrupt
        return original(self, x, generator)

    monkeypatch.setattr(images.ImageView, "augmented", augmented)
    assert train(cut, *flags) == 130
    assert load_checkpoint(cut / NAME / "checkpoint.pt", "images")["epoch"] == 1
    assert train(cut, *flags, "--resume") == 0
    one, other = result(whole), result(cut)
    assert one["confusion"] == other["confusion"]
    assert one["curves"]["train_loss"] == other["curves"]["train_loss"]
    assert math.isfinite(one["curves"]["train_loss"][-1])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("train --data /nowhere", "--data: no such file or folder"),
        ("train --data mnist:/nowhere", "(got mnist:/nowhere)"),
        ("train --strides 2,1,1", "--strides must be as many as --channels, 4 (got 2,1,1)"),
        ("train --layer conv", "argument --layer: invalid choice: 'conv'"),
        ("train --scale 1", "argument --scale: must lie in [0, 1) (got 1)"),
        ("train --shift 0.5", "argument --shift: must be an integer (got '0.5')"),
        ("eval --checkpoint /nowhere/c.pt", "no checkpoint at /nowhere/c.pt"),
    ],
)
def test_mistakes_are_one_line_and_status_2(argv, words, tmp_path, capsys):
    flags = ["--out", str(tmp_path)] if argv.startswith("train") else []
    try:
        status = images.main([*argv.split(), *flags])
    except SystemExit as stop:  # argparse's own
        status = stop.code
    assert status == 2
    assert words in last_error(capsys)


def test_images_of_unequal_parts_are_refused(tmp_path, capsys):
    path = tmp_path / "a.npz"
    part = np.zeros((30, 8, 8), dtype=np.uint8), np.arange(30) % 3
    np.savez(path, x_train=part[0], y_train=part[1], x_test=part[0][:, 1:], y_test=part[1])
    assert train(tmp_path, "--data", str(path)) == 2
    assert f"--data: images of [1, 8, 8] are needed (got [1, 7, 8] in {path})" in last_error(capsys)


def test_every_flag_is_explained():
    parser = images.BENCHMARK.parser()
    commands = parser._subparsers._group_actions[0].choices
    for command in commands.values():
        text = " ".join(command.format_help().split())
        for action in command._actions:
            assert action.help, action.dest
            if action.default is not None and action.nargs != 0 and action.dest != "help":
                assert f"(default: {action.default})" in text, action.dest
    assert "DATA-LAYER-MANIFOLD-seedSEED" in "".join(commands["train"].format_help().split())
