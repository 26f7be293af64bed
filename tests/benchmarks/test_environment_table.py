"""The table of environments has a row for each that can be played, and says what cannot; times are not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def measured(tmp_path: Path, *names: str) -> tuple[str, dict[str, Any]]:
    """What is printed, and what is written."""
    file = tmp_path / "figures.json"
    command = [
        sys.executable,
        "benchmarks/environments.py",
        *names,
        "--seeds",
        "2",
        "--steps",
        "5",
        "--json",
        str(file),
    ]
    ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert ended.stderr == ""
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return ended.stdout, found


def test_a_row_for_each_environment_and_a_line_for_each_that_is_not_there(tmp_path: Path) -> None:
    printed, written = measured(tmp_path, "maze", "mase")
    lines = printed.splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:3] == ["maze", "compatible", "snapshot"] and cells[6] == "1.000 (2 tasks)"
    assert all(float(cell.partition(" ")[0]) > 0 for cell in cells[3:6])
    assert "Not played: mase: unknown environment 'mase'" in printed and "Did you mean 'maze'?" in printed
    maze, wrong = written["environments"]
    assert maze["expert_score"] == 1.0 and maze["episodes"] == 2 and maze["below_0.95"] == []
    assert maze["step_ms"]["calls"] == 5 and maze["reset_ms"]["calls"] >= 20 and maze["expert_ms"]["calls"] >= 2
    assert maze["memory_mb"] > 0 or not Path("/proc/self/status").exists()
    assert set(wrong) == {"environment", "error"}
    assert {"date", "command", "machine", "load"} == set(written["circumstances"])
    assert lines[-1].startswith("date: 20")
