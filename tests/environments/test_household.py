from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from os import environ

import household_homes
import pytest
from household_homes import enter
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.errors import UsageError
from agentrm_tui.environments.base import Task
from agentrm_tui.environments.household.environment import REFUSAL_LIMIT, HouseholdEnvironment
from agentrm_tui.environments.household.homes import TaskType
from agentrm_tui.environments.household.levels import LEVELS
from agentrm_tui.environments.registry import make_environment

WALKTHROUGHS: dict[TaskType, tuple[str, str, list[tuple[str, str, float]]]] = {
    "place": (
        "mug",
        "desk",
        [
            ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a mug 1.", 0.0),
            ("take mug 1 from countertop 1", "You pick up the mug 1 from the countertop 1.", 1 / 2),
            ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a book 1, and a desklamp 1.", 1 / 2),
            ("move mug 1 to desk 1", "You move the mug 1 to the desk 1.", 1.0),
        ],
    ),
    "light": (
        "mug",
        "desklamp",
        [
            ("go to cabinet 2", "You arrive at cabinet 2. The cabinet 2 is closed.", 0.0),
            ("open cabinet 2", "You open the cabinet 2. The cabinet 2 is open. In it, you see a mug 2.", 0.0),
            ("take mug 2 from cabinet 2", "You pick up the mug 2 from the cabinet 2.", 1 / 3),
            ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a book 1, and a desklamp 1.", 1 / 3),
            ("use desklamp 1", "You turn on the desklamp 1.", 1.0),
        ],
    ),
    "clean": (
        "mug",
        "countertop",
        [
            ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a mug 1.", 0.0),
            ("take mug 1 from countertop 1", "You pick up the mug 1 from the countertop 1.", 1 / 3),
            ("go to sinkbasin 1", "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.", 1 / 3),
            ("clean mug 1 with sinkbasin 1", "You clean the mug 1 using the sinkbasin 1.", 2 / 3),
            ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see nothing.", 2 / 3),
            ("put mug 1 in/on countertop 1", "You put the mug 1 in/on the countertop 1.", 1.0),
        ],
    ),
    "heat": (
        "apple",
        "countertop",
        [
            ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed.", 0.0),
            ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1.", 0.0),
            ("take apple 1 from fridge 1", "You pick up the apple 1 from the fridge 1.", 1 / 3),
            ("go to microwave 1", "You arrive at microwave 1. The microwave 1 is closed.", 1 / 3),
            ("heat apple 1 with microwave 1", "You heat the apple 1 using the microwave 1.", 2 / 3),
            ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a mug 1.", 2 / 3),
            ("move apple 1 to countertop 1", "You move the apple 1 to the countertop 1.", 1.0),
        ],
    ),
    "cool": (
        "mug",
        "cabinet",
        [
            ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a mug 1.", 0.0),
            ("take mug 1 from countertop 1", "You pick up the mug 1 from the countertop 1.", 1 / 3),
            ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed.", 1 / 3),
            ("cool mug 1 with fridge 1", "You cool the mug 1 using the fridge 1.", 2 / 3),
            ("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed.", 2 / 3),
            ("open cabinet 1", "You open the cabinet 1. The cabinet 1 is open. In it, you see nothing.", 2 / 3),
            ("put mug 1 in cabinet 1", "You put the mug 1 in/on the cabinet 1.", 1.0),
        ],
    ),
    "two": (
        "mug",
        "desk",
        [
            ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a mug 1.", 0.0),
            ("take mug 1 from countertop 1", "You pick up the mug 1 from the countertop 1.", 1 / 4),
            ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a book 1, and a desklamp 1.", 1 / 4),
            ("move mug 1 to desk 1", "You move the mug 1 to the desk 1.", 1 / 2),
            ("go to cabinet 2", "You arrive at cabinet 2. The cabinet 2 is closed.", 1 / 2),
            ("open cabinet 2", "You open the cabinet 2. The cabinet 2 is open. In it, you see a mug 2.", 1 / 2),
            ("take mug 2 from cabinet 2", "You pick up the mug 2 from the cabinet 2.", 3 / 4),
            (
                "go to desk 1",
                "You arrive at desk 1. On the desk 1, you see a book 1, a desklamp 1, and a mug 1.",
                3 / 4,
            ),
            ("put mug 2 on desk 1", "You put the mug 2 in/on the desk 1.", 1.0),
        ],
    ),
}


