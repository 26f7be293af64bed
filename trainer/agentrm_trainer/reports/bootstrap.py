"""Paired bootstrap intervals over tasks (Efron & Tibshirani 1993, percentile method)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np


class Interval(msgspec.Struct, frozen=True):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: Sequence[float], draws: int, seed: int) -> Interval:
    """Mean of values and the 2.5 % and 97.5 % percentiles of the means of resampled values.

    For a paired comparison give the differences, task by task.

    Args:
        values: One for each task; at least one.
        draws: Number of resamples.
    """
    data = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for first in range(0, draws, 500):
        count = min(500, draws - first)
        means[first : first + count] = data[rng.integers(0, len(data), (count, len(data)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(data.mean()), float(low), float(high))
