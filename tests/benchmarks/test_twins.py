"""The short table of the README."""

from _tables import table_cells
from _twins import twin_cells

from tests.benchmarks.test_report import make_record


def rows_of(*records):
    head, *rows = twin_cells(table_cells(list(records)))
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_a_curved_network_stands_beside_its_flat_twin():
    flat = make_record("euclidean", oa=0.7)
    ball, hyperboloid = rows_of(make_record(oa=0.5), make_record("lorentz", oa=0.6), flat)
    assert ball == {
        "data": "toy",
        "points": "64",
        "epochs": "2",
        "space": "Poincaré ball, c = 1",
        "seeds": "1",
        "OA %, curved": "50.0",
        "OA %, flat": "70.0",
        "mAcc %, curved": "25.0",
        "mAcc %, flat": "25.0",
    }
    assert hyperboloid["space"] == "Lorentz, c = 1"
    assert (hyperboloid["OA %, curved"], hyperboloid["OA %, flat"]) == ("60.0", "70.0")


def test_a_network_of_other_settings_is_no_twin():
    other = make_record("euclidean", oa=0.7)
    for change in ({}, {"epochs": 3}, {"num_points": 32}, {"dropout": 0.5}):
        other["config"] = make_record("euclidean")["config"] | {"dropout": 0.1} | change
        curved = make_record()
        curved["config"] |= {"dropout": 0.1}
        (row,) = rows_of(curved, other)
        assert row["OA %, flat"] == ("-" if change else "70.0")
