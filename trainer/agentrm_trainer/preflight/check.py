"""Runs every rule, and tells the first mistake with its place; the others are counted."""

from __future__ import annotations

from pathlib import Path

from agentrm_models.errors import UsageError
from agentrm_trainer.config_file import ConfigFile
from agentrm_trainer.preflight import environments, machine, settings
from agentrm_trainer.preflight.mistakes import Given, Mistake
from agentrm_trainer.workflow.registry import STAGES


def check(file: ConfigFile, out: Path, stage: str = "") -> None:
    """Refuse before any work what would fail later. Nothing is written.

    Args:
        out: The folder of all results.
        stage: The one stage that will run; empty for all. What its machine lacks for the others is no mistake.

    Raises:
        UsageError: There is a mistake; one line with file, line, key, value and remedy.
    """
    given = Given(file, out, (stage,) if stage else tuple(known.name for known in STAGES))
    for rules in (settings.RULES, environments.RULES, machine.RULES):
        mistakes = [mistake for rule in rules for mistake in rule(given)]
        if mistakes:
            raise _told(file, mistakes)


def _told(file: ConfigFile, mistakes: list[Mistake]) -> UsageError:
    first, more = mistakes[0], len(mistakes) - 1
    place = first.key if first.key.startswith("--") else f"{file.place.of(first.key)}: {first.key}"
    others = f" ({more} more mistake{'s' if more > 1 else ''} after this one)" if more else ""
    return UsageError(f"{place}: {first.cause}", f"{first.remedy}{others}")
