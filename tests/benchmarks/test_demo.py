import demo
import pytest


@pytest.mark.slow
def test_the_twins_meet_in_one_table(tmp_path, capsys):
    sizes = "--epochs 1 --per-class 4 --num-points 32 --k 4 --batch-size 16".split()
    for _ in range(2):  # a second demonstration replaces the first
        assert demo.main([*sizes, "--out", str(tmp_path)]) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    rows = [line for line in lines if "primitives |" in line]
    assert len(rows) == 4
    assert len({row[lines[0].index("parameters")] for row in rows}) == 1
    assert (tmp_path / "table.md").exists()
    assert len(list(tmp_path.glob("*.png"))) == 5
    assert demo.main([*sizes, "--k", "32", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "demo.py: error: --k must be smaller than --num-points 32 (got 32)"
    )
