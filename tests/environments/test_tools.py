"""Calls, signatures and answers of the tool environments, and the rules that both share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.replies import parse_reply
from agentrm_tui.environments.tooloperation import ToolOperationEnvironment
from agentrm_tui.environments.tooloperation.sheet_errands import SheetServer
from agentrm_tui.environments.tooloperation.todo_errands import TodoServer
from agentrm_tui.environments.toolquery import ToolQueryEnvironment
from agentrm_tui.environments.toolquery.academia_questions import AcademiaServer
from agentrm_tui.environments.toolquery.movie_questions import MovieServer
from agentrm_tui.environments.toolquery.weather_questions import WeatherServer
from agentrm_tui.environments.tools import RefusedError, tool_table
from agentrm_tui.environments.tools.answers import Answer, near, same_answer
from agentrm_tui.environments.tools.calls import Call, format_call, parse_call
from agentrm_tui.environments.tools.environment import INVALID_LIMIT, STEP_LIMITS, ToolEnvironment
from agentrm_tui.environments.tools.server import ToolServer, run_tool

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_what_is_written_is_read_back(arguments: dict[str, Any]) -> None:
    assert parse_call(format_call(Call("tool", arguments))) == Call("tool", arguments)


@pytest.mark.parametrize(
    "text",
    [
        'look with Action Input: {"at": 2}',
        'look with Action Input:{"at": 2}',
        'look With action input : {"at": 2}',
        'look Action Input: {"at": 2}',
        'look with {"at": 2}',
        'look {"at": 2}',
        '  look: {"at":\n2}  ',
        'look() with Action Input: {"at": 2}',
    ],
)
def test_forms_of_a_call(text: str) -> None:
    assert parse_call(text) == Call("look", {"at": 2})


@pytest.mark.parametrize("text", ["look", " look ", "look()", "look with Action Input:", "look with Action Input: {}"])
def test_calls_without_arguments(text: str) -> None:
    assert parse_call(text) == Call("look", {})


def test_a_reply_on_two_lines() -> None:
    reply = parse_reply('Thought: look\nAction: look\nAction Input: {"at": 2}')
    assert parse_call(reply.action) == Call("look", {"at": 2})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no tool is named"),
        ("{}", "no tool is named"),
        ("look at 2", "must be a JSON object"),
        ("look with Action Input: [1]", "must be a JSON object"),
        ('look with Action Input: {"at": 2', "expecting ',' delimiter at character 9"),
        ("look with Action Input: {at: 2}", "expecting property name enclosed in double quotes at character 2"),
        ('look with Action Input: {"at": }', "expecting value at character 8"),
        ('look with Action Input: {"at": 2} and more', "extra data at character 11"),
        ('look with Action Input: {"at": "\\ud800"}', "half a character"),
        ('look with Action Input: {"at": "\ud800"}', "half a character"),
        ('look with Action Input: {"at": NaN}', "NaN is no JSON number"),
        ('look with Action Input: {"at": 1e999}', "too large"),
        ('look with Action Input: {"at": %s}' % ("9" * 400), "too large"),
        ('look with Action Input: {"at": %s' % ("[" * 1900), "nested too deeply"),
        ("x" * 2001, "longer than 2000 characters"),
    ],
)
def test_broken_calls_say_what_is_broken(text: str, says: str) -> None:
    with pytest.raises(RefusedError) as error:
        parse_call(text)
    assert says in str(error.value)


def paint(
    data: str, colour: Literal["red", "blue"], size: int, share: float = 0.5, where: list[str] | None = None
) -> Any:
    """A tool with every kind of parameter."""
    return data, colour, size, share, where


TOOLS = tool_table((paint,))


def call(arguments: dict[str, Any], name: str = "paint") -> Any:
    return run_tool(TOOLS, "wall", Call(name, arguments))


def test_defaults_are_filled_in_and_whole_numbers_are_numbers() -> None:
    assert call({"colour": "red", "size": 2}) == ("wall", "red", 2, 0.5, None)
    assert call({"size": 2, "colour": "blue", "share": 1, "where": ["A1"]}) == ("wall", "blue", 2, 1.0, ["A1"])
    assert TOOLS["paint"].signature == "paint(colour, size, share, where)"


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("pant", {}, 'there is no tool "pant" here; did you mean paint?'),
        ("zzz", {}, 'there is no tool "zzz" here'),
        ("paint", {"colour": "red"}, "paint needs the argument size, a whole number"),
        ("paint", {"color": "red"}, 'paint has no argument "color"; it takes colour, size, share, where'),
        ("paint", {"colour": "pink", "size": 1}, 'paint: colour must be one of "red", "blue", not "pink"'),
        ("paint", {"colour": "red", "size": "1"}, 'paint: size must be a whole number, not "1"'),
        ("paint", {"colour": "red", "size": 1.5}, "paint: size must be a whole number, not 1.5"),
        ("paint", {"colour": "red", "size": True}, "paint: size must be a whole number, not true"),
        ("paint", {"colour": "red", "size": 1, "share": "x"}, 'paint: share must be a number, not "x"'),
        ("paint", {"colour": "red", "size": 1, "where": [1]}, "paint: where must be a list of texts or null, not [1]"),
    ],
)
def test_wrong_calls_say_what_is_wrong(name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError) as error:
        call(arguments, name)
    assert str(error.value) == says


@pytest.mark.parametrize(
    ("given_answer", "expected", "same"),
    [
        (5, 5, True),
        ("5", 5, True),
        (5.0, "5", True),
        (" Yes. ", "yes", True),
        (["yes"], "yes", True),
        (["b", "A"], ["a", "b"], True),
        ("b, a", ["a", "b"], True),
        (["2", 1], [1, 2], True),
        ("a", ["a"], True),
        (6, 5, False),
        ("five", 5, False),
        ([], 5, False),
        (["a", "a"], ["a", "b"], False),
        (["a"], ["a", "b"], False),
        ("a, b", "a b", False),
        ("nan", "nan", True),
        ("1_0", 10, False),
    ],
)
def test_answers(given_answer: Answer, expected: Answer, same: bool) -> None:
    assert same_answer(given_answer, expected) is same


@given(st.integers(-500, 500), st.randoms())
def test_the_right_number_is_among_the_choices(number: int, rng: Any) -> None:
    choices = near(number, rng, step=5)
    assert number in choices and len(set(choices)) == 4 and list(choices) == sorted(choices)


SERVERS: list[ToolServer[Any]] = [WeatherServer(), MovieServer(), AcademiaServer(), TodoServer(), SheetServer()]
ENVIRONMENTS = pytest.mark.parametrize("make", [ToolQueryEnvironment, ToolOperationEnvironment])


@ENVIRONMENTS
def test_the_third_refused_call_ends_the_episode(make: Callable[[], ToolEnvironment]) -> None:
    environment = make()
    environment.reset(environment.task(environment.traits.levels[0]))
    key = environment.state_key()
    results = [environment.step("nonsense") for _ in range(INVALID_LIMIT)]
    assert [result.done for result in results] == [False, False, True]
    assert not any(result.valid for result in results)
    assert results[0].text == 'Error 1 of 3: there is no tool "nonsense" here.'
    assert results[-1].text.endswith("The episode ends.")
    assert environment.state_key() != key
    assert environment.valid_actions() == () and environment.expert() == ("", "")
    with pytest.raises(RuntimeError):
        environment.step("nonsense")


@ENVIRONMENTS
def test_tools_can_be_listed_for_a_step(make: Callable[[], ToolEnvironment]) -> None:
    environment = make()
    for level in environment.traits.levels:
        environment.reset(environment.task(level))
        result = environment.step("check_valid_actions with Action Input: {}")
        names = result.text.split(", ")
        assert result.valid and not result.done and result.outcome == 0.0
        assert {"finish", "check_valid_actions"} <= set(names)
        for action in environment.valid_actions():
            assert action.split()[0] in names
            assert "check_valid_actions" not in action


@ENVIRONMENTS
def test_the_step_limit_ends_the_episode(make: Callable[[], ToolEnvironment]) -> None:
    environment = make()
    task = environment.task(environment.traits.levels[0])
    environment.reset(task)
    results = [environment.step("check_valid_actions") for _ in range(task.step_limit)]
    assert task.step_limit == STEP_LIMITS[0]
    assert [result.done for result in results] == [False] * (task.step_limit - 1) + [True]
    assert results[-1].text.endswith("The step limit is reached.")


@ENVIRONMENTS
def test_the_expert_solves_every_level_in_half_of_the_steps(make: Callable[[], ToolEnvironment]) -> None:
    environment = make()
    for task in environment.tasks("dev", count=8 * len(environment.traits.levels)):
        environment.reset(task)
        steps, result = 0, None
        while result is None or not result.done:
            thought, action = environment.expert()
            assert thought and len(thought.split()) <= 12
            result = environment.step(action)
            assert result.valid and len(result.text.split()) <= 40, (task.id, action, result.text)
            steps += 1
        assert result.outcome == 1.0, task.id
        assert 2 * steps <= task.step_limit, task.id


@ENVIRONMENTS
def test_forty_different_tasks_of_each_server(make: Callable[[], ToolEnvironment]) -> None:
    environment = make()
    for server in {level.partition("-")[0]: None for level in environment.traits.levels}:
        goals = {environment.task(f"{server}-{level}:{seed}").goal for level in (1, 2, 3) for seed in range(40)}
        assert len(goals) >= 80, server


@ENVIRONMENTS
def test_training_and_test_tasks_differ(make: Callable[[], ToolEnvironment]) -> None:
    environment = make()
    train, test = ([task.goal for task in environment.tasks(split, count=60)] for split in ("train", "test"))
    assert len(set(train) & set(test)) <= 6


@ENVIRONMENTS
def test_every_tool_is_in_the_instruction(make: Callable[[], ToolEnvironment]) -> None:
    environment = make()
    full = environment.instruction("full")
    for level in environment.traits.levels:
        environment.reset(environment.task(level))
        for name in environment.step("check_valid_actions").text.split(", "):
            assert name in full, name
    example = parse_reply(full[full.rindex("Thought:") :])
    assert json.dumps(parse_call(example.action).arguments)


ODD = [
    "",
    "A1",
    "J20",
    "B2",
    "=A1",
    "=SUM(A1:B2)",
    "row",
    "rows",
    "asc",
    "SUM",
    "2031-01-01",
    "9999-12-31",
    "True",
]
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [*ODD, 0, 1, -1, 3, 10**14, 1e14, -0.0, True, None, [], [1], ["A1"], [["a", 2]], [[]], {}]
)


@given(st.data())
def test_no_call_breaks_a_server(data: st.DataObject) -> None:
    server = data.draw(st.sampled_from(SERVERS))
    assignment = server.assignment(data.draw(st.integers(1, 3)), data.draw(st.integers(0, 9)))
    state = data.draw(st.sampled_from([assignment.data, *(step.after for step in assignment.plan)]))
    for _ in range(4):
        tool = data.draw(st.sampled_from(list(server.tools.values())))
        fitting = [step.call.arguments for step in assignment.plan if step.call.name == tool.name]
        arguments = {parameter.name: data.draw(VALUES) for parameter in tool.parameters}
        if fitting:
            arguments |= dict(list(fitting[0].items())[: data.draw(st.integers(0, 4))])
        try:
            result = run_tool(server.tools, state, Call(tool.name, arguments))
        except RefusedError as error:
            assert str(error).isascii() and len(str(error)) < 300
            continue
        state = state if result.data is None else result.data
        assert result.text.isascii() and result.text.isprintable()
        assert 0.0 <= server.progress(assignment, state, frozenset(), False) <= 1.0
        assert server.data_key(state).isascii()
