"""A way through the whole game as rules: every treasure into the well house, trip by trip, then the end of the cave.

The parts are also what the subgoals start from: rules up to a point give the commands that lead there.
"""

from __future__ import annotations

from typing import NamedTuple

from agentrm_tui.environments.adventure.cave import Cave, CaveState
from agentrm_tui.environments.adventure.routes import is_dark
from agentrm_tui.environments.adventure.rules import (
    HANDS,
    Advice,
    Fact,
    Rule,
    advise,
    fetch,
    go,
    held,
    lies,
    light,
    prop,
    put,
)
from agentrm_tui.environments.adventure.things import Thing

HOUSE = 3
SNAKE_GONE = Fact("gone", Thing.SNAKE)
GRATE_OPEN = prop(Thing.GRATE, 1)
BRIDGE_THERE = prop(Thing.FISSURE, 1)
SPROUTED, GROWN = Fact("at_least", Thing.PLANT, 2), Fact("at_least", Thing.PLANT, 4)
DOOR_OILED = prop(Thing.DOOR, 1)
DRAGON_DEAD = prop(Thing.DRAGON, 2)
CLAM_OPEN = Fact("gone", Thing.CLAM)
_LIT_ROOM = 100
"""A room deep in the cave that needs no lamp."""
_ALCOVE = 99
TROLL_PAID = Fact("gone", Thing.TROLL)
TROLL_FLED = prop(Thing.TROLL, 2)
_TROLL_CROSSED = prop(Thing.TROLL, 1)
BEAR_TAME = Fact("at_least", Thing.BEAR, 1)
CHAIN_FREE = prop(Thing.CHAIN, 0)


def home(*treasures: Thing) -> tuple[Rule, ...]:
    """Collect treasures, then lay them down in the well house."""
    return (
        *(fetch(treasure, lies(treasure, HOUSE)) for treasure in treasures),
        *(put(treasure, HOUSE) for treasure in treasures),
    )


ENTER = (
    fetch(Thing.LAMP),
    fetch(Thing.KEYS, GRATE_OPEN, SNAKE_GONE),
    Rule((GRATE_OPEN, SNAKE_GONE), "unlock grate", "The grate must be opened", 8),
    *light(),
)
BIRD = (
    fetch(Thing.CAGE, SNAKE_GONE),
    Rule((held(Thing.BIRD), Fact("not_held", Thing.ROD), SNAKE_GONE), "drop rod", "The bird fears the rod"),
    fetch(Thing.BIRD, SNAKE_GONE),
)
ROD = (fetch(Thing.ROD, BRIDGE_THERE, held(Thing.DIAMONDS), lies(Thing.DIAMONDS, HOUSE)),)
SNAKE = (Rule((SNAKE_GONE,), "drop bird", "The bird can drive the snake away", 19),)
BRIDGE = (
    Rule((BRIDGE_THERE, held(Thing.DIAMONDS), lies(Thing.DIAMONDS, HOUSE)), "wave rod", "The rod makes a bridge", 17),
)
FILL_OIL = (
    fetch(Thing.BOTTLE, DOOR_OILED),
    Rule(
        (Fact("filled", value=0), Fact("filled", value=Thing.OIL), DOOR_OILED),
        "pour water",
        "The bottle is for oil",
        24,
    ),
    Rule((Fact("filled", value=Thing.OIL), DOOR_OILED), "fill bottle", "The rusty door needs oil", 24),
)
SPROUT = (
    fetch(Thing.BOTTLE, SPROUTED),
    Rule((Fact("filled", value=0), Fact("filled", value=Thing.WATER), SPROUTED), "pour oil", "The bottle is for water"),
    Rule((Fact("filled", value=Thing.WATER), SPROUTED), "fill bottle", "The plant needs water", 113),
    Rule((SPROUTED,), "pour water", "The plant needs water", 25),
)
GROW = (
    Rule((Fact("filled", value=0), Fact("filled", value=Thing.WATER), GROWN), "pour oil", "The bottle is for water"),
    Rule((Fact("filled", value=Thing.WATER), GROWN), "fill bottle", "The plant needs more water", 113),
    Rule((GROWN,), "pour water", "The plant needs more water", 25),
)
SLAY = (
    Rule((DRAGON_DEAD, Fact("question")), "attack dragon", "I kill the dragon", 0, Thing.DRAGON),
    Rule((DRAGON_DEAD,), "yes", "Bare hands will do"),
)
OIL_DOOR = (Rule((DOOR_OILED,), "pour oil", "The door needs oil", 94),)
OPEN_CLAM = (
    fetch(Thing.TRIDENT, CLAM_OPEN),
    Rule((CLAM_OPEN,), "open clam", "The trident opens the clam", 103),
)
PAY = (Rule((TROLL_PAID, TROLL_FLED, _TROLL_CROSSED, BEAR_TAME), "throw eggs", "The troll wants a treasure", 117),)
FREE_CHAIN = (
    fetch(Thing.FOOD, BEAR_TAME),
    Rule((BEAR_TAME,), "feed bear", "The bear is hungry", 130),
    fetch(Thing.KEYS, CHAIN_FREE),
    Rule((CHAIN_FREE,), "unlock chain", "The bear is tame", 130),
)
BEAR_BACK = (
    fetch(Thing.BEAR, TROLL_FLED),
    Rule((Fact("lies", Thing.TROLL, 122), TROLL_FLED), "cross", "The troll will come", 122),
    Rule((TROLL_FLED,), "drop bear", "The bear scares the troll", 122),
)


