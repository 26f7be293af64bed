"""ALFWorld's game format, and homes of the `household` environment written in it for the original engine.

A game is a record of a planning domain, a grammar for the sentences, a planning problem, and a way to solve it. Domain
and grammar here are this project's own (`rules.pddl`, `sentences.twl2`); the problem uses the predicates of ALFWorld's
own games, so that it can be played by ALFWorld's rules as well.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from hashlib import blake2b
from importlib.resources import files

import msgspec

from agentrm_tui.environments.household.commands import read_command
from agentrm_tui.environments.household.expert import advise
from agentrm_tui.environments.household.homes import Goal, Home, Named
from agentrm_tui.environments.household.things import LAMP, OPENABLE, THINGS, Treatment
from agentrm_tui.environments.household.world import HELP, act, first_state, progress

TASK_TYPES = {
    "place": "pick_and_place_simple",
    "light": "look_at_obj_in_light",
    "clean": "pick_clean_then_place_in_recep",
    "heat": "pick_heat_then_place_in_recep",
    "cool": "pick_cool_then_place_in_recep",
    "two": "pick_two_obj_and_place",
}
"""The six task types: `household`'s names and ALFWorld's."""

_MIXED_CASE = {"sinkbasin": "SinkBasin", "butterknife": "ButterKnife"}
"""Kinds that rules name, in their spelling; of all others only the first letter is a capital."""
_TREATED: dict[Treatment, str] = {"clean": "isClean", "heat": "isHot", "cool": "isCool"}
_TREATABLE: dict[Treatment, str] = {"clean": "cleanable", "heat": "heatable", "cool": "coolable"}
_BASIN = "basin"


class Aim(msgspec.Struct, frozen=True):
    """What a game asks for, as far as progress towards it can be told.

    Attributes:
        type: One of ALFWorld's task types.
        thing: The kind of thing, in small letters.
        place: The kind of place it belongs in, or of lamp, in small letters.
    """

    type: str
    thing: str
    place: str


class Game(msgspec.Struct, frozen=True, dict=True):
    """A game file's content; the engine and ALFWorld's own programs read the first five.

    Attributes:
        pddl_domain: The rules.
        grammar: The sentences, in TextWorld's language for them.
        pddl_problem: Things, places, facts and the goal.
        walkthrough: Commands that reach the goal, where they are known.
        solvable: A way to the goal was found; unknown where the file does not say.
        thoughts: Why each command of the walkthrough is given; empty where nobody said.
        aim: What is asked for; nothing where only success or failure can be told.
    """

    pddl_domain: str
    grammar: str
    pddl_problem: str
    walkthrough: tuple[str, ...] = ()
    solvable: bool | None = None
    thoughts: tuple[str, ...] = ()
    aim: Aim | None = None

    @cached_property
    def key(self) -> str:
        """A digest of all of it: equal keys, equal games."""
        return blake2b(msgspec.json.encode(self), digest_size=12).hexdigest()


def game_of(home: Home) -> Game:
    """A home of `household` as a game for the original engine, with the way of `household`'s expert as its solution.

    Raises:
        ValueError: The expert does not solve this home.
    """
    commands, thoughts = _solution(home)
    return Game(
        pddl_domain=_text("rules.pddl"),
        grammar=_grammar(home.goal.text),
        pddl_problem=problem_of(home),
        walkthrough=commands,
        solvable=True,
        thoughts=thoughts,
        aim=Aim(TASK_TYPES[home.goal.type], home.goal.thing, home.goal.place),
    )


_MOST_STEPS = 200


def _solution(home: Home) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The commands of `household`'s expert until the goal, carried out there, and its thoughts."""
    state, commands, thoughts = first_state(home), list[str](), list[str]()
    while progress(home, state) < 1.0:
        thought, action = advise(home, state)
        command = read_command(action)
        effect = act(home, state, command) if command else None
        if effect is None or len(commands) == _MOST_STEPS:
            raise ValueError(f"no way to the goal was found: {home.goal.text}")
        commands.append(action)
        thoughts.append(thought)
        state = effect.state
    return tuple(commands), tuple(thoughts)


@cache
def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _grammar(goal: str) -> str:
    """The sentences with this game's goal; both texts stand in JSON strings."""
    told = _text("sentences.twl2")
    return told.replace("GOAL", json.dumps(goal)[1:-1]).replace("HELP", json.dumps(HELP)[1:-1])


