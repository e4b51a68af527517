"""What a convolution of points costs beside torch.nn.Conv2d, forward and backward.

Checks the layers against their formulas in plain PyTorch, then times them interleaved and writes
the medians to a JSON file:

    python benchmarks/micro/h_conv2d.py --out benchmarks/results/micro-h_conv2d.json

Beside them the nearest operation of HypLL, if that is installed: the convolution of "Hyperbolic
Neural Networks++", which concatenates a window and maps it by a fully connected layer of the ball.

Needs numba.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from _timing import benchmark_parser, medians, write_record  # isort: split

import torch
from _spaces import points_at
from torch import Tensor

from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import HConv2d

try:
    import hypll.nn
    from hypll.manifolds.poincare_ball import Curvature
    from hypll.manifolds.poincare_ball import PoincareBall as HypllBall
    from hypll.tensors import ManifoldTensor
except ImportError:
    hypll = None

BATCH, CHANNELS, SIZE = 32, 32, 32
WINDOW = {"kernel_size": 3, "padding": 1}
SPACES = (PoincareBall(), Lorentz(), Euclidean())


def image(manifold: Manifold, batch: int) -> Tensor:
    """Normal points at distances of about 1 from the origin, contiguous ``[B, F, H, W]``."""
    x = points_at(manifold, torch.randn(batch, SIZE, SIZE, CHANNELS) / CHANNELS**0.5)
    return x.movedim(-1, 1).contiguous()


def gradients(layer: torch.nn.Module, x: Tensor, pull: Tensor) -> list[Tensor]:
    """One forward and one backward pass: gradients by the image and all parameters."""
    return list(torch.autograd.grad(layer(x), [x, *layer.parameters()], pull))


def call(layer: torch.nn.Module, x: Tensor) -> Callable[[], list[Tensor]]:
    """A pass with fixed gradients of the output."""
    x = x.requires_grad_()
    pull = torch.randn_like(layer(x), memory_format=torch.contiguous_format)
    return lambda: gradients(layer, x, pull)


def hypll_call() -> Callable[[], list[Tensor]]:
    """A pass of HypLL's convolution over the same points of the ball."""
    ball = HypllBall(Curvature(1.0, constraining_strategy=lambda c: c))
    layer = hypll.nn.HConvolution2d(CHANNELS, CHANNELS, 3, manifold=ball, padding=1)
    x = image(PoincareBall(), BATCH).requires_grad_()
    pull = torch.randn(BATCH, CHANNELS, SIZE, SIZE)
    leaves = [x, layer.weights.tensor, layer.bias]

    def run() -> list[Tensor]:
        out = layer(ManifoldTensor(x, manifold=ball, man_dim=1)).tensor
        return list(torch.autograd.grad(out, leaves, pull))

    return run


def check(layer: HConv2d) -> None:
    """The fused engine gives what plain PyTorch does."""
    run = call(layer, image(layer.manifold, batch=2))
    fused = run()
    set_fused(False)
    plain = run()
    set_fused(True)
    for f, p in zip(fused, plain, strict=True):
        assert (f - p).abs().max() <= 1e-5 * p.abs().max(), layer


def main() -> None:
    """Runs all and writes the file."""
    args = benchmark_parser(__doc__, repeats=31).parse_args()
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(CHANNELS, CHANNELS, **WINDOW)
    contenders: dict[str, Callable[[], Any]] = {
        "torch.nn.Conv2d": call(conv, torch.randn(BATCH, CHANNELS, SIZE, SIZE))
    }
    for manifold in SPACES:
        for pivot in (True, False):
            layer = HConv2d(CHANNELS, CHANNELS, **WINDOW, manifold=manifold, pivot=pivot)
            check(layer)
            contenders[f"{manifold.name} pivot={pivot}"] = call(layer, image(manifold, BATCH))
    if hypll:
        contenders["HypLL (nearest operation)"] = hypll_call()
    times = medians(contenders, args.repeats)
    for name, ms in times.items():
        print(f"{name:<26}{ms:>9} ms {ms / times['torch.nn.Conv2d']:>8.2f} x")
    record = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "image": [BATCH, CHANNELS, SIZE, SIZE],
        "out_channels": CHANNELS,
        **WINDOW,
        "HypLL": version("hypll") if hypll else "not installed",
        "forward and backward in ms": times,
    }
    write_record(args.out, record)


if __name__ == "__main__":
    main()
