"""Environments by name (the entry-point group `agentrm_tui.environments`) or by address (`agentrm_tui.addresses`).

A name is all that a built-in or installed environment needs. An address, `KIND:WHERE`, says where one is found that the
program did not come with: a file or a server. Behind either, `+RULE` names a perturbation, and another one may follow.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from agentrm_models.errors import DataError, UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.boundary import admit
from agentrm_tui.environments.served import SERVED, not_playable

GROUP = "agentrm_tui.environments"

ADDRESS_GROUP = "agentrm_tui.addresses"
"""Classes that are made with what stands behind the colon of `KIND:WHERE`."""

OWN_MODULES = "agentrm_tui.environments."
"""Environments of this package are not checked at each step: their tests hold them to the same rules."""


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
        name: A registered name, or an address `KIND:WHERE`; `+PERTURBATION` behind it changes its words.

    Raises:
        UsageError: No such name or kind of address; the message offers the nearest one.
        DataError: It is installed but cannot be imported here, there is nothing usable at the address, or an
            environment that did not come with this program breaks the rules (see `boundary`).
    """
    plain, plus, rule = name.rpartition("+")
    if plus and (":" not in name or rule.partition("@")[0] in _perturbations()):
        return _perturbed(plain, rule)
    if name == SERVED:
        raise not_playable()
    kind, colon, where = name.partition(":")
    points = _addressed() if colon else _installed()
    point = points.get(kind)
    if point is None:
        raise UsageError(*_unknown(name, kind, bool(colon)))
    if colon and not where:
        raise UsageError(f"environment {name!r} lacks what comes after the colon", f"Write {kind}:WHERE.")
    if not point.value.startswith(OWN_MODULES):
        return admit(kind, point, *([where] if colon else []))
    try:
        made = point.load()
        environment: Environment = made(where) if colon else made()
    except ImportError as error:
        raise DataError(f"environment {kind!r} cannot be loaded: {error}") from error
    return environment


def _perturbations() -> tuple[str, ...]:
    from agentrm_tui.environments.perturbed import PERTURBATIONS

    return tuple(PERTURBATIONS)


def _perturbed(plain: str, rule: str) -> Environment:
    from agentrm_tui.environments.perturbed import PerturbedEnvironment, make_rule

    make_rule(rule)  # a wrong name is told before an environment is made
    return PerturbedEnvironment(make_environment(plain), rule)


def _unknown(name: str, kind: str, address: bool) -> tuple[str, str]:
    """What is wrong with a name, and the nearest right one."""
    if not address and kind in _addressed():
        return f"environment {kind!r} needs an address", f"Write {kind}:WHERE; see agentrm-tui list environments."
    known = [*(f"{kind}:…" for kind in _addressed()), *_installed()]
    wanted = f"{kind}:…" if address else kind
    return f"unknown environment {name[:80]!r}", did_you_mean(wanted, known)
