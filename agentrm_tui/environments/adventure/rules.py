"""What an expert knows about the cave: rules that say, in order, what must be done where, until what holds.

The first rule whose purpose is not fulfilled gives the next command (Nilsson's teleo-reactive programs, JAIR 1994):
so it does not matter how a state came about, and whatever was undone is done again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from agentrm_tui.environments.adventure.cave import CaveState
from agentrm_tui.environments.adventure.routes import first_word, is_dark
from agentrm_tui.environments.adventure.things import Thing

FactKind: TypeAlias = Literal[
    "at", "held", "not_held", "lies", "not_lies", "prop", "at_least", "gone", "filled", "question", "light", "closed"
]


class Fact(NamedTuple):
    """Something that holds in a state or not."""

    kind: FactKind
    thing: Thing = Thing.LAMP
    value: int = 0

    def holds(self, state: CaveState) -> bool:
        """Look at the state."""
        lying = state.thing(self.thing)
        match self.kind:
            case "at":
                return state.room == self.value
            case "held":
                return lying.held
            case "not_held":
                return not lying.held
            case "lies":
                return self.value in lying.rooms
            case "not_lies":
                return self.value not in lying.rooms
            case "prop":
                return lying.prop == self.value
            case "at_least":
                return lying.prop >= self.value
            case "gone":
                return not lying.rooms and not lying.held
            case "filled":
                return state.contents == self.value
            case "question":
                return state.question is not None
            case "closed":
                return bool(state.scalar("is_closed"))
            case "light":
                return not is_dark(state, state.room)


def at(room: int) -> Fact:
    """The player stands in a room."""
    return Fact("at", value=room)


def held(thing: Thing) -> Fact:
    """The player carries a thing."""
    return Fact("held", thing)


def lies(thing: Thing, room: int) -> Fact:
    """A thing is in a room, not carried."""
    return Fact("lies", thing, room)


def prop(thing: Thing, value: int) -> Fact:
    """A thing is in one of its states, by the game's number."""
    return Fact("prop", thing, value)


LIT = prop(Thing.LAMP, 1)


class Rule(NamedTuple):
    """Say `command` in `room` (or where `thing` lies) until one of the facts holds.

    Attributes:
        until: Facts; one of them is enough to pass the rule over.
        command: What to say there; empty where going there is all.
        why: The purpose, as the beginning of a thought.
        room: Where; 0 for anywhere.
        thing: Where this thing lies, if `room` is 0.
        makes_room: A thing is taken, for which a hand must be free.
    """

    until: tuple[Fact, ...]
    command: str
    why: str
    room: int = 0
    thing: Thing | None = None
    makes_room: bool = False


class Advice(NamedTuple):
    """A command and why."""

    why: str
    command: str


HANDS = 7
"""Things that can be carried."""


def fetch(thing: Thing, *until: Fact) -> Rule:
    """Take a thing from wherever it lies."""
    return Rule((held(thing), *until), f"take {thing.word}", f"I need the {thing.title}", 0, thing, True)


def go(room: int, why: str, *until: Fact) -> Rule:
    """Go to a room."""
    return Rule((at(room), *until), "", why, room)


def put(thing: Thing, room: int, *until: Fact) -> Rule:
    """Lay a thing down in a room (after fetching it: give `fetch` first)."""
    done = lies(thing, room)
    return Rule((done, *until), f"drop {thing.word}", f"I leave the {thing.title} there", room)


def light(*until: Fact) -> tuple[Rule, Rule]:
    """Have the lamp and have it on."""
    return (
        fetch(Thing.LAMP, *until),
        Rule((LIT, *until), "light lamp", "It is dark below", 0, None),
    )


def advise(
    state: CaveState, rules: tuple[Rule, ...], region: frozenset[int] | None, spare: frozenset[Thing] = frozenset()
) -> Advice | None:
    """The next command; None when all rules are fulfilled or the next one cannot be. `spare` things may be dropped."""
    for rule in rules:
        if any(fact.holds(state) for fact in rule.until):
            continue
        rooms = (rule.room,) if rule.room else state.thing(rule.thing).rooms if rule.thing else (state.room,)
        walk = first_word(state, rooms.__contains__, region)
        if walk is None:
            return _unburden(state, rule, rooms, region)
        word, _ = walk
        if word:
            return Advice(f"{rule.why}: I go {word}.", word)
        if rule.makes_room and (extra := _superfluous(state, spare)) is not None:
            return Advice("My hands are full.", f"drop {extra.word}")
        return Advice(f"{rule.why}.", rule.command)
    return None


_BURDENS = (Thing.GOLD, Thing.CLAM, Thing.OYSTER)
"""Things with which some ways cannot be gone."""


def _unburden(state: CaveState, rule: Rule, rooms: tuple[int, ...], region: frozenset[int] | None) -> Advice | None:
    """Lay down what is in the way of going where a rule says."""
    for thing in _BURDENS:
        if thing is not rule.thing and state.thing(thing).held:
            lighter = state.without(thing)
            if first_word(lighter, rooms.__contains__, region) is not None:
                return Advice(f"I cannot go on with the {thing.title}.", f"drop {thing.word}")
    return None


def _superfluous(state: CaveState, spare: frozenset[Thing]) -> Thing | None:
    carried = [thing for thing in Thing if state.thing(thing).held]
    if len(carried) < HANDS:
        return None
    return next((thing for thing in carried if thing in spare), None)
