"""OpenAI-compatible servers: a small one on the loopback interface, with the manners of several."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from threading import Event
from typing import Any

import msgspec
import pytest
from fake_http import FakeTime
from fake_openai import FakeServer, fake_server

from agentrm_models.errors import AgentRMError, DataError, InterruptedRun, UsageError
from agentrm_models.messages import Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.openai_api import OpenAIPolicy
from agentrm_models.specs import load_policy
from agentrm_models.usage import Progress


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    for name in ("OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with fake_server() as fake:
        yield fake


def ask(n: int = 1, steps: int = 0, temperature: float = 0.7, **changes: Any) -> ProposeRequest:
    turns = tuple(m for k in range(steps) for m in (Message("assistant", f"a{k}"), Message("user", f"o{k}")))
    conversation = (Message("system", "s"), Message("user", "goal"), *turns)
    request = ProposeRequest(conversation, n, Decoding(temperature, 0.9, 33), NoiseKey(1, "t", "0"))
    return msgspec.structs.replace(request, **changes)


def test_samples_with_log_probabilities_and_counts(server: FakeServer) -> None:
    policy = load_policy(server.address)
    assert policy.traits.name == f"{server.address}#small"
    assert policy.traits.context_length == 4096
    first, second = policy.propose([ask(n=3), ask(n=1, noise=NoiseKey(1, "t", "1"))])
    assert [reply.log_probability for reply in first] == [-0.75] * 3
    assert [reply.tokens for reply in first] == [2, 2, 2]
    seeds = [int(reply.text.rpartition(" ")[2]) for reply in first]
    assert seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]
    assert second[0].text != first[0].text
    body = next(body for body in server.asked if body.get("n") == 3)
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"]) == ("small", 0.7, 0.9, 33)
    assert body["messages"][0] == {"role": "system", "content": "s"}
    assert policy.usage.tokens_generated == 16
    assert policy.usage.tokens_computed == 36
    assert policy.usage.requests == 1
    assert policy.propose([ask(n=3)])[0] == first


def test_the_server_says_how_much_it_read_for_each_request(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)
    policy.propose([ask(n=3), ask()])
    assert len(policy.prompt_tokens) == 2
    assert sum(policy.prompt_tokens) == policy.usage.tokens_computed - policy.usage.tokens_generated


def test_stop_texts_are_passed_on_for_whole_turns(server: FakeServer) -> None:
    decoding = Decoding(stop=("END", "\n\n"))
    OpenAIPolicy(server.address).propose([ask(whole_turn=True, decoding=decoding)])
    assert server.asked[-1]["stop"] == ["END", "\n\n"]
    OpenAIPolicy(server.address).propose([ask(whole_turn=True)])
    assert "stop" not in server.asked[-1]


def test_a_server_without_n_or_log_probabilities_serves_too(server: FakeServer) -> None:
    server.knows_n = server.knows_logprobs = False
    policy = OpenAIPolicy(server.address)
    replies = policy.propose([ask(n=3), ask(n=2, noise=NoiseKey(1, "t", "1"))])
    assert [len(group) for group in replies] == [3, 2]
    assert len({reply.text for group in replies for reply in group}) == 5
    assert all(math.isnan(reply.log_probability) and reply.tokens == 4 for group in replies for reply in group)


def test_a_full_context_leaves_out_the_oldest_steps(server: FakeServer) -> None:
    server.longest = 8
    policy = OpenAIPolicy(server.address)
    assert len(policy.propose([ask(steps=10)])[0]) == 1
    assert policy.usage.dropped_observations == 8
    contents = [message["content"] for message in server.asked[-1]["messages"]]
    assert contents == ["s", "goal", "a8", "o8", "a9", "o9"]
    server.longest = 1
    with pytest.raises(UsageError, match="maximum context length"):
        policy.propose([ask(steps=1)])


def test_excluded_actions_are_asked_for_again(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)
    first = policy.propose([ask(n=2)])[0]
    again = policy.propose([ask(n=2, exclude=(first[1].text.rpartition(" ")[2],))])[0]
    assert again[0] == first[0]
    assert again[1].text != first[1].text


def test_models_are_chosen_by_name(server: FakeServer) -> None:
    server.models = [{"id": "org/large"}, {"id": "org/small"}]
    assert OpenAIPolicy(f"{server.address}#org/small").traits.name.endswith("#org/small")
    with pytest.raises(UsageError, match=r"several models.*org/large, org/small"):
        OpenAIPolicy(server.address)
    with pytest.raises(UsageError, match="Did you mean 'org/small'"):
        OpenAIPolicy(f"{server.address}#org/smal")
    server.models = []
    with pytest.raises(DataError, match="serves no model"):
        OpenAIPolicy(server.address)


def test_a_named_model_needs_no_list(server: FakeServer) -> None:
    server.failure = (404, b"Not Found")
    assert OpenAIPolicy(f"{server.address}#any").traits.name == f"{server.address}#any"
    with pytest.raises(UsageError, match="was not found"):
        OpenAIPolicy(server.address)
    server.failure = (200, b'[{"id": "bare"}]')
    assert OpenAIPolicy(server.address).traits.name.endswith("#bare")


def test_the_key_is_sent_and_an_odd_one_refused(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "abc\r")
    OpenAIPolicy(server.address)
    assert server.keys == ["Bearer abc"]
    monkeypatch.setenv("OPENAI_API_KEY", "ab\rc")
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds") as raised:
        OpenAIPolicy(server.address)
    assert "ab" not in str(raised.value) and len(server.keys) == 1


def test_a_busy_server_is_waited_for_and_named(server: FakeServer) -> None:
    time, seen = FakeTime(), Event()

    def watch(progress: Progress) -> None:
        if progress.what == "waiting for the server: 429 Too Many Requests, 1 s":
            seen.set()

    time.then = lambda: seen.wait(5) and None
    policy = OpenAIPolicy(server.address, clock=time.clock)
    server.busy = [503, 429]
    assert len(policy.propose([ask(n=2)], watch)[0]) == 2
    assert seen.is_set() and time.seconds == 1.5 and len(server.asked) == 3
    server.busy = [429] * 99
    with pytest.raises(DataError, match="failed with status 429: Too Many Requests"):
        policy.propose([ask(n=2)])


TOKENS = b'"logprobs": {"content": [{"logprob": -1}, {"logprob": null}]}'


@pytest.mark.parametrize(
    ("message", "more", "text", "tokens"),
    [
        (
            b'{"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Action: a"}]}',
            b"",
            "Action: a",
            0,
        ),
        (b'{"content": "Action: a"}', b', "usage": {"prompt_tokens": null, "completion_tokens": null}', "Action: a", 0),
        (b'{"content": "Action: a"}, "index": null, ' + TOKENS, b', "usage": null', "Action: a", 2),
        (b'{"content": null}', b', "usage": {"prompt_tokens": 3, "completion_tokens": 4}', "", 4),
    ],
)
def test_answers_are_read_as_servers_differ(
    server: FakeServer, message: bytes, more: bytes, text: str, tokens: int
) -> None:
    policy = OpenAIPolicy(server.address)
    server.answer = b'{"choices": [{"message": ' + message + b"}]" + more + b"}"
    reply = policy.propose([ask()])[0][0]
    assert (reply.text, reply.tokens) == (text, tokens) and math.isnan(reply.log_probability)


@pytest.mark.parametrize(
    ("code", "content", "error", "text"),
    [
        (401, b'{"error": {"message": "bad key"}}', UsageError, "refuses the key: bad key. Set OPENAI_API_KEY"),
        (404, b"not here", UsageError, "was not found: not here. It usually ends in /v1"),
        (404, b'{"error": "The model m does not exist"}', UsageError, "does not exist. Look at #MODEL"),
        (422, b'{"error": "odd\\nlines"}', UsageError, "refuses the request: odd lines"),
        (500, b"", DataError, "failed with status 500: Internal Server Error"),
        (200, b"<html>", DataError, "an answer that cannot be read: .*Is it an OpenAI-compatible server"),
        (200, b'{"error": {"message": "Provider\\nfailed", "code": 502}}', DataError, "/v1 failed: Provider failed$"),
        (200, b'{"choices": 3}', DataError, "an answer that cannot be read: .*Is it an OpenAI-compatible server"),
    ],
)
def test_failures_are_one_clear_line(
    server: FakeServer, code: int, content: bytes, error: type[AgentRMError], text: str
) -> None:
    policy = OpenAIPolicy(server.address, clock=FakeTime().clock)
    server.failure = (code, content)
    for call in (lambda: OpenAIPolicy(server.address), lambda: policy.propose([ask(n=2)])):
        with pytest.raises(error, match=text) as raised:
            call()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("choice", "more", "text", "log_probability", "tokens"),
    [
        (b'"message": {"content": ["Action: ", "a"]}, "index": "0"', b"", "Action: a", math.nan, 0),
        (b'"message": {"content": "Action: a"}, "logprobs": []', b', "usage": []', "Action: a", math.nan, 0),
        (b'"message": {"content": "Action: a"}, "logprobs": true', b"", "Action: a", math.nan, 0),
        (b'"message": {"content": "Action: a"}, "logprobs": [{"logprob": -0.5}]', b"", "Action: a", -0.5, 1),
        (b'"message": {"content": "Action: a"}, "logprobs": {"token_logprobs": [-1, -2]}', b"", "Action: a", -3.0, 2),
        (
            b'"message": {"content": "Action: a"}, "logprobs": {"content": [{"logprob": "x"}]}',
            b"",
            "Action: a",
            math.nan,
            1,
        ),
        (b'"text": "Action: a"', b', "usage": {"completion_tokens": "7"}', "Action: a", math.nan, 7),
        (b'"message": null', b', "usage": {"completion_tokens": -7, "prompt_tokens": 1e300}', "", math.nan, 0),
    ],
)
def test_other_shapes_of_an_answer_are_read(
    server: FakeServer, choice: bytes, more: bytes, text: str, log_probability: float, tokens: int
) -> None:
    policy = OpenAIPolicy(server.address)
    server.answer = b'{"choices": [{' + choice + b"}]" + more + b"}"
    reply = policy.propose([ask()])[0][0]
    assert (reply.text, reply.tokens) == (text, tokens)
    assert reply.log_probability == log_probability or math.isnan(reply.log_probability) == math.isnan(log_probability)


@pytest.mark.parametrize(
    ("content", "window"),
    [
        (b'{"models": [{"name": "m", "model": "m"}]}', 0),
        (b'["m"]', 0),
        (b'{"data": ["m"]}', 0),
        (b'{"data": [{"id": "m", "max_model_len": "512"}, {"id": 3}, null]}', 512),
        (b'[{"id": "m", "context_length": 99}]', 99),
    ],
)
def test_other_lists_of_models_are_read(server: FakeServer, content: bytes, window: int) -> None:
    server.failure = (200, content)
    traits = OpenAIPolicy(server.address).traits
    assert (traits.name, traits.context_length) == (f"{server.address}#m", window)


def test_a_list_that_is_none_is_refused_and_an_empty_one_needs_a_name(server: FakeServer) -> None:
    for content, text in (
        (b'{"object": "list"}', "cannot be read"),
        (b'{"choices": []}', "list=no"),
        (b"3", "cannot be"),
    ):
        server.failure = (200, content)
        with pytest.raises(DataError, match=text):
            OpenAIPolicy(server.address)
    server.failure = (200, b'{"data": []}')
    assert OpenAIPolicy(f"{server.address}#m").traits.name.endswith("#m")
    with pytest.raises(DataError, match="serves no model"):
        OpenAIPolicy(server.address)


def test_a_server_that_stumbles_is_asked_again_twice(server: FakeServer) -> None:
    time = FakeTime()
    policy = OpenAIPolicy(server.address, clock=time.clock)
    answers = [(500, b""), (500, b"")]
    server.minds = lambda body: answers.pop() if answers else None
    assert len(policy.propose([ask()])[0]) == 1 and time.seconds == 3
    server.minds = lambda body: (500, b"dead")
    with pytest.raises(DataError, match="failed with status 500: dead"):
        policy.propose([ask()])
    assert time.seconds == 6


def test_patience_is_spent_once_until_the_server_answers_again(server: FakeServer) -> None:
    time = FakeTime()
    policy = OpenAIPolicy(f"{server.address}#small&patience=20", clock=time.clock)
    server.minds = lambda body: (503, b"")
    waited = []
    for _ in range(3):
        start = time.seconds
        with pytest.raises(DataError, match="503"):
            policy.propose([ask()])
        waited.append(time.seconds - start)
    assert 10 < waited[0] <= 20 and waited[1:] == [0, 0]
    server.minds = lambda body: None
    policy.propose([ask()])
    server.minds = lambda body: (503, b"")
    start = time.seconds
    with pytest.raises(DataError, match="503"):
        policy.propose([ask()])
    assert 10 < time.seconds - start <= 20


def test_an_absent_server_and_a_wrong_address_are_told(server: FakeServer) -> None:
    absent = FakeServer()
    absent.server_close()
    with pytest.raises(DataError, match=r"cannot reach .*: Connection refused"):
        OpenAIPolicy(absent.address)
    for wrong in (
        "http://",
        "ftp://host/v1",
        "http://host:port/v1",
        "http://me:pw@host/v1",
        "http://host/v1?api_key=pw",
    ):
        with pytest.raises(UsageError) as raised:
            OpenAIPolicy(wrong)
        assert "pw" not in str(raised.value)


def test_a_person_can_stop_waiting(server: FakeServer) -> None:
    def stop(progress: Progress) -> None:
        raise InterruptedRun(progress.what)

    with pytest.raises(InterruptedRun, match="waiting for the server"):
        OpenAIPolicy(server.address).propose([ask()], stop)
    with pytest.raises(UsageError, match="emperature 0"):
        OpenAIPolicy(server.address).propose([ask(n=2, temperature=0)])


def refusing(*parameters: str, status: int = 400, words: str = "") -> Any:
    """A server that minds the first of these that it is sent, and names it unless it has other words."""

    def minds(body: dict[str, Any]) -> tuple[int, bytes] | None:
        minded = next((name for name in parameters if name in body), "")
        message = words or f"Unsupported parameter: '{minded}'"
        return (status, json.dumps({"error": {"message": message}}).encode()) if minded else None

    return minds


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("parameter", ["logprobs", "seed", "n", "stop", "top_p", "temperature", "max_tokens"])
@pytest.mark.parametrize("named", [True, False])
def test_a_refused_parameter_is_left_out_from_then_on(
    server: FakeServer, parameter: str, status: int, named: bool
) -> None:
    if status == 500 and not named:
        return
    policy = OpenAIPolicy(server.address)
    server.minds = refusing(parameter, status=status, words="" if named else "Bad request")
    assert len(policy.propose([ask(n=3)])[0]) == 3
    notices = policy.new_notices()
    assert len(notices) == 1 and server.address in notices[0].text
    assert notices[0].loud == (parameter in ("temperature", "top_p"))
    asked = len(server.asked)
    assert len(policy.propose([ask(n=3), ask(n=2)])) == 2
    assert all(parameter not in body for body in server.asked[asked:]) and policy.new_notices() == []
    if parameter == "max_tokens":
        assert server.asked[-1]["max_completion_tokens"] == 33


def test_several_parameters_are_refused_one_after_the_other(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)
    server.minds = refusing("max_tokens", "max_completion_tokens", "temperature", "stop", "n", "seed", "logprobs")
    assert [len(replies) for replies in policy.propose([ask(n=2)] * 9)] == [2] * 9
    assert len(policy.new_notices()) == 7
    assert set(server.asked[-1]) == {"model", "messages", "top_p"}


def test_what_no_parameter_is_to_blame_for_stays_refused(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)
    server.minds = refusing("messages", words="temperature must be between 0 and 2")
    with pytest.raises(UsageError, match="must be between 0 and 2"):
        policy.propose([ask()])
    server.minds = lambda body: None
    policy.propose([ask()])
    asked = len(server.asked)
    server.minds = refusing("messages", words="blocked by policy")
    with pytest.raises(UsageError, match="blocked by policy"):
        policy.propose([ask()])
    assert len(server.asked) == asked + 1 and policy.new_notices() == []


def test_a_refused_temperature_of_zero_is_raised_a_little(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)

    def minds(body: dict[str, Any]) -> tuple[int, bytes] | None:
        return None if body["temperature"] > 0 else (422, b'{"error": "`temperature` must be strictly positive"}')

    server.minds = minds
    policy.propose([ask(temperature=0)])
    assert server.asked[-1]["temperature"] == 0.01
    assert "0.01" in policy.new_notices()[0].text


def test_without_a_system_role_the_instruction_goes_into_the_goal(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)

    def minds(body: dict[str, Any]) -> tuple[int, bytes] | None:
        has_system = any(message["role"] == "system" for message in body["messages"])
        return (400, b'{"error": {"message": "System role not supported"}}') if has_system else None

    server.minds = minds
    policy.propose([ask(steps=1)])
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["s\n\ngoal", "a0", "o0"]
    assert len(policy.new_notices()) == 1


def test_an_unnamed_refusal_of_the_system_role_is_found_out(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)
    server.minds = lambda body: (400, b"{}") if body["messages"][0]["role"] == "system" else None
    policy.propose([ask(steps=1), ask(n=2)])
    assert server.asked[-1]["messages"][0]["content"] == "s\n\ngoal"
    assert ["system message" in notice.text for notice in policy.new_notices()] == [True]
    assert {"seed", "temperature", "logprobs", "max_tokens"} <= set(server.asked[-1])


def test_a_request_that_grew_is_refused_for_its_length_where_nothing_else_is_said(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)
    refusal = b'{"error": {"message": "Bad request"}}'
    server.minds = lambda body: (400, refusal) if len(body["messages"]) > 8 else None
    policy.propose([ask(steps=2)])
    assert len(policy.propose([ask(steps=10)])[0]) == 1
    assert policy.usage.dropped_observations == 8
    refusal = b'{"error": {"message": "flagged by our policy"}}'
    with pytest.raises(UsageError, match="flagged"):
        policy.propose([ask(steps=10)])
    assert policy.usage.dropped_observations == 8


def test_a_base_model_is_given_one_text(server: FakeServer) -> None:
    server.minds = lambda body: (400, b'{"error": "you must provide a chat template"}') if "messages" in body else None
    with pytest.raises(UsageError, match=r"provide a chat template\. For a base model, put &api=completions"):
        OpenAIPolicy(server.address).propose([ask()])
    server.asked.clear()
    policy = OpenAIPolicy(f"{server.address}#small&api=completions")
    texts = [" Thought: t\nAction: a", "Action: b\nUser: c"]
    choices = [{"text": text, "logprobs": {"token_logprobs": [-1.5]}} for text in texts]
    server.answer = json.dumps({"choices": choices}).encode()
    replies = policy.propose([ask(n=2, steps=1)])[0]
    assert [reply.text for reply in replies] == ["Thought: t\nAction: a", "Action: b"]
    assert replies[0].log_probability == -1.5 and math.isnan(replies[1].log_probability)
    body = server.asked[-1]
    assert body["prompt"] == "System: s\nUser: goal\nAssistant: a0\nUser: o0\nAssistant:"
    assert body["stop"] == ["\nObservation:", "\nUser:", "\nSystem:"] and body["logprobs"] == 1
    assert "messages" not in body and server.paths[-1].endswith("/v1/completions")


def test_quirks_are_known_beforehand(server: FakeServer) -> None:
    policy = OpenAIPolicy(f"{server.address}#small&seed=no&n=no&logprobs=no&stop=no&system=no&max_tokens=no&top_p=no")
    policy.propose([ask(n=3)])
    assert len(server.asked) == 3 and set(server.asked[0]) == {"model", "messages", "temperature"}
    assert server.asked[0]["messages"][0]["content"] == "s\n\ngoal"
    assert policy.new_notices() == [] and policy.traits.name == f"{server.address}#small"
    server.failure = (500, b"")
    assert OpenAIPolicy(f"{server.address}#mine&list=no").traits.name.endswith("#mine")


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("small&sead=no", "no option 'sead' for an address. Did you mean 'seed'"),
        ("seed=maybe", "option seed has no value 'maybe'"),
        ("small&timeout=soon", "timeout"),
        ("small&timeout=0", "timeout must be above 0"),
        ("small&patience=inf", "numbers of seconds"),
        ("small&seed", "not of the form"),
        ("list=no", "which model is meant"),
    ],
)
def test_wrong_quirks_are_refused(fragment: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        load_policy(f"http://127.0.0.1:9/v1#{fragment}")


STREAM = b"""\
: ping

