"""A workbook as immutable values: sheets of text cells with notes, merged ranges and frozen rows, and their changes.

Rows and columns start at 1, as in A1 notation. A sheet is the range in use: empty rows and columns at its end do not
exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from agentrm_tui.environments.tools.answers import as_number
from agentrm_tui.environments.tools.signatures import RefusedError, quoted

MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS = 20, 10, 40
"""How large a sheet and a cell may grow, so that observations stay short."""

Rows: TypeAlias = tuple[tuple[str, ...], ...]
Move: TypeAlias = Callable[[int], int]

_A1 = re.compile(r"\s*([A-Za-z]{1,3})([1-9][0-9]{0,5})\s*\Z", re.ASCII)


class Position(NamedTuple):
    """A cell's row and column, from 1."""

    row: int
    column: int


class Range(NamedTuple):
    """A rectangle of cells, both corners included."""

    first: Position
    last: Position

    def cells(self) -> Iterable[Position]:
        """Its cells, row by row."""
        for row in range(self.first.row, self.last.row + 1):
            for column in range(self.first.column, self.last.column + 1):
                yield Position(row, column)

    def meets(self, other: Range) -> bool:
        """They share a cell."""
        rows = self.first.row <= other.last.row and other.first.row <= self.last.row
        return rows and self.first.column <= other.last.column and other.first.column <= self.last.column


class Sheet(NamedTuple):
    """A named grid. All rows have the same length; notes and merged ranges are sorted."""

    name: str
    rows: Rows
    notes: tuple[tuple[Position, str], ...] = ()
    merged: tuple[Range, ...] = ()
    frozen_rows: int = 0
    frozen_columns: int = 0

    @property
    def width(self) -> int:
        """Columns in use."""
        return len(self.rows[0]) if self.rows else 0

    def value(self, position: Position) -> str:
        """The text of a cell; empty outside of the range in use."""
        inside = position.row <= len(self.rows) and position.column <= self.width
        return self.rows[position.row - 1][position.column - 1] if inside else ""

    def note(self, position: Position) -> str:
        """The note of a cell, or nothing."""
        return dict(self.notes).get(position, "")


def a1(position: Position) -> str:
    """Write a position in A1 notation."""
    letters, column = "", position.column
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return f"{letters}{position.row}"


def read_a1(name: str, text: str) -> Position:
    """Read a position.

    Raises:
        RefusedError: It is not in A1 notation, or too far out.
    """
    match = _A1.match(text)
    if match is None:
        raise RefusedError(f"{name} must be a cell like B2, not {quoted(text)}")
    column = 0
    for letter in match.group(1).upper():
        column = column * 26 + ord(letter) - ord("A") + 1
    position = Position(int(match.group(2)), column)
    if position.row > MOST_ROWS or position.column > MOST_COLUMNS:
        raise RefusedError(f"{text.strip()[:12]} is outside: a sheet ends at {a1(Position(MOST_ROWS, MOST_COLUMNS))}")
    return position


def read_range(start: str, end: str) -> Range:
    """Read a range from its first and last cell.

    Raises:
        RefusedError: One is no cell, or the last one comes before the first one.
    """
    first, last = read_a1("start_position", start), read_a1("end_position", end)
    if last.row < first.row or last.column < first.column:
        raise RefusedError("end_position is above or left of start_position")
    return Range(first, last)


def cell_text(value: str | int | float) -> str:
    """A value as a cell's text.

    Raises:
        RefusedError: It is too long.
    """
    text = value if isinstance(value, str) else number_text(value)
    if len(text) > MOST_CHARACTERS:
        raise RefusedError(f"a cell holds at most {MOST_CHARACTERS} characters")
    return text


def number_text(number: float) -> str:
    """A number without a needless fraction, rounded to two places."""
    rounded = round(float(number), 2)
    return str(int(rounded)) if rounded == int(rounded) else str(rounded)


