"""Tool calls over OpenAI's protocol: what is sent, and what is made of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentrm_models.functions import OneFunction
from agentrm_models.messages import Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.openai_api import OpenAIPolicy
from tests.models.fake_openai import FakeServer, fake_server

FREE = OneFunction(example="go north")
LISTED = OneFunction(actions=("move up", "move down"))
HISTORY = (
    Message("system", "You walk."),
    Message("user", "Goal: out"),
    Message("assistant", "Action: look"),
    Message("user", "A door."),
    Message("assistant", "Thought: I go.\nAction: go north"),
    Message("user", "Outside."),
)


def request(functions: OneFunction | None = FREE, offer: bool = True, n: int = 1) -> ProposeRequest:
    return ProposeRequest(
        HISTORY, n, Decoding(0.7, 1.0, 60), NoiseKey(1, "t", "0"), functions=functions, offer_functions=offer
    )


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}


def answer(*messages: dict[str, Any]) -> bytes:
    choices = [
        {"index": place, "message": message, "finish_reason": "tool_calls"} for place, message in enumerate(messages)
    ]
    return json.dumps({"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 5}}).encode()


def ask(server: FakeServer, asked: ProposeRequest) -> tuple[list[str], list[str]]:
    """The replies, and what the policy found out."""
    policy = OpenAIPolicy(server.address)
    try:
        [candidates] = policy.propose([asked])
        return [candidate.text for candidate in candidates], [notice.text for notice in policy.new_notices()]
    finally:
        policy.close()


def test_functions_and_the_history_in_calls_are_sent() -> None:
    with fake_server() as server:
        server.answer = answer({"content": None, "tool_calls": [call("act", '{"action": "go on"}')]})
        ask(server, request())
        body = server.asked[-1]

    assert body["tools"] == FREE.tools and body["tool_choice"] == "auto"
    look = {
        "id": "call00001",
        "type": "function",
        "function": {"name": "act", "arguments": '{"action": "look"}'},
    }
    assert body["messages"][2:4] == [
        {"role": "assistant", "content": None, "tool_calls": [look]},
        {"role": "tool", "content": "A door.", "tool_call_id": "call00001"},
    ]
    assert body["messages"][4]["content"] == "I go."
    assert body["messages"][4]["tool_calls"][0]["id"] == body["messages"][5]["tool_call_id"] == "call00002"


def test_without_the_offer_the_same_is_sent_as_ever() -> None:
    with fake_server() as server:
        ask(server, request(offer=False))
        ask(server, request(functions=None, offer=False))

    assert server.asked[0] == server.asked[1]
    assert "tools" not in server.asked[0] and "tool_choice" not in server.asked[0]
    assert server.asked[0]["messages"] == [{"role": m.role, "content": m.content} for m in HISTORY]


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        ({"content": None, "tool_calls": [call("act", '{"action": "go on"}')]}, "Action: go on"),
        ({"content": "I go.", "tool_calls": [call("act", '{"action": "go on"}')]}, "Thought: I go.\nAction: go on"),
        ({"tool_calls": [call("act", {"action": "go on"})]}, "Action: go on"),
        ({"content": "", "function_call": {"name": "act", "arguments": '{"action": "go on"}'}}, "Action: go on"),
        (
            {"content": '<tool_call>{"name": "act", "arguments": {"action": "go on"}}</tool_call>', "tool_calls": []},
            "Action: go on",
        ),
        ({"content": None, "tool_calls": [call("act", "{oops")]}, "Tool call: act({oops)"),
        ({"content": None, "tool_calls": [call("fly", "")]}, "Tool call: fly()"),
        ({"content": "Thought: t\nAction: look", "tool_calls": None}, "Thought: t\nAction: look"),
        ({"content": None, "tool_calls": "odd"}, ""),
        ({"content": None, "tool_calls": [{"function": {"name": 3}}, None]}, ""),
    ],
)
def test_calls_are_read_from_the_answer(message: dict[str, Any], reply: str) -> None:
    with fake_server() as server:
        server.answer = answer(message)
        assert ask(server, request())[0] == [reply]


def test_several_calls_in_one_reply_are_said() -> None:
    with fake_server() as server:
        calls = [call("act", '{"action": "one"}'), call("act", '{"action": "two"}')]
        server.answer = answer({"content": None, "tool_calls": calls})
        replies, notices = ask(server, request())

    assert replies == ["Action: one"]
    assert notices and any("several calls: the first one is taken" in notice for notice in notices)


def test_a_call_that_nobody_asked_for_is_read_where_it_can_be_and_said() -> None:
    message = {"content": None, "tool_calls": [call("move", '{"direction": "up"}')]}
    with fake_server() as server:
        server.answer = answer(message)
        listed, said = ask(server, request(LISTED, offer=False))
        free, _ = ask(server, request(FREE, offer=False))
        none, unread = ask(server, request(None, offer=False))

    assert listed == ["Action: move up"]
    assert any("though none were asked for; see --actions tools" in notice for notice in said)
    assert free == ['Tool call: move({"direction": "up"})']
    assert none == [""] and any("cannot be read here" in notice for notice in unread)


def test_an_action_in_words_goes_before_a_call_that_nobody_asked_for() -> None:
    with fake_server() as server:
        server.answer = answer({"content": "Action: look", "tool_calls": [call("act", '{"action": "go"}')]})
        assert ask(server, request(offer=False))[0] == ["Action: look"]


def test_a_streamed_call_is_put_together() -> None:
    parts = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "act", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"action": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"go on"}'}}]},
    ]
    lines = [f"data: {json.dumps({'choices': [{'index': 0, 'delta': part}]})}" for part in parts]
    with fake_server() as server:
        server.answer = "\n\n".join([*lines, "data: [DONE]"]).encode()
        assert ask(server, request())[0] == ["Action: go on"]


def test_log_probabilities_stay_those_of_what_was_sampled() -> None:
    choice = {
        "message": {"content": None, "tool_calls": [call("act", '{"action": "go on"}')]},
        "logprobs": {"content": [{"logprob": -0.5}, {"logprob": -0.25}, {"logprob": -0.125}]},
    }
    with fake_server() as server:
        server.answer = json.dumps({"choices": [choice]}).encode()
        policy = OpenAIPolicy(server.address)
        [[candidate]] = policy.propose([request()])
        policy.close()

    assert (candidate.log_probability, candidate.tokens) == (-0.875, 3)


def test_a_server_is_asked_once_whether_it_takes_functions() -> None:
    def minds(body: dict[str, Any]) -> tuple[int, bytes] | None:
        if "tools" not in body:
            return None
        message = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
        return 400, json.dumps({"error": {"message": message}}).encode()

    with fake_server() as server:
        policy = OpenAIPolicy(server.address)
        assert policy.refuses_functions(FREE) == ""
        assert len(server.asked) == 1 and server.asked[0]["tools"] == FREE.tools
        server.minds = minds
        assert "--enable-auto-tool-choice" in policy.refuses_functions(FREE)
        policy.close()
