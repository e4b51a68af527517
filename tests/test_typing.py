import importlib
import importlib.util
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from torch_geometric_hyperbolic import typing

FLAGS = {
    package: f"WITH_{package.upper()}"
    for package in ("e3nn", "numba", "torch_cluster", "torch_scatter", "triton")
}


def imported_again() -> ModuleType:
    """The module as a new process would see it."""
    spec = importlib.util.spec_from_file_location("typing_imported_again", typing.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def importable(monkeypatch):
    """Every package can be imported; maps names to errors that importing them should raise."""
    failures: dict[str, Exception] = {}

    def import_module(name: str) -> ModuleType:
        if name in failures:
            raise failures[name]
        module = ModuleType(name)
        module.__version__ = {"triton": "3.10.0", "e3nn": "0.5.6"}.get(name)
        if name == "numba":
            module.config = SimpleNamespace(DISABLE_JIT=0)
        return module

    monkeypatch.setattr(importlib, "import_module", import_module)
    monkeypatch.delenv("TGH_HIDE", raising=False)
    return failures


@pytest.mark.parametrize(
    ("hide", "hidden"),
    [
        (None, []),
        ("", []),
        ("numpy", []),
        ("torch_cluster", ["torch_cluster"]),
        ("torch_scatter", ["torch_scatter"]),
        ("torch_cluster,torch_scatter", ["torch_cluster", "torch_scatter"]),
        ("torch_scatter,numpy", ["torch_scatter"]),
    ],
)
def test_the_environment_hides_packages(importable, monkeypatch, hide, hidden):
    if hide is not None:
        monkeypatch.setenv("TGH_HIDE", hide)
    module = imported_again()
    for package, flag in FLAGS.items():
        assert getattr(module, flag) is (package not in hidden)


@pytest.mark.parametrize("package", FLAGS)
@pytest.mark.parametrize(
    "error", [ImportError("no"), OSError("torch"), RuntimeError("CUDA"), SystemError("NumPy")]
)
def test_a_package_that_cannot_be_imported_is_not_there(importable, package, error):
    importable[package] = error
    module = imported_again()
    for name, flag in FLAGS.items():
        assert getattr(module, flag) is (name != package)


@pytest.mark.parametrize(
    ("version", "usable"),
    [("3.2.0", False), ("3.3.1", False), ("3.4.0", True), ("3.4.0+git9f2b", True), ("4.0", True)],
)
def test_kernels_for_gpus_need_a_triton_that_compiles_them(monkeypatch, version, usable):
    triton = ModuleType("triton")
    triton.__version__ = version
    monkeypatch.setitem(sys.modules, "triton", triton)
    monkeypatch.delenv("TGH_HIDE", raising=False)
    assert imported_again().WITH_TRITON is usable


@pytest.mark.parametrize(
    ("version", "usable"), [("0.4.4", False), ("0.5.0", True), ("0.5.6", True), (None, False)]
)
def test_harmonics_need_an_e3nn_whose_tables_torch_loads(monkeypatch, version, usable):
    """A folder of that name beside the script is a package without a version."""
    e3nn = ModuleType("e3nn")
    if version is not None:
        e3nn.__version__ = version
    monkeypatch.setitem(sys.modules, "e3nn", e3nn)
    monkeypatch.delenv("TGH_HIDE", raising=False)
    assert imported_again().WITH_E3NN is usable


def test_other_errors_of_an_import_are_not_swallowed(importable):
    importable["torch_scatter"] = AttributeError("a bug in it")
    with pytest.raises(AttributeError, match="a bug in it"):
        imported_again()


@pytest.mark.skipif(not typing.WITH_NUMBA, reason="needs numba")
@pytest.mark.parametrize(
    ("before", "value", "used"),
    [
        ("", "", True),
        ("", "0", True),
        ("", "1", False),
        ("import numba; numba.config.DISABLE_JIT = 1; ", "", False),
    ],
)
def test_numba_that_compiles_nothing_is_not_used(before, value, used):
    code = f"{before}from torch_geometric_hyperbolic import nn, typing; print(typing.WITH_NUMBA)"
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": value},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert out == f"{used}\n"


def test_everything_public_is_there():
    assert {*FLAGS.values(), "Curvature"} == {*typing.__all__}
    assert all(hasattr(typing, name) for name in typing.__all__)