def _leave_all(room: int, keep: Thing, *until: Fact) -> tuple[Rule, ...]:
    """Lay everything down in a room, the lamp last, so that there is light."""
    others = [thing for thing in Thing if thing not in (Thing.LAMP, keep, Thing.WATER, Thing.OIL)]
    return tuple(
        Rule((Fact("not_held", thing), *until), f"drop {thing.word}", "The tunnel is tight", room)
        for thing in (*others, Thing.LAMP)
    )


_EMERALD_TAKEN = (held(Thing.EMERALD), Fact("not_lies", Thing.EMERALD, _LIT_ROOM))
EMERALD = (
    *light(*_EMERALD_TAKEN, lies(Thing.LAMP, 99)),
    *_leave_all(99, Thing.EMERALD, *_EMERALD_TAKEN),
    fetch(Thing.EMERALD, lies(Thing.EMERALD, HOUSE)),
    fetch(Thing.LAMP),
)


class Trip(NamedTuple):
    """Rules that count until all of `done` hold."""

    done: tuple[Fact, ...]
    rules: tuple[Rule, ...]


def _at_home(*treasures: Thing) -> tuple[Fact, ...]:
    return tuple(lies(treasure, HOUSE) for treasure in treasures)


_HALLS = (Thing.JEWELRY, Thing.COINS, Thing.DIAMONDS, Thing.GOLD, Thing.SILVER)
_DEPTHS = (Thing.RUG, Thing.TRIDENT, Thing.PEARL)
TOUR = (
    Trip(
        _at_home(*_HALLS),
        (
            *ENTER, *BIRD, *ROD, *SNAKE,
            fetch(Thing.JEWELRY, lies(Thing.JEWELRY, HOUSE)), fetch(Thing.COINS, lies(Thing.COINS, HOUSE)),
            *BRIDGE, *home(Thing.DIAMONDS, Thing.GOLD, Thing.SILVER),
            put(Thing.JEWELRY, HOUSE), put(Thing.COINS, HOUSE),
        ),
    ),
    Trip(_at_home(Thing.PLATINUM), (*light(), *home(Thing.PLATINUM))),
    Trip(
        (*_at_home(*_DEPTHS), DOOR_OILED),
        (
            *light(), *SPROUT, Rule((Fact("filled", value=Thing.WATER), GROWN), "fill bottle", "More water", 113),
            *SLAY, fetch(Thing.RUG, lies(Thing.RUG, HOUSE)), *GROW, *FILL_OIL,
            fetch(Thing.EGGS, lies(Thing.EGGS, HOUSE)), *OIL_DOOR,
            fetch(Thing.TRIDENT, lies(Thing.TRIDENT, HOUSE)), *OPEN_CLAM, *home(*_DEPTHS),
            put(Thing.EGGS, HOUSE),
        ),
    ),
    Trip(
        _at_home(Thing.VASE, Thing.EMERALD, Thing.PILLOW),
        (
            *EMERALD, fetch(Thing.PILLOW, lies(Thing.PILLOW, HOUSE)), fetch(Thing.VASE, lies(Thing.VASE, HOUSE)),
            put(Thing.EMERALD, HOUSE), put(Thing.PILLOW, HOUSE), put(Thing.VASE, HOUSE),
        ),
    ),
    Trip(
        _at_home(Thing.CHAIN, Thing.SPICES),
        (
            *light(), fetch(Thing.FOOD, BEAR_TAME), fetch(Thing.KEYS, CHAIN_FREE),
            fetch(Thing.EGGS, TROLL_PAID, TROLL_FLED, _TROLL_CROSSED, BEAR_TAME), *PAY, *FREE_CHAIN,
            fetch(Thing.CHAIN, lies(Thing.CHAIN, HOUSE)), fetch(Thing.SPICES, lies(Thing.SPICES, HOUSE)), *BEAR_BACK,
            put(Thing.CHAIN, HOUSE), put(Thing.SPICES, HOUSE),
        ),
    ),
    Trip(_at_home(Thing.EGGS), (*light(), *home(Thing.EGGS))),
    Trip(_at_home(Thing.CHEST), (*light(lies(Thing.CHEST, HOUSE)), *home(Thing.CHEST))),
    Trip((Fact("closed"),), (Rule((Fact("closed"),), "look", "The cave will close", _LIT_ROOM),)),
)  # fmt: skip
"""The trips in the order in which they are made."""

