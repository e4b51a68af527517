import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from _distributed import Process

WORKER = Path(__file__).with_name("gradient_worker.py")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run_python(*words):
    path = os.pathsep.join([*sys.path, str(BENCHMARKS), str(BENCHMARKS.parent)])
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done


def test_shards_are_equal_parts():
    index = torch.arange(12)
    parts = [Process(rank, 3).shard(index).tolist() for rank in range(3)]
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.slow
def test_two_processes_give_the_gradients_of_the_doubled_batch(tmp_path):
    one = run_python(WORKER, tmp_path / "one.pt", 8)
    two = run_python(*TORCHRUN, WORKER, tmp_path / "two.pt", 4)
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    first, second = (torch.load(tmp_path / f"{n}.pt") for n in ("one", "two"))
    assert len(first["gradients"]) == len(second["gradients"]) == 2
    for single, shared in zip(first["gradients"], second["gradients"], strict=True):
        assert single.keys() == shared.keys()
        assert all(g.abs().max() > 0 for g in single.values())
        for name, gradient in single.items():
            torch.testing.assert_close(shared[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
    # 7 samples do not divide among 2 processes, and every one counts once
    assert sum(map(sum, second["score"]["confusion"])) == 7
    assert second["score"]["confusion"] == first["score"]["confusion"]
    statistics, others = second["statistics"]  # of one and the same model
    assert any(value.any() for name, value in statistics.items() if name.endswith("running_mean"))
    assert statistics.keys() == others.keys()
    for name, value in statistics.items():
        assert torch.equal(value, others[name]), name
    assert second["score"]["loss"] == pytest.approx(first["score"]["loss"], rel=1e-6)


@pytest.mark.slow
def test_the_script_under_torchrun_writes_once_and_resumes(tmp_path):
    script = [BENCHMARKS / "modelnet40.py", "train", "--smoke", "--epochs", "1"]
    command = [*TORCHRUN, *script, "--out", tmp_path, "--device", "cpu"]
    done = run_python(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("last epoch: OA") == 1
    record = json.loads((tmp_path / "results" / "primitives-poincare-seed0.json").read_text())
    assert record["device"]["processes"] == 2
    assert sum(map(sum, record["confusion"])) == record["data"]["test"]
    again = run_python(*command, "--resume")
    assert again.stderr.count("nothing to do") == 1
    alone = run_python(*script, "--out", tmp_path, "--resume")
    assert alone.returncode == 2
    assert "--nproc-per-node differs from the checkpoint's (got 1" in alone.stderr
