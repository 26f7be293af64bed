"""Is this machine ready? One line for each part, with a remedy where something is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal, NamedTuple

from agentrm_models.errors import AgentRMError, DataError, MissingExtraError
from agentrm_models.terminal_text import one_line

_PACKAGES = ("torch", "transformers", "textual", "minigrid")
_STANDS_ON = {
    "adventure": ("adventure",),
    "alfworld": ("alfworld", "textworld"),
    "babyai": ("minigrid",),
    "jericho": ("textworld", "jericho"),
    "scienceworld": ("scienceworld",),
    "webshop": ("bm25s",),
}
"""Packages that environments play, where they are not this project's own."""
_SMALLEST_TERMINAL = (80, 24)


class Check(NamedTuple):
    """What was found.

    Attributes:
        state: `missing` is needed by every run; `optional` is only needed by some.
    """

    name: str
    state: Literal["ok", "optional", "missing"]
    found: str
    remedy: str = ""

    def line(self) -> str:
        """The check as one line."""
        mark = {"ok": "ok", "optional": "--", "missing": "!!"}[self.state]
        return f"{mark}  {self.name:<19} {one_line(self.found)}{f'. {self.remedy}' if self.remedy else ''}"

    @property
    def exit_code(self) -> int:
        """0, or that of a data error when something every run needs is missing."""
        return DataError.exit_code if self.state == "missing" else 0


def check_all() -> list[Check]:
    """Run every check, in the order in which a remedy would be applied."""
    return [
        _python(),
        *(_package(name) for name in _PACKAGES),
        _llama_cpp(),
        *_models(),
        *_environments(),
        _accelerator(),
        _folder(),
        _terminal(),
    ]


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Check("python", "ok", found)


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "missing", "not installed", "Run make install.")


def _llama_cpp() -> Check:
    try:
        return Check("llama.cpp", "ok", version("llama-cpp-python"))
    except PackageNotFoundError:
        remedy = "For .gguf policies: pip install 'agentrm-tui[llama-cpp]' (needs a C++ compiler)."
        return Check("llama.cpp", "optional", "not installed", remedy)


def _models() -> list[Check]:
    from agentrm_models.bundled import bundled_models

    models = bundled_models()
    if not models:
        return [
            Check("models", "optional", "none is bundled", "Give --policy and --reward, or use scripted and random.")
        ]
    return [Check("model", "ok", f"{model.spec} ({model.role}, {model.size_bytes / 1e6:.1f} MB)") for model in models]


def _environments() -> list[Check]:
    from agentrm_tui.environments.registry import environment_names

    return [_environment(name) for name in environment_names()]


def _environment(name: str) -> Check:
    from agentrm_tui.environments.registry import make_environment

    def work() -> str:
        made = make_environment(name)
        task = made.tasks("test", None, 1)[0]
        made.reset(task)
        # What an environment has to say about data of a person's own.
        remarks: tuple[str, ...] = getattr(made, "remarks", tuple)()
        made.close()
        levels = f"{made.traits.origin}, {len(made.traits.levels)} levels"
        return "; ".join((", ".join((levels, *_stands_on(name))), *remarks))

    return _tried(f"env {name}", work)


def _stands_on(name: str) -> list[str]:
    """The software of others that an environment plays, each with its version."""
    found = [f"{package} {version(package)}" for package in _STANDS_ON.get(name, ()) if find_spec(package)]
    if name == "scienceworld":
        from agentrm_tui.environments.scienceworld.simulators import java_version

        found.append(f"Java {java_version()}".strip())
    return found


def _tried(name: str, work: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", work())
    except MissingExtraError as error:
        return Check(name, "optional", error.cause, error.remedy)
    except AgentRMError as error:
        return Check(name, "missing", error.cause, error.remedy)
    except Exception as error:
        return Check(
            name, "missing", one_line(f"{type(error).__name__}: {error}", 200), "This is a fault of the environment."
        )


def _accelerator() -> Check:
    try:
        import torch

        if torch.cuda.is_available():
            return Check("accelerator", "ok", torch.cuda.get_device_name(0))
    except Exception as error:  # a broken build or driver raises what it likes
        problem = one_line(f"unknown: torch fails by {type(error).__name__}: {error}", 200)
        return Check("accelerator", "optional", problem, "Models run on the CPU at best: install torch again.")
    return Check("accelerator", "optional", "none: models run on the CPU")


def _folder() -> Check:
    from agentrm_tui.runs.store import RUNS_VARIABLE, runs_folder

    folder = runs_folder()
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if place.is_dir() and os.access(place, os.W_OK):
        return Check("runs folder", "ok", str(folder))
    return Check("runs folder", "missing", f"{folder} cannot be written", f"Name another one in {RUNS_VARIABLE}.")


def _terminal() -> Check:
    if not sys.stdout.isatty():
        return Check("terminal", "optional", "none: runs are shown as plain text")
    size = shutil.get_terminal_size()
    found = f"{os.environ.get('TERM', 'unknown')}, {size.columns}x{size.lines}"
    if size.columns < _SMALLEST_TERMINAL[0] or size.lines < _SMALLEST_TERMINAL[1]:
        return Check("terminal", "optional", found, "Make it at least 80x24.")
    if os.environ.get("NO_COLOR"):
        found += ", NO_COLOR is set"
    return Check("terminal", "ok", found)
