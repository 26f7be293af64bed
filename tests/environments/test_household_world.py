from __future__ import annotations

from itertools import product
from random import Random

import household_homes
import pytest
from household_homes import make

from agentrm_tui.environments.household.commands import Command, read_command
from agentrm_tui.environments.household.homes import Home
from agentrm_tui.environments.household.levels import make_home
from agentrm_tui.environments.household.things import APPLIANCES, OPENABLE, PLANS, THINGS
from agentrm_tui.environments.household.world import HELP, State, act, first_state, look, valid_commands

HOME = make("place", "mug", "desk")


def do(home: Home, *actions: str) -> tuple[State, str]:
    """Take actions that must all be possible; the state and the last observation."""
    state, text = first_state(home), ""
    for action in actions:
        command = read_command(action)
        assert command is not None, action
        effect = act(home, state, command)
        assert effect is not None, action
        state, text = effect.state, effect.text
    return state, text


def refused(home: Home, state: State, action: str) -> bool:
    command = read_command(action)
    return command is None or act(home, state, command) is None


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("go to desk 1", Command("go", "desk 1")),
        ("Put  mug 1 IN/ON desk 1.", Command("put", "mug 1", "desk 1")),
        ("put mug 1 in drawer 1", Command("put", "mug 1", "drawer 1")),
        ("put mug 1 on desk 1", Command("put", "mug 1", "desk 1")),
        ("move mug 1 to desk 1", Command("move", "mug 1", "desk 1")),
        ("cool mug 1 with fridge 1", Command("cool", "mug 1", "fridge 1")),
        ("slice apple 1 with knife 1", Command("slice", "apple 1", "knife 1")),
        ("inventory", Command("inventory")),
        ("go desk 1", None),
        ("look around", None),
        ("put mug 1", None),
        ("go to " + "x" * 200, None),
    ],
)
def test_reading_action_texts(text: str, command: Command | None) -> None:
    assert read_command(text) == command


def test_looking_around() -> None:
    state, text = do(HOME, "look")
    assert text == (
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 2, a cabinet 1, "
        "a countertop 1, a desk 1, a drawer 1, a fridge 1, a microwave 1, and a sinkbasin 1."
    )
    assert do(HOME, "go to desk 1", "look")[1] == "You are facing the desk 1. Next to it, you see nothing."
    assert look(HOME, state) == text and do(HOME, "help")[1] == HELP


def test_hands() -> None:
    assert do(HOME, "inventory")[1] == "You are not carrying anything."
    held, text = do(HOME, "go to desk 1", "take book 1 from desk 1", "inventory")
    assert text == "You are carrying: a book 1."
    assert refused(HOME, held, "take desklamp 1 from desk 1"), "a lamp stays where it is"
    beside, _ = do(HOME, "go to countertop 1", "take mug 1 from countertop 1", "go to desk 1")
    assert refused(HOME, beside, "take book 1 from desk 1"), "one thing at a time"
    assert refused(HOME, beside, "move mug 1 to countertop 1"), "one has to be there"
    assert refused(HOME, beside, "move book 1 to desk 1"), "it is not in the hand"
    at_sink, _ = do(HOME, "go to desk 1", "take book 1 from desk 1", "go to sinkbasin 1")
    assert refused(HOME, at_sink, "move book 1 to sinkbasin 1"), "no place for a book"


def test_doors() -> None:
    state, text = do(HOME, "go to drawer 1")
    assert text == "You arrive at drawer 1. The drawer 1 is closed."
    assert refused(HOME, state, "take knife 1 from drawer 1") and refused(HOME, state, "close drawer 1")
    assert refused(HOME, state, "go to drawer 1"), "one is there already"
    state, text = do(HOME, "go to drawer 1", "open drawer 1")
    assert text == "You open the drawer 1. The drawer 1 is open. In it, you see a knife 1."
    assert refused(HOME, state, "open drawer 1") and refused(HOME, state, "open fridge 1")
    assert do(HOME, "go to drawer 1", "open drawer 1", "close drawer 1")[1] == "You close the drawer 1."
    again = ("go to drawer 1", "open drawer 1", "go to desk 1", "go to drawer 1")
    assert do(HOME, *again)[1] == "You arrive at drawer 1. The drawer 1 is open. In it, you see a knife 1."
    assert do(HOME, *again, "examine drawer 1")[1] == "The drawer 1 is open. In it, you see a knife 1."


FETCH_APPLE = ("go to fridge 1", "open fridge 1", "take apple 1 from fridge 1")
COOL, HEAT = ("cool apple 1 with fridge 1",), ("go to microwave 1", "heat apple 1 with microwave 1")
CLEAN = ("go to sinkbasin 1", "clean apple 1 with sinkbasin 1")


