import csv
import json
import re

import matplotlib.pyplot as plt
import modelnet40
import numpy as np
import pytest
from _cli import UsageError
from _files import write_json
from _report import BEGIN, END, fill_readme, load_records, write_pictures
from _tables import csv_table, markdown_table, table_cells
from matplotlib.image import imread


def make_record(manifold="poincare", seed=0, oa=0.5, **changes):
    record = {
        "benchmark": "modelnet40",
        "name": f"toy-{manifold}-seed{seed}",
        "config": {
            "manifold": manifold,
            "curvature": 1.0,
            "learnable_curvature": False,
            "seed": seed,
            "epochs": 2,
            "num_points": 64,
        },
        "data": {"name": "toy", "class_names": ["cube", "ball"]},
        "parameters": 81234,
        "timing": {"train_seconds_per_epoch": 12.34},
        "test": {
            "last": {"epoch": 2, "loss": 1.0, "oa": oa, "macc": 0.25},
            "best": {"epoch": 1, "loss": 1.0, "oa": 0.75, "macc": 0.625},
        },
        "confusion": [[3, 1], [2, 2]],
        "embedding": {
            "kind": "disk" if manifold != "euclidean" else "plane",
            "scale": 1.0,
            "explained": 0.5,
            "xy": [[0.1, 0.2], [-0.5, 0.3], [0.0, 0.9]],
            "y": [0, 1, 1],
        },
        "curves": {
            "train_loss": [2.0, 1.0],
            "train_oa": [0.1, 0.5],
            "val_loss": [1.5, 1.2],
            "val_oa": [0.2, 0.4],
            "radii": [{"conv1": 1.0}, {"conv1": 1.1}],
        },
    }
    return record | changes


def markdown(records):
    return markdown_table(table_cells(records))


def test_a_row_of_the_table():
    assert markdown([make_record()]).splitlines()[2] == (
        "| 64 | Poincaré ball, c = 1 | 2 | 1 | 50.0 | 25.0 | 75.0 | 62.5 | 81,234 | 12.3 | toy |"
    )


def test_seeds_share_a_row_and_other_settings_do_not():
    records = [make_record(seed=seed, oa=oa) for seed, oa in ((0, 0.4), (1, 0.5), (2, 0.6))]
    records[2]["config"] |= {"frame": None}  # a later run, the others had no such setting
    rows = markdown([*records, make_record("euclidean")]).splitlines()[2:]
    assert len(rows) == 2
    assert "| 3 | 50.0 ± 10.0 | 25.0 ± 0.0 |" in rows[0]
    assert "| Euclidean |" in rows[1]


def test_settings_that_differ_are_told_where_they_are_not_the_usual_ones():
    records = [make_record(name) for name in ("poincare", "euclidean", "lorentz")]
    for record in records:
        record["config"] |= {"dropout": 0.3, "weight_decay": 0.05, "lr": 0.01, "eval_batch_size": 8}
    assert "settings" not in table_cells(records)[0]
    records[1]["config"] |= {"dropout": 0.0, "weight_decay": 0.0, "eval_batch_size": 16}
    del records[2]["config"]["lr"]  # a script of its own, or an older one
    head, *rows = table_cells(records)
    place = head.index("settings")
    assert head[place - 1] == "mAcc % (best val)"
    assert [row[place] for row in rows] == ["-", "-", "dropout 0.0, weight decay 0.0"]
    assert markdown_table([head, *rows]).splitlines()[1].split(" | ")[place] == "---"
    records[1]["data"] |= {"name": "other"}  # with a recipe of its own
    assert "settings" not in table_cells(records)[0]


def test_a_setting_that_most_runs_lack_is_told():
    records = [make_record(name) for name in ("poincare", "euclidean", "lorentz")]
    records[1]["config"] |= {"first_points": 400}  # a flag that the other runs are older than
    head, *rows = table_cells(records)
    assert [row[head.index("settings")] for row in rows] == ["-", "-", "first points 400"]


