"""Environments by name (the entry-point group `agentrm_tui.environments`) or by address (`agentrm_tui.addresses`).

A name is all that a built-in or installed environment needs. An address, `KIND:WHERE`, says where one is found that the
program did not come with: a file or a server.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from agentrm_models.errors import DataError, UsageError
from agentrm_tui.environments.base import Environment

GROUP = "agentrm_tui.environments"

ADDRESS_GROUP = "agentrm_tui.addresses"
"""Classes that are made with what stands behind the colon of `KIND:WHERE`."""


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


@cache
def _addressed() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=ADDRESS_GROUP), key=lambda point: point.name)}


def environment_names() -> tuple[str, ...]:
    """All installed names, sorted. Imports none of the environments."""
    return tuple(_installed())


def address_kinds() -> tuple[str, ...]:
    """All kinds of address, sorted: what may stand before the colon."""
    return tuple(_addressed())


def make_environment(name: str) -> Environment:
    """Create a fresh instance.

    Args:
        name: A registered name, or an address `KIND:WHERE`.

    Raises:
        UsageError: No such name or kind of address; the message offers the nearest one.
        DataError: It is installed but cannot be imported here, or there is nothing usable at the address.
    """
    kind, colon, where = name.partition(":")
    points = _addressed() if colon else _installed()
    point = points.get(kind)
    if point is None:
        raise UsageError(*_unknown(name, kind, bool(colon)))
    if colon and not where:
        raise UsageError(f"environment {name!r} lacks what comes after the colon", f"Write {kind}:WHERE.")
    try:
        made = point.load()
        environment: Environment = made(where) if colon else made()
    except ImportError as error:
        raise DataError(f"environment {kind!r} cannot be loaded: {error}") from error
    return environment


def _unknown(name: str, kind: str, address: bool) -> tuple[str, str]:
    """What is wrong with a name, and the nearest right one."""
    if not address and kind in _addressed():
        return f"environment {kind!r} needs an address", f"Write {kind}:WHERE; see agentrm-tui list environments."
    known = [*(f"{kind}:…" for kind in _addressed()), *_installed()]
    wanted = f"{kind}:…" if address else kind
    near = get_close_matches(wanted[:80], known, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
    return f"unknown environment {name[:80]!r}", hint
