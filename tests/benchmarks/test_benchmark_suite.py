"""The benchmark suite runs, and its results have the fields that the page is made from; times are not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "benchmarks/run.py", "--quick", "--threads", "1", "--out", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


def read(results: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text("utf-8"))
    return found


def test_results_say_how_they_were_made(results: Path) -> None:
    for file in results.glob("*.json"):
        about = read(results, file.stem)["circumstances"]
        assert {"date", "command", "machine", "torch", "threads", "gpu"} <= set(about)


@pytest.mark.parametrize("name", ["candidates", "beam_episode", "reward_scoring", "reward_fitting", "batched_episodes"])
def test_cells_compare_ours_with_peers(results: Path, name: str) -> None:
    cells = read(results, name)["cells"]
    assert cells
    for cell in cells:
        assert {"ours", "one call each"} <= set(cell["ways"])
        assert cell["strongest_peer"] in cell["ways"]
        for way in cell["ways"].values():
            assert set(way) == {"seconds", "seconds_of_turns", "tokens", "calls", "memory_mb", "extrapolated"}
            assert way["seconds"] > 0 and way["tokens"] > 0


def test_both_sides_give_the_same(results: Path) -> None:
    assert all(cell["same"]["greedy_tokens"] == 1 for cell in read(results, "candidates")["cells"])
    (beam,) = read(results, "beam_episode")["cells"]
    assert beam["same"]["largest_score_difference"] <= 1e-4
    assert beam["same"]["same_beams"] == 1
    assert beam["policy_amplification"] <= 1.05 and beam["reward_amplification"] <= 1.05
    (scoring,) = read(results, "reward_scoring")["cells"]
    assert scoring["same"]["largest_score_difference"] <= 1e-4
    (fitting,) = read(results, "reward_fitting")["cells"]
    assert fitting["same"]["largest_relative_gradient_difference"] <= 1e-5


def written_page(results: Path, folder: Path) -> str:
    """The page that the report makes of these results, in a process of its own."""
    sys_path = os.pathsep.join([str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    code = f"from pathlib import Path; from report import write_report as w; w(Path({str(results)!r}), Path('p.md'))"
    environment = {**os.environ, "PYTHONPATH": sys_path}
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env=environment)
    return (folder / "p.md").read_text("utf-8")


def test_the_page_is_made_from_the_results(results: Path, tmp_path: Path) -> None:
    page = written_page(results, tmp_path)
    ratio = read(results, "beam_episode")["cells"][0]["ratio"]
    assert f"{ratio:.1f}×" in page and "GPU: not measured" in page
    assert (tmp_path / "p.svg").read_text("utf-8").startswith("<svg")


def test_the_page_in_docs_is_that_of_the_results_beside_it(tmp_path: Path) -> None:
    page = written_page(ROOT / "benchmarks" / "results", tmp_path)
    assert page.replace("(p.svg)", "(performance.svg)") == (ROOT / "docs" / "performance.md").read_text("utf-8")
