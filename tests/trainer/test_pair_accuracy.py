"""Pairs ordered right, worked out by hand."""

from __future__ import annotations

import math

from agentrm_models.messages import Message
from agentrm_trainer.data.judged import Judged, JudgedGroup, pair_accuracy


def group(*worths: float) -> JudgedGroup:
    conversation = (Message("assistant", "Action: up"),)
    return JudgedGroup("ladder", "low:0", "low", tuple(Judged(conversation, worth) for worth in worths))


def test_right_wrong_and_tied_pairs():
    # Pairs: (0, .5) right, (0, 1) tied, (.5, 1) wrong.
    found = pair_accuracy([group(0.0, 0.5, 1.0)], [[0.2, 0.4, 0.2]], 0.0)
    assert (found.accuracy, found.pairs) == (0.5, 3)


def test_small_differences_make_no_pair():
    found = pair_accuracy([group(0.0, 0.05, 0.15)], [[0.0, 1.0, 2.0]], 0.1)
    assert (found.accuracy, found.pairs) == (1.0, 2)


def test_equal_worth_makes_no_pair():
    found = pair_accuracy([group(1.0, 1.0)], [[0.0, 1.0]], 0.0)
    assert math.isnan(found.accuracy)
    assert found.pairs == 0


def test_groups_are_not_mixed():
    found = pair_accuracy([group(0.0, 1.0), group(0.0, 1.0)], [[5.0, 6.0], [1.0, 0.0]], 0.0)
    assert (found.accuracy, found.pairs) == (0.5, 2)
