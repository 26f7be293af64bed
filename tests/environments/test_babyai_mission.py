"""Progress over the mission's parts, and what strict missions forbid."""

from __future__ import annotations

import pytest

from agentrm_tui.environments.babyai import BabyAIEnvironment
from agentrm_tui.environments.base import StepResult


def begin(task_id: str) -> tuple[BabyAIEnvironment, str, str]:
    environment = BabyAIEnvironment()
    task = environment.task(task_id)
    return environment, task.goal, environment.reset(task)


def follow(environment: BabyAIEnvironment) -> list[StepResult]:
    """Let the expert play to the end."""
    results: list[StepResult] = []
    while not results or not results[-1].done:
        results.append(environment.step(environment.expert()[1]))
    return results


def test_progress_of_putting_next_to() -> None:
    environment, goal, _ = begin("PutNextLocal:3")
    assert goal == "put the red key next to the grey key"
    outcomes = [result.outcome for result in follow(environment)]
    # The red key is seen from the start; then both keys are seen; then the red key is held; then it is done.
    assert outcomes == pytest.approx([0.2, 0.6, 1.0])


def test_progress_of_unlocking_counts_the_key_in_hand() -> None:
    environment, goal, _ = begin("UnlockLocal:4")
    assert goal == "open the door"
    results = follow(environment)
    assert "You pick up the" in results[-2].text
    assert [result.outcome for result in results[-2:]] == [0.5, 1.0]


def test_a_wrong_object_fails_a_strict_mission_early() -> None:
    environment, goal, seen = begin("GoToLocal:1")
    assert goal == "go to the purple box"
    assert "green key" in seen
    result = environment.step("go to green key")
    assert result.done and result.valid and result.outcome == 0.0
    assert "mission failed" in result.text


def test_parts_have_their_order_and_a_finished_part_keeps_its_share() -> None:
    environment, goal, _ = begin("GoToSeqS5R2:5")
    assert goal == "go to the red door after you go to the green door"
    environment.step("go to green door")
    environment.step("fly")
    environment.step("fly")
    result = environment.step("fly")
    assert result.done and result.outcome == 0.5


def test_a_wrong_door_fails_where_all_doors_are_in_one_room() -> None:
    environment, goal, _ = begin("OpenDoorsOrderN4:3")
    asked = goal.split()
    environment.step("explore")
    wrong = next(
        action
        for action in environment.valid_actions()
        if action.startswith("open ") and action.split()[1] not in asked
    )
    result = environment.step(wrong)
    assert result.done and result.outcome == 0.0


def test_picking_up_the_key_of_a_locked_door_is_never_wrong() -> None:
    environment, goal, _ = begin("UnlockPickup:4")
    assert goal == "pick up the yellow box"
    environment.step("explore")
    result = environment.step("pick up purple key")
    assert not result.done


def test_destroying_what_the_mission_needs_fails_it() -> None:
    environment, goal, _ = begin("UnlockPickup:4")
    assert goal == "pick up the yellow box"
    for action in ("explore", "pick up purple key", "go through purple door", "turn left"):
        seen = environment.step(action)
    assert "yellow box (1 ahead)" in seen.text
    result = environment.step("toggle")
    assert result.done and result.valid and result.outcome == 0.0
    assert "destroyed" in result.text
