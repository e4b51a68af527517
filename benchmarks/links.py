"""Where curvature helps: links of a graph predicted from few numbers per node.

A graph loses 15 % of its edges, 5 % for validation and 10 % for the test. Two hyperbolic edge
convolutions over the rest give every node a point, in the Poincare ball or, for the twin of equal
size, in Euclidean space, and near points are taken to be linked (`FermiDiracDecoder`). The score
is the area under the ROC curve, of the edges held out against as many pairs without an edge.

    python benchmarks/links.py train --out FILE.json                     # a generated tree
    python benchmarks/links.py train --data DIR --out FILE.json
    python benchmarks/links.py report FILE.json .. --out DIR

DIR is a folder of the `data/` of HGCN (arXiv 1910.12933): `disease_lp`, `airport`, or `cora`, whose
pickles run what is in them. Learning rate and dropout are chosen for every space and width by the
validation edges, from the same values and over the same few seeds, then kept for the other seeds. A
seed decides on split and weights.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import _openmp  # noqa: F401 (first of all)
from _cli import (
    HelpFormatter,
    Parser,
    UsageError,
    integer,
    integers,
    one_line,
    plain,
    real,
    run_command,
)
from _files import check_writable, write_json, write_text
from _link_graphs import GENERATED, graph_name, load_graph
from _link_net import KEPT, Diverged, fit
from _link_pictures import NAMES, plot_points, plot_scores
from _record import provenance
from _report import check_once
from _tables import csv_table, markdown_table, percent
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

SPACES = ("poincare", "euclidean")


def fit_all(
    graph: Data, config: dict[str, Any], args: argparse.Namespace, bar: tqdm
) -> list[tuple[dict[str, Any], Tensor]]:
    """Networks of one space and width: some seeds with all settings, the others with the best."""

    def fits(settings: Iterable[tuple[float, float]], seeds: Iterable[int], fit: Any) -> list[Any]:
        found = []
        for (lr, dropout), seed in product(settings, seeds):
            found.append(fit(graph, config | {"lr": lr, "dropout": dropout, "seed": seed}))
            bar.update()
        return found

    tuning = range(min(args.tuning_seeds, args.seeds))
    tried = fits(product(args.lrs, args.dropouts), tuning, fit_or_lose)
    best = chosen([run for run, _ in tried])
    if any(run["loss"] is None for run in best):
        values = " ".join(f"{lr:g}" for lr in args.lrs)
        raise UsageError(f"--lrs: fits became no numbers with every one (got {values})")
    setting = (best[0]["lr"], best[0]["dropout"])
    return tried + fits([setting], range(len(tuning), args.seeds), fit)


def fit_or_lose(graph: Data, config: dict[str, Any]) -> tuple[dict[str, Any], Tensor | None]:
    """A fit; without a loss, a test score and points, and worse than any, if it diverges."""
    try:
        return fit(graph, config)
    except Diverged:
        return {key: config[key] for key in KEPT} | {"val": -1.0, "loss": None}, None


def chosen(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of runs of one space and width those with the settings that validation prefers."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["lr"], run["dropout"]), []).append(run)
    seeds = {run["seed"] for run in min(groups.values(), key=len)}  # all settings have these
    return max(
        groups.values(), key=lambda group: mean(run["val"] for run in group if run["seed"] in seeds)
    )


def by_network(record: dict[str, Any]) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """The chosen runs of every width and space."""
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for run in record["runs"]:
        groups.setdefault((run["channels"], run["manifold"]), []).append(run)
    return {network: chosen(runs) for network, runs in groups.items()}


def command_train(args: argparse.Namespace) -> None:
    """Trains all networks and writes their scores."""
    for path, flag in ((args.out, "--out"), (args.picture, "--picture")):
        if path is not None:
            check_writable(path, flag)
    for flag in ("channels", "lrs", "dropouts"):
        values = getattr(args, flag)
        if len(set(values)) < len(values):
            raise UsageError(f"--{flag}: each value once (got {' '.join(map(str, values))})")
    if args.picture is not None and args.channels[0] != 2:
        raise UsageError(f"--picture: the first of --channels must be 2 (got {args.channels[0]})")
    graph = load_graph(args.data)
    shared = {"curvature": 1.0, "learnable_curvature": True, "weight_decay": 0.0}
    shared |= {"epochs": args.epochs}
    networks = list(product(args.channels, SPACES))
    tuning = min(args.tuning_seeds, args.seeds)
    each = len(args.lrs) * len(args.dropouts) * tuning + args.seeds - tuning
    fitted: list[tuple[dict[str, Any], Tensor]] = []
    with tqdm(total=each * len(networks), desc=graph_name(args.data), file=sys.stderr) as bar:
        for width, space in networks:
            fitted += fit_all(graph, shared | {"channels": width, "manifold": space}, args, bar)
    record = {
        "benchmark": "links",
        "config": shared | {key: plain(getattr(args, key)) for key in ("lrs", "dropouts")},
        "data": {
            "name": graph_name(args.data),
            "nodes": graph.num_nodes,
            "edges": graph.num_edges // 2,
            "features": graph.num_features,
        },
        **provenance(),
        "runs": [run for run, _ in fitted],
    }
    write_json(args.out, record)
    if args.picture is not None:
        first = {space: by_network(record)[args.channels[0], space][0] for space in SPACES}
        points = {id(run): z for run, z in fitted}
        plot_points(graph, [(run, points[id(run)]) for run in first.values()], args.picture)
    sys.stdout.write(markdown_table(table_cells([record])))


def table_cells(records: list[dict[str, Any]]) -> list[list[str]]:
    """Scores in percent, a row for each graph and width; the last column compares seed by seed."""
    scores = [f"{space}{which}" for space in NAMES.values() for which in ("", " (last epoch)")]
    cells = [["graph", "nodes", "edges", "channels", "parameters", "seeds", *scores, "difference"]]
    for record in records:
        found = by_network(record)
        about = [record["data"]["name"], *(f"{record['data'][k]:,}" for k in ("nodes", "edges"))]
        for width in dict.fromkeys(width for width, _ in found):
            groups = [found[width, space] for space in SPACES]
            size = f"{groups[0][0]['parameters']:,}"
            row = [*about, str(width), size, str(len(groups[0]))]
            row += [
                percent([r[key] for r in group]) for group in groups for key in ("test", "last")
            ]
            gaps = [a["test"] - b["test"] for a, b in zip(*groups, strict=True)]
            cells.append([*row, with_error(gaps)])
    return cells


def with_error(values: list[float]) -> str:
    """Mean of differences in percent, and its standard error if there are several."""
    text = f"{100 * mean(values):+.1f}"
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return text if error is None else f"{text} ± {100 * error:.1f}"


def load_record(path: Path) -> dict[str, Any]:
    """Reads one results file of this script."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["benchmark"] != "links":
            raise ValueError(f"of {record['benchmark']}")
        table_cells([record])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"RESULTS: cannot read {path}: {one_line(error)}") from None
    return record


