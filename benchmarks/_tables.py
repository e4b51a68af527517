"""Tables of results files."""

import csv
import io
import json
from collections.abc import Iterable
from statistics import mean, stdev
from typing import Any

from _twins import network

#: Columns of text.
WORDS = ("data", "layer", "space", "settings", "run", "variant", "network", "trained")
#: Columns that show only where a run fills them.
OPTIONAL = ("points", "layer", "settings", "train - test OA")
#: What runs of one row may differ in.
FREE = ("seed", "cuda_graph", "eval_batch_size")
#: Settings that have a column, or do not change results beyond rounding.
TOLD = (
    "data", "num_points", "layer", "manifold", "curvature", "learnable_curvature", "epochs", *FREE,
)  # fmt: skip
LARGE_TEST_SET = 5000  # samples from which on a hundredth of a percent is shown


def group_by_seed(records: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs that differ in `FREE` settings alone, together; what is None, older runs may lack.

    Data of one name is the same if it has the same classes and as many samples. Flat space has no
    curvature, whatever the flag said.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        config, free = record["config"], FREE
        if config["manifold"] == "euclidean":
            free = (*FREE, "curvature", "learnable_curvature")
        same = {
            key: value for key, value in config.items() if key not in free and value is not None
        }
        key = json.dumps([record["benchmark"], record["data"], same], sort_keys=True)
        groups.setdefault(key, []).append(record)
    return list(groups.values())


def percent(values: list[float], digits: int = 1) -> str:
    """Mean, and standard deviation over seeds if there are several."""
    text = f"{100 * mean(values):.{digits}f}"
    return f"{text} ± {100 * stdev(values):.{digits}f}" if len(values) > 1 else text


def space_name(record: dict[str, Any]) -> str:
    """Manifold and curvature, in words."""
    config = record["config"]
    if config["manifold"] == "euclidean":
        return "Euclidean"
    learnt = " at first, learnt" if config["learnable_curvature"] else ""
    name = {"poincare": "Poincaré ball", "lorentz": "Lorentz"}[config["manifold"]]
    return f"{name}, c = {config['curvature']:g}{learnt}"


def table_row(group: list[dict[str, Any]]) -> dict[str, str]:
    """The cells of runs that differ in nothing but their seed, by column."""
    first = group[0]
    config = first["config"]
    digits = 2 if first["data"].get("test", 0) >= LARGE_TEST_SET else 1
    scores = {
        f"{name}{label}": percent([r["test"][which][key] for r in group], digits)
        if all(which in r["test"] for r in group)
        else "-"
        for which, label in (("last", ""), ("best", " (best val)"))
        for key, name in (("oa", "OA %"), ("macc", "mAcc %"))
    }
    gaps = [r["train"]["oa"] - r["test"]["last"]["oa"] for r in group if "train" in r]
    return {
        "points": str(config.get("num_points", "-")),
        "layer": config.get("layer", "-"),
        "space": space_name(first),
        "epochs": f"{'+' * (config.get('start') is not None)}{config['epochs']}",
        "seeds": str(len(group)),
        **scores,
        "settings": "-",
        "train - test OA": percent(gaps, digits) if len(gaps) == len(group) else "-",
        "parameters": f"{first['parameters']:,}",
        "s / epoch": f"{mean(r['timing']['train_seconds_per_epoch'] for r in group):.1f}",
        "data": first["data"]["name"],
    }


def usual_settings(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """The most frequent value of every setting that has no column; None where runs lack it."""
    keys = sorted({key for config in configs for key in config} - {*TOLD})
    values = {key: [config.get(key) for config in configs] for key in keys}
    return {key: max(found, key=found.count) for key, found in values.items()}


def unusual(group: list[dict[str, Any]], groups: list[list[dict[str, Any]]]) -> str:
    """The settings of a group that differ from those of most groups with the same data.

    A run older than a setting that others do without, as None tells, did without it, too.
    """
    name = group[0]["data"]["name"]
    configs = [g[0]["config"] for g in groups if g[0]["data"]["name"] == name]
    usual = usual_settings(configs)
    optional = {key: None for config in configs for key in config if config[key] is None}
    config = usual | optional | group[0]["config"]
    found = (key for key in usual if config[key] != usual[key])
    return ", ".join(f"{key.replace('_', ' ')} {config[key]}" for key in found) or "-"


def table_cells(records: list[dict[str, Any]]) -> list[list[str]]:
    """Head, and a row per configuration: last epoch, and the best on the validation split.

    The rows of a network and its twins stand together.
    """
    groups = group_by_seed(records)
    rows = [table_row(group) | {"settings": unusual(group, groups)} for group in groups]
    networks = list(dict.fromkeys(network(row) for row in rows))
    rows.sort(key=lambda row: networks.index(network(row)))
    columns = [c for c in rows[0] if c not in OPTIONAL or any(row[c] != "-" for row in rows)]
    return [columns, *([row[c] for c in columns] for row in rows)]


def markdown_table(cells: list[list[str]]) -> str:
    """A table in Markdown."""
    line = ["---" if column in WORDS else "--:" for column in cells[0]]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells[0], line, *cells[1:])) + "\n"


def csv_table(cells: list[list[str]]) -> str:
    """A table as comma-separated values, which the docs include: a hyphen would begin a list."""
    file = io.StringIO()
    rows = [["–" if cell == "-" else cell for cell in row] for row in cells]
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
