"""What a record says about the code that ran."""

import subprocess

import _record
import pytest

import torch_geometric_hyperbolic

NAME = "torch_geometric_hyperbolic"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one module of the package, from which the benchmarks run."""
    folder = tmp_path / "checkout"
    for part in ("benchmarks", NAME):
        (folder / part).mkdir(parents=True)
        (folder / part / "__init__.py").write_text("")
    run_git(folder, "init", "-q")
    run_git(folder, "add", ".")
    run_git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    monkeypatch.setattr(_record, "__file__", str(folder / "benchmarks" / "_record.py"))
    monkeypatch.setattr(torch_geometric_hyperbolic, "__file__", str(folder / NAME / "__init__.py"))
    return folder


def run_git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_clean_checkout(checkout):
    assert _record.git_state() == {"commit": run_git(checkout, "rev-parse", "HEAD"), "dirty": False}
    (checkout / "benchmarks" / "results.json").write_text("{}")
    (checkout / NAME / "weights.pt").write_text("")
    assert _record.git_state()["dirty"] is False


def test_changed_and_new_modules_are_differences(checkout):
    new = checkout / NAME / "nn" / "new.py"
    new.parent.mkdir()
    new.write_text("")
    assert _record.git_state()["dirty"] is True
    new.unlink()
    assert _record.git_state()["dirty"] is False
    (checkout / NAME / "__init__.py").write_text("1\n")
    assert _record.git_state()["dirty"] is True


def test_a_package_from_elsewhere_is_a_difference(checkout, monkeypatch):
    other = checkout / ".venv" / NAME / "__init__.py"
    monkeypatch.setattr(torch_geometric_hyperbolic, "__file__", str(other))
    assert _record.git_state()["dirty"] is True


def test_outside_a_repository_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(_record, "__file__", str(tmp_path / "benchmarks" / "_record.py"))
    assert _record.git_state() == {"commit": None, "dirty": None}
