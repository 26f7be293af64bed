"""The architecture page's picture, the import contracts and the wheel say the same as the code."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
ROOMS = (
    "agentrm_tui.cli",
    "agentrm_tui.ui",
    "agentrm_tui.headless",
    "agentrm_tui.serve",
    "agentrm_tui.engine",
    "agentrm_tui.runs",
    "agentrm_tui.environments",
    "agentrm_tui.search",
    "agentrm_models",
    "agentrm_trainer",
)


def room_of(module: str) -> str | None:
    return next((room for room in ROOMS if module == room or module.startswith(room + ".")), None)


def drawn_arrows() -> set[tuple[str, str]]:
    text = (ROOT / "docs" / "architecture.md").read_text()
    names = dict(re.findall(r"(\w+)\[\"([\w.]+)\"\]", text))
    arrows = re.findall(r"^\s*(\w+)(?:\[.*?\])? --> (\w+)", text, flags=re.MULTILINE)
    return {(names[source], names[target]) for source, target in arrows}


def test_the_picture_shows_exactly_the_arrows_of_the_code() -> None:
    graph = grimp.build_graph("agentrm_tui", "agentrm_models", "agentrm_trainer", cache_dir=None)
    arrows = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            source, target = room_of(module), room_of(imported)
            if source and target and source != target:
                arrows.add((source, target))
    assert arrows == drawn_arrows()


def test_the_wheel_installs_three_packages_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "agentrm_tui",
        "agentrm_models",
        "agentrm_trainer",
    }


def test_no_tracked_file_is_too_large_or_a_pickle() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    assert files
    assert [file.name for file in files if file.stat().st_size > 16 * 2**20] == []
    assert [file.name for file in files if file.suffix in {".pkl", ".pickle", ".pt", ".pth", ".bin"}] == []
