"""Chat requests: what is read, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from agentrm_models.messages import Message
from agentrm_models.policies.base import Decoding
from agentrm_tui.serve.chat_request import DEEPEST, ChatRequest, Defaults, read_body, read_request
from agentrm_tui.serve.fields import CHANGES_NOTHING, NOT_SERVED, READ
from agentrm_tui.serve.refusals import Refusal

DEFAULTS = Defaults("small", 5, Decoding(0.7, 1.0, 100))
HELLO = {"model": "small", "messages": [{"role": "user", "content": "hello"}]}


def read(**fields: Any) -> ChatRequest:
    return read_request({**HELLO, **fields}, DEFAULTS)


def refused(**fields: Any) -> Refusal:
    with pytest.raises(Refusal) as error:
        read(**fields)
    return error.value


def test_what_a_request_leaves_out_is_the_endpoints_default() -> None:
    request = read()
    assert request.messages == (Message("user", "hello"),)
    assert (request.choices, request.samples, request.decoding) == (1, 5, DEFAULTS.decoding)
    assert (request.stream, request.seed, request.extended) == (False, None, False)


def test_null_is_the_same_as_left_out() -> None:
    names = {*READ, *CHANGES_NOTHING, *NOT_SERVED} - {"model", "messages"}
    assert read(**dict.fromkeys(names)) == read()


def test_decoding_fields_are_read() -> None:
    request = read(n=2, temperature=1, top_p=0.5, max_completion_tokens=7, stop="\n", seed=-3)
    assert request.decoding == Decoding(1.0, 0.5, 7, stop=("\n",))
    assert (request.choices, request.samples, request.seed) == (2, 5, -3)
    assert read(max_tokens=9).decoding.max_tokens == 9
    assert read(max_tokens=9, max_completion_tokens=9).decoding.max_tokens == 9
    assert read(n=8).samples == 8
    assert read(agentrm={"n": 3}).samples == 3
    assert read(agentrm={"n": 3}, n=4).samples == 4
    assert read(stop=["a", "b"]).decoding.stop == ("a", "b")
    assert read(n=2.0).choices == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": 2.5}, "n"),
        ({"n": "2"}, "n"),
        ({"n": 100_000}, "n"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"stop": [""]}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"seed": "x"}, "seed"),
        ({"seed": 1 << 70}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options"),
        ({"user": 5}, "user"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"episode": 3}}, "metadata.episode"),
        ({"agentrm": []}, "agentrm"),
        ({"agentrm": {"n": 0}}, "agentrm.n"),
        ({"agentrm": {"m": 1}}, "agentrm.m"),
        ({"agentrm": {"candidates": 1}}, "agentrm.candidates"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": "x", "colour": 1}]}, "messages[0].colour"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages[1]"),
        ({"messages": [{"role": "user", "content": "x"}] * 2_049}, "messages"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(fields: dict[str, Any], param: str) -> None:
    refusal = refused(**fields)
    assert (refusal.status, refusal.param) == (400, param)
    assert refusal.body()["error"]["type"] == "invalid_request_error"
    assert param.partition("[")[0].partition(".")[0] in refusal.message


@pytest.mark.parametrize("name", sorted(NOT_SERVED))
def test_what_would_change_the_reply_but_is_not_served_is_refused_unless_it_says_nothing(name: str) -> None:
    for neutral in NOT_SERVED[name].values:
        assert read(**{name: neutral}) == read()
    refusal = refused(**{name: {"something": "else"}})
    assert (refusal.status, refusal.param, refusal.code) == (400, name, "unsupported_parameter")


def test_true_is_not_one() -> None:
    assert refused(top_logprobs=True).param == "top_logprobs"
    assert refused(frequency_penalty=False).param == "frequency_penalty"


def test_an_unknown_field_is_refused_with_the_nearest_name() -> None:
    refusal = refused(temprature=1)
    assert (refusal.param, refusal.code) == ("temprature", "unknown_parameter")
    assert "temperature" in refusal.message


def test_an_image_is_refused_by_its_place() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    refusal = refused(messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, picture]}])
    assert refusal.param == "messages[0].content[1].type"


def test_another_model_is_not_found() -> None:
    refusal = refused(model="large")
    assert (refusal.status, refusal.code) == (404, "model_not_found")
    assert "'small'" in refusal.message


def test_roles_and_parts_become_messages() -> None:
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "user", "content": "three", "name": "Ada"},
        {"role": "assistant", "content": "four", "refusal": None, "tool_calls": [], "reasoning_content": "hm"},
        {"role": "tool", "content": "five", "tool_call_id": "c1"},
    ]
    assert read(messages=messages).messages == (
        Message("system", "one\ntwo"),
        Message("user", "three"),
        Message("assistant", "four"),
        Message("user", "five"),
    )


def test_a_conversation_is_named_by_header_extension_or_metadata() -> None:
    named = read_request(HELLO, DEFAULTS, "a")
    assert (named.episode, named.space) == ("a", "episode a")
    assert read(agentrm={"episode": "b"}).episode == "b"
    assert read(metadata={"episode": "c", "other": "d"}).episode == "c"
    user = read(user="eve")
    assert (user.episode, user.space) == ("", "user eve")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"{", b'{"a": NaN}', b"\xff\xfe", b'{"a":' * 5_000 + b"1" + b"}" * 5_000]
)
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as error:
        read_body(body)
    assert error.value.status == 400


def test_a_body_is_read_down_to_a_depth() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' * levels + b"1" + b"}" * levels

    assert read_body(nested(DEEPEST - 1))
    with pytest.raises(Refusal, match="nested"):
        read_body(nested(DEEPEST + 1))
