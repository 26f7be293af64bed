"""What the rewards of a path's steps make of the path."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agentrm_models.folder_settings import Aggregate
from agentrm_models.rewards.base import ScoreUnit


def aggregated(rewards: Sequence[float], kind: Aggregate) -> float:
    """The value of a path with at least one step.

    Args:
        rewards: Of its steps, in order.
    """
    match kind:
        case "sum":
            return math.fsum(rewards)
        case "mean":
            return math.fsum(rewards) / len(rewards)
        case "min":
            return min(rewards)
        case "last":
            return rewards[-1]


def unit_of(kind: Aggregate) -> ScoreUnit:
    """What such a value judges: the last step alone, or all steps, which must not be aggregated a second time."""
    return "step" if kind == "last" else "trajectory"
