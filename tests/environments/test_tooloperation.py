"""Known answers of the to-do and sheet tools, mending of disturbed states, and scores."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_tui.environments.base import Task
from agentrm_tui.environments.tooloperation import ToolOperationEnvironment
from agentrm_tui.environments.tooloperation.grid import Position, Range, Sheet
from agentrm_tui.environments.tooloperation.sheet import SHEET_TOOLS, Workbook
from agentrm_tui.environments.tooloperation.sheet_errands import SheetServer
from agentrm_tui.environments.tooloperation.todo import TODO_TOOLS, Job, Project, TodoList
from agentrm_tui.environments.tooloperation.todo_errands import TodoServer
from agentrm_tui.environments.tools import RefusedError, ToolServer
from agentrm_tui.environments.tools.calls import Call
from agentrm_tui.environments.tools.server import run_tool

HOME, CLUB = Project("11", "Home", "red", False), Project("12", "Club", "blue", True)
FIX = Job("21", "11", "Fix lamps", "2031-03-04", 4, 25, "Tirna", False)
BUY = Job("22", "11", "Buy seeds", "2031-02-20", 1, 60, "Skarn", True)
TODO = TodoList((HOME, CLUB), (FIX, BUY), "2031-03-01", "Tirna")

SHEET = Sheet("Stock", (("Item", "Price", "Amount"), ("Lamp", "12", "3"), ("Desk", "40", "0"), ("Vase", "9", "3")))
BOOK = Workbook((SHEET, Sheet("Draft", (("A",),))), "Stock")


def todo(name: str, /, **arguments: Any) -> Any:
    return run_tool(TODO_TOOLS, TODO, Call(name, arguments))


def sheet(name: str, /, data: Workbook = BOOK, **arguments: Any) -> Any:
    return run_tool(SHEET_TOOLS, data, Call(name, arguments))


def shown(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "content": job.content,
        "is_completed": job.completed,
        "priority": job.priority,
        "due_date": job.due,
    }


def test_todo_lookups() -> None:
    assert todo("get_user_current_date").value == "2031-03-01"
    assert todo("get_user_current_location").value == "Tirna"
    assert todo("get_projects").value == [
        {"id": "11", "name": "Home", "color": "red", "is_favorite": False},
        {"id": "12", "name": "Club", "color": "blue", "is_favorite": True},
    ]
    assert todo("get_tasks", project_id="11").value == [shown(FIX), shown(BUY)]
    assert todo("get_tasks", project_id="12").value == []
    described = {"id": "21", "content": "Fix lamps", "description": "Place: Tirna."}
    assert todo("get_task_description", task_id="21").value == described
    assert todo("get_task_duration", task_id="22").value == {
        "id": "22",
        "content": "Buy seeds",
        "duration": "60(minute)",
    }


def test_todo_changes() -> None:
    favourite = todo("update_project", project_id="11", is_favorite="True")
    assert favourite.data.projects == (HOME._replace(favourite=True), CLUB)
    assert todo("update_project", project_id="12", is_favorite=False).data.projects == (
        HOME,
        CLUB._replace(favourite=False),
    )
    assert todo("complete_task", task_id="21").data.jobs == (FIX._replace(completed=True), BUY)
    moved = todo("update_task", task_id="22", due_date="2031-04-01")
    assert moved.data.jobs == (FIX, BUY._replace(due="2031-04-01")) and moved.value["due_date"] == "2031-04-01"
    assert todo("delete_task", task_id="21").data.jobs == (BUY,)
    assert TODO.jobs == (FIX, BUY)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("get_tasks", {"project_id": "21"}, 'there is no project with the id "21"'),
        ("complete_task", {"task_id": "11"}, 'there is no task with the id "11"'),
        ("complete_task", {"task_id": "22"}, "task 22 is completed already"),
        ("update_task", {"task_id": "22", "due_date": "soon"}, 'due_date must be a date like 2031-03-01, not "soon"'),
        ("update_project", {"project_id": "11", "is_favorite": "yes"}, 'must be one of "True", "False" or true or'),
    ],
)
def test_impossible_todo_calls_say_why(name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError) as error:
        todo(name, **arguments)
    assert says in str(error.value)


def rows(result: Any) -> list[list[str]]:
    """The cells that a change shows, which are those of the open sheet after it."""
    assert result.value == [list(row) for row in result.data.current().rows]
    value: list[list[str]] = result.value
    return value


def test_sheet_lookups() -> None:
    assert sheet("get_all_values").value == [list(row) for row in SHEET.rows]
    assert sheet("get_range_values", start_position="B2", end_position="C3").value == [["12", "3"], ["40", "0"]]
    assert sheet("get_range_values", start_position="C4", end_position="D4").value == [["3", ""]]
    assert sheet("get_cell_value", position="b3").value == {"B3": "40"}
    assert sheet("get_A1_annotation", row=3, col=2).value == "B3"
    assert sheet("filter_cells", query="3").value == ["C2", "C4"]
    assert sheet("filter_cells", query="3", in_row=4).value == ["C4"]
    assert sheet("filter_cells", query="3", in_column=2).value == []
    assert sheet("get_note", position="A1").value == {"A1": ""}


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("SUM", "61"), ("AVERAGE", "20.33"), ("COUNT", "3"), ("MAX", "40"), ("MIN", "9"), ("PRODUCT", "4320")],
)
def test_operators(operator: str, expected: str) -> None:
    told = sheet("get_value_by_formula", operator=operator, start_position="B1", end_position="B4")
    assert told.value == expected
    written = sheet(
        "update_cell_by_formula", operator=operator, start_position="B1", end_position="B4", result_position="D5"
    )
    assert written.value == {"D5": expected}
    assert written.data.current().rows[4] == ("", "", "", expected)


def test_operators_over_listed_cells() -> None:
    assert sheet("get_value_by_formula", operator="MINUS", position_list=["B3", "B2"]).value == "28"
    assert sheet("get_value_by_formula", operator="PRODUCT", position_list=["B2", "C2"]).value == "36"


def test_sheet_changes() -> None:
    assert sheet("open_sheet", name="Draft").data.open == "Draft"
    gone = sheet("del_sheet", name="Stock").data
    assert (gone.sheets, gone.open) == (BOOK.sheets[1:], "")
    assert sheet("freeze_data", dimension="rows", num=1).data.current().frozen_rows == 1
    assert sheet("freeze_data", dimension="columns", num=2).data.current().frozen_columns == 2
    assert sheet("update_cell", position="B2", value=13).value == {"B2": "13"}
    assert rows(sheet("delete_batch_data", dimension="row", index_list=[4, 2])) == [
        ["Item", "Price", "Amount"],
        ["Desk", "40", "0"],
    ]
    assert rows(sheet("delete_batch_data", dimension="col", index_list=[2]))[1] == ["Lamp", "3"]
    assert rows(sheet("insert_rows", values_list=[["Rug", 5]], row_idx=3))[1:4] == [
        ["Lamp", "12", "3"],
        ["Rug", "5", ""],
        ["Desk", "40", "0"],
    ]
    assert rows(sheet("insert_cols", values_list=[["Code", "a"]]))[:3] == [
        ["Code", "Item", "Price", "Amount"],
        ["a", "Lamp", "12", "3"],
        ["", "Desk", "40", "0"],
    ]
    changed = rows(sheet("update_range", start_position="B2", end_position="C3", values_list=[[1, 2], [3.5, "x"]]))
    assert changed[1:3] == [["Lamp", "1", "2"], ["Desk", "3.5", "x"]]
    noted = sheet("update_note", position="B2", content="new").data
    assert sheet("get_note", noted, position="B2").value == {"B2": "new"}
    assert sheet("update_note", noted, position="B2", content="").data == BOOK


def test_sorting_leaves_frozen_rows() -> None:
    frozen = sheet("freeze_data", dimension="rows", num=1).data
    first = [row[0] for row in rows(sheet("sort_sheet_by_col", frozen, col_num=2, order="asc"))]
    assert first == ["Item", "Vase", "Lamp", "Desk"]
    # Lamp and Vase are equal and stay in order, whichever way is sorted.
    first = [row[0] for row in rows(sheet("sort_sheet_by_col", frozen, col_num=3, order="des"))]
    assert first == ["Item", "Lamp", "Vase", "Desk"]
    assert [row[0] for row in rows(sheet("sort_sheet_by_col", col_num=1, order="asc"))] == [
        "Desk",
        "Item",
        "Lamp",
        "Vase",
    ]


def test_notes_and_merged_cells_move_with_their_rows() -> None:
    noted = sheet("update_note", position="B3", content="late").data
    frozen = sheet("freeze_data", noted, dimension="rows", num=1).data
    in_order = sheet("sort_sheet_by_col", frozen, col_num=2, order="asc").data
    assert in_order.current().notes == ((Position(4, 2), "late"),)
    assert sheet("insert_rows", noted, values_list=[["x"]]).data.current().notes == ((Position(4, 2), "late"),)
    assert sheet("delete_batch_data", noted, dimension="row", index_list=[3]).data.current().notes == ()
    merged = sheet("merge_cells", start_position="A2", end_position="B2").data
    assert merged.current().rows[1] == ("Lamp", "", "3")
    assert merged.current().merged == (Range(Position(2, 1), Position(2, 2)),)
    above = sheet("insert_rows", merged, values_list=[["x"]]).data.current().merged
    assert above == (Range(Position(3, 1), Position(3, 2)),)
    assert sheet("delete_batch_data", merged, dimension="row", index_list=[2]).data.current().merged == ()
    for name, arguments in (
        ("merge_cells", {"start_position": "B2", "end_position": "C3"}),
        ("delete_batch_data", {"dimension": "col", "index_list": [1]}),
        ("insert_cols", {"values_list": [["x"]], "col_idx": 2}),
        ("sort_sheet_by_col", {"col_num": 1, "order": "asc"}),
    ):
        with pytest.raises(RefusedError):
            sheet(name, merged, **arguments)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("=B2*C2", "36"),
        ("=SUM(B2:B4)+1", "62"),
        ("= (B3 - B2) / 4", "7"),
        ("=-B4+average(C2:C4)", "-7"),
        ("=MAX(B2,B3)", "40"),
        ("=1/3", "0.33"),
        ("plain = text", "plain = text"),
    ],
)
def test_expressions(text: str, value: str) -> None:
    assert sheet("update_cell", position="E1", value=text).value == {"E1": value}


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("open_sheet", {"name": "Stok"}, 'there is no sheet "Stok"'),
        ("get_cell_value", {"position": "2B"}, 'position must be a cell like B2, not "2B"'),
        ("get_cell_value", {"position": "K1"}, "K1 is outside: a sheet ends at J20"),
        ("get_range_values", {"start_position": "B3", "end_position": "B2"}, "above or left of start_position"),
        ("get_A1_annotation", {"row": 0, "col": 1}, "row must be from 1 to 20"),
        ("update_cell", {"position": "A1", "value": "x" * 41}, "at most 40 characters"),
        ("update_cell", {"position": "A1", "value": None}, "value must be a text or a whole number or a number"),
        ("update_cell", {"position": "A1", "value": "=A2*2"}, "A2 holds no number"),
        ("update_cell", {"position": "A1", "value": "=B2/C3"}, "divides by zero"),
        ("update_cell", {"position": "A1", "value": "=B2*"}, "cut off"),
        ("update_cell", {"position": "A1", "value": "=B2)"}, "misplaced )"),
        ("update_cell", {"position": "A1", "value": "=(B2"}, "cut off"),
        ("update_cell", {"position": "A1", "value": "=B2;1"}, "the formula may hold"),
        ("update_cell", {"position": "A1", "value": "=" + "(" * 900}, "the formula may hold"),
        ("update_cell", {"position": "A1", "value": "=999999999*999999999"}, "too large"),
        ("update_range", {"start_position": "A1", "end_position": "B1", "values_list": [[1]]}, "1 lists of 2 values"),
        ("insert_rows", {"values_list": [], "row_idx": 1}, "values_list is empty"),
        ("insert_rows", {"values_list": [["x"]], "row_idx": 6}, "the index must be from 1 to 5"),
        ("insert_rows", {"values_list": [["x"]] * 17}, "at most 20 rows"),
        ("delete_batch_data", {"dimension": "row", "index_list": [5]}, "the indexes must be from 1 to 4"),
        ("delete_batch_data", {"dimension": "rows", "index_list": [1]}, 'must be one of "row", "col", not "rows"'),
        ("sort_sheet_by_col", {"col_num": 4, "order": "asc"}, "col_num must be from 1 to 3"),
        ("sort_sheet_by_col", {"col_num": 1, "order": "desc"}, 'one of "asc", "des", not "desc"'),
        ("freeze_data", {"dimension": "rows", "num": 5}, "num must be from 0 to 4"),
        ("merge_cells", {"start_position": "A1", "end_position": "A1"}, "one cell alone"),
        ("get_value_by_formula", {"operator": "MINUS", "position_list": ["B2"]}, "MINUS needs two cells"),
        ("get_value_by_formula", {"operator": "SUM", "position_list": ["A2"]}, "SUM needs numbers"),
        ("get_value_by_formula", {"operator": "MEAN"}, '"PRODUCT", not "MEAN"'),
    ],
)
def test_impossible_sheet_calls_say_why(name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError) as error:
        sheet(name, **arguments)
    assert says in str(error.value)


@given(st.booleans(), st.integers(1, 4), st.integers(1, 3))
def test_deleting_what_was_inserted_gives_the_sheet_back(by_row: bool, index: int, count: int) -> None:
    index = min(index, 4 if by_row else 3)
    noted = sheet("update_note", position="C3", content="late").data
    name, where = ("insert_rows", "row_idx") if by_row else ("insert_cols", "col_idx")
    grown = sheet(name, noted, values_list=[["x"]] * count, **{where: index}).data
    indexes = list(range(index, index + count))
    dimension = "row" if by_row else "col"
    assert sheet("delete_batch_data", grown, dimension=dimension, index_list=indexes).data == noted


def test_a_sheet_must_be_open() -> None:
    with pytest.raises(RefusedError, match="call open_sheet first"):
        sheet("get_all_values", BOOK._replace(open=""))


def test_every_published_tool_is_there() -> None:
    assert len(TODO_TOOLS) == 10 and len(SHEET_TOOLS) == 19
    assert SHEET_TOOLS["filter_cells"].signature == "filter_cells(query, in_row, in_column)"
    assert TODO_TOOLS["update_task"].signature == "update_task(task_id, due_date)"


@pytest.mark.parametrize("server", [TodoServer(), SheetServer()])
def test_every_template_is_drawn(server: ToolServer[Any]) -> None:
    names = {template.__name__ for templates in server.templates for template in templates}
    assert len(names) >= 10
    levels = range(1, len(server.templates) + 1)
    drawn = {server.assignment(difficulty, seed).template for difficulty in levels for seed in range(60)}
    assert drawn == names


def finish_with_the_expert(environment: ToolOperationEnvironment) -> float:
    """Follow the expert to the end; the outcome, or -1 where it falls silent."""
    while True:
        action = environment.expert()[1]
        if not action:
            return -1.0
        result = environment.step(action)
        assert result.valid, (action, result.text)
        if result.done:
            return result.outcome


def test_the_expert_mends_any_state_that_can_be_mended() -> None:
    environment = ToolOperationEnvironment()
    rng = random.Random("any state")
    outcomes = []
    for task in environment.tasks("dev", first_seed=6_000, count=180):
        environment.reset(msgspec.structs.replace(task, step_limit=60))
        for _ in range(6):
            calls = [action for action in environment.valid_actions() if not action.startswith("finish")]
            environment.step(rng.choice(calls) if calls else "check_valid_actions")
        outcomes.append(finish_with_the_expert(environment))
    assert set(outcomes) <= {1.0, -1.0}
    assert outcomes.count(1.0) >= 100 and 3 <= outcomes.count(-1.0) <= 40


def find_task(environment: ToolOperationEnvironment, level: str, wanted: Callable[[str], bool]) -> Task:
    """The first task of a level whose template fits."""
    server: ToolServer[Any] = TodoServer() if level.startswith("todo") else SheetServer()
    difficulty = int(level[-1])
    seed = next(seed for seed in range(200) if wanted(server.assignment(difficulty, seed).template))
    return environment.task(f"{level}:{seed}")


def test_undone_changes_take_their_subgoal_away() -> None:
    environment = ToolOperationEnvironment()
    environment.reset(find_task(environment, "todo-1", "favourite".__eq__))
    assert environment.step(environment.expert()[1]).outcome == pytest.approx(1 / 3)
    action = environment.expert()[1]
    assert environment.step(action).outcome == pytest.approx(2 / 3)
    back = action.replace('"True"', '"?"').replace('"False"', '"True"').replace('"?"', '"False"')
    assert environment.step(back).outcome == pytest.approx(1 / 3)
    ended = environment.step('finish with Action Input: {"answer": "done"}')
    assert ended.text == "Wrong. The episode ends." and ended.done
    assert ended.outcome == pytest.approx(1 / 3)


def test_a_wrong_deletion_silences_the_expert_and_spoils_the_end() -> None:
    environment = ToolOperationEnvironment()
    task = find_task(environment, "todo-1", "due_when".__eq__)
    environment.reset(task)
    environment.step(environment.expert()[1])
    environment.step(environment.expert()[1])
    answer = environment.expert()[1]
    delete = next(action for action in environment.valid_actions() if action.startswith("delete_task"))
    assert environment.step(delete).outcome == pytest.approx(2 / 3)
    assert environment.expert() == ("", "")
    ended = environment.step(answer)
    assert ended.text == "Wrong. The episode ends." and ended.done
    assert ended.outcome == pytest.approx(2 / 3)


def test_sheet_outcome_is_the_share_of_right_cells_less_broken_ones() -> None:
    environment = ToolOperationEnvironment()
    environment.reset(find_task(environment, "sheet-3", "multiply".__eq__))
    outcomes = []
    while not environment.expert()[1].startswith("finish"):
        outcomes.append(environment.step(environment.expert()[1]).outcome)
    cells = len(outcomes) - 2
    assert outcomes == pytest.approx([0.0, 0.0, *(number / cells for number in range(1, cells + 1))])
    broken = environment.step('update_cell with Action Input: {"position": "A2", "value": "broken"}')
    assert broken.outcome == pytest.approx(1 - 1 / cells)
    assert environment.expert()[1].startswith("update_range")
    assert finish_with_the_expert(environment) == 1.0


def test_unasked_freezing_does_not_matter_but_asked_freezing_does() -> None:
    environment = ToolOperationEnvironment()
    freeze = 'freeze_data with Action Input: {"dimension": "rows", "num": 1}'
    environment.reset(find_task(environment, "sheet-1", "set_cell".__eq__))
    environment.step(environment.expert()[1])
    environment.step(freeze)
    assert finish_with_the_expert(environment) == 1.0
    environment.reset(find_task(environment, "sheet-2", "sort_by".__eq__))
    environment.step(environment.expert()[1])
    assert environment.step(freeze).outcome > 0.0
    assert finish_with_the_expert(environment) == 1.0


def test_the_picture_shows_the_open_sheet() -> None:
    environment = ToolOperationEnvironment()
    task = find_task(environment, "sheet-1", "set_cell".__eq__)
    environment.reset(task)
    environment.step(environment.expert()[1])
    picture = environment.picture()
    lines = ["".join(cell.glyph for cell in row) for row in picture.rows]
    name = task.goal.split()[3].rstrip(":")
    assert picture.caption == f"{name} (open)"
    assert lines[0].split() == ["A", "B", "C"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    environment.step('update_cell with Action Input: {"position": "A2", "value": "é\\u202e漢"}')
    assert "???" in "".join(cell.glyph for cell in environment.picture().rows[2])
