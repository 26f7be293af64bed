"""Stage `report`: tables, and model cards with results."""

from __future__ import annotations

from typing import Any

from agentrm_models.folder_settings import read_settings
from agentrm_trainer.reports.cards import policy_card, results_section, reward_card
from agentrm_trainer.reports.chance import as_quote, worse_than_chance
from agentrm_trainer.reports.results import Results
from agentrm_trainer.reports.tables import results_markdown
from agentrm_trainer.workflow.registry import stage_named
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, read_json, write_atomically, write_json


def report(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: `RESULTS.md`, `results.json`, and the cards beside the weights."""
    config = workspace.config
    results: Results = read_json(workspace.folder("evaluate") / "results.json", Results)
    minutes = {name: workspace.done(name).minutes for name in stage_named("report").after}
    tables = results_markdown(results)
    policy, reward = workspace.done("sft").figures, workspace.done("fit").figures
    warning = as_quote(worse_than_chance(reward))
    write_atomically(folder.path / "RESULTS.md", f"# {config.name}: results\n\n{warning}{tables}")
    write_json(folder.path / "results.json", results)
    section = results_section(tables, minutes, _figures(workspace))
    write_atomically(workspace.folder("sft") / "policy" / "README.md", policy_card(config, policy) + section)
    fitted = workspace.folder("fit") / "reward"
    write_atomically(fitted / "README.md", reward_card(config, reward, read_settings(fitted)) + section)
    folder.finish(minutes=minutes)
    workspace.display.say(warning + tables)


def _figures(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {name: workspace.done(name).figures for name in stage_named("report").after}
