"""An edge convolution forward and backward: time, peak memory and error, beside its peers.

Checks every contender against float64, then times them interleaved and writes a JSON file:

    python benchmarks/micro/edge_conv.py --out benchmarks/results/micro-edge_conv.json

The network is a linear layer, a batch norm in training mode and a LeakyReLU; maximum over the
neighbours. `PyG` is torch_geometric.nn.EdgeConv in flat space, `geoopt` its formula
`logmap0(mobius_add(-x_i, x_j))` in a MessagePassing layer, both with the edge_index that ours get.
The first shape is timed again where OpenMP's idle threads spin instead of sleeping. With
`--device cuda` there are larger shapes besides, calls replayed as CUDA graphs, and the least time
in which a GPU could move what must be moved.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _timing import (
    add_device_argument,
    benchmark_parser,
    describe_machine,
    medians,
    on_gpu,
    replayed,
    write_record,
)

# isort: split

import geoopt
import torch
from _spaces import SPACES, points_at
from torch import Tensor
from torch_geometric.nn import EdgeConv, MessagePassing
from torch_geometric.nn.inits import reset
from tqdm import tqdm

from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv, knn_graph

#: Clouds, points per cloud, neighbours, channels in and out.
BASE = (8, 1024, 20, 64)
SCALING = {
    "points": [(8, n, 20, 64) for n in (256, 512, 1024, 2048, 4096)],
    "neighbours": [(8, 1024, k, 64) for k in (8, 12, 20, 30, 40)],
    "channels": [(8, 1024, 20, channels) for channels in (3, 8, 16, 32, 64, 128)],
    "corners": [(8, n, k, c) for n in (256, 2048) for k in (8, 40) for c in (3, 128)],
}
#: What fills a GPU.
LARGE = [(32, 1024, 20, 64), (128, 1024, 20, 64), (128, 1024, 20, 8), (32, 4096, 40, 128)]
NAMES = ["PyG", "geoopt", *SPACES]
#: The spaces of the peers.
IN_SPACE = {"PyG": "Euclidean", "geoopt": "PoincareBall"}


class GeooptEdgeConv(MessagePassing):
    """The hyperbolic edge convolution as geoopt's functions spell it."""

    def __init__(self, nn: torch.nn.Module) -> None:
        super().__init__(aggr="max")
        self.nn = nn
        self.ball = geoopt.PoincareBall(c=1.0)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Points of the ball to points of the ball."""
        return self.ball.expmap0(self.propagate(edge_index, x=x))

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        """What the network makes of both vectors."""
        relative = self.ball.logmap0(self.ball.mobius_add(-x_i, x_j))
        return self.nn(torch.cat([self.ball.logmap0(x_i), relative], dim=-1))


def network(channels: int) -> torch.nn.Sequential:
    """A linear layer, a batch norm, an activation."""
    return torch.nn.Sequential(
        torch.nn.Linear(2 * channels, channels, bias=False),
        torch.nn.BatchNorm1d(channels),
        torch.nn.LeakyReLU(0.2),
    )


def layer(name: str, channels: int) -> Any:
    """A contender by its name, with the same weights in every call."""
    torch.manual_seed(0)
    if name in SPACES:
        conv: Any = HyperbolicEdgeConv(network(channels), manifold=SPACES[name])
    else:
        conv = {"PyG": EdgeConv, "geoopt": GeooptEdgeConv}[name](network(channels))
    if name == "geoopt":
        reset(conv.nn)  # as the others do themselves
    torch.nn.init.constant_(conv.nn[1].weight, 0.1)  # points stay well within float32's ball
    return conv


def points(name: str, shape: tuple[int, int, int, int], radius: float = 1.0) -> tuple[Any, Tensor]:
    """Points at distances of about ``radius`` in the contender's space, and their kNN graph."""
    clouds, num, k, channels = shape
    torch.manual_seed(1)
    space = SPACES[IN_SPACE.get(name, name)]
    v = torch.randn(clouds * num, channels) * radius / channels**0.5
    x = points_at(space, v)
    batch = torch.arange(clouds).repeat_interleave(num)
    return x.requires_grad_(), knn_graph(x, k, batch, manifold=space)


def step(name: str, shape: tuple[int, int, int, int]) -> Any:
    """A call of forward and backward, ready to be timed."""
    conv, (x, edge_index) = layer(name, shape[3]), points(name, shape)

    def run() -> None:
        conv.zero_grad()
        x.grad = None
        conv(x, edge_index).sum().backward()

    return run


def errors(name: str, shape: tuple[int, int, int, int], radius: float) -> dict[str, float]:
    """Largest error of the output and of the gradient by the points, relative to the largest entry,
    against plain PyTorch in float64.
    """
    x, edge_index = points(name, shape, radius)
    conv = layer(name, shape[3])
    out, weight = conv(x, edge_index), torch.randn(x.size(0), shape[3])
    exact_name = IN_SPACE.get(name, name)
    space = SPACES[exact_name]
    log = out if name == "PyG" else space.log0(out)
    (grad,) = torch.autograd.grad((log * weight).sum(), x)
    set_fused(False)
    wide = x.detach().double().requires_grad_()
    exact = space.log0(layer(exact_name, shape[3]).double()(wide, edge_index))
    (exact_grad,) = torch.autograd.grad((exact * weight).sum(), wide)
    set_fused(True)
    return {
        key: float(f"{((found.double() - truth).abs().max() / truth.abs().max()).item():.1e}")
        for key, found, truth in (("output", log, exact), ("gradient", grad, exact_grad))
    }


