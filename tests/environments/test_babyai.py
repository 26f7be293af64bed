"""BabyAI as an environment: the contract, hostile actions, snapshots, and that nothing leaks."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.errors import UsageError
from agentrm_tui.environments.babyai import EXCLUDED, INVALID_LIMIT, LEVELS, MIX, BabyAIEnvironment
from agentrm_tui.environments.base import StepResult
from agentrm_tui.environments.pictures import decode_picture, encode_picture
from agentrm_tui.environments.registry import make_environment

seeds = st.integers(0, 1_000_000)
picks = st.lists(st.integers(0, 1_000), max_size=12)
some_levels = st.sampled_from((*MIX, "Synth", "BossLevel", "UnblockPickup", "KeyCorridorS3R3", "OpenDoorLoc"))
HOSTILE = (
    "",
    " ",
    "\n",
    "x" * 1_000_000,
    "go to " * 30,
    "\x00\x07\x1b[31mred\x1b[0m",
    '{"action": "go to',
    "go to red ball 99999999999999999999",
    "go to red ball 0",
    "go to the the red ball",
    "put  next to ",
    "pick up door",
    "open ball",
    "GO TO RED BALL.",
    "[bold]go to[/bold]",
    "گو تو ٣",
)


def play(environment: BabyAIEnvironment, choices: list[int]) -> list[object]:
    """Play valid actions by number and record everything that can be seen."""
    record: list[object] = []
    for choice in choices:
        valid = environment.valid_actions()
        result = environment.step(valid[choice % len(valid)])
        record += [valid, result, environment.state_key(), environment.picture(), environment.expert()]
        if result.done:
            break
    return record


def test_importing_the_package_imports_no_minigrid() -> None:
    code = (
        "import sys; from agentrm_tui.environments.babyai import BabyAIEnvironment; BabyAIEnvironment().traits; "
        "print('minigrid' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_all_levels_of_the_original_are_offered_or_left_out_with_a_reason() -> None:
    import minigrid  # noqa: F401
    from gymnasium.envs.registration import registry

    ids = {name for name in registry if name.startswith("BabyAI-")}
    assert {level.gym_id for level in LEVELS.values()} | {f"BabyAI-{name}-v0" for name in EXCLUDED} == ids
    assert len(LEVELS) >= 40
    assert not set(EXCLUDED) & set(LEVELS)
    assert set(MIX) <= set(LEVELS)
    assert all(level.step_limit <= 30 for level in LEVELS.values())


def test_the_originals_bot_fails_on_an_excluded_level() -> None:
    import gymnasium
    import minigrid
    from minigrid.utils.baby_ai_bot import BabyAIBot

    assert minigrid.__version__.startswith("3.")
    env = gymnasium.make("BabyAI-KeyInBox-v0")
    env.reset(seed=0)
    bot = BabyAIBot(env)
    with pytest.raises(AssertionError):
        for _ in range(100):
            env.step(bot.replan())


def test_the_registry_finds_it() -> None:
    assert make_environment("babyai").traits.origin == "original"


def test_a_wrong_level_is_answered_with_the_nearest_and_a_left_out_one_with_the_reason() -> None:
    environment = BabyAIEnvironment()
    with pytest.raises(UsageError, match="GoToLocal"):
        environment.task("GoToLocl:3")
    with pytest.raises(UsageError, match="boxes"):
        environment.task("KeyInBox:3")


def test_instructions_are_short_enough() -> None:
    environment = BabyAIEnvironment()
    assert len(environment.instruction("short").split()) <= 60
    assert "Action:" in environment.instruction("full")


def test_tasks_cycle_through_the_mix() -> None:
    tasks = BabyAIEnvironment().tasks("test", first_seed=900_000, count=len(MIX))
    assert [task.level for task in tasks] == [MIX[(900_000 + i) % len(MIX)] for i in range(len(MIX))]
    assert [task.id for task in tasks] == [f"{task.level}:{task.seed}" for task in tasks]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    environment = BabyAIEnvironment()
    for seed in range(20):
        environment.reset(environment.task(f"PutNextLocal:{seed}"))
    assert capfd.readouterr() == ("", "")


@settings(max_examples=40, deadline=None)
@given(some_levels, seeds, picks)
def test_the_same_seed_and_actions_give_the_same_episode(level: str, seed: int, choices: list[int]) -> None:
    first, second = BabyAIEnvironment(), BabyAIEnvironment()
    task = first.task(f"{level}:{seed}")
    assert task == second.task(f"{level}:{seed}")
    assert first.reset(task) == second.reset(task)
    assert play(first, choices) == play(second, choices)


@settings(max_examples=60, deadline=None)
@given(some_levels, seeds, picks, picks, picks)
def test_playing_on_after_restore_is_exact(
    level: str, seed: int, before: list[int], between: list[int], after: list[int]
) -> None:
    environment, replayed, other = BabyAIEnvironment(), BabyAIEnvironment(), BabyAIEnvironment()
    task = environment.task(f"{level}:{seed}")
    for each in (environment, replayed):
        each.reset(task)
        play(each, before)
    snapshot, key = environment.snapshot(), environment.state_key()
    if snapshot.done:
        environment.restore(snapshot)
        assert environment.expert() == ("", "")
        return
    expected = play(replayed, after)
    play(environment, between)
    environment.restore(snapshot)
    assert environment.state_key() == key
    assert environment.snapshot() == snapshot
    assert play(environment, after) == expected
    other.reset(other.task("GoToLocal:1"))
    other.restore(snapshot)
    assert play(other, after) == expected
    environment.restore(snapshot)
    assert play(environment, after) == expected


@settings(max_examples=20, deadline=None)
@given(some_levels, some_levels, seeds, picks)
def test_a_task_leaves_nothing_behind_for_the_next(level_a: str, level_b: str, seed: int, choices: list[int]) -> None:
    environment = BabyAIEnvironment()
    a, b = environment.task(f"{level_a}:{seed}"), environment.task(f"{level_b}:{seed + 1}")
    opening = environment.reset(a)
    episode = play(environment, choices)
    environment.reset(b)
    play(environment, choices)
    assert environment.reset(a) == opening
    assert play(environment, choices) == episode


def test_instances_are_independent_and_listing_tasks_disturbs_no_episode() -> None:
    environment, other = BabyAIEnvironment(), BabyAIEnvironment()
    environment.reset(environment.task("KeyCorridorS3R2:5"))
    key = environment.state_key()
    other.reset(other.task("KeyCorridorS3R2:5"))
    play(other, [3, 1, 4])
    environment.tasks("test", count=3)
    assert environment.state_key() == key


@settings(max_examples=60, deadline=None)
@given(some_levels, seeds, picks)
def test_valid_actions_are_accepted_and_outcomes_fit_done(level: str, seed: int, choices: list[int]) -> None:
    environment = BabyAIEnvironment()
    task = environment.task(f"{level}:{seed}")
    environment.reset(task)
    for step, choice in enumerate(choices, start=1):
        valid = environment.valid_actions()
        assert len(set(valid)) == len(valid)
        before = environment.snapshot()
        for action in valid:
            environment.restore(before)
            result = environment.step(action)
            assert result.valid, (action, result)
            assert environment.state_key() != ""
        environment.restore(before)
        result = environment.step(valid[choice % len(valid)])
        assert 0.0 <= result.outcome <= 1.0
        assert (result.outcome == 1.0) == ("Mission complete." in result.text)
        assert result.done or step < task.step_limit
        if result.done:
            break


@settings(max_examples=30, deadline=None)
@given(some_levels, seeds, st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60)), max_size=10))
def test_hostile_actions_never_raise_and_change_nothing(level: str, seed: int, actions: list[str]) -> None:
    environment = BabyAIEnvironment()
    environment.reset(environment.task(f"{level}:{seed}"))
    invalid = 0
    for action in actions:
        before = environment.snapshot()
        result = environment.step(action)
        assert isinstance(result, StepResult)
        assert len(result.text.split()) < 100
        if not result.valid:
            invalid += 1
            assert environment.snapshot().world == before.world
        if result.done:
            break
    assert invalid <= INVALID_LIMIT


def test_the_third_invalid_action_ends_the_episode() -> None:
    environment = BabyAIEnvironment()
    environment.reset(environment.task("GoToLocal:1"))
    results = [environment.step(action) for action in ("fly", "", "open the pod bay doors")]
    assert [result.done for result in results] == [False, False, True]
    assert not any(result.valid for result in results)
    assert "(2 of 3)" in results[1].text
    assert results[-1].outcome == 0.0
    with pytest.raises(RuntimeError):
        environment.step("explore")


def test_the_step_limit_ends_an_episode() -> None:
    environment = BabyAIEnvironment()
    task = environment.task("GoToObjMaze:3")
    environment.reset(task)
    results = [environment.step("turn around") for _ in range(task.step_limit)]
    assert [result.done for result in results] == [False] * (task.step_limit - 1) + [True]


def test_a_known_episode_reads_as_intended() -> None:
    environment = BabyAIEnvironment()
    task = environment.task("GoToSeqS5R2:5")
    assert task.goal == "go to the red door after you go to the green door"
    assert environment.reset(task) == (
        "You see red door (closed, 1 left); green door (closed, 1 ahead, 2 right). Room partly unseen. "
        "You carry nothing."
    )
    first = environment.step("go to the Green door.")
    assert first.text.startswith("You go to the green door. Part 1 of 2 is done. You see green door (closed, 1 ahead)")
    assert 0.5 <= first.outcome < 1.0
    assert environment.step("go to red door") == StepResult(
        "You go to the red door. Mission complete.", 1.0, True, True
    )


def test_the_picture_hides_what_was_not_seen_and_survives_encoding() -> None:
    environment = BabyAIEnvironment()
    environment.reset(environment.task("KeyCorridorS3R2:5"))
    picture = environment.picture()
    cells = [cell for row in picture.rows for cell in row]
    assert {len(row) for row in picture.rows} == {len(picture.rows[0])}
    assert sum(cell.role == "agent" for cell in cells) == 1
    assert any(cell.role == "hidden" for cell in cells)
    assert all(cell.glyph == " " for cell in cells if cell.role == "hidden")
    assert decode_picture(encode_picture(picture)) == picture
