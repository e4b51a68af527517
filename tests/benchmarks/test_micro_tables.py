"""The tables of the Performance page are those of the committed results."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "source" / "_static" / "performance"


def test_published_tables_are_those_of_the_results(tmp_path):
    script = ROOT / "benchmarks" / "micro" / "tables.py"
    command = [script, "--results", ROOT / "benchmarks" / "results", "--out", tmp_path]
    subprocess.run([sys.executable, *command], check=True)
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.csv")}
    published = {path.name: path.read_text(encoding="utf-8") for path in PUBLISHED.glob("*.csv")}
    assert made and made == published
