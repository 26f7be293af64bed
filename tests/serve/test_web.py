"""The endpoint over HTTP, on loopback: answers, streams, errors, limits, clients that go away."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_chat import FakeChat, of_type

from agentrm_models.policies.base import ProposeRequest
from agentrm_models.policies.openai_api import OpenAIPolicy
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.store import load_state

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from fake_serving import SECONDS, Serving, serving

KEY = "a-key-of-many-letters"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "run.jsonl") as found:
        yield found


def events_of(answer: Any) -> list[Any]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_an_answer_has_the_form_of_a_chat_completion(served: Serving) -> None:
    answer = served.chat("Say a colour now.")
    body = answer.json()
    assert answer.status_code == 200
    assert (body["object"], body["model"]) == ("chat.completion", "fake")
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": choice["message"]["content"], "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert body["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}
    assert "agentrm" not in body


def test_all_candidates_are_told_where_they_are_asked_for(served: Serving) -> None:
    body = served.chat("Hello.", n=2, agentrm={"candidates": True, "n": 6}).json()
    told = body["agentrm"]
    rewards = [candidate["reward"] for candidate in told["candidates"]]
    assert rewards == sorted(rewards, reverse=True)
    assert (told["samples"], told["sampled_tokens"]) == (6, 24)
    best, second = told["candidates"][:2]
    assert [candidate["chosen"] for candidate in told["candidates"]] == [True] + [False] * (len(rewards) - 1)
    assert [best["choices"], second["choices"]] == [[0], [1]]
    assert [choice["message"]["content"] for choice in body["choices"]] == [best["content"], second["content"]]
    assert (best["margin"], second["margin"]) == (0, pytest.approx(second["reward"] - best["reward"]))
    assert (told["episode"], told["node"], told["reward"]) == ("0", best["node"], best["reward"])


def test_a_stream_says_the_same(served: Serving) -> None:
    whole = served.chat("Hello.", seed=1, n=2).json()
    options = {"stream": True, "stream_options": {"include_usage": True}, "agentrm": {"candidates": True}}
    chunks = events_of(served.chat("Hello.", seed=1, n=2, **options))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    texts = ["", ""]
    endings: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
            if choice["finish_reason"]:
                endings[choice["index"]] = choice["finish_reason"]
    assert texts == [choice["message"]["content"] for choice in whole["choices"]]
    assert endings == {0: "stop", 1: "stop"}
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], whole["usage"])
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert [len(chunk["agentrm"]["candidates"]) > 0 for chunk in chunks if "agentrm" in chunk] == [True]
    assert all("usage" not in chunk for chunk in events_of(served.chat("Hello.", stream=True)))


def test_models_and_health(served: Serving) -> None:
    listed = served.http.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["fake"]
    assert served.http.get("/v1/models/fake").json()["object"] == "model"
    assert served.http.get("/v1/models/other").status_code == 404
    assert served.http.get("/health").json() == {"status": "ok", "waiting": 0}


def test_errors_have_openais_form(served: Serving) -> None:
    answer = served.chat("Hello.", tools=[{"type": "function", "function": {"name": "f"}}])
    assert answer.status_code == 400
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["param"] == "tools"
    for path, status in (("/v1/completions", 404), ("/v1/chat/completions", 405), ("/", 404)):
        answer = served.http.get(path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")
        assert "/v1/chat/completions" in answer.json()["error"]["message"]


def test_a_refused_request_is_no_episode(served: Serving) -> None:
    served.chat("Hello.", temperature=5)
    served.chat("Hello.", model="other")
    assert of_type(served.events, ev.EpisodeStarted) == []


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"content-type": "text/plain"}, b"{}", 415),
        ({}, b"{}", 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, b"{}", 415),
        ({"content-type": "application/json"}, b"{", 400),
        ({"content-type": "application/json; charset=utf-8"}, b"[]", 400),
        ({"content-type": "application/json"}, b" " * 8_000_001, 413),
        ({"content-type": "application/json", "x-agentrm-episode": "x" * 600}, b"{}", 400),
    ],
)
def test_bodies_that_are_not_read(served: Serving, headers: dict[str, str], content: bytes, status: int) -> None:
    answer = served.http.post("/v1/chat/completions", content=content, headers=headers)
    assert (answer.status_code, "error" in answer.json()) == (status, True)


def test_a_body_without_a_length_is_limited_too(served: Serving) -> None:
    parts = (b" " * 1_000_000 for _ in range(9))
    answer = served.http.post("/v1/chat/completions", content=parts, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_a_key_is_needed_where_there_is_one(tmp_path: Path) -> None:
    with serving(tmp_path / "run.jsonl", key=KEY) as served:
        assert served.chat("Hello.").status_code == 200
        for sent in (f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer", "Bearer ключ"):
            headers = {"authorization": sent.encode()}
            for path in ("/v1/models", "/v1/models/fake"):
                answer = served.http.get(path, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
                assert KEY not in answer.text
        assert served.http.post("/v1/chat/completions", headers={"authorization": ""}).status_code == 401
        assert served.http.get("/health", headers={"authorization": ""}).status_code == 200
    assert KEY.encode() not in served.path.read_bytes()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "10.0.0.1", "127.0.0.1.evil.example", ""])
def test_another_host_than_this_machine_is_refused(served: Serving, host: str) -> None:
    answer = served.http.get("/v1/models", headers={"host": host})
    assert answer.status_code in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000", "a.localhost"])
def test_names_of_this_machine_are_served(served: Serving, host: str) -> None:
    assert served.http.get("/v1/models", headers={"host": host}).status_code == 200


def test_no_other_origin_may_read(served: Serving) -> None:
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = served.http.options("/v1/chat/completions", headers=asked)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_header_names_a_conversation(served: Serving) -> None:
    asked = {"model": "fake", "messages": [{"role": "user", "content": "Hello."}], "agentrm": {}}
    headers = {"x-agentrm-episode": "task 7"}
    assert served.http.post("/v1/chat/completions", json=asked, headers=headers).json()["agentrm"]["episode"] == "0"
    (started,) = of_type(served.events, ev.EpisodeStarted)
    assert started.task == "task 7"


class Gate:
    """Holds the models until a test opens it."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, requests: Sequence[ProposeRequest]) -> None:
        self.entered.set()
        assert self.open.wait(SECONDS)


