"""Documents that repeat what the code knows must say the same."""

from __future__ import annotations

import re
from pathlib import Path

from agentrm_models.folder_settings import FolderSettings
from agentrm_models.specs import policy_kinds, reward_kinds
from agentrm_tui.ui.actions import keys_markdown

ROOT = Path(__file__).parent.parent


def test_the_keys_page_is_the_action_registry() -> None:
    assert keys_markdown().strip() in (ROOT / "docs" / "keys.md").read_text()


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_models_page_names_every_spec_and_every_key() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    kinds = {re.split(r"[:\[(]", kind)[0] for kind in (*policy_kinds(), *reward_kinds())} - {"FOLDER", "FILE.gguf"}
    assert {kind for kind in kinds if f"`{kind}" not in page} == set()
    assert {key for key in FolderSettings.__struct_fields__ if f"`{key}`" not in page} == set()


ROWS = {
    "greedy": "greedy",
    "random one of 5 samples": "random one of 5 samples (expectation)",
    "Best-of-5 by the reward model": "**Best-of-5, reward model**",
    "beam 5×5 by the reward model": "**beam 5×5, reward model**",
    "beam 5×5 with random scores": "beam 5×5, random scores",
    "Best-of-N at the beam's cost": "Best-of-N at the beam's cost, reward model",
}
"""What the README and the card call the same method."""


def test_the_readme_repeats_the_card_of_the_bundled_models() -> None:
    card = (ROOT / "models" / "agentrm_models" / "bundled" / "small" / "README.md").read_text()
    tables = {
        title.split()[0].rstrip(",").lower(): {cells[0]: cells[1:] for cells in _rows(text)}
        for title, text in re.findall(r"^### (.+?)\n(.*?)(?=^###|\Z)", card, re.MULTILINE | re.DOTALL)
    }
    shown = {cells[0]: cells[1:] for cells in _rows((ROOT / "README.md").read_text()) if cells[0] in ROWS}
    assert shown.keys() == ROWS.keys()
    for name, cells in shown.items():
        rows = {place: tables[place][ROWS[name]] for place in ("maze", "pddl", "babyai", "all")}
        scores = [rows[place][0].split()[0] for place in ("maze", "pddl", "babyai", "all")]
        against = rows["all"][3].replace("+", "").replace("−", "-")
        assert cells[:4] == scores, name
        assert cells[4].replace("+", "").replace("−", "-") == against, name
        assert cells[5] == rows["all"][2], name


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if "|" in line]
