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


def test_a_missing_folder_is_told_before_the_work(timing, tmp_path, capsys):
    missing = tmp_path / "missing"
    with pytest.raises(SystemExit):
        timing.benchmark_parser(None, repeats=3).parse_args(["--out", f"{missing}/record.json"])
    error = capsys.readouterr().err
    assert f"argument --out: there is no folder {missing}" in error
    assert not missing.exists()


def test_a_record_is_written_whole(timing, tmp_path, capsys):
    path = tmp_path / "record.json"
    args = timing.benchmark_parser(None, repeats=3).parse_args(["--out", str(path)])
    assert args.repeats == 3
    timing.write_record(args.out, {"ms": {"PyG": 1.5}})
    assert json.loads(path.read_text()) == {"ms": {"PyG": 1.5}}
    assert str(path) in capsys.readouterr().out
