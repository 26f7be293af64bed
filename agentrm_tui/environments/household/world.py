"""How a home changes: what each action needs and does, in the words of ALFWorld 0.4.

The rules are those of ALFWorld's planning domain: one thing in the hand at a time, closed places hide what is in them,
appliances work open or closed. One rule is ours: a thing must be in sight to be sliced or a lamp to be used, where
ALFWorld only asks for being at the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

from agentrm_tui.environments.household.commands import Command
from agentrm_tui.environments.household.homes import Home
from agentrm_tui.environments.household.things import APPLIANCES, KNIVES, LAMP, Treatment

NOWHERE = -1
"""Place of the agent in the middle of the room; place of a thing in the hand; nothing in the hand."""

NOTHING_HAPPENS = "Nothing happens."

HELP = (
    "Commands: look, inventory, go to PLACE, open PLACE, close PLACE, take THING from PLACE, move THING to PLACE, "
    "examine PLACE or THING, use LAMP, clean/heat/cool THING with PLACE, slice THING with KNIFE."
)


class State(NamedTuple):
    """What changes during an episode. Sets of things or places are the bits of whole numbers.

    Attributes:
        place: Where the agent is.
        held: What it holds.
        where: The place of each thing.
        opened: Places that are open now.
        clean, hot, cool, sliced, lit: What has been done to things.
        seen: Places whose contents the agent has seen; nobody else moves anything, so it knows them from then on.
    """

    place: int
    held: int
    where: tuple[int, ...]
    opened: int = 0
    clean: int = 0
    hot: int = 0
    cool: int = 0
    sliced: int = 0
    lit: int = 0
    seen: int = 0


class Effect(NamedTuple):
    """What a possible action does: the observation, the next state, and whether the goal speaks against it."""

    text: str
    state: State
    amiss: bool = False


def first_state(home: Home) -> State:
    """In the middle of the room, with everything closed and nothing seen."""
    return State(NOWHERE, NOWHERE, home.start)


def in_sight(home: Home, state: State, place: int) -> bool:
    """Whether the contents of a place could be seen from it: it is open, or cannot be closed."""
    return not (home.openable & ~state.opened) >> place & 1


def things_at(state: State, place: int) -> list[int]:
    """What is in a place."""
    return [thing for thing, where in enumerate(state.where) if where == place]


def things_here(home: Home, state: State) -> list[int]:
    """What the agent sees where it is, without what it holds."""
    if state.place == NOWHERE or not in_sight(home, state, state.place):
        return []
    return things_at(state, state.place)


def progress(home: Home, state: State) -> float:
    """The share of the goal's conditions that hold: had, treated, placed. It is 1 exactly when the goal is reached."""
    goal = home.goal
    if goal.type == "light":
        holds = state.held in home.wanted
        lit = [lamp for lamp in home.lamps if state.lit >> lamp & 1]
        if holds and any(state.where[lamp] == state.place for lamp in lit):
            return 1.0
        return (holds + bool(lit)) / 3
    if goal.type == "two":
        placed = max(sum(state.where[thing] == place for thing in home.wanted) for place in home.goal_places)
        return 1.0 if placed >= 2 else (2 * placed + (state.held in home.wanted)) / 4
    return max(_condition(home, state, thing) for thing in home.wanted)


def _condition(home: Home, state: State, thing: int) -> float:
    goal = home.goal
    treated = goal.treatment is not None and is_treated(state, thing, goal.treatment)
    if state.where[thing] in home.goal_places and (treated or goal.treatment is None):
        return 1.0
    had = state.held == thing or treated
    return (had + treated) / (2 if goal.treatment is None else 3)


def is_treated(state: State, thing: int, treatment: Treatment) -> bool:
    """Whether a thing is clean, hot or cool now."""
    done = {"clean": state.clean, "heat": state.hot, "cool": state.cool}[treatment]
    return bool(done >> thing & 1)


def act(home: Home, state: State, command: Command) -> Effect | None:
    """What an action does; nothing where it is not possible."""
    match command.verb:
        case "look":
            return Effect(look(home, state), state)
        case "inventory":
            return Effect(_inventory(home, state), state)
        case "help":
            return Effect(HELP, state)
        case "go" | "open" | "close":
            return _visit(home, state, command)
        case "take" | "move" | "put":
            return _carry(home, state, command)
        case "clean" | "heat" | "cool":
            return _treat(home, state, command)
        case "slice":
            return _slice(home, state, command)
        case "use":
            return _use(home, state, command)
        case "examine":
            return _examine(home, state, command)