@pytest.mark.parametrize("task_type", WALKTHROUGHS)
@pytest.mark.parametrize("size", ["small", "full"])
def test_a_walkthrough_of_each_task_type_word_for_word(task_type: TaskType, size: str) -> None:
    thing, place, steps = WALKTHROUGHS[task_type]
    environment = enter(household_homes.make(task_type, thing, place), size)
    for number, (action, text, outcome) in enumerate(steps, start=1):
        result = environment.step(action)
        assert result.text == text
        assert result.outcome == pytest.approx(outcome)
        assert result.valid and result.done == (number == len(steps))
    assert result.outcome == 1.0


def test_the_first_observation_is_alfworlds() -> None:
    environment = HouseholdEnvironment()
    for level in LEVELS:
        task = environment.task(f"{level}:3")
        first = environment.reset(task)
        head, _, names = first.partition("Looking quickly around you, you see ")
        assert head == "You are in the middle of a room. "
        places = names.removesuffix(".").split(", ")
        assert places[-1].startswith("and a ") and all(place.startswith("a ") for place in places[:-1])
        assert len(places) == len(environment.snapshot().home.places)
        assert environment.step("look").text == first


GOALS = {
    "place": ("put a {} in {}.", "put some {} on {}."),
    "light": ("look at {} under the {}.", "examine the {} with the {}."),
    "clean": ("put a clean {} in {}.", "clean some {} and put it in {}."),
    "heat": ("put a hot {} in {}.", "heat some {} and put it in {}."),
    "cool": ("put a cool {} in {}.", "cool some {} and put it in {}."),
    "two": ("put two {} in {}.", "find two {} and put them in {}."),
}


@pytest.mark.parametrize("level", LEVELS)
def test_goals_have_alfworlds_wordings_and_both_occur(level: str) -> None:
    environment = HouseholdEnvironment()
    seen = set()
    for seed in range(40):
        task = environment.task(f"{level}:{seed}")
        environment.reset(task)
        goal = environment.snapshot().home.goal
        wordings = [wording.format(goal.thing, goal.place) for wording in GOALS[goal.type]]
        assert goal.type == level.split("-")[0]
        seen.add(wordings.index(task.goal))
    assert seen == {0, 1}


@pytest.mark.parametrize("spelling", ["move {} to {}", "put {} in/on {}", "put {} in {}", "put {} on {}"])
@pytest.mark.parametrize("dress", [str, str.upper, "  {} ".format, "{}.".format])
def test_every_spelling_leads_to_the_same_state(spelling: str, dress: type[str]) -> None:
    home = household_homes.make("place", "mug", "desk")
    environment, plain = enter(home), enter(home)
    for one in (environment, plain):
        one.step("go to countertop 1")
        one.step("take mug 1 from countertop 1")
        one.step("go to desk 1")
    result = environment.step(dress(spelling.format("mug 1", "desk 1")))
    plain.step("move mug 1 to desk 1")
    assert (result.outcome, result.done) == (1.0, True)
    assert environment.state_key() == plain.state_key()


IMPOSSIBLE = (
    "take mug 1 from countertop 1",
    "go to mug 1",
    "go to countertop 3",
    "open countertop 1",
    "use desklamp 1",
    "examine mug 1",
    "clean mug 1 with sinkbasin 1",
    "",
    "dance",
)


