"""The short table: every network's accuracy in a curved space beside that of its flat twin."""

from collections.abc import Mapping

#: Columns that a network shares with its twin.
SHARED = ("data", "points", "layer", "settings", "epochs")
SCORES = ("OA %", "mAcc %")


def network(row: Mapping[str, str]) -> tuple[str, ...]:
    """What a row of a table of runs shares with its twin's."""
    return tuple(row.get(column, "-") for column in SHARED)


def twin_cells(cells: list[list[str]]) -> list[list[str]]:
    """Of a table of runs, a head, and a row per network in a curved space; `-` without a twin."""
    head, *lines = cells
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    flat = {network(row): row for row in rows if row["space"] == "Euclidean"}
    told = [column for column in SHARED if column in head and column != "settings"]
    names = [f"{score}, {which}" for score in SCORES for which in ("curved", "flat")]
    table = [[*told, "space", "seeds", *names]]
    for row in rows:
        if row["space"] == "Euclidean":
            continue
        twin = flat.get(network(row), {})
        found = [text for score in SCORES for text in (row[score], twin.get(score, "-"))]
        table.append([*(row[column] for column in (*told, "space", "seeds")), *found])
    return table