def test_requests_that_come_meanwhile_are_answered_in_one_round(tmp_path: Path) -> None:
    gate = Gate()
    with serving(tmp_path / "run.jsonl", FakeChat(gate), parallel=8) as served, ThreadPoolExecutor(8) as pool:
        first = pool.submit(served.chat, "first")
        assert gate.entered.wait(SECONDS)
        others = [pool.submit(served.chat, f"other {number}") for number in range(6)]
        _wait_for(lambda: served.http.get("/health").json()["waiting"] == 6)
        gate.open.set()
        assert [answer.result().status_code for answer in (first, *others)] == [200] * 7
        assert [len(call) for call in served.policy.calls] == [1, 6]
        assert len(served.policy.threads) == 1


def test_a_full_line_refuses_with_429(tmp_path: Path) -> None:
    gate = Gate()
    with serving(tmp_path / "run.jsonl", FakeChat(gate), parallel=1, room=1) as served, ThreadPoolExecutor(4) as pool:
        first = pool.submit(served.chat, "first")
        assert gate.entered.wait(SECONDS)
        second = pool.submit(served.chat, "second")
        _wait_for(lambda: served.http.get("/health").json()["waiting"] == 1)
        third = served.chat("third")
        gate.open.set()
        assert (third.status_code, third.json()["error"]["type"]) == (429, "rate_limit_error")
        assert int(third.headers["retry-after"]) >= 1
        assert [first.result().status_code, second.result().status_code] == [200, 200]


def _wait_for(condition: Any) -> None:
    """Ask again and again, without a limit of its own: the requests have one."""
    for _ in range(10_000):
        if condition():
            return
    raise AssertionError("it never came to that")