@pytest.mark.parametrize(
    ("actions", "text"),
    [
        ((), "There's nothing special about apple 1."),
        (COOL, "This is a cold apple 1."),
        (HEAT, "This is a hot apple 1."),
        (CLEAN, "This is a clean apple 1."),
        ((*COOL, *HEAT), "This is a hot apple 1."),
        ((*HEAT, "go to fridge 1", *COOL), "This is a cold apple 1."),
        ((*HEAT, *CLEAN), "This is a hot and clean apple 1."),
        ((*COOL, *CLEAN), "This is a cool and clean apple 1."),
    ],
)
def test_what_treatments_do(actions: tuple[str, ...], text: str) -> None:
    assert do(HOME, *FETCH_APPLE, *actions, "examine apple 1")[1] == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ((), "This is a sliced apple 1."),
        (COOL, "This is a cool sliced apple 1."),
        (HEAT, "This is a hot sliced apple 1."),
        (CLEAN, "This is a clean sliced apple 1."),
        ((*HEAT, *CLEAN), "This is a hot and clean sliced apple 1."),
    ],
)
def test_slicing(before: tuple[str, ...], text: str) -> None:
    lay_down = ("go to countertop 1", "move apple 1 to countertop 1")
    knife = ("go to drawer 1", "open drawer 1", "take knife 1 from drawer 1", "go to countertop 1")
    slice_it = "slice apple 1 with knife 1"
    assert do(HOME, *FETCH_APPLE, *before, *lay_down, *knife, slice_it)[1] == "You sliced the apple 1 with the knife 1."
    assert do(HOME, *FETCH_APPLE, *before, *lay_down, *knife, slice_it, "examine apple 1")[1] == text
    out_of_sight, _ = do(HOME, *knife[:3], "go to fridge 1")
    assert refused(HOME, out_of_sight, slice_it), "the fridge is closed"


def test_other_things_examined() -> None:
    assert do(HOME, "go to countertop 1", "examine mug 1")[1] == "This is a normal mug 1. In it, you see nothing."
    assert do(HOME, "go to desk 1", "examine desklamp 1")[1] == "This desklamp 1 is off."
    assert do(HOME, "go to desk 1", "use desklamp 1", "examine desklamp 1")[1] == "This desklamp 1 is on."
    assert do(HOME, "go to desk 1", "examine book 1")[1] == "There's nothing special about book 1."
    assert do(HOME, "go to desk 1", "examine desk 1")[1] == "On the desk 1, you see a book 1, and a desklamp 1."
    at_desk, _ = do(HOME, "go to desk 1")
    assert refused(HOME, at_desk, "examine mug 1") and refused(HOME, at_desk, "examine fridge 1")


def test_treatments_need_the_thing_and_its_appliance() -> None:
    state, _ = do(HOME, *FETCH_APPLE)
    assert refused(HOME, state, "heat apple 1 with fridge 1") and refused(HOME, state, "heat apple 1 with microwave 1")
    assert refused(HOME, state, "cool mug 1 with fridge 1"), "the mug is elsewhere"
    book, _ = do(HOME, "go to desk 1", "take book 1 from desk 1", "go to sinkbasin 1")
    assert refused(HOME, book, "clean book 1 with sinkbasin 1"), "books are not washed"


def all_commands(home: Home) -> list[str]:
    """Every sentence that can be made of the verbs and the names of a home."""
    names = [*home.place_index, *home.thing_index]
    one = [f"{verb} {name}" for verb in ("go to", "open", "close", "use", "examine") for name in names]
    forms = (
        "take {} from {}",
        "move {} to {}",
        "clean {} with {}",
        "heat {} with {}",
        "cool {} with {}",
        "slice {} with {}",
    )
    two = [form.format(a, b) for form in forms for a, b in product(names, names)]
    return ["look", "inventory", *one, *two]


@pytest.mark.parametrize(
    "level", ["place-small", "light-small", "clean-small", "heat-small", "cool-small", "two-small"]
)
def test_valid_actions_are_exactly_those_that_are_possible(level: str) -> None:
    for seed, steps in product(range(2), (0, 4, 9)):
        rng, home = Random(f"{level}{seed}{steps}"), make_home(level, seed)
        state = first_state(home)
        for _ in range(steps):
            doing = [action for action in valid_commands(home, state) if not action.startswith(("look", "inv", "exam"))]
            command = read_command(rng.choice(doing))
            effect = act(home, state, command) if command else None
            assert effect is not None
            state = effect.state
        possible = {action for action in all_commands(home) if not refused(home, state, action)}
        offered = valid_commands(home, state)
        assert set(offered) == possible and len(offered) == len(possible)


def test_the_tables_fit_together() -> None:
    kinds = {plan.kind for plans in PLANS.values() for plan in plans}
    assert kinds >= OPENABLE and kinds >= set(APPLIANCES.values())
    for thing in THINGS.values():
        assert set(thing.kept) <= kinds, thing.name
        assert len(set(thing.kept)) == len(thing.kept), thing.name
        for room in thing.rooms:
            assert any(plan.kind in thing.kept for plan in PLANS[room]), (thing.name, room)
    assert household_homes.KEPT.keys() <= {f"{name} {number}" for name in THINGS for number in (1, 2)}
