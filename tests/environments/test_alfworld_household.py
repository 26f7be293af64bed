"""The same games in `household`, in the engine under own rules, under ALFWorld's own rules, and in its own classes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alfworld_games import hold_engine, keep_game, keep_theirs, needs_extra

from agentrm_tui.environments.alfworld import ALFWorldEnvironment
from agentrm_tui.environments.alfworld.levels import HOMES, MIX, make_game
from agentrm_tui.environments.base import StepResult
from agentrm_tui.environments.household import HouseholdEnvironment

pytestmark = needs_extra


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    yield from hold_engine()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def env() -> Iterator[ALFWorldEnvironment]:
    environment = ALFWorldEnvironment()
    yield environment
    environment.close()


# The same games in `household` and in the engine


def same_text(text: str) -> str:
    """`household`'s text as the engine says it: only the former answers `put X in/on Y` with `put`."""
    if text.startswith("You put the "):
        thing, _, place = text.removeprefix("You put the ").partition(" in/on the ")
        return f"You move the {thing} to the {place}"
    return text


def same_actions(actions: tuple[str, ...]) -> list[str]:
    """The engine lists `help`; `household` knows it, but does not list it. Orders differ."""
    return sorted(action for action in actions if action != "help")


def compare(engine: ALFWorldEnvironment, twin: HouseholdEnvironment, actions: Iterator[str]) -> StepResult:
    """Take the same actions in both and compare all that they say; returns the last result."""
    for action in actions:
        ours, theirs = engine.step(action), twin.step(action)
        assert ours.text == same_text(theirs.text), action
        assert ours.outcome == pytest.approx(theirs.outcome) and ours[2:] == theirs[2:], action
        assert same_actions(engine.valid_actions()) == same_actions(twin.valid_actions()), action
        if ours.done:
            break
    return ours


def wander(twin: HouseholdEnvironment, seed: str, expert: float) -> Iterator[str]:
    """Possible actions, now and then the expert's, nonsense, or the other spelling."""
    rng = random.Random(seed)
    while True:
        action = twin.expert()[1] if rng.random() < expert else rng.choice(twin.valid_actions())
        if rng.random() < 0.5 and action.startswith("move "):
            action = action.replace("move ", "put ").replace(" to ", " in/on ")
        yield action if rng.random() < 0.95 else "sing"


@pytest.mark.parametrize("level", MIX)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_household_and_the_engine_play_the_same_game(env: ALFWorldEnvironment, level: str, seed: int) -> None:
    twin = HouseholdEnvironment()
    task, twin_task = env.task(f"{level}:{seed}"), twin.task(f"{HOMES[level]}:{seed}")
    for expert in (0.6, 0.1):
        assert env.reset(task) == twin.reset(twin_task)
        assert same_actions(env.valid_actions()) == same_actions(twin.valid_actions())
        compare(env, twin, wander(twin, f"{task.id}/{expert}", expert))


@pytest.mark.parametrize("level", [level for level in HOMES if level not in MIX])
def test_in_small_homes_the_expert_is_the_same_and_wins_in_both(env: ALFWorldEnvironment, level: str) -> None:
    twin = HouseholdEnvironment()
    assert env.reset(env.task(f"{level}:5")) == twin.reset(twin.task(f"{HOMES[level]}:5"))

    def expert() -> Iterator[str]:
        while True:
            assert env.expert() == twin.expert()
            yield env.expert()[1]

    assert compare(env, twin, expert()).outcome == 1.0


def test_small_homes_end_early_in_household_only(env: ALFWorldEnvironment) -> None:
    level = "pick_clean_then_place_in_recep-small"
    twin = HouseholdEnvironment()
    env.reset(env.task(f"{level}:5"))
    twin.reset(twin.task(f"{HOMES[level]}:5"))
    ours, theirs = [[each.step("sing") for _ in range(5)] for each in (env, twin)]
    assert [result.text for result in ours[:4]] == [result.text for result in theirs[:4]]
    assert not ours[-1].done and theirs[-1].done and ours[-1].text == "Nothing happens."


# The engine as TextWorld and ALFWorld run it

