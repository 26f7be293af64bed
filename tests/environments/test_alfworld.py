"""ALFWorld: own games and spellings without the package; expert, process and the common rules where it is installed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import conformance
import msgspec
import pytest
from alfworld_games import hold_engine, needs_extra
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.errors import MissingExtraError
from agentrm_tui.environments.alfworld import ALFWorldEnvironment
from agentrm_tui.environments.alfworld.downloaded import goal_of
from agentrm_tui.environments.alfworld.environment import read_command
from agentrm_tui.environments.alfworld.games import TASK_TYPES, Game
from agentrm_tui.environments.alfworld.levels import HOMES, MIX, make_game
from agentrm_tui.environments.alfworld.messages import spelled
from agentrm_tui.environments.alfworld.process import EngineProcess
from agentrm_tui.environments.alfworld.solution import Solution
from agentrm_tui.environments.household import HouseholdEnvironment
from agentrm_tui.environments.shared_process import Shared


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    yield from hold_engine()


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have games of their own."""
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)


@pytest.fixture
def made() -> Iterator[list[ALFWorldEnvironment]]:
    environments: list[ALFWorldEnvironment] = []
    yield environments
    for environment in environments:
        environment.close()


@pytest.fixture
def env(made: list[ALFWorldEnvironment]) -> ALFWorldEnvironment:
    made.append(ALFWorldEnvironment())
    return made[0]


# Own games, without the engine


def test_own_levels_are_the_six_types_in_two_sizes() -> None:
    assert set(MIX) == set(TASK_TYPES.values()) and len(HOMES) == 12
    env = ALFWorldEnvironment()
    assert env.traits.levels == tuple(HOMES) and env.traits.extra == "alfworld"
    assert {env.task(f"{level}:1").step_limit for level in HOMES} == {20, 50}
    for level, home in HOMES.items():
        twin = HouseholdEnvironment().task(f"{home}:7")
        assert env.task(f"{level}:7").goal == twin.goal


@pytest.mark.parametrize("level", HOMES)
def test_a_game_holds_rules_sentences_a_problem_and_its_solution(level: str) -> None:
    game = make_game(level, 3)
    record = json.loads(msgspec.json.encode(game))
    assert {"pddl_domain", "grammar", "pddl_problem", "walkthrough", "solvable"} <= set(record)
    assert game.solvable and game.walkthrough and len(game.thoughts) == len(game.walkthrough)
    assert game.pddl_problem.count("(") == game.pddl_problem.count(")")
    assert goal_of(game) == ALFWorldEnvironment().task(f"{level}:3").goal
    assert make_game(level, 4).key != game.key == msgspec.json.decode(msgspec.json.encode(game), type=Game).key


@pytest.mark.parametrize(
    ("command", "offered", "expected"),
    [
        ("move mug 1 to desk 1", ("move mug 1 to desk 1",), "move mug 1 to desk 1"),
        ("put mug 1 in/on desk 1", ("move mug 1 to desk 1",), "move mug 1 to desk 1"),
        ("put mug 1 in desk 1", ("move mug 1 to desk 1",), "move mug 1 to desk 1"),
        ("put mug 1 on desk 1", ("put mug 1 in/on desk 1",), "put mug 1 in/on desk 1"),
        ("move mug 1 to desk 1", ("put mug 1 in/on desk 1",), "put mug 1 in/on desk 1"),
        ("move mug 1 to desk 2", ("move mug 1 to desk 1",), ""),
        ("put mug 1", ("move mug 1 to desk 1",), ""),
        ("", ("look",), ""),
    ],
)
def test_both_spellings_are_one_command(command: str, offered: tuple[str, ...], expected: str) -> None:
    assert spelled(command, offered) == expected


@given(st.text(max_size=300))
def test_any_text_is_read(action: str) -> None:
    assert read_command("  Go   to Desk 1. ") == "go to desk 1"
    assert "\n" not in read_command(action)


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrm_tui.environments.alfworld.process.find_spec", lambda name: None)
    monkeypatch.setattr("agentrm_tui.environments.alfworld.process._shared", Shared(EngineProcess))
    env = ALFWorldEnvironment()
    assert env.tasks("train", count=3)
    with pytest.raises(MissingExtraError, match="engine is not installed") as caught:
        env.reset(env.task(MIX[0]))
    assert "pip install 'agentrm-tui[alfworld]'" in caught.value.remedy and "cmake" in caught.value.remedy


# A stored solution as expert, without the engine


@pytest.fixture
def solution() -> Solution:
    """Look into the cabinet, which is empty, then take the mug from the fridge to the desk."""
    made = Solution(("Look here.", "Open it.", "Look there."))
    nothing, closet = frozenset({"in(mug,fridge)"}), "opened(cabinet)"
    held = frozenset({"holds(mug)", closet, "opened(fridge)"})
    for facts, place, command in (
        (nothing, "", "go to cabinet 1"),
        (nothing, "cabinet", "open cabinet 1"),
        (nothing | {closet}, "cabinet", "go to fridge 1"),
        (nothing | {closet}, "fridge", "open fridge 1"),
        (nothing | {closet, "opened(fridge)"}, "fridge", "take mug 1 from fridge 1"),
        (held, "fridge", "go to desk 1"),
        (held, "desk", "move mug 1 to desk 1"),
    ):
        made.add(facts, place, command)
    return made


