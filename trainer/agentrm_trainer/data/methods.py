"""The methods that `evaluate` compares: every search algorithm by its name, and a few variants of them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from agentrm_models.errors import UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_trainer.config import EvaluateSection
from agentrm_tui.runs.search_fields import fields_of, settings_of
from agentrm_tui.search.registry import ALGORITHMS, SearchSettings


class Method(NamedTuple):
    """How a method plays.

    Attributes:
        algorithm: The search.
        judge: The fitted reward model, or random scores.
        fixed: Settings of the search that make the method what it is.
        seed_offset: Added to the seed, so that its samples are not those of another method.
        at_cost_of: N is chosen so that the method generates as many tokens as this one; empty: as the settings say.
    """

    algorithm: str
    judge: Literal["fitted", "random"] = "fitted"
    fixed: tuple[tuple[str, Any], ...] = ()
    seed_offset: int = 0
    at_cost_of: str = ""


VARIANTS: dict[str, Method] = {
    # One sample more: `single` must not repeat the first of Best-of-N's.
    "single": Method("best-of-n", "random", (("n", 1),), seed_offset=1),
    "beam-random": Method("beam", "random"),
    "best-of-n-at-cost": Method("best-of-n", at_cost_of="beam"),
}


def method_names() -> tuple[str, ...]:
    """All methods."""
    return (*ALGORITHMS, *VARIANTS)


def method_named(name: str) -> Method:
    """The method of a name.

    Raises:
        UsageError: There is none; the message offers the nearest spelling.
    """
    if name in ALGORITHMS:
        return Method(name)
    if name in VARIANTS:
        return VARIANTS[name]
    raise UsageError(f"there is no method {name[:80]!r}", did_you_mean(name, method_names()))


def search_of(name: str, section: EvaluateSection, n: int = 0) -> SearchSettings:
    """The search of a method under the settings of `evaluate`.

    Args:
        n: Trajectories, where they are not those of the settings.

    Raises:
        UsageError: A setting that the search does not have or take, or one that lets it read outcomes.
    """
    method = method_named(name)
    given = dict(section.searches.get(method.algorithm, {}))
    known = {field.name for field in fields_of(method.algorithm)}
    if foreign := next((key for key in given if key not in known), None):
        raise UsageError(f"{method.algorithm} has no setting {foreign[:80]!r}", did_you_mean(foreign, known))
    usual: dict[str, dict[str, Any]] = {
        "best-of-n": {"n": section.n},
        "beam": {"beam": (section.beam_width, section.beam_samples)},
    }
    search = settings_of(
        method.algorithm, {**usual.get(method.algorithm, {}), **given, **dict(method.fixed), **({"n": n} if n else {})}
    )
    if getattr(search, "leaf", "reward") == "rollout":
        raise UsageError(f"{name} would read the outcomes of test tasks", "Leave leaf out, or set it to reward.")
    return search