def look(home: Home, state: State) -> str:
    """The whole room from its middle; from a place, what lies next to it: never anything here."""
    if state.place == NOWHERE:
        names = _listing(place.name for place in home.places)
        return f"You are in the middle of a room. Looking quickly around you, you see {names}."
    return f"You are facing the {home.places[state.place].name}. Next to it, you see nothing."


def describe_place(home: Home, state: State, place: int) -> str:
    """What is in a place, or that it is closed."""
    name = home.places[place].name
    if not in_sight(home, state, place):
        return f"The {name} is closed."
    contents = _listing(home.things[thing].name for thing in things_at(state, place))
    if home.openable >> place & 1:
        return f"The {name} is open. In it, you see {contents}."
    return f"On the {name}, you see {contents}."


def valid_commands(home: Home, state: State) -> tuple[str, ...]:
    """All actions that are possible now but `help`, in ALFWorld's own spelling and in a fixed order."""
    return tuple(_valid_commands(home, state))


def _valid_commands(home: Home, state: State) -> Iterator[str]:
    here, held = state.place, state.held
    yield from (f"go to {place.name}" for index, place in enumerate(home.places) if index != here)
    sight = things_here(home, state)
    if here != NOWHERE:
        place = home.places[here]
        if home.openable >> here & 1:
            yield f"{'close' if in_sight(home, state, here) else 'open'} {place.name}"
        if held == NOWHERE:
            yield from (
                f"take {home.things[thing].name} from {place.name}" for thing in sight if home.kinds[thing].movable
            )
        else:
            yield from _hand_commands(home, state, sight)
        yield from (f"use {home.things[thing].name}" for thing in sight if home.things[thing].kind == LAMP)
        yield f"examine {place.name}"
    shown = sight if held == NOWHERE else sorted([*sight, held])
    yield from (f"examine {home.things[thing].name}" for thing in shown)
    yield "inventory"
    yield "look"


def _hand_commands(home: Home, state: State, sight: list[int]) -> Iterator[str]:
    """What can be done with the thing in the hand where the agent is."""
    place, held = home.places[state.place], home.things[state.held]
    kind = home.kinds[state.held]
    if in_sight(home, state, state.place) and home.accepts(state.place, state.held):
        yield f"move {held.name} to {place.name}"
    yield from (f"{how} {held.name} with {place.name}" for how in kind.treatments if APPLIANCES[how] == place.kind)
    if held.kind in KNIVES:
        yield from (
            f"slice {home.things[thing].name} with {held.name}" for thing in sight if home.kinds[thing].sliceable
        )


def _visit(home: Home, state: State, command: Command) -> Effect | None:
    place = home.place_index.get(command.what)
    if place is None or (command.verb == "go") == (place == state.place):
        return None
    name, bit = home.places[place].name, 1 << place
    if command.verb == "go":
        there = state._replace(place=place, seen=state.seen | (bit if in_sight(home, state, place) else 0))
        return Effect(f"You arrive at {name}. {describe_place(home, there, place)}", there)
    if not home.openable & bit or (command.verb == "open") == in_sight(home, state, place):
        return None
    if command.verb == "close":
        return Effect(f"You close the {name}.", state._replace(opened=state.opened & ~bit))
    after = state._replace(opened=state.opened | bit, seen=state.seen | bit)
    return Effect(f"You open the {name}. {describe_place(home, after, place)}", after)


