"""Files that are either whole or absent: everything the benchmarks write goes through here."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _cli import UsageError, one_line


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` that replaces it when the block ends well.

    A reader therefore sees the old file or the new one, never half of one; if the block raises, the
    temporary file is removed and `path` is left as it was.

    Args:
        path (Path): The file to write; its folder is created. For a link, the file it leads to.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem[:40]}-"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes private files
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path, flag: str) -> None:
    """Raises a `UsageError` naming the flag if `path` cannot be written: to be asked before the
    work whose result goes there. Leaves nothing behind.
    """
    try:
        path = path.resolve()
        folder = next(folder for folder in path.parents if folder.exists())
        with tempfile.TemporaryFile(dir=folder):
            if path.is_dir():
                raise IsADirectoryError("it is a folder")
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UsageError(f"{flag}: cannot write {path}: {one_line(error)}") from None


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a mapping as JSON, one line per top-level key (long arrays stay on their line)."""
    lines = [
        f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in record.items()
    ]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
