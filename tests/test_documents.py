"""Documents that repeat what the code knows must say the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from agentrm_models.bundled import bundled_models
from agentrm_models.folder_settings import FolderSettings, read_settings
from agentrm_models.load_options import LoadOptions
from agentrm_models.specs import policy_kinds, reward_kinds
from agentrm_models.usage import Usage
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.codec import Codec
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.store import load_state
from agentrm_tui.search.registry import ALGORITHMS
from agentrm_tui.ui.actions import keys_markdown

ROOT = Path(__file__).parent.parent


def test_the_keys_page_is_the_action_registry() -> None:
    assert keys_markdown().strip() in (ROOT / "docs" / "keys.md").read_text()


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
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


RUN_FILES = (ROOT / "docs" / "run-files.md").read_text()
GOLDEN = ROOT / "tests" / "runs" / "golden.jsonl"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", RUN_FILES, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("event", get_args(ev.AnyEvent), ids=lambda event: event.__struct_config__.tag)
def test_the_run_files_page_names_every_event_and_every_field(event: Any) -> None:
    (section,) = re.findall(rf"^### `{event.__struct_config__.tag}`\n(.*?)(?=^##)", RUN_FILES, re.MULTILINE | re.DOTALL)
    parts = {ev.Proposed: ev.ProposedNode, ev.Acted: ev.ActedNode, ev.RunFinished: ev.Ledger}
    fields = {*event.__struct_fields__, *(parts[event].__struct_fields__ if event in parts else ())}
    assert {name for name in fields - {"at", "episode", "run"} if f"`{name}`" not in section} == set()


def test_the_run_files_page_names_every_field_of_what_events_hold() -> None:
    held = {*ev.Event.__struct_fields__, *RunPlan.__struct_fields__, *LoadOptions.__struct_fields__}
    held |= {*Usage.__struct_fields__, "seq", "run", "crc", "algorithm"}
    assert {name for name in held if f"`{name}`" not in RUN_FILES} == set()


def test_the_first_line_on_the_run_files_page_is_one_of_this_format() -> None:
    (line,) = _blocks("json")
    started = Codec().decode(line.strip().encode())
    assert isinstance(started, ev.RunStarted)
    assert started.version == ev.FORMAT_VERSION


def test_the_reader_on_the_run_files_page_rebuilds_the_trees() -> None:
    (code,) = _blocks("python")
    names: dict[str, Any] = {}
    exec(code, names)
    state = load_state(GOLDEN)
    assert names["trees"](GOLDEN) == {
        episode.id: {
            node.id: {
                "samples": node.samples,
                "visits": node.visits,
                "total_return": node.total_return,
                **({"reply": node.reply} if node.parent else {}),
                **({} if node.reward_value is None else {"reward_value": node.reward_value}),
                **({"pruned": node.pruned} if node.pruned else {}),
                **({"chosen": True} if node.chosen else {}),
                **(
                    {"node": node.id, "observation": node.observation, "outcome": node.outcome}
                    if node.parent and node.acted
                    else {}
                ),
                **({"done": True} if node.done else {}),
                **({"state_key": node.state_key} if node.state_key else {}),
            }
            for node in episode.tree
        }
        for episode in state.episodes.values()
    }


def test_the_reader_on_the_run_files_page_notices_damage(tmp_path: Path) -> None:
    (code,) = _blocks("python")
    names: dict[str, Any] = {}
    exec(code, names)
    lines = GOLDEN.read_bytes().splitlines(keepends=True)
    for damaged in (lines[:3] + lines[4:], lines[:4] + lines[3:], [lines[0], lines[1].replace(b"12.5", b"13.5")]):
        path = tmp_path / "damaged.jsonl"
        path.write_bytes(b"".join(damaged))
        with pytest.raises(ValueError, match="was changed, lost or moved"):
            list(names["records"](path))


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_jq_lines_on_the_run_files_page_work() -> None:
    (block,) = _blocks("sh")
    commands = block.splitlines()
    assert len(commands) >= 4
    for command in commands:
        shown = subprocess.run(command.replace("run.jsonl", str(GOLDEN)), shell=True, capture_output=True, text=True)
        assert (shown.returncode, shown.stderr) == (0, ""), command
        assert shown.stdout.strip(), command


def test_the_readme_names_every_search() -> None:
    readme = (ROOT / "README.md").read_text()
    assert {name for name in ALGORITHMS if name.lower() not in readme.lower()} == set()


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