def _carry(home: Home, state: State, command: Command) -> Effect | None:
    thing, place = home.thing_index.get(command.what), home.place_index.get(command.other)
    if thing is None or place is None or place != state.place or not in_sight(home, state, place):
        return None
    name, place_name = home.things[thing].name, home.places[place].name
    if command.verb == "take":
        if state.held != NOWHERE or state.where[thing] != place or not home.kinds[thing].movable:
            return None
        after = state._replace(held=thing, where=_moved(state.where, thing, NOWHERE))
        return Effect(f"You pick up the {name} from the {place_name}.", after)
    if state.held != thing or not home.accepts(place, thing):
        return None
    after = state._replace(held=NOWHERE, where=_moved(state.where, thing, place))
    # Something that does not bring the goal nearer does not belong in a place of the goal's kind, unless it was there.
    amiss = place in home.goal_places and place != home.start[thing] and progress(home, after) <= progress(home, state)
    how = f"move the {name} to the" if command.verb == "move" else f"put the {name} in/on the"
    return Effect(f"You {how} {place_name}.", after, amiss)


def _treat(home: Home, state: State, command: Command) -> Effect | None:
    thing, place = home.thing_index.get(command.what), home.place_index.get(command.other)
    treatment = cast(Treatment, command.verb)
    if thing is None or place is None or place != state.place or thing != state.held:
        return None
    if treatment not in home.kinds[thing].treatments or home.places[place].kind != APPLIANCES[treatment]:
        return None
    bit = 1 << thing
    match treatment:
        case "clean":
            after = state._replace(clean=state.clean | bit)
        case "heat":
            after = state._replace(hot=state.hot | bit, cool=state.cool & ~bit)
        case "cool":
            after = state._replace(cool=state.cool | bit, hot=state.hot & ~bit)
    text = f"You {treatment} the {home.things[thing].name} using the {home.places[place].name}."
    return Effect(text, after, amiss=home.goal.treatment != treatment or thing not in home.wanted)


def _slice(home: Home, state: State, command: Command) -> Effect | None:
    thing, knife = home.thing_index.get(command.what), home.thing_index.get(command.other)
    if thing is None or knife is None or knife != state.held or home.things[knife].kind not in KNIVES:
        return None
    if not home.kinds[thing].sliceable or thing not in things_here(home, state):
        return None
    text = f"You sliced the {home.things[thing].name} with the {home.things[knife].name}."
    return Effect(text, state._replace(sliced=state.sliced | 1 << thing), amiss=True)


def _use(home: Home, state: State, command: Command) -> Effect | None:
    lamp = home.thing_index.get(command.what)
    if lamp not in home.lamps or lamp not in things_here(home, state):
        return None
    after = state._replace(lit=state.lit | 1 << lamp)
    return Effect(f"You turn on the {home.things[lamp].name}.", after, amiss=progress(home, after) < 1.0)


def _examine(home: Home, state: State, command: Command) -> Effect | None:
    place, thing = home.place_index.get(command.what), home.thing_index.get(command.what)
    if place is not None and place == state.place:
        return Effect(describe_place(home, state, place), state)
    if thing is not None and (thing == state.held or thing in things_here(home, state)):
        return Effect(_describe_thing(home, state, thing), state)
    return None


def _describe_thing(home: Home, state: State, thing: int) -> str:
    name, kind = home.things[thing].name, home.kinds[thing]
    if kind.vessel:
        return f"This is a normal {name}. In it, you see nothing."
    if kind.name == LAMP:
        return f"This {name} is {'on' if state.lit >> thing & 1 else 'off'}."
    clean, hot, cool, sliced = (bool(bits >> thing & 1) for bits in (state.clean, state.hot, state.cool, state.sliced))
    if not (clean or hot or cool or sliced):
        return f"There's nothing special about {name}."
    # ALFWorld says `cold` of a thing that is nothing else.
    warmth = "hot" if hot else ("cool" if clean or sliced else "cold") if cool else ""
    words = " and ".join(word for word in (warmth, "clean" if clean else "") if word)
    return f"This is a {words}{' ' if words and sliced else ''}{'sliced' if sliced else ''} {name}."


def _inventory(home: Home, state: State) -> str:
    if state.held == NOWHERE:
        return "You are not carrying anything."
    return f"You are carrying: a {home.things[state.held].name}."


def _moved(where: tuple[int, ...], thing: int, place: int) -> tuple[int, ...]:
    return (*where[:thing], place, *where[thing + 1 :])


def _listing(names: Iterable[str]) -> str:
    """ALFWorld's lists: always `a`, and a comma before the last `and`, even of two."""
    items = [f"a {name}" for name in names]
    if not items:
        return "nothing"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])}, and {items[-1]}"
