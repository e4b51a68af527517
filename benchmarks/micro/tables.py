"""Writes the tables of the Performance page, from the JSON files of this folder's scripts.

python benchmarks/micro/tables.py --results benchmarks/results --out docs/source/_static/performance
"""

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SPACES = {"Euclidean": "flat", "PoincareBall": "Poincaré ball", "Lorentz": "hyperboloid"}
ENGINES = ("auto", "fused", "dense", "torch_cluster", "torch_cluster.knn")
Table = list[list[str]]


def by_shape(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of all sweeps of the layer, once for each shape."""
    shapes: dict[str, dict[str, Any]] = {}
    for row in (record["base"], *(row for axis in record["scaling"].values() for row in axis)):
        shape = f"{row['clouds']} x {row['points']}, {row['neighbours']}, {row['channels']}"
        shapes.setdefault(shape, row)
    return shapes


def layer_table(record: dict[str, Any]) -> Table:
    """Times of the layer, and how many times they are shorter than PyG's."""
    table = [["points, k, channels", "PyG, flat", *SPACES.values(), "geoopt, naive ball"]]
    for shape, ms in ((shape, row["ms"]) for shape, row in by_shape(record).items()):
        ours = [f"{ms[space]:.1f} ({ms['PyG'] / ms[space]:.1f}x)" for space in SPACES]
        naive = f"{ms['geoopt']:.0f}" if "geoopt" in ms else ""
        table.append([shape, f"{ms['PyG']:.1f}", *ours, naive])
    return table


def graph_table(record: dict[str, Any]) -> Table:
    """Times of the layer on one graph, and how many times they are shorter than PyG's."""
    table = [["nodes, edges", "network", "aggr", "PyG, flat", *SPACES.values()]]
    for row in record["layers"]:
        ms = row["ms"]
        ours = [f"{ms[space]:.0f} ({ms['PyG'] / ms[space]:.1f}x)" for space in SPACES]
        shape = f"{row['nodes']:,}, {row['edges']:,}"
        table.append([shape, row["network"], row["aggr"], f"{ms['PyG']:.0f}", *ours])
    return table


def gpu_layer_table(record: dict[str, Any]) -> Table:
    """Times of the layer on a GPU, its kernels started one by one, and replayed in one launch."""
    names = {"PyG": "PyG, flat", **SPACES}
    table = [["points, k, channels", *names.values(), "replayed: ball to PyG"]]
    for shape, row in by_shape(record).items():
        ms, replayed = row["ms"], row["ms, replayed"]
        cells = [f"{ms[name]:.1f} / {replayed[name]:.2f}" for name in names]
        table.append([shape, *cells, f"{replayed['PyG'] / replayed['PoincareBall']:.1f}x"])
    return table


def memory_table(record: dict[str, Any]) -> Table:
    """What one call adds to the process at its peak."""
    names = {"PyG": "PyG, flat", **SPACES, "geoopt": "geoopt, naive ball"}
    return [list(names.values()), [f"{record['base']['MB'][name]:.0f}" for name in names]]


def waiting_table(record: dict[str, Any]) -> Table:
    """The layer where OpenMP's idle threads sleep, and where they spin."""
    names = {"PyG": "PyG, flat", **SPACES}
    rows = [("PASSIVE", record["base"]["ms"]), ("not set", record["base"]["ms, idle threads spin"])]
    cells = [[policy, *(f"{ms[name]:.1f}" for name in names)] for policy, ms in rows]
    return [["OMP_WAIT_POLICY", *names.values()], *cells]


def error_table(record: dict[str, Any]) -> Table:
    """Errors of output and gradient for points at three distances from the origin."""
    names = {"PyG": "PyG, flat", **SPACES, "geoopt": "geoopt, naive ball"}
    table = [["", *names.values()]]
    for radius, errors in record["errors"].items():
        cells = [f"{errors[n]['output']:.0e} / {errors[n]['gradient']:.0e}" for n in names]
        table.append([radius, *cells])
    return table


def step_table(record: dict[str, Any]) -> Table:
    """A training step of each network."""
    ms = record["ms"]
    rows = [[name, f"{t:.0f}", f"{ms['PyG'] / t:.1f}x"] for name, t in ms.items()]
    return [["network", "ms", "faster than PyG's"], *rows]


def knn_table(record: dict[str, Any], engines: Sequence[str] = ENGINES, digits: int = 0) -> Table:
    """The engines in the Poincare ball."""
    table = [["clouds x points", "channels", *engines]]
    for row in record["knn"]:
        if row["space"] == "PoincareBall":
            cells = [f"{row['ms'][e]:.{digits}f}" if e in row["ms"] else "" for e in engines]
            table.append([f"{row['clouds']} x {row['points']}", str(row["channels"]), *cells])
    return table


def gpu_knn_table(record: dict[str, Any]) -> Table:
    """The engines in the Poincare ball on a GPU, beside an inexact search in flat space."""
    return knn_table(record, ("fused", "dense", "cdist, topk"), digits=1)


def image_table(record: dict[str, Any]) -> Table:
    """Convolutions of images beside Conv2d."""
    ms = record["forward and backward in ms"]
    rows = [[name, f"{t:.1f}", f"{t / ms['torch.nn.Conv2d']:.1f}"] for name, t in ms.items()]
    return [["layer", "ms", "times Conv2d"], *rows]


def means_table(record: dict[str, Any]) -> Table:
    """Means of groups."""
    return [["mean", "ms"], *([name, f"{t:.0f}"] for name, t in record["means ms"].items())]


def invariant_table(record: dict[str, Any]) -> Table:
    """The invariant layers beside the plain one, by channels of the input."""
    table = [["channels", *(names := list(record["layers"][0]["ms"]))]]
    for row in record["layers"]:
        plain = row["ms"][names[0]]
        cells = [f"{row['ms'][n]:.0f} ({row['ms'][n] / plain:.1f}x)" for n in names[1:]]
        table.append([str(row["channels"]), f"{plain:.0f}", *cells])
    return table


#: Name of the table, of the JSON file it is from, and what makes it.
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], Table]]] = {
    "layer": ("edge_conv", layer_table),
    "graph": ("graph", graph_table),
    "memory": ("edge_conv", memory_table),
    "waiting": ("edge_conv", waiting_table),
    "error": ("edge_conv", error_table),
    "training_step": ("training_step", step_table),
    "knn": ("knn", knn_table),
    "images": ("h_conv2d", image_table),
    "invariant": ("invariant", invariant_table),
    "means": ("aggregations", means_table),
    "gpu_layer": ("gpu-edge_conv", gpu_layer_table),
    "gpu_knn": ("gpu-knn", gpu_knn_table),
}


def main() -> None:
    """Writes all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, (source, make) in TABLES.items():
        record = json.loads((args.results / f"micro-{source}.json").read_text())
        path = args.out / f"{name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(make(record))
        print(f"written: {path}")


if __name__ == "__main__":
    main()