@pytest.mark.parametrize(
    ("holds", "place", "offered", "command"),
    [
        (("in(mug,fridge)",), "", "go to cabinet 1", "go to cabinet 1"),
        (("in(mug,fridge)",), "fridge", "open fridge 1", "open fridge 1"),
        (("in(mug,fridge)", "opened(fridge)"), "fridge", "take mug 1 from fridge 1", "take mug 1 from fridge 1"),
        (("in(mug,fridge)", "opened(box)"), "cabinet", "go to fridge 1", "go to fridge 1"),
        (("in(mug,fridge)", "opened(box)"), "", "go to fridge 1", "go to fridge 1"),
        (("holds(mug)",), "sofa", "go to desk 1", "go to desk 1"),
        (("holds(mug)",), "desk", "move mug 1 to desk 1", "move mug 1 to desk 1"),
        (("holds(pan)", "in(mug,fridge)"), "fridge", "open fridge 1", ""),
        (("holds(mug)",), "desk", "look", ""),
    ],
)
def test_beside_the_way_the_next_deed_is_gone_for(
    solution: Solution, holds: tuple[str, ...], place: str, offered: str, command: str
) -> None:
    advice, thought = solution.advise(frozenset(holds), place, (offered,))
    assert advice == command and bool(thought) == bool(command)


def test_on_the_way_the_stored_thought_or_what_is_left_is_told(solution: Solution) -> None:
    everything = tuple(step.command for step in solution._steps)
    told = [solution.advise(step.facts, step.place, everything) for step in solution._steps]
    assert [command for command, _ in told] == list(everything)
    assert [thought for _, thought in told][::3] == ["Look here.", "4 steps to go.", "This is the last step."]
    solution.clear()
    assert solution.advise(frozenset({"in(mug,fridge)"}), "", everything) == ("", "")


# The expert, the process, going back, and the rules that every environment keeps


@needs_extra
def test_the_expert_goes_on_from_beside_its_way(env: ALFWorldEnvironment) -> None:
    task = env.task("pick_heat_then_place_in_recep:2")
    env.reset(task)
    rng, result = random.Random("beside"), None
    for step in range(task.step_limit):
        thought, action = env.expert()
        if step in (1, 3, 4, 8):
            action = rng.choice([each for each in env.valid_actions() if each.startswith(("go to ", "look", "inv"))])
        assert action and thought
        result = env.step(action)
        if result.done:
            break
    assert result is not None and result.outcome == 1.0


@needs_extra
def test_the_expert_is_silent_with_another_thing_in_the_hand_and_comes_back(env: ALFWorldEnvironment) -> None:
    task = env.task("pick_two_obj_and_place:2")
    env.reset(task)
    way = make_game(task.level, task.seed).walkthrough
    while not (found := [each for each in env.valid_actions() if each.startswith("take ") and each not in way]):
        env.step(env.expert()[1])
    command = env.expert()
    env.step(found[0])
    assert env.expert() == ("", "")
    thing, _, place = found[0].removeprefix("take ").partition(" from ")
    assert env.step(f"put {thing} in/on {place}").valid
    assert env.expert() == command


@needs_extra
def test_a_home_that_its_solution_does_not_solve_is_refused(
    env: ALFWorldEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = "pick_clean_then_place_in_recep-small"
    game = make_game(level, 3)
    without = tuple(command for command in game.walkthrough if not command.startswith("clean "))
    spoilt = msgspec.structs.replace(game, walkthrough=without)
    monkeypatch.setattr("agentrm_tui.environments.alfworld.environment.make_game", lambda *_: spoilt)
    with pytest.raises(AssertionError, match="not solved by its own solution"):
        env.reset(env.task(f"{level}:3"))


def test_tasks_and_instructions_keep_the_rules() -> None:
    conformance.check_tasks(ALFWorldEnvironment)
    conformance.check_instructions(ALFWorldEnvironment)


@needs_extra
@pytest.mark.parametrize("kind", ["random", "hostile"])
def test_any_text_ends_in_an_observation(made: list[ALFWorldEnvironment], kind: str) -> None:
    def make() -> ALFWorldEnvironment:
        made.append(ALFWorldEnvironment())
        return made[-1]

    rng = random.Random("texts")
    random_texts = [conformance.random_text(rng) for _ in range(200)]
    hostile = [text for _ in range(6) for text in (*conformance.HOSTILE, "go to desk 1")][:200]
    tasks = [make().task(f"{level}:5000001") for level in HOMES if level not in MIX]
    conformance.check_any_text(make, tasks, random_texts if kind == "random" else hostile)


@needs_extra
def test_the_expert_wins_every_type(made: list[ALFWorldEnvironment]) -> None:
    def make() -> ALFWorldEnvironment:
        made.append(ALFWorldEnvironment())
        return made[-1]

    assert conformance.check_expert(make, make().tasks("test", count=12)) == 1.0
