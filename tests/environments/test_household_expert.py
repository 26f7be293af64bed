from __future__ import annotations

from random import Random

import pytest
from household_homes import KEPT, enter, make

from agentrm_tui.environments.household.commands import read_command
from agentrm_tui.environments.household.environment import HouseholdEnvironment
from agentrm_tui.environments.household.expert import advise
from agentrm_tui.environments.household.homes import Home, TaskType
from agentrm_tui.environments.household.levels import LEVELS, expert_way, make_home
from agentrm_tui.environments.household.world import NOWHERE, State, act, first_state, progress, valid_commands


def wander(home: Home, state: State, steps: int, rng: Random) -> State:
    for _ in range(steps):
        command = read_command(rng.choice(valid_commands(home, state)))
        effect = act(home, state, command) if command else None
        assert effect is not None
        state = effect.state
    return state


EXPECTED: dict[TaskType, tuple[str, str, list[str]]] = {
    "place": (
        "mug", "desk",
        ["go to countertop 1", "take mug 1 from countertop 1", "go to desk 1", "move mug 1 to desk 1"],
    ),
    "light": (
        "mug", "desklamp",
        ["go to countertop 1", "take mug 1 from countertop 1", "go to desk 1", "use desklamp 1"],
    ),
    "clean": (
        "apple", "countertop",
        [
            "go to countertop 1", "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "go to sinkbasin 1",
            "clean apple 1 with sinkbasin 1", "go to countertop 1", "move apple 1 to countertop 1",
        ],
    ),
    "heat": (
        "mug", "cabinet",
        [
            "go to countertop 1", "take mug 1 from countertop 1", "go to microwave 1", "heat mug 1 with microwave 1",
            "go to cabinet 1", "open cabinet 1", "move mug 1 to cabinet 1",
        ],
    ),
    "cool": (
        "mug", "microwave",
        [
            "go to countertop 1", "take mug 1 from countertop 1", "go to fridge 1", "cool mug 1 with fridge 1",
            "go to microwave 1", "open microwave 1", "move mug 1 to microwave 1",
        ],
    ),
    "two": (
        "mug", "desk",
        [
            "go to countertop 1", "take mug 1 from countertop 1", "go to desk 1", "move mug 1 to desk 1",
            "go to cabinet 1", "open cabinet 1", "go to cabinet 2", "open cabinet 2", "take mug 2 from cabinet 2",
            "go to desk 1", "move mug 2 to desk 1",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("task_type", EXPECTED)
def test_the_whole_way_in_a_known_home(task_type: TaskType) -> None:
    thing, place, actions = EXPECTED[task_type]
    assert list(expert_way(make(task_type, thing, place), 20)) == actions


@pytest.mark.parametrize("level", LEVELS)
def test_every_task_is_carried_out_with_steps_to_spare(level: str) -> None:
    environment = HouseholdEnvironment()
    for seed in range(9_000_000, 9_000_025):
        environment.reset(environment.task(f"{level}:{seed}"))
        steps, outcome = 0, 0.0
        while outcome < 1.0:
            thought, action = environment.expert()
            assert 0 < len(thought.split()) <= 12
            text, outcome, done, valid = environment.step(action)
            steps += 1
            assert valid and done == (outcome == 1.0), f"{level}:{seed}: {action} -> {text}"
        assert steps <= LEVELS[level].step_limit - LEVELS[level].spare


def shuffled(home: Home, state: State, rng: Random) -> tuple[Home, State]:
    """The same home to the agent's eyes: things in places it has not seen are kept elsewhere among those."""
    unseen = [index for index in range(len(home.places)) if not state.seen >> index & 1]
    where = tuple(
        rng.choice(unseen) if place in unseen and thing != state.held else place
        for thing, place in enumerate(state.where)
    )
    return home, state._replace(where=where)


@pytest.mark.parametrize("level", LEVELS)
def test_it_knows_only_what_the_agent_has_seen(level: str) -> None:
    rng = Random(level)
    differ = 0
    for seed in range(30):
        home = make_home(level, seed)
        state = wander(home, first_state(home), seed % 7, rng)
        if progress(home, state) == 1.0:
            continue
        _, other = shuffled(home, state, rng)
        if progress(home, other) == 1.0:
            continue
        differ += other != state
        assert advise(home, state) == advise(home, other)
    assert differ > 15


@pytest.mark.parametrize("level", LEVELS)
def test_it_takes_over_anywhere(level: str) -> None:
    rng = Random(level)
    for seed in range(25):
        home = make_home(level, 500 + seed)
        state = wander(home, first_state(home), 12, rng)
        for _ in range(80):
            if progress(home, state) == 1.0:
                break
            thought, action = advise(home, state)
            command = read_command(action)
            effect = act(home, state, command) if command else None
            assert effect is not None and thought, f"{level}:{500 + seed}: {action!r}"
            assert effect.amiss is False
            state = effect.state
        assert progress(home, state) == 1.0


def test_a_wrong_thing_is_put_down_where_nothing_speaks_against_it() -> None:
    kept = {**KEPT, "book 1": "drawer 1"}
    environment = enter(make("place", "mug", "desk", kept))
    for action in ("go to drawer 1", "open drawer 1", "take book 1 from drawer 1"):
        environment.step(action)
    assert environment.expert() == ("I do not need book 1.", "move book 1 to drawer 1")
    environment.step("close drawer 1")
    assert environment.expert() == ("I do not need book 1.", "open drawer 1")
    environment.step("go to desk 1")
    assert environment.expert() == ("I do not need book 1.", "go to drawer 1")


def test_what_can_only_be_put_where_the_goal_wants_other_things_goes_back_to_where_it_was() -> None:
    kept = {**{key: where for key, where in KEPT.items() if not key.startswith(("book", "mug"))}, "laptop 1": "desk 1"}
    environment = enter(make("place", "mug", "desk", {**kept, "mug 1": "countertop 1"}))
    for action in ("go to desk 1", "take laptop 1 from desk 1", "go to countertop 1"):
        environment.step(action)
    assert environment.expert() == ("I do not need laptop 1.", "go to desk 1")
    environment.step("go to desk 1")
    assert environment.expert()[1] == "move laptop 1 to desk 1"
    assert not environment.step("move laptop 1 to desk 1").done


def test_it_is_silent_where_there_is_no_way() -> None:
    home = make("light", "mug", "desklamp", {key: where for key, where in KEPT.items() if key != "desklamp 1"})
    state = first_state(home)._replace(seen=(1 << len(home.places)) - 1)
    mug = home.thing_index["mug 1"]
    held = state._replace(
        held=mug, where=tuple(NOWHERE if thing == mug else place for thing, place in enumerate(state.where))
    )
    assert advise(home, held) == ("", "")
    assert expert_way(home, 50) == ()


def test_it_goes_straight_to_what_was_seen() -> None:
    environment = enter(make("place", "mug", "desk"))
    environment.step("go to cabinet 2")
    environment.step("open cabinet 2")
    environment.step("go to sinkbasin 1")
    assert environment.expert() == ("The mug 2 is at cabinet 2.", "go to cabinet 2")
    environment.step("go to cabinet 2")
    environment.step("close cabinet 2")
    assert environment.expert() == ("The mug 2 is in it, open it.", "open cabinet 2")
