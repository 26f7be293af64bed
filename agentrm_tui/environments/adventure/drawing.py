"""A small panel: where the player is, which ways the compass shows, what lies here and what is carried."""

from __future__ import annotations

from agentrm_tui.environments.adventure.cave import CaveState
from agentrm_tui.environments.adventure.routes import is_dark, places
from agentrm_tui.environments.adventure.things import Thing
from agentrm_tui.environments.adventure.wording import readable
from agentrm_tui.environments.base import Cell

_WIDTH = 44
_ROSE = (
    (("nw", "\\"), ("north", "|"), ("ne", "/"), ("up", "↑")),
    (("west", "-"), ("", "@"), ("east", "-"), ("", " ")),
    (("sw", "/"), ("south", "|"), ("se", "\\"), ("down", "↓")),
)


def draw(state: CaveState) -> tuple[tuple[Cell, ...], ...]:
    """Five lines of equal width."""
    place = places()[state.room]
    title = readable(place.title).rstrip(".")
    here = [thing.title for thing in Thing if state.room in state.thing(thing).rooms]
    held = [thing.title for thing in Thing if state.thing(thing).held]
    dark = is_dark(state, state.room)
    ways = frozenset(word for word, _ in place.words)
    texts = ("dark" if dark else f"here: {', '.join(here) or '-'}", f"held: {', '.join(held) or '-'}", "")
    rows = [_text(title, _WIDTH)]
    for line, text in zip(_ROSE, texts, strict=True):
        cells = [_point(word, glyph, ways) for word, glyph in line]
        rows.append((*cells, Cell(" ", "empty"), *_text(text, _WIDTH - len(cells) - 1)))
    return tuple(rows)


def _point(word: str, glyph: str, ways: frozenset[str]) -> Cell:
    if glyph == "@":
        return Cell(glyph, "agent")
    return Cell(glyph, "door") if word in ways else Cell(" ", "empty")


def _text(text: str, width: int) -> tuple[Cell, ...]:
    shown = text if len(text) <= width else f"{text[: width - 1]}…"
    return tuple(Cell(char, "label") for char in shown.ljust(width))
