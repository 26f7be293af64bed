"""The launcher's choices: remembered between starts, and made into a plan."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from agentrm_models.bundled import bundled_models
from agentrm_models.errors import AgentRMError, UsageError
from agentrm_models.packaged import installed_models
from agentrm_models.terminal_text import one_line
from agentrm_tui.environments.task_choice import seeded_ids
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import fields_of, settings_of
from agentrm_tui.search.registry import ALGORITHMS, SearchSettings
from agentrm_tui.settings import family_of, suggest
from agentrm_tui.ui.catalog import Offer

MIX = "(mix)"
"""Level that stands for the environment's own mix of levels."""


class Choices(msgspec.Struct, frozen=True):
    """What is filled in on the launcher.

    Attributes:
        seed: Seed of the first task; the next tasks take the next seeds.
        search: What was typed for the settings of each algorithm, by name.
        theme: The colours that were chosen last; empty for the program's own.
    """

    environment: str = ""
    level: str = MIX
    seed: int = 9_000_000
    episodes: int = 1
    policy: str = ""
    reward: str = ""
    algorithm: str = "beam"
    search: dict[str, dict[str, str]] = {}
    temperature: float = 0.7
    theme: str = ""


def typed_settings(choices: Choices, algorithm: str) -> dict[str, str]:
    """The settings of an algorithm as they stand in the form: what was typed last, else the defaults."""
    typed = choices.search.get(algorithm, {})
    return {field.name: typed.get(field.name, field.write(field.default)) for field in fields_of(algorithm)}


def load_choices(memory: Path) -> Choices:
    """The last choice; defaults where there is none or it cannot be read."""
    with suppress(OSError, msgspec.DecodeError, msgspec.ValidationError):
        choices = msgspec.json.decode(memory.read_bytes(), type=Choices)
        return choices if choices.algorithm in ALGORITHMS else Choices()
    return Choices()


def save_choices(memory: Path, choices: Choices) -> None:
    """Remember a choice beside the theme; a folder that cannot be written is no reason to stop."""
    _write(memory, msgspec.structs.replace(choices, theme=load_choices(memory).theme))


def save_theme(memory: Path, theme: str) -> None:
    """Remember a theme beside the last choice."""
    _write(memory, msgspec.structs.replace(load_choices(memory), theme=theme))


def _write(memory: Path, choices: Choices) -> None:
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_bytes(msgspec.json.format(msgspec.json.encode(choices), indent=2))


def known_policies() -> list[str]:
    """Specs of policies that are here: bundled, brought by an installed package, or without a model."""
    bundled = [model.spec for model in bundled_models() if model.role == "policy"]
    return [*dict.fromkeys(bundled), *(model.spec for model in installed_models()), "scripted", "expert", "human"]


def known_rewards() -> list[str]:
    """Specs of reward models that need nothing but this package."""
    bundled = [model.spec for model in bundled_models() if model.role == "reward"]
    return [*dict.fromkeys(bundled), "random"]


def what_it_is(typed: str, field: str | None) -> str:
    """One line on what a typed spec of a policy or a reward model names, or on what is wrong with it."""
    from agentrm_models.specs import describe_spec  # the first picture does not wait for it

    try:
        words = describe_spec(typed.strip(), "reward" if field == "reward" else "policy")
    except AgentRMError as error:
        return one_line(str(error))
    return one_line(f"{words[:1].upper()}{words[1:]}.")


def usual_policy(environment: str) -> str:
    """The spec of the policy that fits an environment best: a bundled one where there is one."""
    found = suggest(environment, [model for model in bundled_models() if model.role == "policy"])
    return found.spec if found is not None else known_policies()[0]


def usual_reward(environment: str) -> str:
    """The spec of the reward model that fits an environment best: a bundled one where there is one."""
    found = suggest(environment, [model for model in bundled_models() if model.role == "reward"])
    return found.spec if found is not None else known_rewards()[0]


def unlearned(environment: str) -> bool:
    """Whether models are bundled, and none of the policies was trained on an environment."""
    policies = [model for model in bundled_models() if model.role == "policy" and model.environments]
    return bool(policies) and not any(family_of(environment) in model.environments for model in policies)


def task_ids(choices: Choices, offer: Offer) -> tuple[str, ...]:
    """The ids of the chosen tasks.

    Raises:
        UsageError: The environment has no such level.
    """
    if not offer.procedural:
        first = offer.tasks.index(choices.level) if choices.level in offer.tasks else choices.seed % len(offer.tasks)
        return offer.tasks[first : first + choices.episodes]
    if choices.level != MIX and choices.level not in offer.levels:
        raise UsageError(f"{choices.environment} has no level {choices.level!r}")
    levels = offer.mix if choices.level == MIX else (choices.level,)
    return seeded_ids(levels, choices.seed, choices.episodes)


def plan_from(choices: Choices, offer: Offer) -> RunPlan:
    """The plan that the choices describe.

    Raises:
        UsageError: A choice that cannot be run.
    """
    if not choices.policy:
        raise UsageError("no policy is chosen")
    search = search_settings(choices)
    if search.needs_reward and not choices.reward:
        raise UsageError(f"{search.name} needs a reward model")
    return RunPlan(
        environment=choices.environment,
        tasks=task_ids(choices, offer),
        policy=choices.policy,
        reward=choices.reward,
        search=search,
        temperature=choices.temperature,
        max_tokens=64,
    )


def search_settings(choices: Choices) -> SearchSettings:
    """The search with its settings.

    Raises:
        UsageError: Something that was typed is not what the setting takes.
    """
    typed = typed_settings(choices, choices.algorithm)
    return settings_of(
        choices.algorithm, {field.name: field.read(typed[field.name]) for field in fields_of(choices.algorithm)}
    )
