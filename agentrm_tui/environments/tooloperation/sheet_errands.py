"""Errands on a sheet, each a small program of calls whose last state is the reference."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from agentrm_tui.environments.tooloperation.grid import Position, Sheet, a1
from agentrm_tui.environments.tooloperation.sheet import Workbook
from agentrm_tui.environments.tooloperation.sheet_server import SheetTools
from agentrm_tui.environments.tooloperation.tables import KINDS
from agentrm_tui.environments.tools import Draft, Plan

NOTES = ("check this", "ask again", "sold out", "too dear", "new", "late")
PRICE, AMOUNT, GROUP = 2, 3, 4


class Seen(NamedTuple):
    """A sheet as it was when the plan looked at it."""

    sheet: Sheet
    name: str

    def head(self, column: int) -> str:
        """The head of a column."""
        return self.sheet.rows[0][column - 1]

    def row(self, rng: Random) -> int:
        """Any row but the heads."""
        return rng.randint(2, len(self.sheet.rows))

    def item(self, row: int) -> str:
        """What a row is about."""
        return self.sheet.rows[row - 1][0]

    def number(self, row: int, column: int) -> int:
        """A number of the table."""
        return int(self.sheet.rows[row - 1][column - 1])

    @property
    def data_rows(self) -> range:
        """All rows but the heads."""
        return range(2, len(self.sheet.rows) + 1)


def look(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Seen:
    """Open a sheet and see its values."""
    sheet = rng.choice(data.sheets)
    plan.call(f"First open {sheet.name}.", "open_sheet", name=sheet.name)
    plan.call("I need to see the sheet.", "get_all_values")
    return Seen(sheet, sheet.name)


def errand(seen: Seen, goal: str, *values: str) -> Draft:
    """A goal on a sheet, and the values it names."""
    return Draft(f"In the sheet {seen.name}: {goal}", None, "All is done.", values)


def cell(row: int, column: int) -> str:
    """A cell's name."""
    return a1(Position(row, column))


