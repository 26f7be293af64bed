"""Documents that repeat what the code knows must say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentrm_models.bundled import bundled_models
from agentrm_models.folder_settings import FolderSettings, read_settings
from agentrm_models.specs import policy_kinds, reward_kinds
from agentrm_tui.environments.registry import make_environment
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


PAIRS = {
    "small": ("maze", "pddl", "babyai"),
    "text": ("webshop", "household", "toolquery", "tooloperation", "adventure"),
}
"""The bundled pairs and the environments that their tables show."""


@pytest.mark.parametrize("name", PAIRS)
def test_the_readme_repeats_the_card_of_the_bundled_models(name: str) -> None:
    card = (ROOT / "models" / "agentrm_models" / "bundled" / name / "README.md").read_text()
    tables = {
        title.split()[0].rstrip(",").lower(): {cells[0]: cells[1:] for cells in _rows(text)}
        for title, text in re.findall(r"^### (.+?)\n(.*?)(?=^###|\Z)", card, re.MULTILINE | re.DOTALL)
    }
    (part,) = re.findall(rf"^### `bundled:{name}`(.*?)(?=^#|\Z)", (ROOT / "README.md").read_text(), re.M | re.DOTALL)
    shown = {cells[0]: cells[1:] for cells in _rows(part) if cells[0] in ROWS}
    assert shown.keys() == ROWS.keys()
    places = (*PAIRS[name], "all")
    for method, cells in shown.items():
        rows = {place: tables[place][ROWS[method]] for place in places}
        against = rows["all"][3].replace("+", "").replace("−", "-")
        assert cells[: len(places)] == [rows[place][0].split()[0] for place in places], method
        assert cells[-2].replace("+", "").replace("−", "-") == against, method
        assert cells[-1] == rows["all"][2], method


def test_every_bundled_pair_is_in_the_readme() -> None:
    assert {model.name for model in bundled_models()} == PAIRS.keys()
    for model in bundled_models():
        assert set(model.environments) == set(PAIRS[model.name])


def test_bundled_weights_of_instructions_are_those_the_environments_give() -> None:
    # Where an instruction changed, its weight would silently no longer hold.
    settings = [read_settings(model.folder) for model in bundled_models() if model.role == "reward"]
    weighted = [(one.prompt or "short", each) for one in settings for each in one.likelihoods]
    assert weighted
    for prompt, each in weighted:
        environment = make_environment(each.environment)
        assert environment.instruction(prompt) == each.instruction, each.environment
        environment.close()


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if "|" in line]
