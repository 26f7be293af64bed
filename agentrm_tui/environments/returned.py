"""What an environment's methods may return: each check passes a value on, or says what is wrong with it."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Sequence
from itertools import islice
from numbers import Real
from typing import Any, get_args

from agentrm_models.functions import ActionFunctions, Function
from agentrm_models.replies import ACTION_LIMIT
from agentrm_models.terminal_text import on_one_line
from agentrm_tui.environments.base import Cell, EnvironmentTraits, Origin, Picture, Role, StepResult, Task, Tint

TEXT_LIMIT = 100_000
"""Characters of an observation, a goal or an instruction: more than a model's window holds."""

ACTIONS_LIMIT = 10_000
"""Valid actions of one state."""

TASKS_LIMIT = 1_000_000
"""Tasks of one list, and steps of one task."""

SEED_LIMIT = 10**18
"""Seeds lie below, so that they fit in 64 bits everywhere."""

PICTURE_SIDE = 500
"""Rows of a picture, and cells of a row."""

_ROLES, _TINTS = frozenset(get_args(Role)), frozenset(get_args(Tint))
_SWITCHES = ("snapshots", "valid_actions", "expert", "pictures", "state_keys", "procedural")
_SHOWN_CHARACTERS = 80
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Unfit(Exception):
    """A value that an environment must not return.

    Args:
        found: What was returned, as in "returned …".
        remedy: What the method should do instead.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


def shown(value: object) -> str:
    """A value as Python writes it, on one line, short, and without anything that a terminal would obey."""
    try:
        text = reprlib.repr(value)
    except Exception:  # a repr of someone else's class, or an int of too many digits
        text = "<>"
    if text.startswith("<"):  # an address in memory says nothing
        text = f"a {type(value).__name__}"
    line = on_one_line(text)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


def check_text(value: object, what: str = "") -> str:
    """A text that can be written to a file and read by a model."""
    name = f"{what} " if what else ""
    if not isinstance(value, str):
        raise Unfit(f"{name}{shown(value)}, not a text", "Return a str.")
    if len(value) > TEXT_LIMIT:
        raise Unfit(f"{name}of {len(value):,} characters", f"Return at most {TEXT_LIMIT:,}.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            lone = shown(value[error.start])
            raise Unfit(f"{name}with {lone}, half a character", "Decode bytes with errors='replace'.") from None
    return value


def check_result(value: object) -> StepResult:
    """The result of a step; its outcome becomes a plain float."""
    if not isinstance(value, StepResult):
        raise Unfit(shown(value), "Return a StepResult.")
    outcome = value.outcome
    if isinstance(outcome, bool) or not isinstance(outcome, Real):
        raise Unfit(f"outcome {shown(outcome)}, not a number", "Return a float from 0 to 1.")
    if not 0 <= outcome <= 1:
        raise Unfit(f"outcome {shown(outcome)}, not a number from 0 to 1", "Scale the score to that range.")
    for name in ("done", "valid"):
        if not isinstance(getattr(value, name), bool):
            raise Unfit(f"{name} {shown(getattr(value, name))}, not True or False", f"Return bool({name}).")
    return StepResult(check_text(value.text, "text"), float(outcome), value.done, value.valid)


def check_task(value: object) -> Task:
    """One task with sensible fields."""
    if not isinstance(value, Task):
        raise Unfit(f"{shown(value)}, not a Task", "Make Task records.")
    if not check_text(value.id, "a task id").strip():
        raise Unfit("a task with an empty id", "Give each task a name, such as LEVEL:SEED.")
    where = f"task {shown(value.id)} with"
    check_text(value.goal, f"{where} goal")
    check_text(value.level, f"{where} level")
    _whole(value.step_limit, f"{where} step_limit", 1, TASKS_LIMIT)
    _whole(value.seed, f"{where} seed", 0, SEED_LIMIT - 1)
    return value


def check_tasks(value: object, count: int | None, any_seed: bool) -> list[Task]:
    """A list of different tasks, no longer than was asked for and, where any seed gives a task, no shorter."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise Unfit(f"{shown(value)}, not a list of tasks", "Return a list.")
    most = TASKS_LIMIT if count is None else count
    tasks = [check_task(each) for each in islice(value, most + 1)]
    if len(tasks) > most:
        raise Unfit(f"more than {most:,} tasks", "Return as many as `count` says.")
    if any_seed and len(tasks) < (1 if count is None else count):
        asked = "" if count is None else f" of the {count:,} asked for"
        raise Unfit(f"{len(tasks):,} tasks{asked}", "An environment with `procedural` has a task for every seed.")
    known: set[str] = set()
    for task in tasks:
        if task.id in known:
            raise Unfit(f"task {shown(task.id)} twice", "Give each task an id of its own.")
        known.add(task.id)
    return tasks