data: {"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Action: "}}]}

data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "go"},\
 "logprobs": {"content": [{"logprob": -1}]}}]}

data: {"choices": [{"index": 0, "delta": {"content": null}, "logprobs": {"content": [{"logprob": -2}]},
data: {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"logprob": -3}]}, "finish_reason": "stop"}]}

data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}

data: [DONE]

"""


def test_a_streamed_answer_is_read_whole(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)
    server.kind, server.answer = "text/event-stream", STREAM
    reply = policy.propose([ask()])[0][0]
    assert (reply.text, reply.log_probability, reply.tokens) == ("Action: go", -4.0, 2)
    assert policy.usage.tokens_computed == 8
    server.answer = b'data: {"error": {"message": "overheated", "code": 500}}\n\n'
    with pytest.raises(DataError, match=r"/v1 failed: overheated$"):
        policy.propose([ask()])


@pytest.mark.parametrize("value", [b"null", b"-Infinity", b"NaN", b"-9999.0"])
def test_an_impossible_log_probability_is_unknown(server: FakeServer, value: bytes) -> None:
    policy = OpenAIPolicy(server.address)
    tokens = b'{"content": [{"logprob": -1}, {"logprob": ' + value + b"}]}"
    server.answer = b'{"choices": [{"message": {"content": "Action: a"}, "logprobs": ' + tokens + b"}]}"
    assert math.isnan(policy.propose([ask()])[0][0].log_probability)
    assert "log-probabilities" in policy.new_notices()[0].text


def test_a_reply_ends_where_it_invents_an_observation(server: FakeServer) -> None:
    policy = OpenAIPolicy(server.address)
    server.answer = b'{"choices": [{"message": {"content": "Action: a\\nObservation: I won"}}]}'
    reply = policy.propose([ask()])[0][0]
    assert reply.text == "Action: a" and math.isnan(reply.log_probability)
    assert policy.propose([ask(whole_turn=True)])[0][0].text == "Action: a\nObservation: I won"


@pytest.mark.parametrize(("code", "status"), [("429", 200), ("503", 200), ("null", 429)])
def test_a_rate_limit_inside_an_answer_is_waited_for(server: FakeServer, code: str, status: int) -> None:
    time, answers = FakeTime(), [b'{"error": {"message": "slow down", "code": ' + code.encode() + b"}}"] * 2
    policy = OpenAIPolicy(server.address, clock=time.clock)
    server.minds = lambda body: (status, answers.pop()) if answers else None
    assert len(policy.propose([ask()])[0]) == 1 and time.seconds == 1.5
