"""Whether a server gives a classifier's raw outputs or probabilities, found out by asking both ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from agentrm_models.rewards.served.apis import Switch

Kind: TypeAlias = Literal["raw", "probabilities", "unknown"]

SAME = 1e-6
"""Values that differ by less were computed alike."""

LARGEST_LOG_ODDS = 16.0
"""A probability in float32 tells no larger log-odds apart: beyond, it is rounded to 1."""


class Values(NamedTuple):
    """What a server gives.

    Attributes:
        switch: The parameter with which it is asked.
        kind: `unknown` where all values of the probe lie between 0 and 1, however it was asked.
    """

    switch: Switch
    kind: Kind


def find_values(ask: Callable[[Switch], Sequence[Sequence[float]]], switches: Sequence[Switch]) -> Values:
    """Ask for raw values, and where they look like probabilities also for these: raw ones are different.

    Args:
        ask: Gives the outputs of a few texts.
        switches: Parameters that ask for raw values, in the order in which they are tried.
    """
    for switch in switches or ({},):
        rows = ask(switch)
        if not all(0 <= value <= 1 for row in rows for value in row):
            return Values(switch, "raw")
        if switch and _differ(rows, ask({name: not value for name, value in switch.items()})):
            return Values(switch, "raw")
    several = all(len(row) > 1 and abs(sum(row) - 1) < 1e-3 for row in rows)
    return Values(switches[0] if switches else {}, "probabilities" if several else "unknown")


def log_odds(probability: float) -> float:
    """The raw value behind a sigmoid; bounded, since a probability that was rounded to 1 has none."""
    if probability <= 0 or probability >= 1:
        return math.copysign(LARGEST_LOG_ODDS, probability - 0.5)
    return max(-LARGEST_LOG_ODDS, min(LARGEST_LOG_ODDS, math.log(probability) - math.log1p(-probability)))


def _differ(rows: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> bool:
    pairs = zip((value for row in rows for value in row), (value for row in others for value in row), strict=True)
    return any(abs(one - other) > SAME for one, other in pairs)
