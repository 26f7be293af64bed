"""Ways through the cave: what the game's travel table says about each room, and shortest walks that do not kill."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from functools import cache
from typing import Any, NamedTuple

import adventure
from adventure.data import Data

from agentrm_tui.environments.adventure.cave import CaveState
from agentrm_tui.environments.adventure.things import Thing

_WORDS = {
    "north": 45, "south": 46, "east": 43, "west": 44, "ne": 47, "se": 48, "sw": 49, "nw": 50, "up": 29, "down": 30,
    "in": 19, "out": 11, "enter": 3, "cross": 69, "climb": 56, "xyzzy": 62, "plugh": 65, "plover": 71, "slab": 61,
    "oriental": 72, "secret": 66, "reservoir": 75, "bedquilt": 70, "depression": 63, "entrance": 64, "debris": 51,
    "pit": 31, "building": 12, "hole": 52, "forest": 6, "steps": 34, "y2": 55, "giant": 27, "fork": 77, "view": 28,
    "barren": 40, "shell": 74, "cavern": 73, "passage": 23, "crawl": 17, "stream": 14, "jump": 39,
}  # fmt: skip
"""Words of motion that are offered, the plainest first, and their numbers in the game's vocabulary."""

_PLOVER_SQUEEZE, _PLOVER_WORD, _TROLL_BRIDGE = 301, 302, 303
"""Special moves of the game: the tight tunnel, the magic word with the emerald in hand, the troll's bridge."""
_BRIDGE_ENDS = {117: 122, 122: 117}
_TUNNEL_ENDS = {99: 100, 100: 99}
_NOWHERE = 0
_LAST_FORCED = 8
"""Rooms that one may be passed through in a row."""


class Way(NamedTuple):
    """One line of the travel table: a condition and a room (a special number, or -1 for a text)."""

    condition: tuple[Any, ...]
    room: int
    special: int


class Place(NamedTuple):
    """What never changes about a room: its ways by word, those taken by force, whether it is lit, what flows in it."""

    words: tuple[tuple[str, tuple[Way, ...]], ...]
    forced: tuple[Way, ...]
    lit: bool
    liquid: int
    title: str


@cache
def places() -> dict[int, Place]:
    """All rooms of the game."""
    data: Any = Data()
    adventure.load_advent_dat(data)
    return {number: _place(room) for number, room in sorted(data.rooms.items())}


def _place(room: Any) -> Place:
    table = [(move, _way(move)) for move in room.travel_table]
    words: list[tuple[str, tuple[Way, ...]]] = []
    for word, number in _WORDS.items():
        ways = tuple(way for move, way in table if any(verb.n == number for verb in move.verbs))
        if ways and ways not in [known for _, known in words]:
            words.append((word, ways))
    forced = tuple(way for move, way in table if move.is_forced)
    title = (room.short_description or room.long_description).strip().split("\n")[0]
    return Place(tuple(words), forced, room.is_light, room.liquid.n if room.liquid else 0, title)


def _way(move: Any) -> Way:
    if isinstance(move.action, int):
        return Way(tuple(move.condition), -1, move.action)
    return Way(tuple(move.condition), move.action.n if hasattr(move.action, "travel_table") else -1, 0)


def destination(state: CaveState, room: int, ways: tuple[Way, ...]) -> int | None:
    """Where a word leads from a room; None where it leads nowhere, is left to luck, or costs something."""
    for way in ways:
        if way.condition[0] == "%":
            return None
        if _allowed(state, room, way.condition):
            return _arrive(state, way.room if way.special == 0 else _special(state, room, way.special))
    return None


def _allowed(state: CaveState, room: int, condition: tuple[Any, ...]) -> bool:
    if condition[0] in (None, "not_dwarf"):
        return True
    lying = state.thing(Thing(condition[1]))
    match condition[0]:
        case "carrying":
            return lying.held
        case "carrying_or_in_room_with":
            return lying.held or room in lying.rooms
        case _:
            return bool(lying.prop != condition[2])


def _special(state: CaveState, room: int, special: int) -> int:
    if special == _PLOVER_SQUEEZE:
        held = [thing for thing in Thing if state.thing(thing).held]
        return _TUNNEL_ENDS[room] if held in ([], [Thing.EMERALD]) else -1
    if special == _TROLL_BRIDGE and state.thing(Thing.TROLL).prop != 1 and not state.thing(Thing.BEAR).held:
        return _BRIDGE_ENDS[room]
    return -1


def _arrive(state: CaveState, room: int) -> int | None:
    """Where one comes to rest: some rooms only pass one on; the room with number 0 is death."""
    for _ in range(_LAST_FORCED):
        if room <= _NOWHERE:
            return None
        forced = places()[room].forced
        if not forced:
            return room
        room = next((way.room for way in forced if _allowed(state, room, way.condition)), _NOWHERE)
    return None


def is_dark(state: CaveState, room: int) -> bool:
    """No light in this room, were the player there."""
    lamp = state.thing(Thing.LAMP)
    return not places()[room].lit and not (lamp.prop and (lamp.held or room in lamp.rooms))


def exits(state: CaveState, room: int) -> list[tuple[str, int]]:
    """Words and the rooms they lead to, without repeating a room."""
    found: dict[int, str] = {}
    for word, ways in places()[room].words:
        there = destination(state, room, ways)
        if there is not None and there != room:
            found.setdefault(there, word)
    return [(word, there) for there, word in found.items()]


def first_word(
    state: CaveState, goal: Callable[[int], bool], region: Collection[int] | None = None
) -> tuple[str, int] | None:
    """The first word of a shortest walk to a room that fulfils `goal`, and the walk's length.

    No step leads from dark to dark (that may kill), nor out of the region. An empty word: already there.
    """
    if goal(state.room):
        return "", 0
    queue: deque[tuple[int, str, int]] = deque([(state.room, "", 0)])
    seen = {state.room}
    while queue:
        here, first, length = queue.popleft()
        dark = is_dark(state, here)
        for word, there in exits(state, here):
            if there in seen or (region is not None and there not in region) or (dark and is_dark(state, there)):
                continue
            if goal(there):
                return first or word, length + 1
            seen.add(there)
            queue.append((there, first or word, length + 1))
    return None
