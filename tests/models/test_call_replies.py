"""From calls to replies in the common format, and from histories of text to histories of calls."""

from __future__ import annotations

import json

import pytest

from agentrm_models.call_replies import in_calls, read_reply, reply_of_call, unread_call, why_unread
from agentrm_models.functions import OneFunction, UnreadCallError
from agentrm_models.messages import Call, Message
from agentrm_models.replies import parse_reply

FREE = OneFunction(example="go north")
LISTED = OneFunction(actions=("move up", "move down"))


def act(action: str) -> Call:
    return Call("act", json.dumps({"action": action}))


@pytest.mark.parametrize(
    "thought",
    ["", "I go.", "Thought: I go.", "two\nlines", "first\nObservation: none", "a\n\nThought: b", "Action item: think"],
)
@pytest.mark.parametrize("action", ["go north", "say Action: hi", 'write {"a": 1}', "click[Next >]", "go  twice"])
def test_the_action_of_a_call_survives_any_thought(thought: str, action: str) -> None:
    assert parse_reply(reply_of_call(thought, act(action), FREE)).action == action


def test_a_thought_stays_before_the_action() -> None:
    reply = read_reply('I see.\n<tool_call>{"name": "act", "arguments": {"action": "look"}}</tool_call>', FREE)

    assert reply.text == "Thought: I see.\nAction: look"
    assert reply.calls == 1


def test_a_reply_without_a_call_stays_as_it_is() -> None:
    assert read_reply("Thought: x\nAction: look", FREE) == ("Thought: x\nAction: look", 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call("jump", "{}"), 'no function "jump"; call act(action)'),
        (Call("act", "{"), "not JSON"),
        (Call("act", "[1]"), "must be a JSON object"),
        (Call("act", "{}"), 'needs the argument "action"'),
        (Call("act", '{"action": 3}'), "must be a text, not 3"),
        (Call("act", '{"action": " "}'), "empty"),
        (Call("act", '{"action": "a\\nb"}'), "one line"),
        (Call("act", "[" * 100_000), "more than 20,000"),
        (Call("", ""), 'no function ""'),
        (Call("a(b\nc", '{"x":\n1}'), "no function"),
    ],
)
def test_a_call_that_means_nothing_is_kept_and_its_observation_says_why(call: Call, words: str) -> None:
    reply = reply_of_call("hm", call, FREE)
    kept = unread_call(reply)

    assert parse_reply(reply).action == ""
    assert kept is not None
    assert words in why_unread(kept, FREE) or call.arguments.startswith("[[")


def test_another_function_is_read_where_its_words_are_a_listed_action() -> None:
    assert LISTED.action(Call("move", '{"direction": "up"}')) == "move up"
    with pytest.raises(UnreadCallError, match="no function"):
        LISTED.action(Call("move", '{"direction": "sideways"}'))
    with pytest.raises(UnreadCallError, match="no function"):
        FREE.action(Call("move", '{"direction": "up"}'))


def test_arguments_written_twice_into_json_are_read() -> None:
    assert FREE.action(Call("act", json.dumps(json.dumps({"action": "look"})))) == "look"
    assert FREE.action(Call("functions.act", '{"action": " look "}')) == "look"


def test_a_history_is_told_in_calls_and_tool_messages() -> None:
    unread = reply_of_call("Why?", Call("jump", '{"far": true}'), FREE)
    history = (
        Message("system", "s"),
        Message("user", "Goal"),
        Message("assistant", "Thought: I look.\nAction: look"),
        Message("user", "A room."),
        Message("assistant", "no action at all"),
        Message("user", "No call found."),
        Message("assistant", unread),
        Message("user", "There is no jump."),
    )

    told, _ = in_calls(history, FREE)

    assert [(message.role, message.content, message.call) for message in told[2:]] == [
        ("assistant", "I look.", act("look")),
        ("tool", "A room.", act("look")),
        ("assistant", "no action at all", None),
        ("user", "No call found.", None),
        ("assistant", "Why?", Call("jump", '{"far": true}')),
        ("tool", "There is no jump.", Call("jump", '{"far": true}')),
    ]


def test_a_broken_call_stays_text_in_the_history() -> None:
    reply = reply_of_call("", Call("act", "{broken"), FREE)
    told, _ = in_calls((Message("user", "g"), Message("assistant", reply), Message("user", "o")), FREE)

    assert told[1] == Message("assistant", "Tool call: act({broken)")
    assert told[2].role == "user"


def test_demonstrations_end_with_an_answered_call_and_the_goal_stays_a_users_message() -> None:
    shown = (
        Message("user", "Goal: a"),
        Message("assistant", "Action: look"),
        Message("user", "A room."),
        Message("assistant", "Action: go north"),
    )
    goal = (Message("user", "Goal: b"), Message("assistant", "Action: look"), Message("user", "A hall."))

    told, lengths = in_calls((Message("system", "s"), *shown, *shown, *goal), FREE, (4, 4))

    assert lengths == (5, 5)
    episode = ["user", "assistant", "tool", "assistant", "tool"]
    assert [message.role for message in told] == ["system", *episode, *episode, "user", "assistant", "tool"]
    assert told[5] == Message("tool", "Done.", act("go north"))
    assert in_calls(shown, FREE)[1] == ()