def problem_of(home: Home) -> str:
    """A home and its goal as a planning problem, one location for each place."""
    places, things = _identifiers(home.places), _identifiers(home.things)
    spots = [f"loc_bar_{number:02d}" for number in range(1, len(places) + 1)]
    lines = [
        "(define (problem home)",
        "(:domain household)",
        "(:objects",
        *_objects(home, places, things, spots),
        ")",
        "(:init",
        "(atLocation agent1 loc_bar_00)",
        *_place_facts(home, places, spots),
        *_thing_facts(home, places, things, spots),
        ")",
        f"(:goal {_goal(home.goal)})",
        ")",
    ]
    return "\n".join(lines)


def _identifiers(named: Sequence[Named]) -> list[str]:
    """Names that ALFWorld turns into kind and number: it counts from the last in order of the alphabet."""
    most = Counter(one.kind for one in named)
    found = []
    for kind, number in named:
        tail = f"_bar_{_BASIN}" if kind.endswith(_BASIN) else ""
        found.append(f"{kind.removesuffix(_BASIN)}_bar_{most[kind] - number + 1:02d}{tail}")
    return found


def _type(kind: str) -> str:
    return f"{_MIXED_CASE.get(kind, kind.capitalize())}Type"


def _objects(home: Home, places: Iterable[str], things: Iterable[str], spots: Iterable[str]) -> Iterator[str]:
    yield "agent1 - agent"
    yield from (f"{spot} - location" for spot in ("loc_bar_00", *spots))
    yield from (f"{place} - receptacle" for place in places)
    yield from (f"{thing} - object" for thing in things)
    yield from (f"{_type(kind)} - rtype" for kind in sorted({place.kind for place in home.places}))
    yield from (f"{_type(kind)} - otype" for kind in sorted({thing.kind for thing in home.things}))


def _place_facts(home: Home, places: Sequence[str], spots: Sequence[str]) -> Iterator[str]:
    for (kind, _), place, spot in zip(home.places, places, spots, strict=True):
        yield f"(receptacleAtLocation {place} {spot})"
        yield f"(receptacleType {place} {_type(kind)})"
        if kind in OPENABLE:
            yield f"(openable {place})"
    present = sorted({place.kind for place in home.places})
    for thing in sorted({thing.kind for thing in home.things}):
        yield from (f"(canContain {_type(kind)} {_type(thing)})" for kind in present if kind in THINGS[thing].kept)


def _thing_facts(home: Home, places: Sequence[str], things: Sequence[str], spots: Sequence[str]) -> Iterator[str]:
    for kind, thing, start in zip(home.kinds, things, home.start, strict=True):
        yield f"(objectType {thing} {_type(kind.name)})"
        yield f"(inReceptacle {thing} {places[start]})"
        yield f"(objectAtLocation {thing} {spots[start]})"
        yield from (f"({_TREATABLE[treatment]} {thing})" for treatment in kind.treatments)
        marks = {
            "pickupable": kind.movable,
            "sliceable": kind.sliceable,
            "isReceptacleObject": kind.vessel,
            "toggleable": kind.name == LAMP,
        }
        yield from (f"({mark} {thing})" for mark, holds in marks.items() if holds)


def _goal(goal: Goal) -> str:
    thing, place = _type(goal.thing), _type(goal.place)
    if goal.type == "light":
        return (
            "(and (exists (?o - object ?a - agent)"
            f" (and (objectType ?o {thing}) (holds ?a ?o)))"
            " (exists (?o - object ?r - receptacle ?a - agent ?l - location)"
            f" (and (objectType ?o {place}) (isToggled ?o) (inReceptacle ?o ?r) (receptacleAtLocation ?r ?l)"
            " (atLocation ?a ?l))))"
        )
    if goal.type == "two":
        return (
            "(exists (?r - receptacle ?o ?p - object)"
            f" (and (not (= ?o ?p)) (receptacleType ?r {place}) (objectType ?o {thing}) (objectType ?p {thing})"
            " (inReceptacle ?o ?r) (inReceptacle ?p ?r)))"
        )
    treated = f" ({_TREATED[goal.treatment]} ?o)" if goal.treatment else ""
    return (
        "(exists (?r - receptacle ?o - object)"
        f" (and (receptacleType ?r {place}) (objectType ?o {thing}){treated} (inReceptacle ?o ?r)))"
    )