def with_rows(sheet: Sheet, rows: Iterable[Sequence[str]]) -> Sheet:
    """The sheet with other cells: padded to one width, and without empty rows and columns at the end.

    Raises:
        RefusedError: It would become too large.
    """
    listed = [list(row) for row in rows]
    while listed and not any(listed[-1]):
        listed.pop()
    width = max((number for row in listed for number, cell in enumerate(row, start=1) if cell), default=0)
    if len(listed) > MOST_ROWS or width > MOST_COLUMNS:
        raise RefusedError(f"a sheet has at most {MOST_ROWS} rows and {MOST_COLUMNS} columns")
    return sheet._replace(rows=tuple(tuple((row + [""] * width)[:width]) for row in listed))


def set_cells(sheet: Sheet, cells: Iterable[tuple[Position, str]]) -> Sheet:
    """Write cells, growing the sheet where needed."""
    written = list(cells)
    height = max([len(sheet.rows), *(position.row for position, _ in written)])
    width = max([sheet.width, *(position.column for position, _ in written)])
    grid = [[*row, *[""] * (width - len(row))] for row in (*sheet.rows, *[()] * (height - len(sheet.rows)))]
    for position, text in written:
        grid[position.row - 1][position.column - 1] = text
    return with_rows(sheet, grid)


def set_note(sheet: Sheet, position: Position, text: str) -> Sheet:
    """Write a note; an empty one takes it away."""
    notes = {**dict(sheet.notes), position: text}
    return sheet._replace(notes=tuple(sorted((where, note) for where, note in notes.items() if note)))


def merge(sheet: Sheet, area: Range) -> Sheet:
    """Merge cells: the first one keeps its text, the others lose it.

    Raises:
        RefusedError: It is a single cell or meets another merged range.
    """
    if area.first == area.last:
        raise RefusedError("one cell alone cannot be merged")
    if any(area.meets(other) for other in sheet.merged):
        raise RefusedError("some of these cells are merged already")
    cleared = set_cells(sheet, [(position, "") for position in area.cells() if position != area.first])
    return cleared._replace(merged=tuple(sorted((*sheet.merged, area))))


def insert(sheet: Sheet, rows: bool, index: int, lines: Sequence[Sequence[str]]) -> Sheet:
    """Insert rows (or columns) before an index; what comes after moves on.

    Raises:
        RefusedError: The index is outside, or it would cut merged cells.
    """
    held = _lines(sheet, rows)
    if not 1 <= index <= len(held) + 1:
        raise RefusedError(f"the index must be from 1 to {len(held) + 1}")
    added = len(lines)
    moved = _moved(sheet, rows, lambda number: number + added if number >= index else number)
    return _from_lines(moved, rows, [*held[: index - 1], *lines, *held[index - 1 :]])


def delete(sheet: Sheet, rows: bool, indices: Iterable[int]) -> Sheet:
    """Delete rows (or columns) with their notes; what comes after moves up.

    Raises:
        RefusedError: An index is outside, or merged cells would be cut.
    """
    held = _lines(sheet, rows)
    gone = sorted(set(indices))
    if not gone or gone[0] < 1 or gone[-1] > len(held):
        raise RefusedError(f"the indexes must be from 1 to {len(held)}")
    for area in sheet.merged:
        span = range(_number(area.first, rows), _number(area.last, rows) + 1)
        if 0 < sum(number in gone for number in span) < len(span):
            raise RefusedError("that would cut merged cells")
    moved = _moved(sheet, rows, lambda number: 0 if number in gone else number - sum(other < number for other in gone))
    return _from_lines(moved, rows, [line for number, line in enumerate(held, start=1) if number not in gone])