def set_cell(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft | None:
    """Write one number."""
    seen = look(data, rng, plan)
    row, column, value = seen.row(rng), rng.choice((PRICE, AMOUNT)), rng.randint(31, 99)
    item, head = seen.item(row), seen.head(column)
    if seen.number(row, column) == value:
        return None
    where = cell(row, column)
    plan.call(f"The {head} of {item} is in {where}.", "update_cell", position=where, value=str(value))
    return errand(seen, f"set the {head} of {item} to {value}.", str(value))


def add_note(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Put a note on one cell."""
    seen = look(data, rng, plan)
    row, column, note = seen.row(rng), rng.choice((PRICE, AMOUNT)), rng.choice(NOTES)
    item, head, where = seen.item(row), seen.head(column), cell(row, column)
    plan.call(f"The {head} of {item} is in {where}.", "update_note", position=where, content=note)
    return errand(seen, f"add the note '{note}' to the {head} of {item}.", note)


def delete_row(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Delete the row of one thing."""
    seen = look(data, rng, plan)
    row = seen.row(rng)
    item = seen.item(row)
    plan.call(f"{item} is in row {row}.", "delete_batch_data", dimension="row", index_list=[row])
    return errand(seen, f"delete the row of {item}.")


def append_row(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Add a row at the end."""
    seen = look(data, rng, plan)
    kind = next(kind for kind in KINDS if kind.heads[0] == seen.head(1))
    item = rng.choice([name for name in kind.names if name not in {row[0] for row in seen.sheet.rows}])
    values = [item, str(kind.price(rng)), str(rng.randint(1, 12)), rng.choice(kind.groups)][: seen.sheet.width]
    last = len(seen.sheet.rows) + 1
    plan.call(f"The new row is row {last}.", "insert_rows", values_list=[values], row_idx=last)
    return errand(seen, f"add a row at the end with {', '.join(values)}.", *values)


def drop_sheet(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Delete a whole sheet."""
    name = rng.choice(data.sheets).name
    plan.call(f"{name} is to go.", "del_sheet", name=name)
    return Draft(f"Delete the sheet {name}.", None, "It is deleted.")


def freeze(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Freeze the heads."""
    seen = look(data, rng, plan)
    dimension, word = rng.choice((("rows", "row"), ("columns", "column")))
    plan.call(f"It is one {word}.", "freeze_data", dimension=dimension, num=1)
    return errand(seen, f"freeze the first {word}.")


def add_total(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Write the sum, average, largest or smallest of a column below it."""
    seen = look(data, rng, plan)
    column = rng.choice((PRICE, AMOUNT))
    operator, word = rng.choice((("SUM", "sum"), ("AVERAGE", "average"), ("MAX", "largest"), ("MIN", "smallest")))
    below = cell(len(seen.sheet.rows) + 1, column)
    _summarise(plan, seen, operator, column, below)
    return errand(seen, f"write the {word} of the {seen.head(column)} column into {below}.")


def sort_by(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft | None:
    """Freeze the heads, then sort."""
    seen = look(data, rng, plan)
    column = rng.choice((1, PRICE))
    if not _freeze_and_sort(rng, plan, seen, column):
        return None
    words = _sort_words(plan)
    return errand(seen, f"freeze the first row, then sort by {seen.head(column)}, {words}.")


def delete_empty(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft | None:
    """Delete all rows with an amount of 0."""
    seen = look(data, rng, plan)
    rows = [row for row in seen.data_rows if seen.number(row, AMOUNT) == 0]
    if not rows or len(rows) == len(seen.data_rows):
        return None
    plan.call(f"These are rows {_listed(rows)}.", "delete_batch_data", dimension="row", index_list=rows)
    return errand(seen, f"delete every row whose {seen.head(AMOUNT)} is 0.")


def append_column(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Add a column at the end."""
    seen = look(data, rng, plan)
    head = rng.choice(("Code", "Rank", "Size"))
    values = [head, *(str(rng.randint(1, 9)) for _ in seen.data_rows)]
    last = seen.sheet.width + 1
    plan.call(f"The new column is column {last}.", "insert_cols", values_list=[values], col_idx=last)
    return errand(seen, f"add a column {head} at the end with {', '.join(values[1:])} from top to bottom.", *values)


def merge_title(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Put a title row on top and merge it."""
    seen = look(data, rng, plan)
    title, end = rng.choice(("Overview", "Report", "Inventory")), cell(1, seen.sheet.width)
    plan.call("First the new row on top.", "insert_rows", values_list=[[title]], row_idx=1)
    plan.call("Now merge it.", "merge_cells", start_position="A1", end_position=end)
    return errand(seen, f"insert a row on top with {title} in its first cell, then merge A1 to {end}.", title)


def replace_text(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft | None:
    """Replace a group's name everywhere."""
    seen = look(data, rng, plan)
    groups = [seen.sheet.rows[row - 1][GROUP - 1] for row in seen.data_rows]
    old, new = rng.choice(groups), rng.choice(("upper", "lower", "outer"))
    places = plan.call(f"Where is {old}?", "filter_cells", query=old, in_column=GROUP)
    for place in places:
        plan.call(f"{place} holds {old}.", "update_cell", position=place, value=new)
    return errand(seen, f"replace {old} by {new} wherever it is in the {seen.head(GROUP)} column.", new)


def multiply(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Add a column with the product of two others."""
    seen = look(data, rng, plan)
    last, head = seen.sheet.width + 1, "Total"
    plan.call("First the head.", "update_cell", position=cell(1, last), value=head)
    for row in seen.data_rows:
        plan.call(
            f"Now row {row}.",
            "update_cell_by_formula",
            operator="PRODUCT",
            position_list=[cell(row, PRICE), cell(row, AMOUNT)],
            result_position=cell(row, last),
        )
    what = f"{seen.head(PRICE)} times {seen.head(AMOUNT)}"
    return errand(seen, f"add a column {head} at the end with {what} of each row.", head)


def delete_and_sort(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft | None:
    """Delete rows with an amount of 0, then sort the others."""
    seen = look(data, rng, plan)
    rows = [row for row in seen.data_rows if seen.number(row, AMOUNT) == 0]
    if not rows or len(rows) > len(seen.data_rows) - 2:
        return None
    plan.call(f"These are rows {_listed(rows)}.", "delete_batch_data", dimension="row", index_list=rows)
    if not _freeze_and_sort(rng, plan, seen, PRICE):
        return None
    goal = f"delete every row whose {seen.head(AMOUNT)} is 0, freeze the first row and sort by {seen.head(PRICE)}"
    return errand(seen, f"{goal}, {_sort_words(plan)}.")


def cut_and_total(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft | None:
    """Delete the rows above a bound, then write the sum of the rest below."""
    seen = look(data, rng, plan)
    bound = sorted(seen.number(row, PRICE) for row in seen.data_rows)[rng.randint(1, 2)]
    rows = [row for row in seen.data_rows if seen.number(row, PRICE) > bound]
    plan.call(f"These are rows {_listed(rows)}.", "delete_batch_data", dimension="row", index_list=rows)
    left = plan.data.current()
    column = rng.choice((PRICE, AMOUNT))
    below = cell(len(left.rows) + 1, column)
    _summarise(plan, Seen(left, seen.name), "SUM", column, below)
    goal = f"delete every row whose {seen.head(PRICE)} is above {bound}, then write the sum of the {seen.head(column)}"
    return errand(seen, f"{goal} column into {below}.")


def mark_extreme(data: Workbook, rng: Random, plan: Plan[Workbook]) -> Draft:
    """Put a note on the largest or smallest number, and write that number below."""
    seen = look(data, rng, plan)
    word, operator = rng.choice((("largest", "MAX"), ("smallest", "MIN")))
    note, choose = rng.choice(NOTES), max if operator == "MAX" else min
    row = choose(seen.data_rows, key=lambda row: seen.number(row, PRICE))
    where, below = cell(row, PRICE), cell(len(seen.sheet.rows) + 1, PRICE)
    plan.call(f"The {word} is {seen.number(row, PRICE)} in {where}.", "update_note", position=where, content=note)
    _summarise(plan, seen, operator, PRICE, below)
    goal = f"add the note '{note}' to the {word} {seen.head(PRICE)}, and write that number into {below}."
    return errand(seen, goal, note)


def _summarise(plan: Plan[Workbook], seen: Seen, operator: str, column: int, below: str) -> None:
    ends = {"start_position": cell(2, column), "end_position": cell(len(seen.sheet.rows), column)}
    thought = f"The column is {ends['start_position']} to {ends['end_position']}."
    plan.call(thought, "update_cell_by_formula", operator=operator, **ends, result_position=below)


def _freeze_and_sort(rng: Random, plan: Plan[Workbook], seen: Seen, column: int) -> bool:
    """Freeze the heads and sort; whether that changed the order."""
    plan.call("The heads must stay.", "freeze_data", dimension="rows", num=1)
    before, order = plan.data.current().rows, rng.choice(("asc", "des"))
    plan.call(f"{seen.head(column)} is column {column}.", "sort_sheet_by_col", col_num=column, order=order)
    return plan.data.current().rows != before


def _sort_words(plan: Plan[Workbook]) -> str:
    return "ascending" if plan.steps[-1].call.arguments["order"] == "asc" else "descending"


def _listed(rows: list[int]) -> str:
    return ", ".join(map(str, rows))


class SheetServer(SheetTools):
    """Sheet tools with errands of three difficulties: one change, one thought-out change, several changes."""

    templates = (
        (set_cell, add_note, delete_row, append_row, drop_sheet, freeze),
        (add_total, sort_by, delete_empty, append_column, merge_title),
        (replace_text, multiply, delete_and_sort, cut_and_total, mark_extreme),
    )
