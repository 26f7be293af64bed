"""The light parts stay light: a fresh process that imports them has loaded no model library, environment or screen."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODELS = (
    "torch",
    "transformers",
    "llama_cpp",
    "accelerate",
    "safetensors.torch",
    "gymnasium",
    "minigrid",
    "numpy",
    "httpx2",
)
SCREEN = ("textual",)


def loaded_by(script: str, *arguments: str) -> set[str]:
    """The names in `sys.modules` after a fresh interpreter has run a script."""
    report = f"import sys\ntry:\n{_indent(script)}\nfinally:\n    print('\\n@@@', *sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", report, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert "@@@" in ended.stdout, ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr
    return set(ended.stdout.rpartition("@@@")[2].split())


def _indent(script: str) -> str:
    return "\n".join(f"    {line}" for line in script.splitlines())


def heavy(loaded: set[str], *, screen: bool) -> list[str]:
    """Which of the forbidden names are among them."""
    return [name for name in MODELS + (SCREEN if screen else ()) if name in loaded]


@pytest.mark.parametrize(
    "module",
    [
        "agentrm_models.errors",
        "agentrm_models.messages",
        "agentrm_models.specs",
        "agentrm_models.usage",
        "agentrm_models.policies.base",
        "agentrm_models.rewards.base",
        "agentrm_tui.cli",
        "agentrm_tui.engine.commands",
        "agentrm_tui.engine.link",
        "agentrm_tui.environments.base",
        "agentrm_tui.environments.declared",
        "agentrm_tui.environments.pictures",
        "agentrm_tui.environments.registry",
        "agentrm_models.http",
        "agentrm_models.policies.openai_api",
        "agentrm_models.replies",
        "agentrm_models.spelling",
        "agentrm_tui.runs.events",
        "agentrm_tui.runs.plan",
        "agentrm_tui.runs.state",
        "agentrm_tui.runs.store",
        "agentrm_tui.search",
    ],
)
def test_light_module(module: str) -> None:
    loaded = loaded_by(f"import importlib, sys\nimportlib.import_module({module!r})")
    assert module in loaded
    assert heavy(loaded, screen=True) == []


def test_every_search_module_is_light() -> None:
    loaded = loaded_by(
        "import importlib, pkgutil, agentrm_tui.search as search\n"
        "for found in pkgutil.walk_packages(search.__path__, 'agentrm_tui.search.'):\n"
        "    importlib.import_module(found.name)"
    )
    assert sum(name.startswith("agentrm_tui.search.") for name in loaded) >= 7
    assert heavy(loaded, screen=True) == []


HELP = [("--help",), ("run", "--help"), ("list", "environments", "--help"), ("serve", "--help")]


@pytest.mark.parametrize("arguments", HELP)
def test_help_is_light(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by("from agentrm_tui.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass", *arguments)
    assert heavy(loaded, screen=True) == []


def test_listing_environment_names_imports_none_of_them() -> None:
    loaded = loaded_by("from agentrm_tui.environments.registry import environment_names\nassert environment_names()")
    assert heavy(loaded, screen=True) == []
    assert "agentrm_tui.environments.maze" not in loaded


def test_the_screen_loads_no_model_library() -> None:
    loaded = loaded_by("import agentrm_tui.ui.app")
    assert "textual" in loaded
    assert [name for name in heavy(loaded, screen=False) if name != "numpy"] == []


def test_the_tool_that_looks_would_see_a_heavy_import() -> None:
    assert heavy(loaded_by("import numpy"), screen=True) == ["numpy"]


def test_import_contracts_hold() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run(
        [str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout
    assert f"{len(contracts)} kept, 0 broken" in ended.stdout
