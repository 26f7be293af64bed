"""Stage `report`: tables, and model cards with results."""

from __future__ import annotations

from typing import Any

from agentrm_models.folder_settings import read_settings
from agentrm_trainer.config import digest_of
from agentrm_trainer.reports.cards import policy_card, results_section, reward_card
from agentrm_trainer.reports.results import Results
from agentrm_trainer.reports.tables import results_markdown
from agentrm_trainer.workflow.workspace import STAGES, StageName, Workspace, read_json, write_atomically, write_json


def report(workspace: Workspace) -> None:
    """Run the stage: `RESULTS.md`, `results.json`, and the cards beside the weights."""
    config = workspace.config
    evaluated = workspace.done("evaluate")
    folder = workspace.stage("report", digest_of(evaluated.digest))
    if folder.open(workspace.resume):
        return
    results: Results = read_json(workspace.folder("evaluate") / "results.json", Results)
    minutes = stage_minutes(workspace)
    tables = results_markdown(results)
    write_atomically(folder.path / "RESULTS.md", f"# {config.name}: results\n\n{tables}")
    write_json(folder.path / "results.json", results)
    section = results_section(tables, minutes, _stage_figures(workspace))
    policy, reward = workspace.done("sft").figures, workspace.done("fit").figures
    write_atomically(workspace.folder("sft") / "policy" / "README.md", policy_card(config, policy) + section)
    fitted = workspace.folder("fit") / "reward"
    write_atomically(fitted / "README.md", reward_card(config, reward, read_settings(fitted)) + section)
    folder.finish(minutes=dict(minutes))
    workspace.display.say(tables)


def stage_minutes(workspace: Workspace) -> dict[str, float]:
    """Minutes that each finished stage took."""
    return {name: workspace.done(name).minutes for name in _finished(workspace)}


def _finished(workspace: Workspace) -> list[StageName]:
    return [name for name in STAGES if (workspace.folder(name) / "done.json").exists()]


def _stage_figures(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {name: workspace.done(name).figures for name in _finished(workspace) if name not in ("report", "export")}