_LAST = (
    fetch(Thing.MARKED_ROD, lies(Thing.MARKED_ROD, 115)),
    put(Thing.MARKED_ROD, 115),
    Rule((), "blast", "Away from the rod", 116),
)
"""What there is to do when the cave has closed: blow it up from the far end."""
_SPARE = frozenset((Thing.CAGE, Thing.BIRD, Thing.ROD, Thing.BOTTLE, Thing.MAGAZINE, Thing.FOOD, Thing.KEYS, Thing.AXE))
_PATROL = (42, 45)
"""Rooms between which the pirate is looked for."""
_PATROL_TURNS = 10
"""Turns after which it is another room."""
_CALLS = ("fee", "fie", "foe", "foo")


def advise_tour(state: CaveState) -> Advice | None:
    """The next command of the whole game, dwarves aside; None when nothing more can be done."""
    if state.scalar("is_closed"):
        return advise(state, _LAST, None)
    if state.scalar("is_closing"):
        return advise(state, TOUR[-1].rules, None)
    if state.room in state.thing(Thing.CHEST).rooms and state.room not in (HOUSE, _ALCOVE):
        return advise(state, (fetch(Thing.CHEST),), None, _SPARE)
    if (call := _call_eggs(state)) is not None:
        return call
    for trip in TOUR:
        if trip.done == _at_home(Thing.CHEST) and Fact("gone", Thing.CHEST).holds(state):
            return _seek_pirate(state)
        if not all(fact.holds(state) for fact in trip.done):
            advice = advise(state, trip.rules, None, _SPARE)
            if advice is not None:
                return advice
    return None


def _seek_pirate(state: CaveState) -> Advice | None:
    """He hides the last treasure when he meets someone who has found all others."""
    turn = int(state.scalar("turns")) // _PATROL_TURNS
    rounds = (_PATROL[turn % len(_PATROL)], _PATROL[(turn + 1) % len(_PATROL)])
    room = rounds[state.room == rounds[0]]
    return advise(state, (*light(), go(room, "The pirate has the last treasure")), None)


def advise_whole_game(cave: Cave) -> Advice | None:
    """The next command of the whole game, with a look ahead at what the dwarves will do to it; the game stays as is."""
    state = cave.state()
    advice = _fight(state) or advise_tour(state)
    if advice is None or _survives(cave, state, advice.command):
        return advice
    if state.scalar("lamp_turns") < 0 and is_dark(state, state.room):
        return None
    # A command that is no move lets the luck change without a turn of the dwarves.
    return Advice("I wait for the knife to miss.", "inventory")


def _survives(cave: Cave, state: CaveState, command: str) -> bool:
    effect = cave.do(command)
    alive = effect.valid and cave.state().scalar("deaths") == state.scalar("deaths")
    cave.restore(state)
    return alive


def _fight(state: CaveState) -> Advice | None:
    """Throw the axe at a dwarf; pick it up where it lies."""
    axe = state.thing(Thing.AXE)
    dwarf = any(room == state.room for room, _, _ in state.walkers[:-1])
    if axe.held and dwarf:
        return Advice("A dwarf is here.", "throw axe")
    carried = sum(state.thing(thing).held for thing in Thing)
    free = carried < HANDS if dwarf else carried < HANDS // 2
    if state.room in axe.rooms and state.room != _ALCOVE and not axe.fixed and free:
        return Advice("The axe helps against dwarves.", "take axe")
    return None


def _call_eggs(state: CaveState) -> Advice | None:
    """The eggs that the troll took come back to their nest by a spell of four words, once the troll has fled."""
    if not (Fact("gone", Thing.EGGS).holds(state) and TROLL_FLED.holds(state)):
        return None
    said = state.scalar("turns") - state.scalar("foobar") if state.scalar("foobar") > 0 else len(_CALLS)
    return Advice("I call the eggs back.", _CALLS[said + 1] if said < len(_CALLS) - 1 else _CALLS[0])
