"""The seen part of the grid as a picture."""

from __future__ import annotations

from typing import Any

from agentrm_tui.environments.babyai.mission import mission_parts
from agentrm_tui.environments.babyai.world import World
from agentrm_tui.environments.base import Cell, Picture, Tint

_AGENT = ">v<^"
_GLYPHS = {"ball": "o", "box": "B", "key": "k"}
_TINTS: dict[str, Tint] = {
    "red": "red",
    "green": "green",
    "blue": "blue",
    "purple": "purple",
    "yellow": "yellow",
    "grey": "grey",
}


def paint(world: World, caption: str) -> Picture:
    """Draw seen cells; objects that the mission asks for now have the role `goal`, unseen cells are hidden."""
    asked = {k for part in mission_parts(world) if part.active for k in (*part.targets, *part.beside)}
    rows = []
    for y in range(world.height):
        first = y * world.width
        rows.append(tuple(_cell(world, cell, asked) for cell in range(first, first + world.width)))
    return Picture(tuple(rows), caption)


def _cell(world: World, cell: int, asked: set[int]) -> Cell:
    if cell == world.cell:
        return Cell(_AGENT[world.direction], "agent", "accent")
    if not world.seen >> cell & 1:
        return Cell(" ", "hidden")
    k = world.thing_at(cell)
    if k >= 0:
        thing = world.things[k]
        if thing.type == "door":
            return Cell(_door_glyph(thing), "door", _TINTS[thing.color])
        return Cell(_GLYPHS[thing.type], "goal" if k in asked else "object", _TINTS[thing.color])
    if world.solid >> cell & 1:
        return Cell("#", "wall")
    return Cell("." if world.visible >> cell & 1 else " ", "floor")


def _door_glyph(door: Any) -> str:
    return "/" if door.is_open else "X" if door.is_locked else "+"
