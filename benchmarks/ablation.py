"""What each idea of the point-cloud network is worth: variants of `HyperbolicDGCNN`.

Every variant is trained as `modelnet40.py` trains, with its flags, and lacks or changes one thing:

    edge           none: messages of log0 x_i and rel(x_i, x_j)
    absolute       messages of log0 x_j alone, as in H-Conv 0.1
    relative       messages of rel(x_i, x_j) alone
    euclidean-knn  neighbours by the Euclidean distance of log0 x
    mean, sum      aggregation of the tangent vectors, in place of max
    midpoint       aggregation of points by their midpoint
    c1, c0.25      fixed curvature
    learnt         learnt curvature that starts at 0.25
    euclidean      Euclidean space

    python benchmarks/ablation.py train --variant relative --data DIR --num-points 512 --epochs 6
    python benchmarks/ablation.py report OUT/results --out OUT/ablation

`report` writes the table of the variants. Of runs of `modelnet40.py` whose `--hidden-channels` are
all equal it draws accuracy against that width.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

import _openmp  # noqa: F401 (first of all)
import modelnet40
from _cli import UsageError
from _files import write_text
from _plots import plot_widths
from _report import fill_readme, load_records
from _tables import FREE, csv_table, group_by_seed, markdown_table, space_name, table_row
from _variants import CONVS, SETTINGS, VARIANTS, build_variant

#: Flags that the column of the space shows.
SPACE = ("manifold", "curvature", "learnable_curvature")
SCORES = ("OA %", "mAcc %", "OA % (best val)")


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `modelnet40.py` and the variant."""
    modelnet40.add_train_arguments(parser)
    parser.add_argument(
        "--variant",
        default="edge",
        choices=VARIANTS,
        help="what to change; it decides on --aggr, --manifold or --curvature if it is about them",
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Sets what the variant decides; raises a `UsageError` for flags that contradict each other."""
    settings = SETTINGS.get(args.variant, {})
    vars(args).update(settings)
    for flag in ("static", "frame"):
        if getattr(args, flag) and args.variant in CONVS:
            raise UsageError(f"--{flag}: there is no such network of --variant {args.variant}")
    if args.manifold == "euclidean" and "curvature" in settings:
        raise UsageError(f"--manifold: --variant {args.variant} is curved (got euclidean)")
    modelnet40.check_arguments(args)


def command_report(args: argparse.Namespace) -> None:
    """The sub-command `report`."""
    records = load_records(args.results)
    variants = [record for record in records if "variant" in record["config"]]
    widths = [record for record in records if "variant" not in record["config"]]
    if variants:
        cells = variant_cells(variants)
        table = markdown_table(cells)
        if args.readme is not None:
            fill_readme(args.readme, table)
        write_text(args.out / "table.md", table)
        write_text(args.out / "table.csv", csv_table(cells))
        sys.stdout.write(table)
    if widths:
        cells = width_cells(widths)
        write_text(args.out / "width.csv", csv_table(cells))
        plot_widths([(space_name(r), width_of(r), r) for r in widths], args.out / "width.png")
        sys.stdout.write(markdown_table(cells))


def check_one_recipe(records: list[dict[str, Any]], shown: Iterable[str]) -> None:
    """Raises a `UsageError` if runs differ in a flag that neither is shown nor their variant's."""
    for key in sorted({key for record in records for key in record["config"]} - {*shown, *FREE}):
        found: dict[str, str] = {}
        for record in records:
            config = record["config"]
            if key not in SETTINGS.get(config.get("variant", ""), ()):
                found.setdefault(str(config.get(key)), record["name"])
        if len(found) > 1:
            values, names = (" and ".join(list(part)[:2]) for part in (found, found.values()))
            raise UsageError(f"RESULTS: {names} differ in --{key.replace('_', '-')} (got {values})")


def variant_cells(records: list[dict[str, Any]]) -> list[list[str]]:
    """Head, and a row per variant, in their order."""
    check_one_recipe(records, ("variant", *SPACE))
    groups = group_by_seed(records)
    groups.sort(key=lambda group: VARIANTS.index(group[0]["config"]["variant"]))
    names = ["variant", "space", "parameters", "seeds", *SCORES, "radii", "s / epoch"]
    rows = []
    for group in groups:
        row = table_row(group) | {"variant": group[0]["config"]["variant"], "radii": radii(group)}
        rows.append([row[name] for name in names])
    return [names, *rows]


def radii(group: list[dict[str, Any]]) -> str:
    """Mean radius of the points at the end of training: of the input, and after each layer."""
    return " ".join(f"{mean(r['radii'][place] for r in group):.2f}" for place in group[0]["radii"])


def width_of(record: dict[str, Any]) -> int:
    """The one width of all edge convolutions."""
    widths = set(record["config"].get("hidden_channels", ()))
    if len(widths) != 1:
        raise UsageError(f"RESULTS: {record['name']} is no variant, nor has it one width")
    return int(widths.pop())


def width_cells(records: list[dict[str, Any]]) -> list[list[str]]:
    """Head, and a row per width and space."""
    check_one_recipe(records, ("hidden_channels", "emb_channels", *SPACE))
    for width in {width_of(record) for record in records}:
        check_one_recipe([r for r in records if width_of(r) == width], SPACE)
    groups = sorted(group_by_seed(records), key=lambda g: (space_name(g[0]), width_of(g[0])))
    names = ["space", "width", "parameters", "seeds", *SCORES, "s / epoch"]
    rows = []
    for group in groups:
        row = table_row(group) | {"width": str(width_of(group[0]))}
        rows.append([row[name] for name in names])
    return [names, *rows]


BENCHMARK = replace(
    modelnet40.BENCHMARK,
    name="ablation",
    description=__doc__ or "",
    train_arguments=add_train_arguments,
    check=check_arguments,
    build=build_variant,
    named_by=("variant",),
    pretrained=None,
    report=command_report,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return BENCHMARK.main(argv)


if __name__ == "__main__":
    sys.exit(main())
