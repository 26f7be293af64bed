"""Where this person's settings live, and which models are taken when none is named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from agentrm_models.bundled import BundledModel, ModelRole, bundled_models
from agentrm_models.errors import UsageError
from agentrm_models.typed_path import typed_path
from agentrm_tui.environments.served import SERVED

CONFIG_VARIABLE = "AGENTRM_CONFIG"
"""Environment variable that names another folder for settings."""


def settings_folder() -> Path:
    """The user's configuration folder for this program, or what AGENTRM_CONFIG names; it need not exist."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return typed_path(named)
    from platformdirs import user_config_path

    return user_config_path("agentrm-tui")


def launcher_memory() -> Path:
    """The file that remembers the launcher's last choice."""
    return settings_folder() / "launcher.json"


def default_model(environment: str, role: ModelRole) -> str:
    """The bundled model for an environment: the first one that was trained on it, else the first one.

    Raises:
        UsageError: None is bundled.
    """
    found = suggest(environment, [model for model in bundled_models() if model.role == role])
    if found is None:
        others = "scripted, expert, human" if role == "policy" else "random"
        raise UsageError(
            f"no {'policy' if role == 'policy' else 'reward model'} is bundled with this version",
            f"Give --{role}: {others}, or the folder of a model.",
        )
    return found.spec


def suggest(environment: str, models: Sequence[BundledModel]) -> BundledModel | None:
    """The first model that was trained on an environment, else the first one; None where there is none."""
    family = family_of(environment)
    fitting = [model for model in models if family in model.environments]
    return next(iter(fitting or models), None)


def family_of(environment: str) -> str:
    """The name behind an address or a perturbation: `pddl` for `pddl:my.pddl` and for `pddl+rename-verbs`."""
    return environment.partition(":")[0].partition("+")[0]


def untrained(environment: str, known: Sequence[str], spec: str) -> str:
    """A line that says a model was trained on other environments; empty where it was not, or nobody knows."""
    if not known or family_of(environment) in known:
        return ""
    if environment == SERVED:
        return f"{spec} was trained on {', '.join(known)}"
    return f"{spec} was not trained on {family_of(environment)}, but on {', '.join(known)}"