def command_report(args: argparse.Namespace) -> None:
    """Writes the table of some results files, and a picture."""
    records = [load_record(path) for path in args.results]
    check_once("RESULTS: one file for each graph", [record["data"]["name"] for record in records])
    cells = table_cells(records)
    write_text(args.out / "table.csv", csv_table(cells))
    plot_scores({r["data"]["name"]: by_network(r) for r in records}, args.out / "links.png")
    sys.stdout.write(markdown_table(cells))


def parser() -> Parser:
    """All flags."""
    parser = Parser("links.py", description=__doc__, formatter_class=HelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train networks", formatter_class=HelpFormatter)
    train.add_argument(
        "--data",
        default=GENERATED,
        help=f"{GENERATED}: a generated tree; or a folder of HGCN's data",
    )
    train.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file")
    train.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="also draw the points of the first of --channels",
    )
    train.add_argument(
        "--channels",
        type=integers,
        default=(2, 4, 8, 16),
        metavar="F,F,..",
        help="numbers per node",
    )
    train.add_argument("--seeds", type=integer(1), default=5, help="number of runs of each")
    train.add_argument(
        "--tuning-seeds", type=integer(1), default=2, help="the first of them choose the settings"
    )
    train.add_argument(
        "--lrs",
        type=real(0, open_low=True),
        nargs="+",
        default=(0.01, 0.03, 0.1),
        metavar="R",
        help="learning rates to choose from",
    )
    train.add_argument(
        "--dropouts",
        type=real(0, 1),
        nargs="+",
        default=(0.0, 0.5),
        metavar="P",
        help="dropouts of the features to choose from",
    )
    train.add_argument("--epochs", type=integer(1), default=300, help="steps over all edges")
    train.add_argument("--threads", type=integer(1), metavar="N", help="CPU threads")
    train.set_defaults(handler=command_train)
    report = commands.add_parser("report", help="turn results into a table and a picture")
    report.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="results files")
    report.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    report.set_defaults(handler=command_report)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    made = parser()
    return run_command(made.prog, made.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
