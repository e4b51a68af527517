"""Which engine finds nearest neighbours fastest, by points per cloud and channels; and its memory.

Checks that the engines agree, then times them interleaved and writes the medians to a JSON file:

    python benchmarks/micro/knn.py --out benchmarks/results/micro-knn.json

Needs numba and torch-cluster, or with `--device cuda` Triton, beside torch.cdist and topk.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from _timing import (
    add_device_argument,
    benchmark_parser,
    describe_machine,
    medians,
    on_gpu,
    write_record,
)  # isort: split

import torch
from _spaces import points_at
from torch import Tensor
from tqdm import tqdm

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import knn_graph
from torch_geometric_hyperbolic.typing import WITH_TORCH_CLUSTER

if WITH_TORCH_CLUSTER:
    import torch_cluster

K = 20
CHANNELS = (2, 3, 4, 6, 8, 16, 64)
CLOUDS = [(32, 256), (8, 1024), (2, 4096), (1, 16384)]
SIZES = [(*clouds, channels) for clouds in CLOUDS for channels in CHANNELS]
SIZES += [(1, 65536, channels) for channels in (2, 3, 4)]
#: Beyond these a call takes many times as long as the fused one.
DENSE_POINTS, TREE_POINTS, TREE_CHANNELS = 4096, 1024, 6
BIG = [(100_000, 3), (16_384, 16)]


def points(manifold: Manifold, num: int, channels: int) -> Tensor:
    """Normal points at distances of about 1 of the origin."""
    return points_at(manifold, torch.randn(num, channels) / channels**0.5)


def row(manifold: Manifold, sizes: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """The engines' times for ``(clouds, points, channels)``, beside torch-cluster's own search."""
    clouds, num, channels = sizes
    x = points(manifold, clouds * num, channels)
    flat, _ = manifold.to_ball(x)
    batch = torch.arange(clouds).repeat_interleave(num)
    engines = ["auto", "fused"]
    engines += ["dense"] * (num <= DENSE_POINTS)
    tree = WITH_TORCH_CLUSTER and (num <= TREE_POINTS or channels <= TREE_CHANNELS)
    engines += ["torch_cluster"] * tree
    contenders: dict[str, Callable[[], Tensor]] = {
        engine: lambda engine=engine: knn_graph(x, K, batch, manifold=manifold, engine=engine)
        for engine in engines
    }
    expected = contenders["fused"]()
    for name, find in contenders.items():
        assert torch.equal(find(), expected), name
    if tree:
        contenders["torch_cluster.knn"] = lambda: torch_cluster.knn(flat, flat, K, batch, batch)
    if on_gpu() and num <= DENSE_POINTS:
        own = flat.unflatten(0, (clouds, num))
        contenders["cdist, topk"] = lambda: torch.cdist(own, own).topk(K, largest=False)
    named = dict(zip(("clouds", "points", "channels"), sizes, strict=True))
    return {"space": manifold.name, **named, "ms": medians(contenders, repeats)}


def peak(num: int, channels: int) -> dict[str, Any]:
    """Peak memory of a fused search in a process of its own, in megabytes."""
    command = [sys.executable, "-W", "ignore", __file__, "--out", os.devnull]
    command += ["--peak", str(num), str(channels)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    before, after = map(int, output.split())
    return {"points": num, "channels": channels, "before": before, "peak": after}


def search_once(num: int, channels: int) -> None:
    """Prints the peak memory of this process before and after a search, in megabytes."""
    manifold = PoincareBall()
    x = points(manifold, num, channels)
    knn_graph(x[: 2 * K], K, manifold=manifold, engine="fused")  # compiles
    for search in (False, True):
        if search:
            knn_graph(x, K, manifold=manifold, engine="fused")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def show(rows: list[dict[str, Any]]) -> None:
    """Prints the times as a table, milliseconds."""
    names = list(rows[0]["ms"])
    print(f"{'space':<12}{'points':>8}{'channels':>9}", *(f"{name:>18}" for name in names))
    for entry in rows:
        times = [f"{entry['ms'].get(name, '-'):>18}" for name in names]
        print(f"{entry['space']:<12}{entry['points']:>8}{entry['channels']:>9}", *times)


def main() -> None:
    """Runs all and writes the file."""
    parser = benchmark_parser(__doc__, repeats=7)
    parser.add_argument("--peak", type=int, nargs=2, help=argparse.SUPPRESS)
    add_device_argument(parser)
    args = parser.parse_args()
    torch.set_default_device(args.device)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    if args.peak:
        search_once(*args.peak)
        return
    cases = [(manifold, sizes) for manifold in (Euclidean(), PoincareBall()) for sizes in SIZES]
    cases += [(Lorentz(), (8, 1024, channels)) for channels in CHANNELS]
    rows = [row(*case, args.repeats) for case in tqdm(cases, desc="knn")]
    show(rows)
    record = describe_machine() | {"k": K, "knn": rows}
    if not on_gpu():
        record["memory in MB"] = [peak(*sizes) for sizes in BIG]
    write_record(args.out, record)


if __name__ == "__main__":
    main()
