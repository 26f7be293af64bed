"""Sheet tools over a workbook. Tool names and arguments as in AgentBoard."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from agentrm_tui.environments.tooloperation.formulas import Operator, apply_operator, evaluate
from agentrm_tui.environments.tooloperation.grid import (
    MOST_COLUMNS,
    MOST_ROWS,
    Position,
    Sheet,
    a1,
    cell_text,
    delete,
    insert,
    merge,
    number_text,
    read_a1,
    read_range,
    set_cells,
    set_note,
    sort_rows,
)
from agentrm_tui.environments.tools import RefusedError, Result, tool_table
from agentrm_tui.environments.tools.signatures import quoted

Value: TypeAlias = str | int | float


class Workbook(NamedTuple):
    """All sheets, and the one that is open."""

    sheets: tuple[Sheet, ...]
    open: str = ""

    def find(self, name: str) -> Sheet | None:
        """A sheet by name, if it exists."""
        return next((sheet for sheet in self.sheets if sheet.name == name), None)

    def current(self) -> Sheet:
        """The open sheet.

        Raises:
            RefusedError: None is open.
        """
        sheet = self.find(self.open)
        if sheet is None:
            raise RefusedError("no sheet is open; call open_sheet first")
        return sheet

    def replace(self, sheet: Sheet) -> Workbook:
        """The workbook with another sheet of that name."""
        return self._replace(sheets=tuple(sheet if sheet.name == old.name else old for old in self.sheets))


def open_sheet(data: Workbook, name: str) -> Result[Workbook]:
    """Open a sheet; the other tools work on it."""
    return Result(f"Sheet {_named(data, name).name} is open.", data=data._replace(open=_named(data, name).name))


def del_sheet(data: Workbook, name: str) -> Result[Workbook]:
    """Delete a sheet; this cannot be undone."""
    gone = _named(data, name)
    left = tuple(sheet for sheet in data.sheets if sheet is not gone)
    still_open = "" if data.open == gone.name else data.open
    return Result(f"Sheet {gone.name} is deleted.", data=Workbook(left, still_open))


def freeze_data(data: Workbook, dimension: Literal["rows", "columns"], num: int) -> Result[Workbook]:
    """Freeze the first rows or columns: sorting leaves frozen rows where they are."""
    sheet = data.current()
    most = len(sheet.rows) if dimension == "rows" else sheet.width
    if not 0 <= num <= most:
        raise RefusedError(f"num must be from 0 to {most}")
    new = sheet._replace(frozen_rows=num) if dimension == "rows" else sheet._replace(frozen_columns=num)
    return Result(f"{num} {dimension} are frozen.", data=data.replace(new))


def get_A1_annotation(data: Workbook, row: int, col: int) -> Result[Workbook]:
    """A cell's name in A1 notation."""
    if not (1 <= row <= MOST_ROWS and 1 <= col <= MOST_COLUMNS):
        raise RefusedError(f"row must be from 1 to {MOST_ROWS} and col from 1 to {MOST_COLUMNS}")
    return Result(a1(Position(row, col)))


def insert_cols(data: Workbook, values_list: list[list[Value]], col_idx: int = 1) -> Result[Workbook]:
    """Insert columns, each a list of values from the top, before a column."""
    return _inserted(data, values_list, col_idx, rows=False)


def insert_rows(data: Workbook, values_list: list[list[Value]], row_idx: int = 1) -> Result[Workbook]:
    """Insert rows, each a list of values from the left, before a row."""
    return _inserted(data, values_list, row_idx, rows=True)


def delete_batch_data(data: Workbook, dimension: Literal["row", "col"], index_list: list[int]) -> Result[Workbook]:
    """Delete rows or columns by their numbers before the deletion."""
    return _shown(data, delete(data.current(), dimension == "row", index_list))


def update_cell(data: Workbook, position: str, value: Value) -> Result[Workbook]:
    """Write a value or an expression into a cell."""
    sheet, where = data.current(), read_a1("position", position)
    return _written(data, set_cells(sheet, [(where, _worked_out(sheet, value))]), where)


def update_cell_by_formula(
    data: Workbook,
    operator: Operator,
    start_position: str = "B1",
    end_position: str = "D2",
    position_list: list[str] | None = None,
    result_position: str = "G2",
) -> Result[Workbook]:
    """Write what an operator gives over a range, or over listed cells, into a cell."""
    sheet, where = data.current(), read_a1("result_position", result_position)
    cells = _chosen(start_position, end_position, position_list)
    number = number_text(apply_operator(sheet, operator, cells))
    return _written(data, set_cells(sheet, [(where, number)]), where)


