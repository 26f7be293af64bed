"""What the steps of a path make of it, worked out by hand."""

from __future__ import annotations

from itertools import accumulate
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.folder_settings import Aggregate
from agentrm_models.rewards.aggregation import aggregated, unit_of

KINDS: tuple[Aggregate, ...] = get_args(Aggregate)


def test_known_values() -> None:
    steps = [4.9, 4.4, 4.4, -1.0]
    assert {kind: pytest.approx(aggregated(steps[:3], kind)) for kind in KINDS} == {
        "sum": 13.7,
        "mean": 13.7 / 3,
        "min": 4.4,
        "last": 4.4,
    }
    assert [aggregated(steps, kind) for kind in ("min", "last")] == [-1.0, -1.0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_only_the_last_step_is_judged_apart_from_its_path(steps: list[float]) -> None:
    """Values of one step can be aggregated by a search as the model would; those of paths are that already."""
    for kind in KINDS:
        prefixes = [aggregated(steps[: count + 1], kind) for count in range(len(steps))]
        if unit_of(kind) == "step":
            assert prefixes == steps
        elif kind == "sum":
            assert prefixes == pytest.approx(list(accumulate(steps)), abs=1e-6)
        elif kind == "min":
            assert prefixes == list(accumulate(steps, min))
