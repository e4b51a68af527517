"""What the micro-benchmarks share: a record's file is asked for before the work."""

import importlib.util
import json
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "micro" / "_timing.py"


@pytest.fixture(scope="module")
def timing():
    spec = importlib.util.spec_from_file_location("_timing", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [".", "missing/record.json"])
def test_what_cannot_be_a_file_is_told_before_the_work(timing, tmp_path, capsys, name):
    out = tmp_path / name
    with pytest.raises(SystemExit):
        timing.benchmark_parser(None, repeats=3).parse_args(["--out", str(out)])
    error = capsys.readouterr().err
    assert f"argument --out: must be a file in a folder that exists (got {out})" in error
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_written(timing, tmp_path, capsys):
    path = tmp_path / "record.json"
    args = timing.benchmark_parser(None, repeats=3).parse_args(["--out", str(path)])
    assert args.repeats == 3
    timing.write_record(args.out, {"ms": {"PyG": 1.5}})
    assert json.loads(path.read_text()) == {"ms": {"PyG": 1.5}}
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize("given", ["0", "-3", "2.5", "many"])
def test_no_calls_have_no_median(timing, capsys, given):
    with pytest.raises(SystemExit):
        timing.benchmark_parser(None, repeats=3).parse_args(["--out", "x", "--repeats", given])
    assert f"--repeats: must be a positive integer (got '{given}')" in capsys.readouterr().err
