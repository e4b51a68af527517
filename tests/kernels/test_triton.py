"""The kernels for GPUs: interpreted on the CPU, compiled without a GPU, and run on one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.kernels import triton_cases
from tests.kernels.triton_cases import CASES, signs, terms
from torch_geometric_hyperbolic.kernels import (
    edge_coefficients,
    edge_max,
    edge_sum,
    edge_values,
    group_edges,
)
from torch_geometric_hyperbolic.kernels._slopes import Activated, Given, Selected
from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.typing import WITH_TRITON

pytestmark = pytest.mark.skipif(not WITH_TRITON, reason="Triton cannot be imported")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

TYPES = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


def test_interpreted_kernels_equal_the_references():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", triton_cases.__file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"ok {name}" for name in CASES]


@pytest.mark.parametrize("channels", [1, 64])
def test_every_kernel_compiles_for_a_gpu(channels, monkeypatch, tmp_path):
    """Not all that the interpreter runs can be compiled, and that needs no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget

    from torch_geometric_hyperbolic.kernels._triton import (
        affine,
        coefficients,
        edge_gradients,
        edges,
        farthest,
        knn,
        launch,
        radial,
    )

    def compile_only(kernel, programs, *args, num_warps=4, in_order=False, **constants):
        named = dict(zip(kernel.arg_names, args, strict=False))
        tensors = {n: arg for n, arg in named.items() if isinstance(arg, torch.Tensor)}
        constants |= {n: arg for n, arg in named.items() if n not in tensors and arg == 1}
        signature = dict.fromkeys(kernel.arg_names, "i32")
        signature |= {name: TYPES[tensor.dtype] for name, tensor in tensors.items()}
        signature |= dict.fromkeys(constants, "constexpr")  # as Triton does where a number is 1
        triton.compile(
            triton.compiler.ASTSource(kernel, signature, constants),
            target=GPUTarget("cuda", 90, 32),
            options={"num_warps": num_warps, "enable_fp_fusion": not in_order},
        )
        compiled.add(kernel.fn.__name__)

    compiled: set[str] = set()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for module in (affine, coefficients, edge_gradients, edges, farthest, knn, launch, radial):
        monkeypatch.setattr(module, "launch", compile_only)
    given = terms(torch.device("cpu"), torch.float32, channels)
    absolute, relative_i, relative_j, alpha, beta, rowptr, col = given
    moments = (signs(channels, col.device),) * 2
    edges.values(*given)
    edges.activated_sums(*given, 0.2)
    _, edge, _, _ = edges.extremes(*given, moments[0])
    selected, activated = Selected(edge), Activated(0.2)
    for how in (selected, activated, Given(absolute[:1])):
        edge_gradients.gradients(*given, how, absolute, *moments, False)
    gap_i, gap_j = relative_i[:, :1], relative_j[:, :1]
    points = (absolute, gap_i, relative_j.float(), gap_j, gap_i[0, 0], 2.0, rowptr, col)
    coefficients.coefficients(*points, torch.float32)
    coefficients.gradients(*points, alpha, beta, False)
    z = (absolute, edge, *moments)
    affine.activate(*z, 0.2)
    affine.activate(*z, 0.0)
    affine.activate_gradients(*z, 0.2, absolute)
    affine.batch_affine(*moments, absolute[0], absolute[0], 7, 1e-5)
    affine.batch_affine_gradients(*moments, absolute[0], *moments, *moments, 7, 1e-5)
    c, clouds = gap_i[0, 0], rowptr[:2]
    for x in (absolute, absolute.double()):
        for hyperboloid in (False, True):
            radial.ball_and_log(x, c, hyperboloid, x, gap_i, x)
            radial.ball_and_log_gradients(x, c, hyperboloid, x, gap_i, x, x, gap_i)
            radial.exp0(x, c, hyperboloid, x)
            radial.exp0_gradients(x, c, hyperboloid, x, x, gap_i)
        for most in (3, 3000):
            for loop in (False, True):
                knn.search(x, gap_i, x, rowptr, clouds, most, loop, rowptr.repeat(2, 20))
            farthest.choose(x, gap_i, gap_i, clouds, clouds, most, rowptr)
    assert compiled == {
        *("_values", "_extremes", "_activated_sums", "_grad_targets", "_grad_sources"),
        *("_coefficients", "_grad_edges", "_grad_points"),
        *(
            "_ball_and_log",
            "_ball_and_log_gradients",
            "_exp0",
            "_exp0_gradients",
            "_nearest",
            "_choose",
        ),
        *("_activate", "_activate_gradients", "_batch_affine", "_batch_affine_gradients"),
        "_targets",
    }


@on_gpu
@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_the_references(name):
    CASES[name](torch.device("cuda"))


@on_gpu
@pytest.mark.parametrize("k", [1, 20, 100])
def test_neighbours_in_clouds_of_several_tiles(k):
    sizes = (700, 0, 256, 1500)
    triton_cases.nearest(torch.device("cuda"), PoincareBall(), 3, torch.float32, sizes, k)


NODES = 60  # the last of which has no edge


def layer(edge_index, points, gap, c):
    """What layers ask of the operators, from edges to a number."""
    rowptr, col = group_edges(*edge_index, NODES, NODES)
    both = (points, gap) * 2
    alpha, beta = edge_coefficients(*both, c, 2.0, rowptr, col, torch.float32)
    given = (points, points.double(), points.double(), alpha, beta, rowptr, col)
    z, _, total, squares = edge_max(*given, torch.ones_like(gap[:5, 0]))
    moments = total.sum() + squares.sum()
    return z.sum() + moments + edge_sum(*given, 0.2).sum() + edge_values(*given).square().sum()


def layer_inputs():
    edge_index = torch.randint(NODES - 1, (2, 1000))
    points = 0.1 * torch.randn(NODES, 5)
    c = torch.tensor(0.7, dtype=torch.float64)
    return edge_index, points, 1 - c * points.double().square().sum(1, keepdim=True), c


def with_gradients(function, given):
    edge_index, *leaves = (t.detach().requires_grad_(t.is_floating_point()) for t in given)
    out = function(edge_index, *leaves)
    return out.detach(), *torch.autograd.grad(out, leaves)


@on_gpu
def test_no_operator_waits_for_the_gpu():
    given = [t.cuda() for t in layer_inputs()]
    with_gradients(layer, given)  # compiled here, which may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        with_gradients(layer, given)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@on_gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_a_layer_on_the_gpu_equals_the_cpu(compiled):
    given = layer_inputs()
    function = torch.compile(layer) if compiled else layer
    actual = with_gradients(function, [t.cuda() for t in given])
    for a, b in zip(actual, with_gradients(layer, given), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-5, atol=1e-5)