def update_range(
    data: Workbook, start_position: str, end_position: str, values_list: list[list[Value]]
) -> Result[Workbook]:
    """Write rows of values or expressions into a range."""
    sheet, area = data.current(), read_range(start_position, end_position)
    height, width = area.last.row - area.first.row + 1, area.last.column - area.first.column + 1
    if [len(row) for row in values_list] != [width] * height:
        raise RefusedError(f"values_list must hold {height} lists of {width} values")
    texts = [_worked_out(sheet, value) for row in values_list for value in row]
    return _shown(data, set_cells(sheet, zip(area.cells(), texts, strict=True)))


def sort_sheet_by_col(data: Workbook, col_num: int, order: Literal["asc", "des"]) -> Result[Workbook]:
    """Sort the rows that are not frozen by a column."""
    return _shown(data, sort_rows(data.current(), col_num, order == "des"))


def merge_cells(data: Workbook, start_position: str, end_position: str) -> Result[Workbook]:
    """Merge a range into its first cell; this cannot be undone."""
    area = read_range(start_position, end_position)
    new = merge(data.current(), area)
    return Result(f"{a1(area.first)} to {a1(area.last)} are merged.", data=data.replace(new))


def update_note(data: Workbook, position: str, content: str) -> Result[Workbook]:
    """Write a note to a cell."""
    where = read_a1("position", position)
    return Result(f"The note of {a1(where)} is written.", data=data.replace(_noted(data.current(), where, content)))


def get_all_values(data: Workbook) -> Result[Workbook]:
    """All cells of the open sheet."""
    sheet = data.current()
    return Result([list(row) for row in sheet.rows], (("values", sheet.name),))


def get_range_values(data: Workbook, start_position: str, end_position: str) -> Result[Workbook]:
    """The cells of a range."""
    sheet, area = data.current(), read_range(start_position, end_position)
    rows = range(area.first.row, area.last.row + 1)
    columns = range(area.first.column, area.last.column + 1)
    return Result([[sheet.value(Position(row, column)) for column in columns] for row in rows])


def get_cell_value(data: Workbook, position: str) -> Result[Workbook]:
    """The text of a cell."""
    where = read_a1("position", position)
    return Result({a1(where): data.current().value(where)})


def get_value_by_formula(
    data: Workbook,
    operator: Operator,
    start_position: str = "B1",
    end_position: str = "D2",
    position_list: list[str] | None = None,
) -> Result[Workbook]:
    """What an operator gives over a range, or over listed cells."""
    cells = _chosen(start_position, end_position, position_list)
    return Result(number_text(apply_operator(data.current(), operator, cells)))


def filter_cells(
    data: Workbook, query: str, in_row: int | None = None, in_column: int | None = None
) -> Result[Workbook]:
    """The positions of all cells with exactly this text."""
    sheet = data.current()
    found = [
        a1(Position(row, column))
        for row in range(1, len(sheet.rows) + 1)
        for column in range(1, sheet.width + 1)
        if sheet.value(Position(row, column)) == query and in_row in (None, row) and in_column in (None, column)
    ]
    return Result(found, (("filtered", sheet.name, query),))


def get_note(data: Workbook, position: str) -> Result[Workbook]:
    """The note of a cell; empty where there is none."""
    where = read_a1("position", position)
    return Result({a1(where): data.current().note(where)})


def _named(data: Workbook, name: str) -> Sheet:
    sheet = data.find(name.strip())
    if sheet is None:
        raise RefusedError(f"there is no sheet {quoted(name)}")
    return sheet


def _chosen(start: str, end: str, positions: list[str] | None) -> list[Position]:
    if positions is None:
        return list(read_range(start, end).cells())
    return [read_a1("position_list", position) for position in positions]


def _worked_out(sheet: Sheet, value: Value) -> str:
    return cell_text(evaluate(sheet, value) if isinstance(value, str) else value)


def _noted(sheet: Sheet, where: Position, content: str) -> Sheet:
    return set_note(sheet, where, cell_text(content))


def _inserted(data: Workbook, values_list: list[list[Value]], index: int, rows: bool) -> Result[Workbook]:
    sheet = data.current()
    if not values_list:
        raise RefusedError("values_list is empty")
    lines = [[_worked_out(sheet, value) for value in line] for line in values_list]
    return _shown(data, insert(sheet, rows, index, lines))


def _written(data: Workbook, sheet: Sheet, where: Position) -> Result[Workbook]:
    return Result({a1(where): sheet.value(where)}, data=data.replace(sheet))


def _shown(data: Workbook, sheet: Sheet) -> Result[Workbook]:
    return Result([list(row) for row in sheet.rows], (("values", sheet.name),), data.replace(sheet))


SHEET_TOOLS = tool_table(
    (
        open_sheet,
        del_sheet,
        freeze_data,
        get_A1_annotation,
        insert_cols,
        insert_rows,
        delete_batch_data,
        update_cell,
        update_cell_by_formula,
        update_range,
        sort_sheet_by_col,
        merge_cells,
        update_note,
        get_all_values,
        get_range_values,
        get_cell_value,
        get_value_by_formula,
        filter_cells,
        get_note,
    )
)
