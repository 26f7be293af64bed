"""ToolOperation: errands on a to-do list and on a workbook, done by calling tools."""

from __future__ import annotations

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits
from agentrm_tui.environments.tooloperation.sheet_errands import SheetServer
from agentrm_tui.environments.tooloperation.todo_errands import TodoServer
from agentrm_tui.environments.tools import ToolEnvironment

_FULL = """\
Do an errand by calling the tools of a to-do list or of a workbook. Each step is one call with JSON arguments.
todo
- (): get_user_current_date, get_user_current_location, get_projects
- (project_id): get_tasks; (project_id, is_favorite): update_project, "True" or "False"
- (task_id): get_task_description, get_task_duration, complete_task, delete_task; (task_id, due_date): update_task
- finish(answer): the answer, or "done" after an errand
sheet
- (name): open_sheet, first of all, and del_sheet; (): get_all_values, finish
- (position): get_cell_value, get_note; (position, value): update_cell; (position, content): update_note
- (start_position, end_position): get_range_values, merge_cells; with values_list: update_range
- (values_list, row_idx): insert_rows; (values_list, col_idx): insert_cols, lists of rows or columns
- (dimension, index_list): delete_batch_data, "row" or "col"; (dimension, num): freeze_data, "rows" or "columns"
- (col_num, order): sort_sheet_by_col, "asc" or "des"; (row, col): get_A1_annotation; (query, in_row, in_column): \
filter_cells
- (operator, start_position, end_position) or (operator, position_list): get_value_by_formula, and with \
result_position: update_cell_by_formula. Operators: SUM, AVERAGE, COUNT, MAX, MIN, MINUS, PRODUCT
both: check_valid_actions()
Ids are texts; dates are texts like "2031-05-17"; cells are written like B2. Completing, deleting and merging cannot \
be undone. When all is done, finish: what holds then counts. A wrong answer ends the episode, and so does the third \
refused call.
Reply with one thought and one action:
Thought: I need the id of Garden.
Action: get_projects with Action Input: {}"""

_SHORT = (
    "Do an errand by tool calls. todo: get_user_current_*, get_projects, update_project, get_tasks, "
    "get_task_description, get_task_duration, complete_task, update_task, delete_task. sheet: open_sheet first, "
    "del_sheet, get_all_values, get_*, update_cell, update_cell_by_formula, update_range, update_note, insert_rows, "
    "insert_cols, delete_batch_data, freeze_data, sort_sheet_by_col, merge_cells, filter_cells. Then finish. A wrong "
    "answer or the third refused call ends it."
)


class ToolOperationEnvironment(ToolEnvironment):
    """To-do lists and sheets over made-up data; a compatible re-implementation of AgentBoard's tools."""

    def __init__(self) -> None:
        super().__init__((TodoServer(), SheetServer()))

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """Tools and rules, or the tool names alone."""
        return _FULL if style == "full" else _SHORT


_LEVELS = tuple(f"{server}-{difficulty}" for difficulty in (1, 2, 3) for server in ("todo", "sheet"))

_TRAITS = EnvironmentTraits(
    name="tooloperation",
    origin="compatible",
    summary="Do errands on a to-do list or in a workbook with their tools.",
    levels=_LEVELS,
    snapshots=True,
    valid_actions=True,
    expert=True,
    pictures=True,
    state_keys=True,
    procedural=True,
)
