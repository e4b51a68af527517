"""A few minutes' demonstration: a hyperbolic network and its Euclidean twin learn to tell shapes.

Trains two networks of equal size, seed and data, one in the Poincare ball and one in Euclidean
space, on the generated ShapePrimitives, through the same loop as the benchmark; then prints a table
and draws learning curves, confusion matrices and the learnt embeddings:

    python benchmarks/demo.py
"""

import argparse
import sys
from pathlib import Path

import _openmp  # noqa: F401 (first of all)
from _cli import HelpFormatter, Parser, integer, run_command
from _distributed import Process
from _files import write_text
from _flags import DEFAULT_OUT
from _report import load_records, write_pictures
from _script import train
from _tables import markdown_table, table_cells
from modelnet40 import BENCHMARK

TWINS = ("poincare", "euclidean")
SIZES = {"epochs": 12, "per_class": 60, "num_points": 96, "k": 10, "batch_size": 16}
FIXED = "--hidden-channels 16,32,64 --lr 8e-3 --scale-low 0.9 --scale-high 1.1 --shift 0.05"


def make_parser() -> argparse.ArgumentParser:
    """The flags of the demonstration."""
    parser = Parser("demo.py", description=__doc__, formatter_class=HelpFormatter)
    words = {
        "epochs": "passes over the training set",
        "per_class": "training clouds per class (a quarter as many for test)",
        "num_points": "points of a cloud",
        "k": "neighbours of a point",
        "batch_size": "clouds per step",
    }
    for key, text in words.items():
        flag = f"--{key.replace('_', '-')}"
        parser.add_argument(flag, type=integer(1), default=SIZES[key], help=text)
    parser.add_argument("--seed", type=integer(0), default=0, help="seed of both networks")
    parser.add_argument(
        "--threads", type=integer(1), help="CPU threads (default: PyTorch's choice)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT / "demo",
        metavar="DIR",
        help="folder for results and pictures; an earlier demonstration there is replaced",
    )
    parser.set_defaults(handler=command_demo, command="")
    return parser


def command_demo(args: argparse.Namespace) -> None:
    """Trains the twins and shows how they did."""
    results = []
    for manifold in TWINS:
        argv = ["train", "--overwrite", "--data", "primitives", "--manifold", manifold]
        for key in (*SIZES, "seed", "out"):
            argv += [f"--{key.replace('_', '-')}", str(getattr(args, key))]
        argv += ["--name", manifold, *FIXED.split()]
        train(BENCHMARK, BENCHMARK.parser().parse_args(argv), Process())
        results.append(args.out / "results" / f"{manifold}.json")
    records = load_records(results)
    table = markdown_table(table_cells(records))
    write_text(args.out / "table.md", table)
    pictures = write_pictures(records, args.out)
    print(table)
    print("\n".join(f"picture: {path}" for path in pictures))


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    return run_command(parser.prog, args)


if __name__ == "__main__":
    sys.exit(main())
