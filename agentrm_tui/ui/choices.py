"""The launcher's choices: remembered between starts, and made into a plan."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from agentrm_models.bundled import bundled_models
from agentrm_models.errors import UsageError
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.settings import Algorithm, SearchSettings
from agentrm_tui.settings import family_of, suggest
from agentrm_tui.ui.catalog import Offer

MIX = "(mix)"
"""Level that stands for the environment's own mix of levels."""


class Choices(msgspec.Struct, frozen=True):
    """What is filled in on the launcher.

    Attributes:
        seed: Seed of the first task; the next tasks take the next seeds.
        numbers: The two numbers of the search: beams and samples, N, or iterations and branching.
    """

    environment: str = ""
    level: str = MIX
    seed: int = 9_000_000
    episodes: int = 1
    policy: str = ""
    reward: str = ""
    algorithm: Algorithm = "beam"
    first_number: int = 5
    second_number: int = 5
    temperature: float = 0.7
    theme: str = ""


NUMBER_NAMES: dict[Algorithm, tuple[str, str]] = {
    "greedy": ("", ""),
    "best-of-n": ("Trajectories", ""),
    "beam": ("Beams", "Samples each"),
    "mcts": ("Iterations", "Branching"),
}
USUAL_NUMBERS: dict[Algorithm, tuple[int, int]] = {
    "greedy": (1, 1),
    "best-of-n": (5, 1),
    "beam": (5, 5),
    "mcts": (40, 5),
}


def load_choices(memory: Path) -> Choices:
    """The last choice; defaults where there is none or it cannot be read."""
    with suppress(OSError, msgspec.DecodeError, msgspec.ValidationError):
        return msgspec.json.decode(memory.read_bytes(), type=Choices)
    return Choices()


def save_choices(memory: Path, choices: Choices) -> None:
    """Remember a choice; a folder that cannot be written is no reason to stop."""
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_bytes(msgspec.json.format(msgspec.json.encode(choices), indent=2))


def known_policies() -> list[str]:
    """Specs of policies that need nothing but this package."""
    bundled = [model.spec for model in bundled_models() if model.role == "policy"]
    return [*dict.fromkeys(bundled), "scripted", "expert", "human"]


def known_rewards() -> list[str]:
    """Specs of reward models that need nothing but this package."""
    bundled = [model.spec for model in bundled_models() if model.role == "reward"]
    return [*dict.fromkeys(bundled), "random"]


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
    seeds = range(choices.seed, choices.seed + choices.episodes)
    return tuple(f"{levels[seed % len(levels)]}:{seed}" for seed in seeds)


def plan_from(choices: Choices, offer: Offer) -> RunPlan:
    """The plan that the choices describe.

    Raises:
        UsageError: A choice that cannot be run.
    """
    if not choices.policy:
        raise UsageError("no policy is chosen")
    if choices.algorithm != "greedy" and not choices.reward:
        raise UsageError(f"{choices.algorithm} needs a reward model")
    return RunPlan(
        environment=choices.environment,
        tasks=task_ids(choices, offer),
        policy=choices.policy,
        reward=choices.reward,
        search=search_settings(choices),
        temperature=choices.temperature,
        max_tokens=64,
    )


def search_settings(choices: Choices) -> SearchSettings:
    """The search with its numbers."""
    first, second = choices.first_number, choices.second_number
    match choices.algorithm:
        case "best-of-n":
            return SearchSettings(algorithm="best-of-n", n=first)
        case "beam":
            return SearchSettings(algorithm="beam", beam_width=first, beam_samples=second)
        case "mcts":
            return SearchSettings(algorithm="mcts", iterations=first, branching=second)
        case "greedy":
            return SearchSettings(algorithm="greedy")
