import pickle
from pathlib import Path

import pytest
import torch
from _checkpoint import load_checkpoint, save_checkpoint
from _cli import UsageError


class Bomb:
    """Unpickling it writes a file: what a malicious checkpoint would do."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_round_trip(tmp_path):
    state = {"benchmark": "b", "epoch": 2, "model": {"w": torch.randn(3)}, "curves": {"l": [0.1]}}
    save_checkpoint(tmp_path / "c.pt", state)
    loaded = load_checkpoint(tmp_path / "c.pt", "b")
    assert torch.equal(loaded["model"]["w"], state["model"]["w"])
    assert loaded["epoch"] == 2
    assert loaded["curves"] == state["curves"]


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    torch.save({"benchmark": "b", "model": Bomb(tmp_path / "ran")}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(UsageError, match="damaged or not a checkpoint"):
            load_checkpoint(tmp_path / name, "b")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "zip.pt", weights_only=False)  # the bomb does work
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "text"])
def test_a_damaged_file_is_one_line(tmp_path, damage):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"benchmark": "b", "model": {"w": torch.randn(300)}})
    content = path.read_bytes()
    broken = {
        "cut": content[: len(content) // 2],
        "noise": torch.randint(256, (999,), dtype=torch.uint8).numpy().tobytes(),
        "empty": b"",
        "text": b"hello\n",
    }
    path.write_bytes(broken[damage])
    with pytest.raises(UsageError, match="damaged or not a checkpoint") as error:
        load_checkpoint(path, "b")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_foreign_files_are_told_apart(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "other.pt")
    torch.save([1], tmp_path / "list.pt")
    for name in ("other.pt", "list.pt"):
        with pytest.raises(UsageError, match="not a checkpoint of these benchmarks"):
            load_checkpoint(tmp_path / name, "b")
    save_checkpoint(tmp_path / "images.pt", {"benchmark": "images"})
    with pytest.raises(UsageError, match="of 'images', not of 'b'"):
        load_checkpoint(tmp_path / "images.pt", "b")
    with pytest.raises(UsageError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "missing.pt", "b")