def test_a_run_older_than_a_setting_that_others_do_without_did_without_it():
    records = [make_record(name) for name in ("poincare", "euclidean", "lorentz")]
    for record in records:
        record["config"] |= {"first_points": 400}
    older = make_record()
    older["config"] |= {"curvature": 0.5}
    assert "settings" not in table_cells([*records, older])[0]  # nobody tells
    without = make_record()
    without["config"] |= {"first_points": None}
    head, *rows = table_cells([*records, older, without])
    told = [row[head.index("settings")] for row in rows]
    assert told == ["-", "-", "-", "first points None", "first points None"]


def test_data_of_one_name_but_other_samples_make_rows_of_their_own():
    data = {"name": "toy", "class_names": ["cube", "ball"], "train": 30, "val": 3, "test": 8}
    changes = [{}, {"train": 31}, {"val": 4}, {"test": 9}, {"class_names": ["ball", "cube"]}]
    records = [make_record(seed=i, data=data | change) for i, change in enumerate(changes)]
    assert len(table_cells(records)) == 1 + len(changes)
    assert len(table_cells([make_record(seed=i, data=data) for i in range(3)])) == 1 + 1


@pytest.mark.parametrize("change", [{"nproc_per_node": 2}, {"compile": True}])
def test_rows_of_their_own_differ_in_what_they_show(change):
    records = [make_record(name) for name in ("poincare", "euclidean", "euclidean")]
    for record in records:
        record["config"] |= {"nproc_per_node": 1, "compile": False}
    records[2]["config"] |= change
    head, *rows = table_cells(records)
    (told,) = [f"{key.replace('_', ' ')} {value}" for key, value in change.items()]
    assert [row[head.index("settings")] for row in rows] == ["-", "-", told]


def test_seeds_that_begin_with_weights_of_their_own_share_a_row(tmp_path):
    for seed in (0, 1):
        record = make_record(seed=seed)
        record["config"] |= {"start": f"before-seed{seed}, epoch {9 + seed}"}
        write_json(tmp_path / f"{seed}.json", record)
    write_json(tmp_path / "2.json", make_record(seed=0))
    write_json(tmp_path / "3.json", make_record("euclidean"))
    head, *rows = table_cells(load_records([tmp_path]))
    place = head.index("settings")
    assert [(row[head.index("seeds")], row[place]) for row in rows] == [
        *[("1", "-"), ("1", "-"), ("2", "start another run's weights")]
    ]


def test_runs_older_than_the_choice_of_an_optimizer_had_the_usual_one(tmp_path):
    later = make_record(seed=1)
    later["config"]["optimizer"] = "adamw"
    for i, record in enumerate((make_record(seed=0), later)):
        write_json(tmp_path / f"{i}.json", record)
    assert len(table_cells(load_records([tmp_path]))) == 2  # a header and a row
    later["config"]["optimizer"] = "muon"
    write_json(tmp_path / "1.json", later)
    assert len(table_cells(load_records([tmp_path]))) == 3


def test_how_steps_were_started_makes_no_row_of_its_own():
    records = [make_record(seed=seed) for seed in (0, 1)]
    records[0]["config"] |= {"cuda_graph": 300, "eval_batch_size": 100}
    head, row = table_cells(records)
    assert row[head.index("seeds")] == "2"
    assert "settings" not in head


def test_without_validation_split_there_is_no_best_column_value():
    record = make_record()
    del record["test"]["best"]
    assert (
        markdown([record]).splitlines()[2].endswith("| 50.0 | 25.0 | - | - | 81,234 | 12.3 | toy |")
    )


def test_images_have_a_layer_and_a_gap_in_place_of_points():
    records = [make_record(seed=seed, train={"oa": 0.625 + seed / 100}) for seed in (0, 2)]
    for record in records:
        record["config"] |= {"layer": "hconv2"}
        del record["config"]["num_points"]
        record["data"] |= {"test": 10_000}
    header, line, row = markdown(records).splitlines()
    assert header.startswith("| layer | space | epochs | seeds | OA % |")
    assert header.endswith("| train - test OA | parameters | s / epoch | data |")
    assert line.startswith("| --- | --- | --: |")
    assert row.startswith("| hconv2 | Poincaré ball, c = 1 |")
    assert row.endswith("| 62.50 ± 0.00 | 13.50 ± 1.41 | 81,234 | 12.3 | toy |")


