"""From results files to a Markdown table and pictures."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _cli import UsageError, one_line
from _files import check_writable, write_json, write_text
from _plots import plot_confusion, plot_curves, plot_embedding
from _tables import csv_table, group_by_seed, markdown_table, table_cells, table_row
from _twins import twin_cells

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NEEDED = ("benchmark", "name", "config", "data", "parameters", "timing", "test", "curves")


def add_report_command(commands: Any, handler: Callable[[argparse.Namespace], None]) -> None:
    """Adds the sub-command `report` to a script's `commands`."""
    parser = commands.add_parser("report", help="turn results into a table and pictures")
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="results files, or folders of them"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for table.md, table.csv and the pictures",
    )
    parser.add_argument(
        "--readme",
        type=Path,
        metavar="FILE",
        help=f"also write a short table, networks beside their flat twins, between {BEGIN} and "
        f"{END} of this file",
    )
    parser.set_defaults(handler=handler)


def command_report(args: argparse.Namespace) -> None:
    """The sub-command `report`."""
    records = load_records(args.results)
    check_once("RESULTS: one file for each name of a run", [record["name"] for record in records])
    cells = table_cells(records)
    table = markdown_table(cells)
    if args.readme is not None:
        around_markers(args.readme)  # before pictures are drawn
    for path in write_pictures(records, args.out):
        print(f"wrote {path}", file=sys.stderr)
    if args.readme is not None:
        fill_readme(args.readme, markdown_table(twin_cells(cells)))
    write_text(args.out / "table.md", table)
    write_text(args.out / "table.csv", csv_table(cells))
    print(table, end="")


def check_once(rule: str, names: list[str]) -> None:
    """Raises a `UsageError` if a name occurs twice: a picture would take the place of another."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"{rule} (got two of {twice[0]})")


def check_outputs(args: argparse.Namespace) -> None:
    """Refuses files of `--out` and `--table` that cannot be written, before the work."""
    check_writable(args.out, "--out")
    if args.table is not None:
        check_writable(args.table, "--table")


def write_outputs(
    args: argparse.Namespace, record: Mapping[str, Any], cells: list[list[str]]
) -> None:
    """Writes a record to `--out` and its table to `--table`, and prints the table."""
    write_json(args.out, record)
    if args.table is not None:
        write_text(args.table, csv_table(cells))
    sys.stdout.write(markdown_table(cells))


def load_records(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Reads results files, and all `*.json` of folders, sorted by data, space and name.

    Hidden files are left out: they are being written.
    """
    files = [f for p in paths for f in (sorted(p.glob("[!.]*.json")) if p.is_dir() else [p])]
    if not files:
        raise UsageError("RESULTS: no results files found")
    records = [load_record(file) for file in {file.resolve(): file for file in files}.values()]
    for group in group_by_seed(records):
        names: dict[Any, str] = {}
        for record in group:
            run, name = record["run"], record["name"]
            if run in names:
                both = f"{names[run]} and {name}"
                raise UsageError(f"RESULTS: {both} are runs of one seed (got {run[0]})")
            names[run] = name
    return sorted(records, key=lambda r: (r["data"]["name"], r["config"]["manifold"], r["name"]))


def load_record(path: Path) -> dict[str, Any]:
    """Reads one results file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"RESULTS: cannot read {path}: {one_line(error)}") from None
    if not isinstance(record, dict):
        record = {}
    missing = [key for key in NEEDED if key not in record]
    if missing:
        raise UsageError(f"RESULTS: {path} is not a results file (no {missing[0]!r})")
    try:
        table_row([record])
        record["run"] = (record["config"]["seed"], record["config"].get("start"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise UsageError(f"RESULTS: {path} is not a results file ({what})") from None
    record["config"].setdefault("optimizer", "adamw")  # the only one of older runs
    if record["run"][1] is not None:  # each seed has another run before it
        record["config"]["start"] = "another run's weights"
    return record


def around_markers(path: Path) -> tuple[str, str]:
    """What stands before and after the two markers of a Markdown file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"--readme: {one_line(error)} (got {path})") from None
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise UsageError(f"--readme: the file lacks the lines {BEGIN} and {END} (got {path})")
    return head, tail


def fill_readme(path: Path, table: str) -> None:
    """Replaces what stands between the two markers of a Markdown file."""
    head, tail = around_markers(path)
    write_text(path, f"{head}{BEGIN}\n\n{table}\n{END}{tail}")


def write_pictures(records: list[dict[str, Any]], out: Path) -> list[Path]:
    """Draws curves per data set, and confusion matrix and embedding per run."""
    written = []
    for name in dict.fromkeys(record["data"]["name"] for record in records):
        same = [record for record in records if record["data"]["name"] == name]
        with drawing(f"a run on {name}"):
            written.append(plot_curves(same, out / f"curves-{name.replace(':', '-')}.png"))
    for record in records:
        with drawing(record["name"]):
            if "confusion" in record:
                written.append(plot_confusion(record, out / f"confusion-{record['name']}.png"))
            if record.get("embedding"):
                written.append(plot_embedding(record, out / f"embedding-{record['name']}.png"))
    return written


@contextmanager
def drawing(what: str) -> Iterator[None]:
    """Turns what a damaged record raises in a picture into a `UsageError`."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        lacks = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise UsageError(f"RESULTS: {what} cannot be drawn ({lacks})") from None
