"""The home as a grid of letters: a line for each place with what the agent has seen there."""

from __future__ import annotations

from agentrm_tui.environments.base import Cell, Tint
from agentrm_tui.environments.household.homes import Home
from agentrm_tui.environments.household.world import NOWHERE, State, in_sight, things_at

_NAME_WIDTH = 20
_CONTENTS_WIDTH = 36
_OPEN, _CLOSED = "□", "■"


def draw(home: Home, state: State) -> tuple[tuple[Cell, ...], ...]:
    """Lines by kind and number: agent, name, open or closed, contents; a question mark for what was never seen."""
    order = sorted(range(len(home.places)), key=lambda index: home.places[index])
    return tuple(_line(home, state, place) for place in order)


def _line(home: Home, state: State, place: int) -> tuple[Cell, ...]:
    named = home.places[place]
    belongs = place in home.goal_places
    name = [Cell(char, "goal" if belongs else "label") for char in named.name.ljust(_NAME_WIDTH)[:_NAME_WIDTH]]
    door = Cell(" ", "label")
    if home.openable >> place & 1:
        door = Cell(_OPEN if in_sight(home, state, place) else _CLOSED, "door")
    agent = Cell("@" if place == state.place else " ", "agent")
    return (agent, Cell(" ", "label"), *name, door, Cell(" ", "label"), *_contents(home, state, place))


def _contents(home: Home, state: State, place: int) -> list[Cell]:
    if not state.seen >> place & 1:
        return _pad([Cell("?", "hidden")])
    cells: list[Cell] = []
    for thing in things_at(state, place):
        tint: Tint = "green" if thing in home.wanted else "yellow" if thing in home.lamps else ""
        separator = [Cell(char, "label") for char in (", " if cells else "")]
        cells += [*separator, *(Cell(char, "object", tint) for char in home.things[thing].name)]
    return _pad(cells)


def _pad(cells: list[Cell]) -> list[Cell]:
    if len(cells) > _CONTENTS_WIDTH:
        return [*cells[: _CONTENTS_WIDTH - 1], Cell("…", "label")]
    return [*cells, *[Cell(" ", "label")] * (_CONTENTS_WIDTH - len(cells))]


def caption(home: Home, state: State) -> str:
    """What the agent holds and what has been done to it."""
    if state.held == NOWHERE:
        return "empty-handed"
    marks = (("clean", state.clean), ("hot", state.hot), ("cool", state.cool), ("sliced", state.sliced))
    done = ", ".join(word for word, bits in marks if bits >> state.held & 1)
    return f"holding {home.things[state.held].name}{f' ({done})' if done else ''}"