def test_five_refused_actions_end_an_episode_in_a_small_home() -> None:
    environment = enter(household_homes.make("place", "mug", "desk"))
    for number, action in enumerate(IMPOSSIBLE[:REFUSAL_LIMIT], start=1):
        assert environment.step("inventory").text == "You are not carrying anything."
        key, result = environment.state_key(), environment.step(action)
        assert result.text.startswith("Nothing happens.") and not result.valid
        assert result.done == (number == REFUSAL_LIMIT == 5)
        assert environment.state_key() != key
    assert result.text == "Nothing happens. That was number 5: the episode ends."
    with pytest.raises(RuntimeError):
        environment.step("look")


def test_refused_actions_count_only_as_steps_in_a_full_home() -> None:
    environment = enter(household_homes.make("place", "mug", "desk"), "full")
    texts = []
    for step in range(50):
        result = environment.step(IMPOSSIBLE[step % len(IMPOSSIBLE)])
        texts.append(result.text)
        assert result.done == (step == 49) and result.outcome == 0.0
    assert set(texts) == {"Nothing happens."}


FETCH_MUG = ["go to countertop 1", "take mug 1 from countertop 1"]
MISTAKES: list[tuple[TaskType, str, str, list[str], str]] = [
    ("place", "book", "drawer", [*FETCH_MUG, "go to desk 1", "move mug 1 to desk 1"], ""),
    ("place", "knife", "desk", [*FETCH_MUG, "go to desk 1", "move mug 1 to desk 1"], "a wrong thing"),
    ("place", "mug", "desk", ["go to desk 1", "take book 1 from desk 1", "put book 1 on desk 1"], ""),
    ("clean", "mug", "desk", [*FETCH_MUG, "go to desk 1", "move mug 1 to desk 1"], "dirty"),
    ("cool", "mug", "desk", [*FETCH_MUG, "go to microwave 1", "heat mug 1 with microwave 1"], "hot"),
    ("light", "mug", "desklamp", ["go to desk 1", "use desklamp 1"], "empty-handed"),
]


@pytest.mark.parametrize(("task_type", "thing", "place", "actions", "why"), MISTAKES)
def test_a_mistake_ends_an_episode_in_a_small_home_only(
    task_type: TaskType, thing: str, place: str, actions: Sequence[str], why: str
) -> None:
    for size in ("small", "full"):
        environment = enter(household_homes.make(task_type, thing, place), size)
        results = [environment.step(action) for action in actions]
        fails = bool(why) and size == "small"
        assert [result.done for result in results] == [False] * (len(actions) - 1) + [fails]
        assert all(result.valid and result.outcome < 1.0 for result in results)
        assert results[-1].text.endswith(" That was wrong: the task has failed.") == fails


def test_the_second_thing_beside_the_first_or_the_task_has_failed() -> None:
    kept = {**household_homes.KEPT, "mug 2": "fridge 1"}
    environment = enter(household_homes.make("two", "mug", "cabinet", kept))
    for action in (
        "go to countertop 1", "take mug 1 from countertop 1", "go to cabinet 1", "open cabinet 1",
        "move mug 1 to cabinet 1", "go to fridge 1", "open fridge 1", "take mug 2 from fridge 1", "go to cabinet 2",
        "open cabinet 2",
    ):  # fmt: skip
        assert not environment.step(action).done
    before = environment.snapshot()
    assert environment.expert()[1] == "go to cabinet 1"
    assert environment.step("move mug 2 to cabinet 2") == (
        "You move the mug 2 to the cabinet 2. That was wrong: the task has failed.", 0.5, True, True,
    )  # fmt: skip
    environment.restore(before)
    environment.step("go to cabinet 1")
    assert environment.step("put mug 2 in/on cabinet 1").outcome == 1.0


def test_a_lamp_switched_on_earlier_still_lights_in_a_full_home() -> None:
    environment = enter(household_homes.make("light", "mug", "desklamp"), "full")
    outcomes = [
        environment.step(action).outcome
        for action in (
            "go to desk 1", "use desklamp 1", "go to countertop 1", "take mug 1 from countertop 1", "go to desk 1",
        )
    ]  # fmt: skip
    assert outcomes == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 1])


