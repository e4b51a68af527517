"""Which engine runs, and that everything works without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from torch_geometric_hyperbolic.kernels import dispatch, fused_engine, set_fused
from torch_geometric_hyperbolic.manifolds import Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import (
    DynamicHyperbolicEdgeConv,
    FrechetMeanAggregation,
    HyperbolicEdgeConv,
    MidpointAggregation,
)
from torch_geometric_hyperbolic.typing import WITH_NUMBA

ROOT = Path(__file__).parents[2]

LAYER = """
import warnings

import torch
from torch_geometric_hyperbolic.kernels import ball_and_log, edge_max, exp0, fused_engine, set_fused
from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.nn import DynamicHyperbolicEdgeConv

torch.manual_seed(0)
ball = PoincareBall()
nn = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU())
conv = DynamicHyperbolicEdgeConv(nn, k=3, manifold=ball)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    x = exp0(torch.randn(8, 3), ball).requires_grad_()
    out = [conv(x) for _ in range(2)][0]
    out.square().sum().backward()
said = [str(w.message) for w in caught if "numba" in str(w.message)]
print(fused_engine(x), len(said), *said, sep="|")
print(out.sum().item(), x.grad.abs().sum().item(), ball_and_log(x, ball)[1].sum().item())
"""


def run(**environment: str) -> tuple[list[str], list[float]]:
    """The engine and what was said about numba; numbers that the layer computes."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LAYER],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said, numbers = done.stdout.strip().splitlines()
    return said.split("|"), [float(n) for n in numbers.split()]


@pytest.fixture
def switched_back():
    yield
    set_fused(True)


def test_on_the_cpu_it_is_numba(switched_back):
    x = torch.zeros(3)
    assert fused_engine(x) == ("numba" if WITH_NUMBA else None)
    set_fused(False)
    assert fused_engine(x) is None
    set_fused(True)
    assert fused_engine(x) == ("numba" if WITH_NUMBA else None)


def test_on_gpus_it_is_triton_and_elsewhere_nothing(monkeypatch, switched_back):
    class OnGPU:
        device = torch.device("cuda")

    for there in (True, False):
        monkeypatch.setattr(dispatch, "WITH_TRITON", there)
        assert fused_engine(OnGPU()) == ("triton" if there else None)
    assert fused_engine(torch.zeros(3, device="meta")) is None
    set_fused(False)
    monkeypatch.setattr(dispatch, "WITH_TRITON", True)
    assert fused_engine(OnGPU()) is None


def test_without_numba_it_warns_once(monkeypatch, switched_back):
    monkeypatch.setattr(dispatch, "WITH_NUMBA", False)
    dispatch._warn_without_numba.cache_clear()
    set_fused(False)
    assert fused_engine(torch.zeros(3)) is None  # asked for: nothing to say
    set_fused(True)
    with pytest.warns(UserWarning, match="^numba cannot be imported or compiles nothing: layers"):
        assert fused_engine(torch.zeros(3)) is None
    assert fused_engine(torch.zeros(3)) is None  # a second warning would be an error
    dispatch._warn_without_numba.cache_clear()


@pytest.mark.slow
def test_without_engines_layers_compute_the_same():
    (engine, count, *_), expected = run()
    assert (engine, count) == ("numba" if WITH_NUMBA else "None", "0")
    (engine, count, said), hidden = run(TGH_HIDE="numba,triton")
    assert (engine, count) == ("None", "1")
    assert said.startswith("numba cannot be imported")
    (engine, count), off = run(TGH_FUSED="0")
    assert (engine, count) == ("None", "0")
    assert hidden == pytest.approx(expected, rel=1e-5)
    assert off == pytest.approx(expected, rel=1e-5)


def on_points(kind, manifold):
    """A layer or an aggregation, as a function of points."""
    torch.manual_seed(0)
    edge_index, index = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]]), torch.tensor([0, 0, 1, 1])
    deep = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.SiLU(), torch.nn.Linear(4, 3))
    if kind in ("midpoint", "Frechet mean"):
        name = MidpointAggregation if kind == "midpoint" else FrechetMeanAggregation
        aggr = name(manifold=manifold)
        return lambda x: aggr(x, index)
    if kind == "sum":
        conv = HyperbolicEdgeConv(torch.nn.Linear(6, 4), "sum", manifold=manifold).double()
        return lambda x: conv(x, edge_index)
    aggr = kind.removesuffix(" of neighbours")
    dynamic = DynamicHyperbolicEdgeConv(deep, k=3, aggr=aggr, manifold=manifold).double()
    return lambda x: dynamic(x)


KINDS = ["sum", "mean of neighbours", "max of neighbours", "frechet_mean of neighbours"]
KINDS += ["midpoint", "Frechet mean"]


@pytest.mark.parametrize("manifold", [PoincareBall(), Lorentz()], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_other_ways_to_differentiate_take_plain_pytorch(manifold, kind):
    function = on_points(kind, manifold)
    x = manifold.random(4, 3, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(function, x)
    along = torch.randn_like(x)
    pushed = torch.einsum("ijkl,kl->ij", expected, along)
    _, found = torch.func.jvp(function, (x,), (along,))
    torch.testing.assert_close(found, pushed, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(torch.func.jacrev(function)(x), expected, atol=1e-8, rtol=1e-8)
    with torch.autograd.forward_ad.dual_level():
        out = function(torch.autograd.forward_ad.make_dual(x, along))
        found = torch.autograd.forward_ad.unpack_dual(out).tangent
    torch.testing.assert_close(found, pushed, atol=1e-8, rtol=1e-8)
    assert fused_engine(x) == ("numba" if WITH_NUMBA else None)


def test_so_do_they_when_compiled():
    ball = PoincareBall()
    function, x = on_points("sum", ball), ball.random(4, 3, dtype=torch.float64)
    along = torch.randn_like(x)
    transforms = {
        "forward": lambda q: torch.func.jvp(function, (q,), (along,))[1],
        "backward": torch.func.grad(lambda q: function(q).square().sum()),
        "none": function,
    }
    compiled = torch.compile(function, backend="eager")
    for name, transformed in transforms.items():
        torch.compiler.reset()
        expected = transformed(x)
        found = torch.compile(transformed, backend="eager")(x)
        torch.testing.assert_close(found, expected, msg=name)
        torch.testing.assert_close(compiled(x), function(x), msg=f"after {name}")
