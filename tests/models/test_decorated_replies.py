"""Decorated replies mean what plain ones mean; plain ones are read as ever; generation ends where the parser reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.replies import Reply, action_of, format_reply, parse_reply, reply_end

DECORATED = [
    "Thought: I go\nAction:\nmove up",
    "Thought: I go\nAction:\n\n  move up  \n",
    "Thought: I go\nAction: \n```\nmove up\n```",
    "Thought: I go\nAction:\n```text\nmove up\n```\nThat is all.",
    "Thought: I go\nAction: ```move up```",
    "Thought: I go\n```\nAction: move up\n```",
    "```\nThought: I go\nAction: move up\n```",
    "```json\n{\"thought\": \"I go\", \"action\": \"move up\"}\n```",
    "{\"thought\": \"I go\",\n \"action\": \"move up\"}",
    "I go\n{\"action\": \"move up\"}",
    "Thought: I go\nAction: {\"action\": \"move up\"}",
    "**Thought:** I go\n**Action:** move up",
    "**Thought**: I go\n**Action**: move up",
    "**Thought: I go**\n**Action: move up**",
    "*Thought:* I go\n*Action:* `move up`",
    "__Thought:__ I go\n__Action:__ move up",
    "***Thought:*** I go\n***Action:*** **move up**",
    "### Thought\nI go\n### Action\nmove up",
    "## Thought: I go\n## Action: move up",
    "**Thought**\nI go\n\n**Action**\n`move up`",
    "Thought 1: I go\nAction 1: move up\nObservation 1: x",
    "Thought #2: I go\nAction #2: move up",
    "Thought (3): I go\nAction (3): move up",
    "Thought : I go\nAction : move up",
    "Thought: I go\nACTION: \"move up\"",
    "Thought: I go\nAction: 'move up'",
    "Thought: I go\nAction: “move up”",
    "Thought: I go\nAction: `move up",
    "Thought: I go\nAction: move up**",
    "Thought: I go\nAction: move up```",
    "- Thought: I go\n- Action: move up",
    "* Thought: I go\n* Action: move up",
    "1. Thought: I go\n2. Action: move up",
    "> Thought: I go\n> Action: move up",
    "- **Thought:** I go\n- **Action:** `move up`",
    "Thought：I go\nAction：move up",
    "Thought: I go\n<action>move up</action>",
    "Thought: I go\n<action>\nmove up\n</action>",
    "Thought: I go\nAction:\n- move up",
]  # fmt: skip


@pytest.mark.parametrize("text", DECORATED)
def test_a_decorated_action_is_the_plain_one(text: str) -> None:
    reply = parse_reply(text)
    assert reply.action == "move up"
    assert reply.thought.replace("**", "").removeprefix("### Thought\n").removeprefix("Thought\n").strip() == "I go"
    assert parse_reply(format_reply(*reply)) == reply


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("Action: say \"hello\"", "say \"hello\""),
        ("Action: \"a\" and \"b\"", "\"a\" and \"b\""),
        ("Action: click[**]", "click[**]"),
        ("Action: search[red *new* shoes]", "search[red *new* shoes]"),
        ("Action: don't stop", "don't stop"),
        ("Action: put_a__b", "put_a__b"),
        ("Action: set formula =A1*B1", "set formula =A1*B1"),
        ("Action:\nThought: no", ""),
        ("Action:\nAction: go", "go"),
        ("Action:\n```\n```\n", ""),
        ("Actions: go", ""),
        ("Thought: x\nAction\ngo", ""),
        ("The Action: go", ""),
        ("{\"action\": \"find\", \"action_input\": {}}", ""),
        ("{\"action\": {\"name\": \"find\"}}", ""),
        ("{\"action\": \"go\"", ""),
        ("a\n**Observation:** b\n**Action:** c", ""),
        ("Action: find\n**Action Input:** {\"a\": \"b\"}", "find with Action Input: {\"a\": \"b\"}"),
        ("**Action:** find\n**Action Input:** `{\"a\": 1}`", "find with Action Input: {\"a\": 1}"),
        ("Action 1: find\nAction Input 1: {}", "find with Action Input: {}"),
        ("Action:\n```\nfind\n```\nAction Input: {}", "find with Action Input: {}"),
        ("Action: find\nAction Input: \"x\"", "find with Action Input: \"x\""),
    ],
)  # fmt: skip
def test_what_is_no_decoration_stays(text: str, action: str) -> None:
    assert action_of(text) == action


class Plain:
    """The grammar without decoration, as it was before: the reference for plain replies."""

    breaks = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
    line = re.compile(rf"(?:\A|(?<=[{breaks}]))[ \t]*(?ai:Action:)[^\S{breaks}]*(\S[^{breaks}]*)")
    label = re.compile(r"\s*(?ai:(?:with )?Action Input:)")

    @classmethod
    def parse(cls, text: str) -> Reply:
        at = text.find("\nObservation:")
        stop = at if at >= 0 else len(text)
        action = cls.line.search(text, 0, stop)
        before = text[: action.start() if action else stop]
        thought = re.sub(r"\A\s*(?ai:Thought:)[ \t]*", "", before).strip()
        if action is None:
            return Reply(thought, "")
        name = action.group(1).strip()
        following = re.compile(rf"\r\n|[{cls.breaks}]").match(text, action.end())
        if following is None or re.search(r"\b(?ai:Action Input:)", name):
            return Reply(thought, name)
        line = re.compile(rf"[^{cls.breaks}]*").match(text, following.end(), stop)
        label = cls.label.match(line.group()) if line else None
        if line is None or label is None:
            return Reply(thought, name)
        return Reply(thought, f"{name} with Action Input: {line.group()[label.end() :].strip()}".strip())


WORDS = ("go north", "look", "find", "click[Buy Now]", "{}", '{"a": "b c"}', "take fork 1 from table 2", "x = 3 * 4")
PLAIN = st.tuples(
    st.sampled_from(("", "Thought: ", "thought:\t", "  Thought: ", "I think. ")),
    st.sampled_from(("the key is left", "a\nb\n\nc", "Action plans: none", "action", "don't\r\nknow", "\u2028x", "")),
    st.sampled_from(("\nAction: ", "\n  action:\t", "\r\nACTION:", "\n\nAction:  ", "\u2028Action: ", " Action: ", "")),
    st.sampled_from(WORDS),
    st.sampled_from(("", "\nAction Input: ", " with Action Input: ", "\nwith action input:", "\r\n  Action Input:{}")),
    st.sampled_from(("", *WORDS)),
    st.sampled_from(("", "\n", "\nObservation: You see", "\nThought: more\nAction: wait", "\n\nmore", "\r\n")),
).map("".join)


@given(PLAIN)
@settings(max_examples=2_000, deadline=None)
def test_plain_replies_are_read_as_ever(text: str) -> None:
    assert parse_reply(text) == Plain.parse(text)


PIECES = (
    *("Action:", "Action: ", "**Action:** ", "**Action**: ", "Action 1: ", "### Action", "- Action: ", "<action>"),
    *("Action Input: ", "**Action Input:** ", "Thought: ", "**Thought:**", "Observation: ", "**Observation:** "),
    *("```", "```json", "`", "**", "\"", "'", "*", "_", "</action>", "{\"action\": \"go\"}", "{\"action\":", "}", "{"),
    *("\n", "\n", "\n", "\r\n", " ", "go", "go north", "take `x`", "1. ", "> ", "#", "\u2028", "\nObservation:"),
)  # fmt: skip


def decorated(number: int, seed: int) -> Iterator[str]:
    noise = Random(seed)
    for _ in range(number):
        yield "".join(noise.choices(PIECES, k=noise.randint(1, 10)))


@pytest.mark.parametrize("input_line", [False, True])
def test_a_reply_that_ends_early_names_the_action_that_the_whole_text_names(input_line: bool) -> None:
    ended = actions = 0
    for text in decorated(12_000, 5):
        reply = parse_reply(text)
        assert len(reply.action.splitlines()) <= 1 and reply.action == reply.action.strip(), repr(text)
        actions += bool(reply.action)
        for length in range(len(text) + 1):
            end = reply_end(text[:length], input_line)
            if end is None:
                continue
            early = action_of(text[:end])
            assert early == action_of(text[:length]) or not input_line, repr((text, length))
            assert early == reply.action or (
                not input_line and reply.action.startswith(f"{early} with Action Input:".lstrip())
            ), repr((text, length))
            ended += 1
            break
    assert ended > 2_000 and actions > 3_000