def test_the_step_limit_ends_an_episode() -> None:
    environment = enter(household_homes.make("place", "mug", "desk"))
    results = [environment.step("look") for _ in range(20)]
    assert [result.done for result in results] == [False] * 19 + [True]
    assert {result.outcome for result in results} == {0.0}


def test_the_picture_shows_only_what_was_seen() -> None:
    environment = enter(household_homes.make("place", "mug", "desk"))

    def lines() -> list[str]:
        return ["".join(cell.glyph for cell in row).rstrip() for row in environment.picture().rows]

    assert [line.split()[-1] for line in lines()] == ["?"] * 8
    environment.step("go to countertop 1")
    assert next(line for line in lines() if line.startswith("@")) == f"@ {'countertop 1':20}  mug 1"
    environment.step("take mug 1 from countertop 1")
    assert environment.picture().caption == "holding mug 1 · step 2/20"
    environment.step("go to cabinet 1")
    assert lines()[0] == f"@ {'cabinet 1':20}■ ?"
    environment.step("open cabinet 1")
    assert lines()[0] == f"@ {'cabinet 1':20}□"
    assert sum("?" in line for line in lines()) == 6


def play(environment: HouseholdEnvironment, task: Task) -> list[tuple[str, str, float, str]]:
    rng = random.Random(task.id)
    trace = [(environment.reset(task), task.goal, 0.0, environment.state_key())]
    done = False
    while not done:
        action = environment.expert()[1] if rng.random() < 0.5 else rng.choice(environment.valid_actions())
        result = environment.step(action or "look")
        done = result.done
        trace.append((action, result.text, result.outcome, environment.state_key()))
    return trace


def test_nothing_leaks_from_one_episode_into_another() -> None:
    environment = HouseholdEnvironment()
    one, other = environment.task("two-small:8"), environment.task("heat-full:9")
    first = play(environment, one)
    play(environment, other)
    assert play(environment, one) == first == play(HouseholdEnvironment(), one)


def test_episodes_do_not_depend_on_the_hash_seed() -> None:
    script = (
        "from agentrm_tui.environments.household import HouseholdEnvironment as E\n"
        "e = E()\n"
        "for task in [*e.tasks('train', count=12), *(e.task(f'{level}:5') for level in e.traits.levels)]:\n"
        "    print(task, e.reset(task), e.snapshot())\n"
    )
    seen = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert seen[0] == seen[1] and len(seen[0].splitlines()) == 24


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(LEVELS)), st.integers(0, 10**6), st.lists(st.integers(0, 99), max_size=12))
def test_snapshots_cost_nothing_and_are_exact(level: str, seed: int, choices: list[int]) -> None:
    environment = HouseholdEnvironment()
    environment.reset(environment.task(f"{level}:{seed}"))
    for choice in choices:
        actions = environment.valid_actions()
        before = environment.snapshot()
        result, key = environment.step(actions[choice % len(actions)]), environment.state_key()
        environment.restore(before)
        assert environment.snapshot() is before
        assert environment.step(actions[choice % len(actions)]) == result
        assert environment.state_key() == key and result.valid
        assert result.done == (result.outcome == 1.0) or result.text.endswith("the task has failed.")
        if result.done:
            assert environment.valid_actions() == () and environment.expert() == ("", "")
            return


def test_it_says_that_it_is_compatible_and_names_the_nearest_level() -> None:
    environment = make_environment("household")
    traits = environment.traits
    assert (traits.name, traits.origin, traits.snapshots, traits.procedural) == ("household", "compatible", True, True)
    assert {level.partition("-")[0] for level in traits.mix} == {"place", "light", "clean", "heat", "cool", "two"}
    with pytest.raises(UsageError, match="clean-small"):
        environment.task("clean-smal:1")
    with pytest.raises(UsageError, match="no level"):
        environment.reset(Task("maze-4:1", "reach the goal", 1, 10, "maze-4"))
