"""Which engine when: nearest neighbours by dimension and size, and reductions of sorted edges.

Checks that the contenders agree, then times them interleaved and writes the medians to a JSON file:

    python benchmarks/micro/engines.py --out benchmarks/results/micro-engines.json

Needs torch-cluster and torch-scatter.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch_cluster
import torch_scatter
from torch_geometric.utils import scatter, segment
from tqdm import tqdm

from torch_geometric_hyperbolic.manifolds import Euclidean, PoincareBall
from torch_geometric_hyperbolic.nn import knn

CLOUDS = [(8, 1024, channels) for channels in (2, 3, 4, 6, 8, 12, 16, 64)] + [(1, 16384, 3)]
K = 20
EDGES, CHANNELS = (8192, K), 64


def medians(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each contender, one call of each in turn after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if repeat > 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def neighbours(clouds: int, points: int, channels: int, repeats: int) -> list[dict[str, Any]]:
    """Both engines, on the ball and in flat space, beside torch-cluster's own search."""
    rows = []
    batch = torch.arange(clouds).repeat_interleave(points)
    for manifold in (Euclidean(), PoincareBall()):
        x = manifold.exp0(torch.randn(clouds * points, channels) / channels**0.5)
        contenders = {
            engine: lambda x=x, engine=engine, manifold=manifold: knn(
                x, x, K, batch, batch, manifold=manifold, engine=engine
            )
            for engine in ("dense", "torch_cluster")
        }
        assert torch.equal(contenders["dense"](), contenders["torch_cluster"]())
        contenders["torch_cluster.knn"] = lambda x=x: torch_cluster.knn(x, x, K, batch, batch)
        sizes = {"clouds": clouds, "points": points, "channels": channels}
        rows.append({**sizes, "space": manifold.name, "ms": medians(contenders, repeats)})
    return rows


def reductions(repeats: int) -> list[dict[str, Any]]:
    """Forward and backward of a reduction over edges sorted by their centre."""
    nodes, k = EDGES
    x = torch.randn(nodes * k, CHANNELS, requires_grad=True)
    index = torch.arange(nodes).repeat_interleave(k)
    ptr = torch.arange(nodes + 1) * k
    rows = []
    for reduce in ("max", "mean", "sum"):
        operations = {
            "torch scatter": lambda reduce=reduce: scatter(x, index, 0, nodes, reduce),
            "torch segment": lambda reduce=reduce: torch.segment_reduce(x, reduce, offsets=ptr),
            "torch_scatter segment": lambda reduce=reduce: torch_scatter.segment_csr(
                x, ptr, reduce=reduce
            ),
            "used (segment)": lambda reduce=reduce: segment(x, ptr, reduce=reduce),
        }
        expected = operations["torch scatter"]()
        for operation in operations.values():
            torch.testing.assert_close(operation(), expected)
        contenders = {
            name: lambda operation=operation: torch.autograd.grad(operation().sum(), x)
            for name, operation in operations.items()
        }
        rows.append({"reduce": reduce, "ms": medians(contenders, repeats)})
    return rows


def main() -> None:
    """Runs all and writes the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each (default: 7)")
    args = parser.parse_args()
    torch.manual_seed(0)
    with torch.no_grad():
        found = [
            row for sizes in tqdm(CLOUDS, desc="knn") for row in neighbours(*sizes, args.repeats)
        ]
    record = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "k": K,
        "knn": found,
        "reductions": {
            "edges": EDGES[0] * EDGES[1],
            "channels": CHANNELS,
            "rows": reductions(args.repeats),
        },
    }
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
