import json

import pytest
from _cli import UsageError
from _files import atomic_path, check_writable, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="stop"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_one(tmp_path):
    path, link = tmp_path / "folder" / "file.txt", tmp_path / "link.txt"
    write_text(path, "old")
    link.symlink_to(path)
    write_text(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_a_long_name_is_written(tmp_path):
    path = tmp_path / f"{'x' * 250}.txt"
    write_text(path, "new")
    assert path.read_text() == "new"


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_json_has_one_line_per_key_and_refuses_nan(tmp_path):
    path = tmp_path / "file.json"
    record = {"a": [1, 2, [3]], "b": {"c": "d"}}
    write_json(path, record)
    assert json.loads(path.read_text()) == record
    assert len(path.read_text().splitlines()) == 2 + len(record)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == record


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path):
    check_writable(tmp_path / "new" / "deep" / "file.json", "--out")
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    check_writable(tmp_path / "file", "--out")
    (tmp_path / "new").mkdir()
    with pytest.raises(UsageError, match="--out: cannot write"):
        check_writable(tmp_path / "file" / "file.json", "--out")
    with pytest.raises(UsageError, match="--out: cannot write"):
        check_writable(tmp_path / ("x" * 300), "--out")
    with pytest.raises(UsageError, match="--table: cannot write .*: it is a folder"):
        check_writable(tmp_path / "new", "--table")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match="--out: cannot write .*loop"):
        check_writable(tmp_path / "loop", "--out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop", "new"]


def test_what_is_written_may_be_read_by_others(tmp_path):
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644
