"""A reward model that orders dev states worse than a coin would: said wherever its figures are read."""

from __future__ import annotations

from typing import Any

from agentrm_models.errors import AgentRMError
from agentrm_trainer.workflow.workspace import Workspace

CHANCE = 0.5
"""Pair accuracy of a model that knows nothing."""

KINDS = ("siblings", "ends")
"""Kinds of dev states, by the names that the figures of an evaluation have."""


class WorseThanChanceError(AgentRMError):
    """The fitted reward model orders dev states worse than chance, and the settings ask for better (exit code 5)."""

    exit_code = 5


def kept_evaluation(figures: dict[str, Any]) -> dict[str, Any]:
    """The evaluation of the model that was kept: the first of the best ones; empty where dev was not measured."""
    evaluations: list[dict[str, Any]] = figures.get("evaluations", [])
    return max(evaluations, key=lambda found: float(found["selection"]), default={})


def worse_than_chance(figures: dict[str, Any]) -> str:
    """One sentence about the kinds of dev states that a fitted model orders worse than chance; empty for none.

    Args:
        figures: What the `fit` stage has measured.
    """
    kept = kept_evaluation(figures)
    found = [
        f"{kind} {kept[f'{kind}_accuracy']:.2f} of {kept[f'{kind}_pairs']} pairs"
        for kind in KINDS
        if kept.get(f"{kind}_accuracy", CHANCE) < CHANCE
    ]
    return f"the reward model is worse than chance on dev ({', '.join(found)})" if found else ""


def as_quote(sentence: str) -> str:
    """The sentence as a warning in Markdown; empty for none."""
    return f"> **Warning:** {sentence}. A search that follows it does worse than a random one.\n\n" if sentence else ""


def judge_reward_model(workspace: Workspace) -> None:
    """Say it where a fitted reward model is worse than chance.

    Raises:
        WorseThanChanceError: It is, and `fit.require_better_than_chance` is set.
    """
    sentence = worse_than_chance(workspace.done("fit").figures)
    if not sentence:
        return
    if workspace.config.fit.require_better_than_chance:
        raise WorseThanChanceError(sentence, "Explore more, fit for longer, or raise explore.dev_sibling_states.")
    workspace.display.say(f"WARNING: {sentence}")


def warning_of(workspace: Workspace) -> str:
    """What a pipeline's last line adds about its reward model; empty where there is nothing to say."""
    sentence = worse_than_chance(workspace.done("fit").figures)
    return f". WARNING: {sentence}" if sentence else ""