def test_records_of_different_scripts_share_a_table():
    old, new = make_record(), make_record("euclidean", train={"oa": 0.75})
    new["config"] |= {"layer": "hconv1"}
    del new["config"]["num_points"]
    head, *rows = table_cells([old, new])
    assert head[:3] == ["points", "layer", "space"]
    assert [row[:2] for row in rows] == [["64", "-"], ["-", "hconv1"]]
    assert [row[head.index("train - test OA")] for row in rows] == ["-", "25.0"]


def test_a_network_and_its_twins_stand_together():
    """Sorted by space and name, as files are read, other networks stand between them."""
    records = [make_record(name) for name in ("euclidean", "euclidean", "lorentz", "poincare")]
    records[1]["config"] |= {"epochs": 3}
    records.append(make_record())
    records[4]["config"] |= {"epochs": 3}
    head, *rows = table_cells(records)
    found = [(row[head.index("epochs")], row[head.index("space")]) for row in rows]
    ball = "Poincaré ball, c = 1"
    assert found == [
        *[("2", "Euclidean"), ("2", "Lorentz, c = 1"), ("2", ball)],
        *[("3", "Euclidean"), ("3", ball)],
    ]


def test_the_docs_get_the_same_cells_but_for_hyphens_which_begin_lists():
    record = make_record()
    del record["test"]["best"]
    head, row = csv_table(table_cells([record])).splitlines()
    cells = [cell.strip() for cell in markdown([record]).splitlines()[2].strip("|").split("|")]
    assert cells.count("-") == 2
    assert next(csv.reader([row])) == ["–" if cell == "-" else cell for cell in cells]
    assert head.startswith("points,space,epochs,seeds")


def test_the_readme_changes_between_the_markers_only(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):  # the second time finds what the first one wrote
        fill_readme(readme, "| new |\n")
        assert readme.read_text() == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["nothing", BEGIN, END, f"{END}\n{BEGIN}"])
def test_a_readme_without_markers_is_left_alone(tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(UsageError, match="--readme: the file lacks"):
        fill_readme(readme, "new")
    assert readme.read_text() == text


def test_a_readme_that_cannot_be_filled_ends_a_report_before_it_writes_anything(tmp_path, capsys):
    write_json(tmp_path / "run.json", make_record())
    (tmp_path / "README.md").write_text("no markers")
    argv = ["report", str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]
    assert modelnet40.main([*argv, "--readme", str(tmp_path / "README.md")]) == 2
    assert "--readme: the file lacks" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


def test_records_are_read_from_files_and_folders(tmp_path):
    for seed, name in enumerate(("b", "a")):
        write_json(tmp_path / f"{name}.json", make_record(name=name, seed=seed))
    assert [r["name"] for r in load_records([tmp_path])] == ["a", "b"]
    assert [r["name"] for r in load_records([tmp_path / "b.json"])] == ["b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read"),
        ("[1]", "not a results file"),
        (json.dumps({"benchmark": "x"}), r"not a results file \(no 'name'\)"),
        (json.dumps(make_record(data={})), r"not a results file \(no 'name'\)"),
        (json.dumps(make_record(config=[])), r"not a results file"),
        (json.dumps(make_record(parameters="x")), r"not a results file"),
        (
            json.dumps(make_record() | {"config": {"manifold": "euclidean", "epochs": 1}}),
            "no 'seed'",
        ),
    ],
)
def test_a_file_that_is_no_result(tmp_path, content, message):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        load_records([tmp_path])
    with pytest.raises(UsageError, match="cannot read"):
        load_records([tmp_path / "missing.json"])


