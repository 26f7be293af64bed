"""OpenAI-compatible servers: a small one on the loopback interface, with the manners of several."""

from __future__ import annotations

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
        if progress.what == "waiting for the server: 429, 1 s":
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
    policy = OpenAIPolicy(server.address)
    server.failure = (code, content)
    for call in (lambda: OpenAIPolicy(server.address), lambda: policy.propose([ask(n=2)])):
        with pytest.raises(error, match=text) as raised:
            call()
        assert "\n" not in str(raised.value)


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
