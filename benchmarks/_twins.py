"""The short table: every network's accuracy in a curved space beside that of its flat twin."""

from collections.abc import Sequence

#: Columns that a network shares with its twin.
SHARED = ("data", "points", "layer", "settings", "epochs")
SCORES = ("OA %", "mAcc %")


def twin_cells(cells: list[list[str]]) -> list[list[str]]:
    """Of a table of runs, a head, and a row per network in a curved space; `-` without a twin."""
    head, *rows = cells
    shared = [head.index(column) for column in SHARED if column in head]
    scores = [head.index(column) for column in SCORES]
    space, seeds = head.index("space"), head.index("seeds")

    def network(row: Sequence[str]) -> tuple[str, ...]:
        return tuple(row[i] for i in shared)

    flat = {network(row): row for row in rows if row[space] == "Euclidean"}
    curved = [row for row in rows if row[space] != "Euclidean"]
    told = [i for i in shared if head[i] != "settings"]
    names = [f"{head[i]}, {which}" for i in scores for which in ("curved", "flat")]
    table = [[*(head[i] for i in told), "space", "seeds", *names]]
    for row in curved:
        twin = flat.get(network(row), ["-"] * len(row))
        found = [text for i in scores for text in (row[i], twin[i])]
        table.append([*(row[i] for i in told), row[space], row[seeds], *found])
    return table