def _post_and_go(base: str, content: str, stream: bool = False) -> socket.socket:
    """Send a request on a socket of its own."""
    host, port = base.removeprefix("http://").split(":")
    body = json.dumps({"model": "fake", "messages": [{"role": "user", "content": content}], "stream": stream}).encode()
    sent = socket.create_connection((host, int(port)), timeout=SECONDS)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    sent.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return sent


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_waits_and_goes_leaves_the_line(tmp_path: Path, stream: bool) -> None:
    gate = Gate()
    with serving(tmp_path / "run.jsonl", FakeChat(gate), parallel=1) as served, ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.chat, "first")
        assert gate.entered.wait(SECONDS)
        gone = _post_and_go(served.base, "gone", stream)
        _wait_for(lambda: served.http.get("/health").json()["waiting"] == 1)
        gone.close()
        _wait_for(lambda: served.http.get("/health").json()["waiting"] == 0)
        gate.open.set()
        assert first.result().status_code == 200
        assert served.chat("after").status_code == 200
        goals = [event.goal for event in of_type(served.events, ev.EpisodeStarted)]
        assert goals == ["first", "after"]


def test_a_call_whose_clients_have_all_gone_is_given_up(tmp_path: Path) -> None:
    gate = Gate()
    with serving(tmp_path / "run.jsonl", FakeChat(gate)) as served:
        gone = _post_and_go(served.base, "gone")
        assert gate.entered.wait(SECONDS)
        gone.close()
        # The line notices before the next request on another connection is answered, at the latest after a few.
        for _ in range(20):
            served.http.get("/health")
        gate.open.set()
        again = served.chat("gone", agentrm={})
        assert again.json()["agentrm"]["episode"] == "0"
    state = load_state(served.path)
    assert [len(episode.tree.root.children) > 0 for episode in state.episodes.values()] == [True]


def test_what_waits_when_the_endpoint_ends_is_refused_and_the_run_is_whole(tmp_path: Path) -> None:
    gate = Gate()
    path = tmp_path / "run.jsonl"
    with ThreadPoolExecutor(2) as pool:
        with serving(path, FakeChat(gate), parallel=1) as served:
            first = pool.submit(_status, served.base, "first")
            assert gate.entered.wait(SECONDS)
            second = pool.submit(_status, served.base, "second")
            _wait_for(lambda: served.http.get("/health").json()["waiting"] == 1)
            gate.open.set()
        assert {first.result(), second.result()} <= {200, 503}
    state = load_state(path)
    assert state.finished is not None
    assert (state.finished.reason, state.finished.score_mean) == ("finished", None)
    assert {episode.status for episode in state.episodes.values()} == {"finished"}


def _status(base: str, content: str) -> int:
    with _post_and_go(base, content) as sent:
        return int(sent.recv(100).split()[1])


def test_a_conversation_over_http_is_an_episode(served: Serving) -> None:
    first = served.chat("Hello.").json()["choices"][0]["message"]["content"]
    second = served.chat("Hello.", first, "Another.", agentrm={}).json()
    assert (second["agentrm"]["episode"], second["agentrm"]["node"].count(".")) == ("0", 2)


def test_an_endpoint_may_stand_before_another(tmp_path: Path, served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    policy = OpenAIPolicy(f"{served.base}/v1#fake")
    with serving(tmp_path / "outer.jsonl", policy, samples=2) as outer:
        asked = {"n": 2, "stop": ["."], "agentrm": {"candidates": True}}
        answers = [outer.chat("Say a colour now.", **asked).json(), outer.chat("Say another.", max_tokens=2).json()]
    assert [answer["usage"]["prompt_tokens"] for answer in answers] == [4, 2]
    assert [answer["choices"][0]["finish_reason"] for answer in answers] == ["stop", "length"]
    assert "." not in answers[0]["choices"][0]["message"]["content"]
    assert served.policy.calls[0][0].decoding.stop == (".",)
    assert len(of_type(served.events, ev.EpisodeStarted)) >= 2
