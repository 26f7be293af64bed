"""Every environment's actions as functions: the expert's actions go to calls and back unchanged."""

from __future__ import annotations

import json
import random

import pytest

from agentrm_models.call_replies import reply_of_call
from agentrm_models.functions import ActionFunctions
from agentrm_models.messages import Call
from agentrm_models.replies import parse_reply
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.registry import environment_names, make_environment
from tests.environments.conformance import pick_action

BUILT_IN = ("adventure", "babyai", "household", "jericho", "maze", "pddl", "tooloperation", "toolquery", "webshop")


def round_trip(functions: ActionFunctions, action: str) -> str:
    """Action to call, call to reply, reply to action: as a history and a model's answer go."""
    call = functions.call(action)
    assert call is not None
    assert isinstance(json.loads(call.arguments), dict)
    return parse_reply(reply_of_call("I do.", call, functions)).action


@pytest.fixture(params=BUILT_IN)
def environment(request: pytest.FixtureRequest) -> Environment:
    name: str = request.param
    assert name in environment_names()
    if name == "jericho":
        pytest.importorskip("textworld")
    return make_environment(name)


def test_the_experts_actions_go_to_calls_and_back(environment: Environment) -> None:
    played = 0
    for task in environment.tasks("test", None, 6):
        functions = environment.functions(task)
        environment.reset(task)
        for _ in range(40):
            action = environment.expert()[1]
            if not action:
                break
            assert round_trip(functions, action) == action
            for other in environment.valid_actions()[:30]:
                assert round_trip(functions, other) == other
            played += 1
            if environment.step(action).done:
                break
    assert played >= 6


def test_actions_that_random_players_take_go_to_calls_and_back_or_stay_text(environment: Environment) -> None:
    rng = random.Random(1)
    task = environment.tasks("test", None, 1)[0]
    functions = environment.functions(task)
    environment.reset(task)
    for _ in range(60):
        action = parse_reply(f"Action: {pick_action(environment, rng, 0.5)}").action
        call = functions.call(action) if action else None
        if call is not None and environment.traits.name not in ("toolquery", "tooloperation"):
            assert functions.action(call) == action


def test_functions_are_json_schemas_and_equal_through_an_episode(environment: Environment) -> None:
    task = environment.tasks("test", None, 1)[0]
    functions = environment.functions(task)

    assert environment.functions(task).key == functions.key
    for tool in json.loads(functions.key):
        assert tool["type"] == "function"
        assert tool["function"]["description"].strip()
        assert tool["function"]["parameters"]["type"] == "object"
        assert set(tool["function"]["parameters"].get("required", ())) <= set(
            tool["function"]["parameters"]["properties"]
        )


def test_tool_environments_offer_each_tool_with_typed_parameters() -> None:
    environment = make_environment("toolquery")
    functions = environment.functions(environment.task("weather-1:3"))
    by_name = {function.name: function for function in functions.offered}

    assert {"get_elevation", "get_distance", "finish", "check_valid_actions"} <= set(by_name)
    assert "get_movie_cast" not in by_name
    assert by_name["get_elevation"].description == "How high a city is, in metres."
    assert by_name["get_elevation"].schema_of("latitude") == {"type": "number"}
    assert by_name["finish"].parameters["required"] == ["answer"]
    movie = environment.functions(environment.task("movie-1:3"))
    assert "get_movie_cast" in {function.name for function in movie.offered}


def test_finish_takes_an_answer_only_where_there_is_one_to_give() -> None:
    environment = make_environment("tooloperation")
    takes = {
        len(function.schema_of("answer")) > 0
        for task in environment.tasks("test", None, 12)
        for function in environment.functions(task).offered
        if function.name == "finish"
    }

    assert takes == {True, False}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call("get_elevatoin", '{"latitude": 1, "longitude": 2}'), "did you mean get_elevation?"),
        (Call("get_elevation", '{"latitude": 1'), "not JSON"),
        (Call("get_elevation", '{"latitude": "north", "longitude": 2}'), "latitude must be a number"),
        (Call("get_elevation", '{"latitude": 1}'), "needs the argument longitude"),
        (Call("get_elevation", "[1, 2]"), "must be a JSON object"),
    ],
)
def test_the_tool_environment_says_what_is_wrong_with_a_call(call: Call, words: str) -> None:
    environment = make_environment("toolquery")
    task = environment.task("weather-1:0")
    environment.reset(task)
    result = environment.step(parse_reply(reply_of_call("", call, environment.functions(task))).action)

    assert not result.valid
    assert words in result.text


def test_the_maze_names_its_moves_and_others_an_example() -> None:
    maze = make_environment("maze")
    assert maze.functions(maze.task("maze-4:0")).offered[0].schema_of("action")["enum"] == [
        "move up",
        "move down",
        "move left",
        "move right",
    ]
    household = make_environment("household")
    described = household.functions(household.tasks("test", None, 1)[0]).offered[0].schema_of("action")
    assert "such as: go to microwave 1" in described["description"]


def test_an_environment_in_other_words_has_one_function() -> None:
    environment = make_environment("household+rename-verbs")
    functions = environment.functions(environment.tasks("test", None, 1)[0])

    assert functions.names == "act"
