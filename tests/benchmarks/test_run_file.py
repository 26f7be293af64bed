"""The benchmark of large run files runs on a small one; times are not looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_it_opens_what_it_made() -> None:
    command = [sys.executable, "benchmarks/run_file.py", "--megabytes", "3", "--files", "4", "--gzip"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert set(rows) == {"screen", "plain", "list"} and all("MB" in row for row in rows.values())
    assert "4 files" in rows["list"] and "first paint" in rows["screen"]