def peak_memory(name: str, shape: tuple[int, int, int, int]) -> float:
    """Megabytes that one call adds at its peak: of a GPU's memory, or in a process of its own."""
    if on_gpu():
        run = step(name, shape)
        run()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    command = [sys.executable, __file__, "--out", os.devnull, "--memory", name, *map(str, shape)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout)


def print_memory(name: str, shape: tuple[int, int, int, int]) -> None:
    """What :func:`peak_memory` runs."""
    step(name, (1, 64, 8, shape[3]))()  # compiled before anything is measured
    run = step(name, shape)
    ctypes.CDLL(None).malloc_trim(0)  # what is free already would hide what the call takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident("VmHWM")
    run()
    print((resident("VmHWM") - before) / 1024)


def resident(key: str) -> int:
    """Kilobytes of this process by Linux's account."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def spinning_times(repeats: int) -> dict[str, float]:
    """Times of the first shape where OpenMP's idle threads spin, as they do unless told to sleep
    before PyTorch is imported; in a process of its own.
    """
    call = f"edge_conv.row({BASE}, {['PyG', *SPACES]}, {repeats})"
    code = f"import torch, json, edge_conv; print(json.dumps({call}))"
    untold = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=untold,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(result.stdout)["ms"])


def row(shape: tuple[int, int, int, int], names: list[str], repeats: int) -> dict[str, Any]:
    """Times of one shape."""
    keys = ("clouds", "points", "neighbours", "channels")
    entry: dict[str, Any] = dict(zip(keys, shape, strict=True))
    entry["ms"] = medians({name: step(name, shape) for name in names}, repeats)
    if on_gpu():
        calls = {name: replayed(step(name, shape)) for name in names if name != "geoopt"}
        entry["ms, replayed"] = medians(calls, repeats)
    return entry


def floor(shape: tuple[int, int, int, int]) -> float:
    """Milliseconds in which a copy moves the bytes that a step must read and write at least once:
    points and edges forward and backward, results, and both gradients.
    """
    clouds, num, k, channels = shape
    moved = clouds * num * (5 * channels * 4 + 2 * k * 2 * 8)
    source = torch.randn(2**28)
    copy = medians({"copy": lambda: source.clone()}, 20)["copy"]
    return round(moved / (2 * source.nbytes) * copy, 4)


def main() -> None:
    """Runs all and writes the file."""
    parser = benchmark_parser(__doc__, repeats=7)
    parser.add_argument("--memory", nargs=5, help=argparse.SUPPRESS)
    add_device_argument(parser)
    args = parser.parse_args()
    torch.set_default_device(args.device)
    if args.memory:
        name, *shape = args.memory
        print_memory(name, tuple(map(int, shape)))
        return
    small = (1, 256, 20, 64)
    record: dict[str, Any] = describe_machine()
    record["errors"] = {
        f"radius {radius}": {name: errors(name, small, radius) for name in NAMES}
        for radius in (1, 4, 8)
    }
    assert record["errors"]["radius 1"]["PoincareBall"]["output"] < 1e-5
    record["base"] = row(BASE, NAMES, args.repeats)
    record["base"]["MB"] = {name: peak_memory(name, BASE) for name in NAMES}
    scaling = dict(SCALING)
    if on_gpu():
        scaling["large"] = LARGE
    else:
        record["base"]["ms, idle threads spin"] = spinning_times(args.repeats)
    record["scaling"] = {
        axis: [row(shape, ["PyG", *SPACES], args.repeats) for shape in tqdm(shapes, desc=axis)]
        for axis, shapes in scaling.items()
    }
    if on_gpu():
        for entry, shape in zip(record["scaling"]["large"], LARGE, strict=True):
            entry["floor"] = floor(shape)
            entry["MB"] = {name: peak_memory(name, shape) for name in ("PyG", *SPACES)}
    write_record(args.out, record)
    print_table(record)


def print_table(record: dict[str, Any]) -> None:
    """Times, and how many times faster than PyG each contender is."""
    print(f"{'shape':28}" + "".join(f"{name:>22}" for name in NAMES))
    rows = [record["base"], *(row for rows in record["scaling"].values() for row in rows)]
    for entry in rows:
        shape = "{clouds} x {points}, k={neighbours}, C={channels}".format(**entry)
        cells = (
            f"{ms:9.1f} ms ({entry['ms']['PyG'] / ms:5.1f}x)" if ms else ""
            for ms in map(entry["ms"].get, NAMES)
        )
        print(f"{shape:28}" + "".join(f"{cell:>22}" for cell in cells))
    print("MB".ljust(28) + "".join(f"{record['base']['MB'][name]:22.0f}" for name in NAMES))


if __name__ == "__main__":
    main()
