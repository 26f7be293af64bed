"""Bootstrap intervals with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_trainer.reports.bootstrap import bootstrap_mean


def test_equal_values_have_no_width():
    interval = bootstrap_mean([3.0] * 10, 500, 0)
    assert (interval.mean, interval.low, interval.high) == (3.0, 3.0, 3.0)


def test_a_normal_sample_gives_the_textbook_interval():
    values = np.random.default_rng(1).normal(10, 2, 400)
    interval = bootstrap_mean(list(values), 4_000, 0)
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_coin_flips_have_the_binomial_percentiles():
    interval = bootstrap_mean([0.0, 1.0] * 50, 20_000, 3)
    assert (interval.low, interval.high) == (0.40, 0.60)


def test_a_seed_repeats_its_interval():
    values = [0.1, 0.5, 0.2, 0.9]
    assert bootstrap_mean(values, 300, 7) == bootstrap_mean(values, 300, 7)
    assert bootstrap_mean(values, 300, 7) != bootstrap_mean(values, 300, 8)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_the_mean_lies_in_the_range_of_the_values(values):
    interval = bootstrap_mean(values, 100, 0)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9
