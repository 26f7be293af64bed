"""Model cards: what a saved model is, what made it, and what it can do."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from agentrm_models.folder_settings import FolderSettings
from agentrm_trainer.config import Config
from agentrm_trainer.reports.chance import as_quote, worse_than_chance

_HEAD = """\
---
license: apache-2.0
library_name: transformers
tags: [agents, text-environments, {tag}]
---
"""


def policy_card(config: Config, figures: dict[str, Any]) -> str:
    """The card of a cloned policy, written when it is saved; the report stage adds results."""
    origin = f"`{config.sft.init_from}`, fine-tuned" if config.sft.init_from else "a Llama-form model from scratch"
    return "\n".join(
        [
            _HEAD.format(tag="policy"),
            f"# {config.name}: policy",
            "",
            f"{origin[:1].upper()}{origin[1:]}, trained by behaviour cloning on expert trajectories of "
            f"{_environments(config)}. It answers with one thought and one action.",
            "",
            f"- Parameters: {figures['parameters']:,}",
            f"- Tokens read in training: {figures['policy_tokens']:,}{_backbone(figures)}",
            f"- Instruction it was trained with: `{config.sft.prompt}`",
            *_common(config, "sft"),
        ]
    )


def _backbone(figures: dict[str, Any]) -> str:
    if figures["policy_tokens"] == figures["tokens"]:
        return ""
    return f"; the backbone of its reward model read on, to {figures['tokens']:,}"


def reward_card(config: Config, figures: dict[str, Any], settings: FolderSettings) -> str:
    """The card of a reward model, written when it is saved; the report stage adds results."""
    label = config.label
    rule = "all acted states, rollouts included" if label.variant == "all" else f"states with N ≥ {label.min_visits}"
    if config.fit.kind == "implicit" and config.fit.targets == "ends":
        rule = "ends of trajectories"
    return "\n".join(
        [
            _HEAD.format(tag="reward-model"),
            f"# {config.name}: reward model",
            "",
            *as_quote(worse_than_chance(figures)).splitlines(),
            f"{_form(config)} Trained on trees explored in {_environments(config)}.",
            "",
            f"- Parameters: {figures['parameters']:,}",
            f"- Labels: {figures['labels']:,} ({rule}) of {figures['trees']:,} trees, mean squared error",
            *_choice(config, settings),
            f"- Instruction it was trained with: `{config.fit.prompt}`",
            *_common(config, "fit"),
        ]
    )


def _form(config: Config) -> str:
    if config.fit.kind == "implicit":
        return (
            "A language model; the reward of a reply is β times how much likelier it finds it than the model it began "
            "as, which is stored in `reference/`."
        )
    return (
        "`AutoModelForSequenceClassification` with one bias-free output: it reads goal, history, thought and action "
        "and predicts the return."
    )


def _choice(config: Config, settings: FolderSettings) -> list[str]:
    """What dev chose besides the weights."""
    if config.fit.kind == "implicit":
        tried = ", ".join(config.fit.aggregates)
        return [f"- Reward: β = {settings.beta:g}, the {settings.aggregate} of a path's steps (dev chose of {tried})"]
    if not config.fit.likelihoods:
        return []
    tried = ", ".join(f"{weight:g}" for weight in config.fit.likelihoods)
    who = "the model finds the reply"
    if config.fit.likelihood_by == "backbone":
        who = "the language model it began as finds the reply (stored in `language/`)"
    weights = f"{settings.likelihood:g} times"
    if settings.likelihoods:
        each = ", ".join(f"{one.environment} {one.weight:g}" for one in settings.likelihoods)
        weights = f"a weight ({each}, others {settings.likelihood:g}) times"
    return [
        f"- Reward: the value plus {weights} how likely {who}: the log-probability of its least "
        f"likely token, relative to what was expected (`likelihood` in `agentrm.json`; dev chose of {tried})"
    ]


def _environments(config: Config) -> str:
    return ", ".join(section.name for section in config.environments)


def _common(config: Config, stage: str) -> list[str]:
    settings = yaml.safe_dump(msgspec.to_builtins(getattr(config, stage)), sort_keys=False, allow_unicode=True)
    return [
        f"- Seed: {config.seed}",
        f"- Command: `agentrm-train pipeline --config {config.name}`",
        "",
        "## Settings of the training stage",
        "",
        "```yaml",
        settings.rstrip(),
        "```",
        "",
    ]


def results_section(tables: str, minutes: dict[str, float], figures: dict[str, dict[str, Any]]) -> str:
    """What the report stage adds to both cards: results on unseen tasks, data and time."""
    times = "\n".join(f"| {name} | {spent:.1f} |" for name, spent in minutes.items())
    data = "\n".join(
        f"- {name}: {_data_line(name, found)}" for name, found in figures.items() if _data_line(name, found)
    )
    return "\n".join(
        [
            "## Results",
            "",
            "On test tasks whose initial state occurs nowhere in training; paired bootstrap intervals over tasks. "
            "Cost is in generated tokens.",
            "",
            tables,
            "## Data",
            "",
            data,
            "",
            "## Time",
            "",
            "| stage | minutes |",
            "|---|---|",
            times,
            "",
        ]
    )


def _data_line(stage: str, figures: dict[str, Any]) -> str:
    match stage:
        case "collect":
            counts = ", ".join(f"{name} {count:,}" for name, count in figures["trajectories"].items())
            return f"expert trajectories with outcome 1: {counts}"
        case "explore":
            counts = ", ".join(f"{name} {count:,}" for name, count in figures["trees"].items())
            return f"explored trees: {counts}"
        case "label":
            return f"{figures['labels']:,} labels, mean target {figures['mean_target']:.2f}"
        case _:
            return ""