ORIGINAL = """
import json, sys
import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
from textworld.envs.pddl import PddlEnv

asked = json.load(sys.stdin)
env = AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)))
env.load(asked["path"])
state = env.reset()
told = [[state.feedback, [c.strip() for c in state["admissible_commands"]], state["won"]]]
for command in asked["commands"]:
    state, _, _ = env.step(command)
    told.append([state.feedback, [c.strip() for c in state["admissible_commands"]], state["won"]])
print(json.dumps(told))
"""


def play_original(path: Path, commands: list[str]) -> list[tuple[str, list[str], bool]]:
    """What ALFWorld's own classes say to these commands, in a process of their own."""
    asked = json.dumps({"path": str(path), "commands": commands})
    variables = {**os.environ, "ALFWORLD_DATA": str(path.parent)}
    ended = subprocess.run(
        [sys.executable, "-c", ORIGINAL], input=asked, env=variables, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    return [tuple(each) for each in json.loads(ended.stdout.splitlines()[-1])]


def record(env: ALFWorldEnvironment, task_id: str, actions: Iterator[str]) -> tuple[list[str], list[Any]]:
    """The actions that were taken, and what was said, offered and reached."""
    told: list[Any] = [(env.reset(env.task(task_id)), list(env.valid_actions()), False)]
    taken = []
    for action in actions:
        result = env.step(action)
        taken.append(action)
        assert env._now is not None
        told.append((result.text, list(env._now.shown.actions), env._now.shown.won))
        if result.done:
            break
    return taken, told


def offered(env: ALFWorldEnvironment, seed: str) -> Iterator[str]:
    """Offered actions at random, often the expert's."""
    rng = random.Random(seed)
    while True:
        yield (env.expert()[1] if rng.random() < 0.5 else "") or rng.choice(env.valid_actions())


@pytest.mark.parametrize("level", ["pick_cool_then_place_in_recep-small", "look_at_obj_in_light-small"])
@pytest.mark.parametrize("rules", ["own", "theirs"])
def test_texts_and_actions_are_those_of_alfworlds_own_classes(
    env: ALFWorldEnvironment, data: Path, level: str, rules: str
) -> None:
    if rules == "own":
        path = keep_game(data, make_game(level, 2), "valid_seen", f"{level.removesuffix('-small')}-A-None-B-1")
    else:
        path = keep_theirs(data, level, 2)
    taken, told = record(env, "valid_seen:0", offered(env, level))
    original = play_original(path, taken)
    assert (told[0][0] in original[0][0] and told[0][1:] == list(original[0][1:])) or told[0][1:] == original[0][1:]
    assert told[1:] == original[1:]


# ALFWorld's own rules and `household`


def without_switch(text: str) -> str:
    """A lamp that was never used is `off` to `household`, and nothing special to ALFWorld."""
    lamp = text.removeprefix("This ").removesuffix(" is off.")
    return f"There's nothing special about {lamp}." if text == f"This {lamp} is off." else text


def possible_in_both(env: ALFWorldEnvironment, twin: HouseholdEnvironment, seed: str) -> Iterator[str]:
    """Actions that both offer, often the expert's; what only one offers is checked to be of the kinds named below."""
    rng = random.Random(seed)
    while True:
        ours, theirs = set(same_actions(env.valid_actions())), set(same_actions(twin.valid_actions()))
        # ALFWorld also offers lamps and food that are out of sight in a closed place.
        assert all(action.startswith(("use ", "slice ")) for action in ours - theirs)
        # `household` also offers to examine what is in sight but not in the hand.
        assert all(action.startswith("examine ") for action in theirs - ours)
        assert not any(action.removeprefix("examine ") in twin.picture().caption for action in theirs - ours)
        yield twin.expert()[1] if rng.random() < 0.5 else rng.choice(sorted(ours & theirs))


@pytest.mark.parametrize("level", MIX)
def test_household_and_alfworlds_own_rules_play_the_same_game(env: ALFWorldEnvironment, data: Path, level: str) -> None:
    """Texts, score and end are the same, but for what `without_switch` and `possible_in_both` name."""
    keep_theirs(data, level, 21)
    twin = HouseholdEnvironment()
    assert env.reset(env.task("valid_seen:0")) == twin.reset(twin.task(f"{HOMES[level]}:21"))
    for action in possible_in_both(env, twin, level):
        ours, theirs = env.step(action), twin.step(action)
        expected = theirs._replace(text=without_switch(same_text(theirs.text)), outcome=pytest.approx(theirs.outcome))
        assert ours == expected, action
        if ours.done:
            break
