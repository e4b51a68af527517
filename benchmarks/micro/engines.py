"""Which engine reduces sorted edges fastest.

Checks that the contenders agree, then times them interleaved and writes the medians to a JSON file:

    python benchmarks/micro/engines.py --out benchmarks/results/micro-engines.json

Needs torch-scatter.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from _timing import medians  # isort: split

import torch
import torch_scatter
from torch_geometric.utils import scatter, segment

EDGES, CHANNELS = (8192, 20), 64


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
    record = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
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
