"""What the agent sees: minigrid's 7×7 egocentric view as bit masks over the grid's cells.

The result equals `MiniGridEnv.gen_obs_grid`'s visibility mask (a test compares them) without building the
rotated grid, which would take most of a step's time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

VIEW = 7
"""Side of the square view; the agent stands in the middle of its last row."""

_HALF = VIEW // 2
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Unit vectors of minigrid's directions: east, south, west, north."""


class Window(NamedTuple):
    """The cells in view from one pose.

    Attributes:
        rows: 7 rows from the agent outwards, each from left to right; -1 outside the grid.
        mask: All of them as bits.
    """

    rows: tuple[tuple[int, ...], ...]
    mask: int


@lru_cache(maxsize=1 << 14)
def window(width: int, height: int, cell: int, direction: int) -> Window:
    """Lay the view over the grid for an agent on `cell` (= y * width + x) that looks along `direction`."""
    y, x = divmod(cell, width)
    dx, dy = DIRECTIONS[direction]
    rows = []
    mask = 0
    for ahead in range(VIEW):
        row = []
        for side in range(-_HALF, _HALF + 1):
            cx, cy = x + ahead * dx - side * dy, y + ahead * dy + side * dx
            inside = 0 <= cx < width and 0 <= cy < height
            row.append(cy * width + cx if inside else -1)
            if inside:
                mask |= 1 << row[-1]
        rows.append(tuple(row))
    return Window(tuple(rows), mask)


@lru_cache(maxsize=1 << 14)
def _spread(lit: int, clear: int) -> tuple[int, int]:
    """Let light run along one row of the view and into the row beyond, as minigrid's `Grid.process_vis` does."""
    beyond = 0
    for i in range(VIEW - 1):
        if lit & clear & (1 << i):
            lit |= 1 << (i + 1)
            beyond |= 3 << i
    for i in range(VIEW - 1, 0, -1):
        if lit & clear & (1 << i):
            lit |= 1 << (i - 1)
            beyond |= 3 << (i - 1)
    return lit, beyond


def visible(view: Window, opaque: int) -> int:
    """Give the cells that are seen, as bits, when `opaque` cells (walls, shut doors) block the view."""
    lit = 1 << _HALF
    seen = 0
    for row in view.rows:
        clear = 0
        for i, cell in enumerate(row):
            if cell >= 0 and not opaque >> cell & 1:
                clear |= 1 << i
        lit, beyond = _spread(lit, clear)
        for i, cell in enumerate(row):
            if cell >= 0 and lit >> i & 1:
                seen |= 1 << cell
        lit = beyond
        if not lit:
            break
    return seen
