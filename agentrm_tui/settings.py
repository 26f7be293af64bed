"""Where this person's settings live, and which models are taken when none is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from agentrm_models.bundled import bundled_models
from agentrm_models.errors import UsageError
from agentrm_models.typed_path import typed_path

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


def default_model(environment: str, role: Literal["policy", "reward"]) -> str:
    """The bundled model for an environment: the one named after it, else the first one.

    Raises:
        UsageError: None is bundled.
    """
    specs = [model.spec for model in bundled_models() if model.role == role]
    named = [spec for spec in specs if environment in spec]
    if not specs:
        others = "scripted, expert, human" if role == "policy" else "random"
        raise UsageError(
            f"no {'policy' if role == 'policy' else 'reward model'} is bundled with this version",
            f"Give --{role}: {others}, or the folder of a model.",
        )
    return (named or specs)[0]