def test_pictures(tmp_path):
    records = [make_record(), make_record("euclidean")]
    paths = write_pictures(records, tmp_path)
    assert sorted(path.name for path in paths) == [
        "confusion-toy-euclidean-seed0.png",
        "confusion-toy-poincare-seed0.png",
        "curves-toy.png",
        "embedding-toy-euclidean-seed0.png",
        "embedding-toy-poincare-seed0.png",
    ]
    for path in paths:
        picture = imread(path)
        assert min(picture.shape[:2]) > 400
        assert np.ptp(picture[..., :3]) > 0.5  # not a blank sheet


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("curves", {}, "a run on toy cannot be drawn \\(no 'train_loss'\\)"),
        ("curves", None, "a run on toy cannot be drawn"),
        ("confusion", [], "toy-poincare-seed0 cannot be drawn"),
        ("embedding", {"kind": "disk"}, "toy-poincare-seed0 cannot be drawn \\(no 'xy'\\)"),
        ("data", {"name": "toy"}, "toy-poincare-seed0 cannot be drawn \\(no 'class_names'\\)"),
    ],
)
def test_a_damaged_record_leaves_the_tables_of_before(tmp_path, key, value, message, capsys):
    write_json(tmp_path / "run.json", make_record(**{key: value}))
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\nold\n{END}\n")
    argv = ["report", str(tmp_path / "run.json"), "--out", str(tmp_path), "--readme", str(readme)]
    assert modelnet40.main(argv) == 2
    assert re.search(f"error: RESULTS: {message}", capsys.readouterr().err)
    assert readme.read_text() == f"{BEGIN}\nold\n{END}\n"
    assert not (tmp_path / "table.md").exists()


def test_a_best_epoch_is_shown_where_all_seeds_have_one():
    without = make_record(seed=1)
    del without["test"]["best"]
    (row,) = markdown([make_record(), without]).splitlines()[2:]
    assert "| 2 | 50.0 ± 0.0 | 25.0 ± 0.0 | - | - |" in row


def test_names_may_hold_any_character(tmp_path):
    record = make_record(data={"name": "$x_{$", "class_names": ["$a_{$", "b"]})
    assert len(write_pictures([record], tmp_path)) == 3


def test_a_readme_in_another_encoding_is_named(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_bytes(b"\xff" + BEGIN.encode() + END.encode())
    with pytest.raises(UsageError, match="--readme: 'utf-8' codec"):
        fill_readme(readme, "new")


def test_a_run_counts_once(tmp_path):
    write_json(tmp_path / "a.json", make_record())
    write_json(tmp_path / "b.json", make_record(seed=1))
    assert len(load_records([tmp_path, tmp_path / "a.json", tmp_path / ".." / tmp_path.name])) == 2
    (tmp_path / "other").mkdir()
    write_json(tmp_path / "other" / "a.json", make_record())
    with pytest.raises(UsageError, match=r"seed0 and toy-poincare-seed0 are runs of one seed"):
        load_records([tmp_path, tmp_path / "other"])
    write_json(tmp_path / "again.json", make_record(name="again"))
    message = r"toy-poincare-seed0 and again are runs of one seed \(got 0\)"
    with pytest.raises(UsageError, match=message):
        load_records([tmp_path])


def test_runs_of_one_name_would_overwrite_each_others_pictures(tmp_path, capsys):
    for folder, epochs in (("a", 2), ("b", 3)):
        record = make_record()
        record["config"] |= {"epochs": epochs}
        (tmp_path / folder).mkdir()
        write_json(tmp_path / folder / "run.json", record)
    out = tmp_path / "report"
    argv = ["report", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]
    assert modelnet40.main(argv) == 2
    message = "RESULTS: one file for each name of a run (got two of toy-poincare-seed0)"
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_files_that_are_being_written_are_not_read(tmp_path):
    write_json(tmp_path / "a.json", make_record())
    (tmp_path / ".b-x1y2.json").write_text("{")
    assert len(load_records([tmp_path])) == 1


def test_pictures_are_closed_and_do_not_tell_what_drew_them(tmp_path):
    plt.close("all")  # what a test that stops a picture leaves
    paths = write_pictures([make_record()], tmp_path)
    assert not plt.get_fignums()
    assert paths
    assert not any(b"Software" in path.read_bytes() for path in paths)


def test_flat_seeds_share_a_row_whatever_curvature_was_asked_for():
    records = [make_record("euclidean", seed) for seed in (0, 1)]
    records[1]["config"] |= {"curvature": 0.25, "learnable_curvature": True}
    cells = table_cells(records)
    assert [row[cells[0].index("seeds")] for row in cells[1:]] == ["2"]
    curved = [make_record("poincare", seed) for seed in (0, 1)]
    curved[1]["config"] |= {"curvature": 0.25}
    assert len(table_cells(curved)) == 3
