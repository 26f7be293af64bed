"""The home as a grid of letters: a line for each place with what the agent has seen there."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from agentrm_tui.environments.base import Cell, Tint
from agentrm_tui.environments.household.homes import Home
from agentrm_tui.environments.household.world import NOWHERE, State, in_sight, things_at

_NAME_WIDTH = 20
_CONTENTS_WIDTH = 36
_OPEN, _CLOSED = "□", "■"


_BLANK = Cell(" ", "label")


def draw(home: Home, state: State) -> tuple[tuple[Cell, ...], ...]:
    """Lines by kind and number: agent, name, open or closed, contents; a question mark for what was never seen."""
    order = sorted(range(len(home.places)), key=lambda index: home.places[index])
    return tuple(_line(home, state, place) for place in order)


# A picture is made after each step, mostly of words drawn before.
@lru_cache(maxsize=2_048)
def _word(text: str, role: Literal["label", "goal", "object", "hidden"], tint: Tint = "") -> tuple[Cell, ...]:
    return tuple(Cell(char, role, tint) for char in text)


def _line(home: Home, state: State, place: int) -> tuple[Cell, ...]:
    name = home.places[place].name.ljust(_NAME_WIDTH)[:_NAME_WIDTH]
    door = _BLANK
    if home.openable >> place & 1:
        door = Cell(_OPEN if in_sight(home, state, place) else _CLOSED, "door")
    agent = Cell("@" if place == state.place else " ", "agent")
    shown = _word(name, "goal" if place in home.goal_places else "label")
    return (agent, _BLANK, *shown, door, _BLANK, *_contents(home, state, place))


def _contents(home: Home, state: State, place: int) -> list[Cell]:
    cells: list[Cell] = []
    if not state.seen >> place & 1:
        cells += _word("?", "hidden")
    else:
        for thing in things_at(state, place):
            tint: Tint = "green" if thing in home.wanted else "yellow" if thing in home.lamps else ""
            cells += [*(_word(", ", "label") if cells else ()), *_word(home.things[thing].name, "object", tint)]
    if len(cells) > _CONTENTS_WIDTH:
        return [*cells[: _CONTENTS_WIDTH - 1], Cell("…", "label")]
    return [*cells, *[_BLANK] * (_CONTENTS_WIDTH - len(cells))]


def caption(home: Home, state: State) -> str:
    """What the agent holds and what has been done to it."""
    if state.held == NOWHERE:
        return "empty-handed"
    marks = (("clean", state.clean), ("hot", state.hot), ("cool", state.cool), ("sliced", state.sliced))
    done = ", ".join(word for word, bits in marks if bits >> state.held & 1)
    return f"holding {home.things[state.held].name}{f' ({done})' if done else ''}"
