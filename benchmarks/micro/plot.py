"""Draws how the layer and the graphs scale, from the JSON files of this folder's scripts.

python benchmarks/micro/plot.py --results benchmarks/results --out docs/source/_static/performance
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter  # noqa: E402

AXES = {"points": "points per cloud", "neighbours": "neighbours k", "channels": "channels"}
COLOURS = {
    "PyG": "tab:gray",
    "torch_cluster.knn": "tab:gray",
    "Euclidean": "tab:blue",
    "PoincareBall": "tab:orange",
    "Lorentz": "tab:green",
    "fused": "tab:orange",
    "dense": "tab:blue",
    "torch_cluster": "tab:green",
}


def draw(axis: Axes, x: list[int], rows: list[dict[str, Any]]) -> None:
    """A line for each contender, both axes logarithmic."""
    for name in dict.fromkeys(name for row in rows for name in row["ms"]):
        if name in COLOURS:
            known = [
                (at, row["ms"][name]) for at, row in zip(x, rows, strict=True) if name in row["ms"]
            ]
            axis.plot(
                *zip(*known, strict=True), "o-", color=COLOURS[name], label=name, markersize=4
            )
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(x, [str(at) for at in x])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)


def plot_layer(record: dict[str, Any], path: Path) -> None:
    """Forward and backward of the layer over points, neighbours and channels."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained", sharey=True)
    for axis, (key, label) in zip(axes, AXES.items(), strict=True):
        rows = record["scaling"][key]
        draw(axis, [row[key] for row in rows], rows)
        axis.set_xlabel(label)
    axes[0].set_ylabel("ms")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.suptitle("Edge convolution, forward and backward (8 x 1024 points, k = 20, 64 channels)")
    figure.savefig(path, dpi=130, metadata={"Software": None})


def plot_graphs(record: dict[str, Any], path: Path) -> None:
    """The search of neighbours in the ball over the channels, a panel for each size of a cloud."""
    rows = [row for row in record["knn"] if row["space"] == "PoincareBall"]
    sizes = sorted({(row["points"], row["clouds"]) for row in rows})[:4]
    figure, axes = plt.subplots(1, len(sizes), figsize=(14, 4), layout="constrained", sharey=True)
    for axis, (points, clouds) in zip(axes, sizes, strict=True):
        own = [row for row in rows if row["points"] == points]
        draw(axis, [row["channels"] for row in own], own)
        axis.set(xlabel="channels", title=f"{clouds} x {points} points")
    axes[0].set_ylabel("ms")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.suptitle("Nearest neighbours in the Poincare ball, k = 20")
    figure.savefig(path, dpi=130, metadata={"Software": None})


def main() -> None:
    """Draws both pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, plot in (("edge_conv", plot_layer), ("knn", plot_graphs)):
        record = json.loads((args.results / f"micro-{name}.json").read_text())
        plot(record, args.out / f"{name}.png")
        print(f"written: {args.out / name}.png")


if __name__ == "__main__":
    main()