def sort_rows(sheet: Sheet, column: int, descending: bool) -> Sheet:
    """Sort the rows that are not frozen by a column, as numbers where all are; equal ones stay in order.

    Raises:
        RefusedError: No such column, or there are merged cells among the rows.
    """
    if not 1 <= column <= sheet.width:
        raise RefusedError(f"col_num must be from 1 to {sheet.width}")
    head, body = sheet.rows[: sheet.frozen_rows], sheet.rows[sheet.frozen_rows :]
    if any(area.last.row > len(head) for area in sheet.merged):
        raise RefusedError("rows with merged cells cannot be sorted")
    numbers = [as_number(row[column - 1]) for row in body]
    keys: list[tuple[float, str]]
    if None in numbers:
        keys = [(0.0, row[column - 1].casefold()) for row in body]
    else:
        keys = [(number or 0.0, "") for number in numbers]
    order = sorted(range(len(body)), key=keys.__getitem__, reverse=descending)
    place = {old + len(head) + 1: new + len(head) + 1 for new, old in enumerate(order)}
    notes = tuple(
        sorted((Position(place.get(where.row, where.row), where.column), note) for where, note in sheet.notes)
    )
    return with_rows(sheet._replace(notes=notes), (*head, *(body[number] for number in order)))


def wrong_cells(sheet: Sheet | None, should: Sheet | None, frozen_counts: bool) -> int:
    """How many cells (texts, notes, merged ranges, frozen rows) are not as in the reference; all of a missing sheet."""
    one, other = sheet or _EMPTY, should or _EMPTY
    height, width = max(len(one.rows), len(other.rows)), max(one.width, other.width)
    wrong = sum(
        not same_text(one.value(Position(row, column)), other.value(Position(row, column)))
        for row in range(1, height + 1)
        for column in range(1, width + 1)
    )
    notes, should_notes = dict(one.notes), dict(other.notes)
    wrong += sum(notes.get(where) != should_notes.get(where) for where in {**notes, **should_notes})
    wrong += sum((area in one.merged) != (area in other.merged) for area in dict.fromkeys((*one.merged, *other.merged)))
    if frozen_counts and should is not None:
        wrong += (one.frozen_rows, one.frozen_columns) != (other.frozen_rows, other.frozen_columns)
    return wrong + ((sheet is None) != (should is None))


def same_text(one: str, other: str) -> bool:
    """Cells are equal: as texts, or as numbers."""
    if one == other:
        return True
    numbers = as_number(one), as_number(other)
    return numbers[0] is not None and numbers[0] == numbers[1]


_EMPTY = Sheet("", ())


def _number(position: Position, rows: bool) -> int:
    return position.row if rows else position.column


def _lines(sheet: Sheet, rows: bool) -> list[tuple[str, ...]]:
    return list(sheet.rows) if rows else list(zip(*sheet.rows, strict=True))


def _from_lines(sheet: Sheet, rows: bool, lines: Sequence[Sequence[str]]) -> Sheet:
    if rows:
        return with_rows(sheet, lines)
    height = max((len(line) for line in lines), default=0)
    padded = [[*line, *[""] * (height - len(line))] for line in lines]
    return with_rows(sheet, zip(*padded, strict=True))


def _moved(sheet: Sheet, rows: bool, move: Move) -> Sheet:
    """Notes and merged ranges at their new places; 0 means gone. An insertion may not cut a merged range."""

    def place(position: Position) -> Position:
        number = move(_number(position, rows))
        return position._replace(row=number) if rows else position._replace(column=number)

    notes = [(place(where), note) for where, note in sheet.notes]
    merged = []
    for area in sheet.merged:
        there = Range(place(area.first), place(area.last))
        if 0 in there.first:
            continue
        if there.last.row - there.first.row != area.last.row - area.first.row:
            raise RefusedError("that would cut merged cells")
        if there.last.column - there.first.column != area.last.column - area.first.column:
            raise RefusedError("that would cut merged cells")
        merged.append(there)
    kept = tuple(sorted((where, note) for where, note in notes if 0 not in where))
    return sheet._replace(notes=kept, merged=tuple(sorted(merged)))
