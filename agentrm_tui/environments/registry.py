"""Environments by name: the entry-point group `agentrm_tui.environments`."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from agentrm_models.errors import DataError, UsageError
from agentrm_tui.environments.base import Environment

GROUP = "agentrm_tui.environments"


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def environment_names() -> tuple[str, ...]:
    """All installed names, sorted. Imports none of the environments."""
    return tuple(_installed())


def make_environment(name: str) -> Environment:
    """Create a fresh instance.

    Raises:
        UsageError: No such name; the message offers the nearest one.
        DataError: It is installed but cannot be imported here.
    """
    point = _installed().get(name)
    if point is None:
        near = get_close_matches(name, _installed(), n=1, cutoff=0.4)
        known = ", ".join(_installed())
        raise UsageError(
            f"unknown environment {name[:80]!r}", f"Did you mean {near[0]!r}?" if near else f"Known: {known}."
        )
    try:
        environment: Environment = point.load()()
    except ImportError as error:
        raise DataError(f"environment {name!r} cannot be loaded: {error}") from error
    return environment