def check_actions(value: object) -> tuple[str, ...]:
    """Valid actions, each of which the runner would hand on."""
    if not isinstance(value, tuple | list):
        raise Unfit(f"{shown(value)}, not a tuple of texts", "Return a tuple of str.")
    if len(value) > ACTIONS_LIMIT:
        raise Unfit(f"{len(value):,} actions", f"List at most {ACTIONS_LIMIT:,}.")
    for action in value:
        if len(check_text(action, "an action")) > ACTION_LIMIT or not action.strip():
            raise Unfit(f"an action of {len(action):,} characters", f"An action has 1 to {ACTION_LIMIT:,}.")
    return tuple(value)


def check_functions(value: object) -> ActionFunctions:
    """Functions with names of their own and schemas that can be written as JSON."""
    if not isinstance(value, ActionFunctions):
        raise Unfit(f"{shown(value)}, not ActionFunctions", "Return OneFunction(…), or derive from ActionFunctions.")
    if not value.offered or not all(isinstance(each, Function) for each in value.offered):
        raise Unfit(f"functions {shown(value.offered)}", "Offer at least one Function.")
    for function in value.offered:
        check_text(function.description, "a function's description")
        if not _FUNCTION_NAME.fullmatch(check_text(function.name, "a function's name")):
            raise Unfit(f"a function named {shown(function.name)}", "Names are 1 to 64 letters, digits, _ and -.")
    if len({function.name for function in value.offered}) < len(value.offered):
        raise Unfit(f"functions {shown(value.names)}, one of them twice", "Give each function a name of its own.")
    try:
        check_text(value.key, "functions")
    except (TypeError, ValueError, RecursionError):
        raise Unfit("parameters that are no JSON schema", "Write dicts, lists, texts, numbers and booleans.") from None
    return value


def check_expert(value: object) -> tuple[str, str]:
    """A thought and an action."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise Unfit(f"{shown(value)}, not a thought and an action", "Return two texts.")
    return check_text(value[0], "a thought"), check_text(value[1], "an action")


def check_picture(value: object) -> Picture:
    """A grid of cells that every screen can draw."""
    if not isinstance(value, Picture) or not isinstance(value.rows, tuple):
        raise Unfit(f"{shown(value)}, not a Picture", "Return a Picture with a tuple of rows.")
    check_text(value.caption, "a caption")
    widths = {len(row) if isinstance(row, tuple) else -1 for row in islice(value.rows, PICTURE_SIDE + 1)}
    if len(value.rows) > PICTURE_SIDE or len(widths) > 1 or not widths <= {*range(PICTURE_SIDE + 1)}:
        remedy = f"Rows are tuples of the same length; at most {PICTURE_SIDE} x {PICTURE_SIDE} cells."
        raise Unfit(f"a picture of {len(value.rows):,} rows with {shown(sorted(widths))} cells", remedy)
    for cell in (cell for row in value.rows for cell in row):
        if not _is_cell(cell):
            raise Unfit(f"the cell {shown(cell)}", "A Cell has one printable glyph and a known role and tint.")
    return value


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, Cell) or not all(isinstance(part, str) for part in cell):
        return False
    return len(cell.glyph) == 1 and cell.glyph.isprintable() and cell.role in _ROLES and cell.tint in _TINTS


def check_traits(value: object) -> EnvironmentTraits:
    """Facts of the right types that agree with each other."""
    if not isinstance(value, EnvironmentTraits):
        raise Unfit(f"{shown(value)}, not EnvironmentTraits", "Return EnvironmentTraits(name, origin, summary, …).")
    for name in ("name", "summary", "extra"):
        if "\n" in check_text(getattr(value, name), name):
            raise Unfit(f"{name} {shown(getattr(value, name))} of several lines", "Write one line.")
    if not value.name.strip():
        raise Unfit("an empty name", "Write the registered name.")
    if value.origin not in get_args(Origin):
        raise Unfit(f"origin {shown(value.origin)}", f"Write one of {', '.join(get_args(Origin))}.")
    for name in _SWITCHES:
        if not isinstance(getattr(value, name), bool):
            raise Unfit(
                f"{name} {shown(getattr(value, name))}, not True or False", f"Write {name}=True or leave it out."
            )
    _names(value.levels, "levels")
    _names(value.mix, "mix")
    if not isinstance(value.left_out, tuple):
        raise Unfit(f"left_out {shown(value.left_out)}, not a tuple", "Write a tuple of lines.")
    for line in value.left_out:
        check_text(line, "left_out")
    if unknown := next((level for level in value.mix if level not in value.levels), None):
        raise Unfit(f"{shown(unknown)} in mix, which is none of its levels", "Add it to levels.")
    if value.procedural and not value.levels:
        raise Unfit("no levels, though any seed gives a task", "Name at least one: levels=('easy',).")
    return value


def _names(value: Iterable[object], what: str) -> None:
    if not isinstance(value, tuple):
        raise Unfit(f"{what} {shown(value)}, not a tuple", f"Write {what}=('easy', 'hard').")
    for name in value:
        if not check_text(name, f"in {what}").strip():
            raise Unfit(f"an empty name in {what}", "Give it a name.")
    if len(set(value)) < len(value):
        raise Unfit(f"{what} {shown(value)}, one of them twice", "Name each once.")


def _whole(value: object, what: str, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Unfit(f"{what} {shown(value)}", f"It is a whole number from {least:,} to {most:,}.")
