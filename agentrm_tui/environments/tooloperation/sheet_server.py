"""The sheet server: what counts as done, how to get there from any state, what to offer, and the picture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from hashlib import blake2b
from random import Random

from agentrm_tui.environments.base import Cell, Picture
from agentrm_tui.environments.tooloperation.drawing import Role, draw_row, plain
from agentrm_tui.environments.tooloperation.grid import (
    Position,
    Range,
    Sheet,
    a1,
    same_text,
    wrong_cells,
)
from agentrm_tui.environments.tooloperation.sheet import SHEET_TOOLS, Workbook
from agentrm_tui.environments.tooloperation.tables import make_workbook
from agentrm_tui.environments.tools import Fact, RefusedError, ToolServer
from agentrm_tui.environments.tools.calls import Call
from agentrm_tui.environments.tools.server import Advice, Assignment

_CELL_WIDTH = 12
_OPERATOR_WORDS = {"sum": "SUM", "average": "AVERAGE", "largest": "MAX", "smallest": "MIN"}
_NAMED_CELL = re.compile(r"\b[A-J](?:1?[0-9]|20)\b")


class SheetTools(ToolServer[Workbook]):
    """Scores a workbook by its cells.

    Frozen rows count only where the task asks for them, which is where the reference has other ones than the start.
    """

    name = "sheet"
    tools = SHEET_TOOLS
    handles = frozenset({"values"})
    introduction = "The workbook is ready; no sheet is open."

    def make_data(self, difficulty: int, rng: Random) -> Workbook:
        """Make up two sheets."""
        return make_workbook(difficulty, rng)

    def data_key(self, data: Workbook) -> str:
        """A digest of all sheets, and which is open."""
        return f"{data.open},{blake2b(json.dumps(data.sheets).encode(), digest_size=12).hexdigest()}"

    def differences(self, data: Workbook, reference: Workbook) -> int:
        """Cells that are not as in the reference, of all sheets."""
        names = dict.fromkeys(sheet.name for sheet in (*data.sheets, *reference.sheets))
        return sum(
            wrong_cells(data.find(name), reference.find(name), _frozen_counts(reference.find(name))) for name in names
        )

    def progress(
        self, assignment: Assignment[Workbook], data: Workbook, known: frozenset[Fact], finished_well: bool
    ) -> float:
        """Of the cells that were to be changed, the share that is right, less those that were broken."""
        first = self.differences(assignment.data, assignment.reference)
        return max(0.0, 1.0 - self.differences(data, assignment.reference) / first)

    def advise(self, assignment: Assignment[Workbook], data: Workbook, known: frozenset[Fact]) -> Advice | None:
        """The rest of the authored calls from where the sheets are on their way, or else a repair of what is wrong."""
        if self.differences(data, assignment.reference) == 0:
            return None
        states = [assignment.data, *(step.after for step in assignment.plan)]
        passed = [number for number, state in enumerate(states) if state.sheets == data.sheets]
        if not passed:
            return self._mend(assignment, data, known)
        for number, step in enumerate(assignment.plan):
            before, after = states[number], step.after
            if before.open != after.open:
                pending = data.open != after.open and after.open in (sheet.name for sheet in data.sheets)
            elif before.sheets != after.sheets:
                pending = number >= passed[-1]
            else:
                pending = not step.facts <= known
            if pending:
                return Advice(step.thought, step.call)
        raise AssertionError(f"{assignment.level}:{assignment.seed}: the calls do not lead to the reference")

    def _mend(self, assignment: Assignment[Workbook], data: Workbook, known: frozenset[Fact]) -> Advice:
        reference = assignment.reference
        if any(data.find(sheet.name) is None for sheet in reference.sheets):
            raise RefusedError("a sheet was deleted that should not have been")
        for sheet in data.sheets:
            should = reference.find(sheet.name)
            if should is None:
                return Advice(f"{sheet.name} is to go.", Call("del_sheet", {"name": sheet.name}))
            if not wrong_cells(sheet, should, _frozen_counts(should)):
                continue
            if any(area not in should.merged for area in sheet.merged):
                raise RefusedError("cells were merged that should not have been")
            if data.open != sheet.name:
                return Advice(f"I need {sheet.name} open.", Call("open_sheet", {"name": sheet.name}))
            if ("values", sheet.name) not in known:
                return Advice("I need to see the sheet.", Call("get_all_values", {}))
            return _mend_sheet(sheet, should)
        raise AssertionError(f"{assignment.level}:{assignment.seed}: nothing is wrong")

    def offers(self, assignment: Assignment[Workbook], data: Workbook, known: frozenset[Fact]) -> Iterator[Call]:
        """Open and look; then what the goal's words and the sheet's cells suggest."""
        goal = assignment.draft.goal
        named = [sheet.name for sheet in data.sheets if sheet.name in goal]
        yield from (Call("open_sheet", {"name": name}) for name in named)
        if "elete the sheet" in goal:
            yield from (Call("del_sheet", {"name": name}) for name in named)
        sheet = data.find(data.open)
        if sheet is None:
            return
        yield Call("get_all_values", {})
        yield Call("freeze_data", {"dimension": "rows", "num": 1})
        if ("values", sheet.name) not in known:
            return
        yield from _suggestions(sheet, goal, [str(choice) for choice in assignment.draft.choices])

    def picture(self, data: Workbook) -> Picture:
        """The open sheet, or the first one, with row numbers and column letters."""
        sheet = data.find(data.open) or next(iter(data.sheets), None)
        if sheet is None:
            return Picture(((Cell(" ", "empty"),),), "no sheets")
        widths = [min(_CELL_WIDTH, max(1, *(len(row[n]) for row in sheet.rows))) for n in range(sheet.width)]
        letters = [(a1(Position(1, n + 1))[:-1]).ljust(width) for n, width in enumerate(widths)]
        lines = [draw_row([("label", "   "), *(("label", f"{letter} ") for letter in letters)])]
        for number, row in enumerate(sheet.rows, start=1):
            parts: list[tuple[Role, str]] = [
                (_role(sheet, Position(number, n + 1)), f"{plain(text)[:width].ljust(width)} ")
                for n, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append(draw_row([("label", f"{number:>2} "), *parts]))
        state = "open" if data.open == sheet.name else "not open"
        frozen = f", {sheet.frozen_rows} rows frozen" if sheet.frozen_rows else ""
        notes = f", notes at {' '.join(a1(where) for where, _ in sheet.notes)}" if sheet.notes else ""
        return Picture(tuple(lines), f"{sheet.name} ({state}{frozen}{notes})")


def _frozen_counts(reference: Sheet | None) -> bool:
    return reference is not None and (reference.frozen_rows, reference.frozen_columns) != (0, 0)


def _role(sheet: Sheet, where: Position) -> Role:
    if any(where in tuple(area.cells()) for area in sheet.merged):
        return "goal"
    return "floor" if where.row <= max(1, sheet.frozen_rows) else "object"


def _mend_sheet(sheet: Sheet, should: Sheet) -> Advice:
    """One call that brings a sheet nearer to the reference: merging, then texts, notes and frozen rows."""
    for area in should.merged:
        if area not in sheet.merged:
            ends = {"start_position": a1(area.first), "end_position": a1(area.last)}
            return Advice("These cells are to be merged.", Call("merge_cells", ends))
    area_wrong = _wrong_area(sheet, should)
    if area_wrong is not None:
        columns = range(area_wrong.first.column, area_wrong.last.column + 1)
        rows = range(area_wrong.first.row, area_wrong.last.row + 1)
        values = [[should.value(Position(row, column)) for column in columns] for row in rows]
        ends = {"start_position": a1(area_wrong.first), "end_position": a1(area_wrong.last)}
        return Advice("These cells should read otherwise.", Call("update_range", {**ends, "values_list": values}))
    notes, right = dict(sheet.notes), dict(should.notes)
    for where in {**notes, **right}:
        if notes.get(where) != right.get(where):
            note = {"position": a1(where), "content": right.get(where, "")}
            return Advice(f"The note of {a1(where)} is wrong.", Call("update_note", note))
    dimension = "rows" if sheet.frozen_rows != should.frozen_rows else "columns"
    number = should.frozen_rows if dimension == "rows" else should.frozen_columns
    return Advice(f"The {dimension} are to be frozen.", Call("freeze_data", {"dimension": dimension, "num": number}))


def _wrong_area(sheet: Sheet, should: Sheet) -> Range | None:
    wrong = [
        Position(row, column)
        for row in range(1, max(len(sheet.rows), len(should.rows)) + 1)
        for column in range(1, max(sheet.width, should.width) + 1)
        if not same_text(sheet.value(Position(row, column)), should.value(Position(row, column)))
    ]
    if not wrong:
        return None
    rows, columns = [where.row for where in wrong], [where.column for where in wrong]
    return Range(Position(min(rows), min(columns)), Position(max(rows), max(columns)))


def _suggestions(sheet: Sheet, goal: str, values: list[str]) -> Iterator[Call]:
    height, width = len(sheet.rows), sheet.width
    yield from (Call("delete_batch_data", {"dimension": "row", "index_list": [row]}) for row in range(2, height + 1))
    if "ort " in goal:
        for order in ("asc", "des"):
            yield from (Call("sort_sheet_by_col", {"col_num": n, "order": order}) for n in range(1, width + 1))
    named = [cell for cell in dict.fromkeys(_NAMED_CELL.findall(goal)) if cell[1:] != "0"]
    operators = [operator for word, operator in _OPERATOR_WORDS.items() if word in goal]
    for operator in operators:
        for column in range(1, width + 1):
            ends = {"start_position": a1(Position(2, column)), "end_position": a1(Position(height, column))}
            for cell in named:
                yield Call("update_cell_by_formula", {"operator": operator, **ends, "result_position": cell})
    if "erge" in goal and len(named) > 1:
        yield Call("merge_cells", {"start_position": named[0], "end_position": named[-1]})
    cells = [a1(Position(row, column)) for row in range(1, height + 1) for column in range(1, width + 1)]
    for value in values[:2]:
        if "note" in goal:
            yield from (Call("update_note", {"position": cell, "content": value}) for cell in cells)
        else:
            yield from (Call("update_cell", {"position": cell, "value": value}) for cell in cells)
