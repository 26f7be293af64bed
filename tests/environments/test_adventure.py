"""Colossal Cave as an environment: subgoals with known answers, early ends, and the whole game."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_tui.environments.adventure import AdventureEnvironment
from agentrm_tui.environments.adventure.environment import REFUSAL_LIMIT, WHOLE_GAME
from agentrm_tui.environments.adventure.quests import QUESTS
from agentrm_tui.environments.adventure.starts import make_start
from agentrm_tui.environments.base import StepResult


def play(env: AdventureEnvironment, *actions: str) -> list[StepResult]:
    return [env.step(action) for action in actions]


def follow(env: AdventureEnvironment, most: int = 500) -> StepResult:
    result = StepResult("", 0.0, False, True)
    for _ in range(most):
        action = env.expert()[1]
        if not action or result.done:
            break
        result = env.step(action)
    return result


@pytest.mark.parametrize("level", QUESTS)
def test_the_expert_reaches_every_subgoal_within_twenty_steps(level: str) -> None:
    env = AdventureEnvironment()
    goals = set()
    for seed in range(5):
        task = env.task(f"{level}:{seed}")
        assert task.step_limit <= 20
        first = env.reset(task)
        goals.add((first, task.goal))
        result = follow(env)
        assert result.done and result.outcome == 1.0, task.id
    assert len(goals) > 1, "all seeds are the same task"


def test_the_fissure_is_crossed_by_waving_the_rod() -> None:
    env = AdventureEnvironment()
    task = next(
        task
        for task in (env.task(f"fissure:{seed}") for seed in range(50))
        if (state := make_start("fissure", task.seed).state).room == 17 and state.things[4].held
    )
    env.reset(task)
    first, second = play(env, "wave rod", "go west")
    assert first == StepResult("A crystal bridge now spans the fissure.", 0.5, False, True)
    assert second.outcome == 1.0 and second.done


def test_bare_hands_kill_the_dragon_after_a_question_that_a_snapshot_keeps() -> None:
    env, other = AdventureEnvironment(), AdventureEnvironment()
    task = env.task("dragon:3")
    env.reset(task)
    while env.expert()[1] != "attack dragon":
        env.step(env.expert()[1])
    asked = env.step("attack dragon")
    assert "bare hands" in asked.text
    other.restore(env.snapshot())
    assert other.valid_actions() == env.valid_actions() == ("yes", "no")
    assert "vanquished a dragon" in other.step("yes").text
    assert other.step("take rug").outcome == 1.0
    assert env.snapshot().state.question is not None


def test_leaving_the_task_s_part_of_the_cave_fails() -> None:
    env = AdventureEnvironment()
    env.reset(env.task("xyzzy:0"))
    while env.snapshot().state.room != 9:
        env.step(next(word for word in ("entrance", "east") if word in env.valid_actions()))
    result = env.step("up")
    assert result.done and result.valid and "failed" in result.text and result.outcome < 1.0


def test_walking_on_in_the_dark_ends_the_episode() -> None:
    env = AdventureEnvironment()
    env.reset(env.task("treasures:1"))
    first = env.step("extinguish lamp")
    assert "pitch dark" in first.text and not first.done
    fall = env.step(next(word for word in env.valid_actions() if word in ("north", "south", "east", "west", "out")))
    assert fall.done and "fell into a pit" in fall.text


def test_killing_the_bird_loses_the_task() -> None:
    env = AdventureEnvironment()
    env.reset(env.task("bird:0"))
    while env.expert()[1] != "take bird":
        env.step(env.expert()[1])
    result = env.step("attack bird")
    assert result.done and "lost" in result.text and result.outcome == 0.0


def test_refused_actions_take_no_turn_of_the_game_and_the_last_ends_the_episode() -> None:
    env = AdventureEnvironment()
    env.reset(env.task("gold:2"))
    state = env.snapshot().state
    for count in range(1, REFUSAL_LIMIT + 1):
        result = env.step("unlock dragon")
        assert not result.valid and result.done == (count == REFUSAL_LIMIT)
        assert env.snapshot().state == state


@pytest.mark.parametrize("command", ["save game.sav", "suspend game", "pause lamp", "lamp save", "quit", "save"])
def test_nothing_is_written_and_the_game_is_not_left(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = AdventureEnvironment()
    env.reset(env.task("lamp:0"))
    assert not env.step(command).valid
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(level=st.sampled_from([*QUESTS, WHOLE_GAME]), seed=st.integers(0, 3), data=st.data())
def test_snapshots_restore_in_any_instance(level: str, seed: int, data: st.DataObject) -> None:
    env, other = AdventureEnvironment(), AdventureEnvironment()
    env.reset(env.task(f"{level}:{seed}"))
    for _ in range(data.draw(st.integers(0, 6))):
        if env.step(data.draw(st.sampled_from(env.valid_actions()))).done:
            return
    snapshot = env.snapshot()
    action = data.draw(st.sampled_from(env.valid_actions()))
    expected, after = env.step(action), env.snapshot()
    other.restore(snapshot)
    assert (other.step(action), other.snapshot()) == (expected, after)
    env.restore(snapshot)
    assert (env.step(action), env.snapshot()) == (expected, after)


@pytest.mark.parametrize("level", QUESTS)
def test_from_the_middle_of_an_episode_the_expert_succeeds_or_is_silent_from_the_start(level: str) -> None:
    env = AdventureEnvironment()
    rng = random.Random(f"middle/{level}")
    spoken = 0
    for seed in range(3):
        env.reset(env.task(f"{level}:{seed}"))
        for _ in range(5):
            before = env.snapshot()
            if env.step(rng.choice(env.valid_actions())).done:
                env.restore(before)
        if not env.expert()[1]:
            continue
        spoken += 1
        env.restore(env.snapshot()._replace(steps=-100))
        result = follow(env, 60)
        assert result.outcome == 1.0, f"{level}:{seed}"
    assert spoken


def test_the_whole_game_is_finished_with_one_point_missing() -> None:
    env = AdventureEnvironment()
    for seed in (0, 1):
        env.reset(env.task(f"{WHOLE_GAME}:{seed}"))
        result = follow(env)
        assert result.outcome == pytest.approx(349 / 350)
        assert result.done and "349 out of a possible 350" in result.text


def test_the_whole_game_starts_with_the_points_of_being_alive() -> None:
    env = AdventureEnvironment()
    assert env.reset(env.task("whole-game:4")).startswith("You are standing at the end of a road")
    assert env.step("enter").outcome == pytest.approx(36 / 350)


def test_observations_of_the_expert_are_short() -> None:
    env = AdventureEnvironment()
    counts = []
    for task in env.tasks("dev", count=len(QUESTS)):
        counts.append(len(env.reset(task).split()))
        done = False
        while not done:
            result = env.step(env.expert()[1])
            counts.append(len(result.text.split()))
            done = result.done
    assert sum(counts) / len(counts) < 45
