"""Which levels a stage plays."""

from __future__ import annotations

from fake_ladder import FakeLadder

from agentrm_trainer.config import EnvironmentSection
from agentrm_trainer.data.tasks import tasks_from


def levels(section, split):
    return [task.level for task in tasks_from(FakeLadder(), section, split, 0, 4)]


def test_test_tasks_may_have_levels_of_their_own():
    one, other = FakeLadder().traits.levels[:2]
    section = EnvironmentSection(name="ladder", levels=(one, other), test_levels=(other,))
    assert levels(section, "train") == levels(section, "dev") == [one, other, one, other]
    assert levels(section, "test") == [other] * 4
    assert levels(EnvironmentSection(name="ladder", levels=(one,)), "test") == [one] * 4
