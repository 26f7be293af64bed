"""Pictures of to-do lists and sheets: text in cells of width 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from agentrm_tui.environments.base import Cell, Picture

Role: TypeAlias = Literal["empty", "floor", "goal", "object", "label"]


def plain(text: str) -> str:
    """The text with everything that is not a printable ASCII character replaced, so that each has width 1."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)


def draw_lines(lines: Sequence[tuple[Role, str]], caption: str) -> Picture:
    """Lines of text as a grid."""
    width = max((len(text) for _, text in lines), default=1)
    rows = tuple(tuple(_cell(char, role) for char in plain(text).ljust(width)) for role, text in lines)
    return Picture(rows or ((Cell(" ", "empty"),),), plain(caption))


def draw_row(parts: Sequence[tuple[Role, str]]) -> tuple[Cell, ...]:
    """Pieces of text with different roles as one row."""
    return tuple(_cell(char, role) for role, text in parts for char in plain(text))


def _cell(char: str, role: Role) -> Cell:
    return Cell(char, "empty" if char == " " else role)
