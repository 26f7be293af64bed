"""OpenEnv against a real server on loopback: websockets' own, started and ended by each test."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from threading import Thread
from typing import Any

import conformance
import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from agentrm_models.errors import DataError, UsageError
from agentrm_models.policies.base import Candidate, PolicyTraits, ProposeRequest
from agentrm_models.usage import ProgressHook, Usage, ignore_progress
from agentrm_tui.environments.openenv import OpenEnvEnvironment
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.beam import Beam

SCHEMA = {
    "action": {
        "properties": {"move": {"type": "string"}, "metadata": {"type": "object"}},
        "required": ["move"],
    },
    "observation": {},
    "state": {},
}


class Walk:
    """One session: three steps right reach the end, each rewarded by a third; a step left is refused as invalid."""

    def __init__(self) -> None:
        self.start = 0
        self.place = 0

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        match message:
            case {"type": "reset", "data": dict(data)}:
                self.start = self.place = int(data.get("seed", 0)) % 2
                return self.told(None, False)
            case {"type": "step", "data": {"move": "right"}}:
                self.place += 1
                return self.told(1 / (3 - self.start), self.place >= 3)
            case {"type": "step", "data": {"move": "left"}}:
                return {"type": "error", "data": {"message": "there is a wall", "code": "VALIDATION_ERROR"}}
            case {"type": "step", "data": {"move": "break"}}:
                return {"type": "error", "data": {"message": "the lamp\nfell over", "code": "EXECUTION_ERROR"}}
            case {"type": "step", "data": {"move": str()}}:
                return self.told(0, False)
            case _:
                return {"type": "error", "data": {"message": "what?", "code": "UNKNOWN_TYPE"}}

    def told(self, reward: float | None, done: bool) -> dict[str, Any]:
        data = {"observation": {"text": f"You are at {self.place}.", "done": done}, "reward": reward, "done": done}
        return {"type": "observation", "data": data}


Answer = Callable[[dict[str, Any]], Any]


@contextmanager
def serving(
    make: Callable[[], Answer] = lambda: Walk().answer, schema: object = SCHEMA, health: HTTPStatus = HTTPStatus.OK
) -> Iterator[tuple[str, list[ServerConnection]]]:
    """A server on a free port; yields its URL and the sessions that were opened."""
    sessions: list[ServerConnection] = []

    def play(connection: ServerConnection) -> None:
        sessions.append(connection)
        answer = make()
        try:
            for message in connection:
                told = answer(json.loads(message))
                if told is None:
                    return
                connection.send(told if isinstance(told, str | bytes) else json.dumps(told))
        except ConnectionClosed:
            return

    def page(connection: ServerConnection, request: Request) -> Response | None:
        match request.path:
            case "/ws":
                return None
            case "/health":
                return Response(health, health.phrase, Headers(), b'{"status": "healthy"}')
            case "/schema" if schema is not None:
                return Response(200, "OK", Headers(), json.dumps(schema).encode())
            case _:
                return Response(404, "Not Found", Headers(), b"{}")

    server: Server = serve(play, "127.0.0.1", 0, process_request=page)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}", sessions
    finally:
        server.shutdown()
        thread.join(10)
    assert not thread.is_alive()


@contextmanager
def opened(address: str) -> Iterator[OpenEnvEnvironment]:
    environment = OpenEnvEnvironment(address)
    try:
        yield environment
    finally:
        environment.close()


def test_an_episode_and_its_score() -> None:
    with serving() as (url, sessions), opened(url) as environment:
        task = environment.task("episode:4")
        assert environment.reset(task) == "You are at 0."
        outcomes = [environment.step("right") for _ in range(3)]
        assert [round(result.outcome, 3) for result in outcomes] == [0.333, 0.667, 1.0]
        assert [result.done for result in outcomes] == [False, False, True]
        assert outcomes[-1].text == "You are at 3."
        assert environment.reset(environment.task("episode:5")) == "You are at 1."
        assert len(sessions) == 1


def test_it_keeps_the_rules_of_environments() -> None:
    with serving() as (url, sessions):
        name = f"openenv:{url}#steps=6"
        made = []

        def make() -> Any:
            made.append(make_environment(name))
            return made[-1]

        tasks = conformance.sample_tasks(make(), 2)
        conformance.check_traits(make, name)
        conformance.check_tasks(make)
        conformance.check_instructions(make)
        conformance.check_determinism(make, tasks)
        conformance.check_no_leak(make, tasks)
        conformance.check_instances_apart(make, tasks)
        conformance.check_step_limit(make, tasks)
        conformance.check_observations(make, tasks)
        conformance.check_any_text(make, tasks, [text for text in conformance.HOSTILE if text != "break"])
        for environment in made:
            environment.close()
        assert len(sessions) > 4


@pytest.mark.parametrize(
    ("options", "moves", "outcome"),
    [
        ("", ["right", "right"], 2 / 3),
        ("#score=last", ["right", "wait"], 0.0),
        ("#score=max", ["right", "wait"], 1 / 3),
        ("#low=-1&high=1", ["right"], 2 / 3),
        ("#high=0.1", ["right"], 1.0),
        ("#low=0.9", ["right"], 0.0),
        ("#steps=2", ["right", "right"], 2 / 3),
    ],
)
def test_rewards_become_outcomes_as_the_address_says(options: str, moves: list[str], outcome: float) -> None:
    with serving() as (url, _), opened(url + options) as environment:
        environment.reset(environment.task("episode:0"))
        results = [environment.step(move) for move in moves]
        assert results[-1].outcome == pytest.approx(outcome)
        assert results[-1].done == (options == "#steps=2")


def test_an_action_that_the_server_finds_wrong_is_an_invalid_step() -> None:
    with serving() as (url, _), opened(url) as environment:
        environment.reset(environment.task("episode:0"))
        refused = environment.step("left")
        assert not refused.valid and "there is a wall" in refused.text
        assert environment.step('{"move": "right"}').text == "You are at 1."


@pytest.mark.parametrize(
    ("properties", "required", "right", "sent", "wrong"),
    [
        ({"n": {"type": "integer"}}, ["n"], "3", {"n": 3}, "three"),
        ({"x": {"type": "number"}}, [], "0.5", {"x": 0.5}, "Infinity"),
        ({"b": {"type": "boolean"}}, [], "true", {"b": True}, "1"),
        ({"l": {"type": "array"}}, [], "[1]", {"l": [1]}, "{}"),
        ({"o": {"type": "object"}}, [], '{"a": 1}', {"o": {"a": 1}}, "[]"),
        ({"a": {"type": "string"}, "b": {"type": "integer"}}, ["a"], "go", {"a": "go"}, None),
        ({"a": {}, "b": {}}, ["a", "b"], '{"a": 1, "b": 2}', {"a": 1, "b": 2}, '{"c": 1}'),
    ],
)
def test_the_schema_says_how_actions_are_sent(
    properties: dict[str, Any], required: list[str], right: str, sent: dict[str, Any], wrong: str | None
) -> None:
    seen: list[Any] = []

    def answer(message: dict[str, Any]) -> dict[str, Any]:
        seen.append(message["data"])
        return {"type": "observation", "data": {"observation": {"a": 1, "b": [2]}, "reward": 0, "done": False}}

    schema = {"action": {"properties": properties, "required": required}}
    with serving(lambda: answer, schema) as (url, _), opened(url) as environment:
        assert environment.reset(environment.task("episode:0")) == "a: 1\nb: [2]"
        assert environment.step(right).valid
        assert seen[1:] == [sent]
        if wrong is not None:
            refused = environment.step(wrong)
            assert not refused.valid and refused.text.startswith("Invalid action")
            assert seen[1:] == [sent]


def test_fields_named_in_the_address() -> None:
    def answer(message: dict[str, Any]) -> dict[str, Any]:
        data = message["data"]
        return {"observation": {"page": data.get("say", "start"), "noise": "x"}, "reward": True, "done": False}

    with serving(lambda: answer, None) as (url, _), opened(f"{url}/#action=say&text=page&goal=Talk.") as environment:
        task = environment.task("episode")
        assert task.goal == "Talk."
        assert environment.reset(task) == "start"
        result = environment.step("hello\x1b[31m\ttwice")
        assert (result.text, result.outcome) == ("hello[31m twice", 1.0)


def test_a_server_that_takes_no_seed_is_reset_without() -> None:
    def answer(message: dict[str, Any]) -> dict[str, Any]:
        if message["data"]:
            return {"type": "error", "data": {"message": "unexpected keyword 'seed'", "code": "EXECUTION_ERROR"}}
        return {"type": "observation", "data": {"observation": "hello", "reward": None, "done": False}}

    with serving(lambda: answer) as (url, _), opened(url) as environment:
        assert environment.reset(environment.task("episode:7")) == "hello"
        assert environment.reset(environment.task("episode:8")) == "hello"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("no json", "did not answer in JSON"),
        ("[1]", "not answered by a JSON record"),
        ('{"type": "observation", "data": 3}', "without an observation"),
        ('{"type": "observation", "data": {"observation": "x", "reward": "high"}}', "not a finite number"),
        ('{"type": "observation", "data": {"observation": "x", "reward": NaN}}', "not a finite number"),
        ('{"type": "observation", "data": {"observation": "x", "reward": 1' + "0" * 400 + "}}", "not a finite number"),
        ('{"type": "error", "data": {"message": "out of\\nmemory"}}', "out of memory"),
        (None, "it ended the session"),
    ],
)
def test_a_broken_answer_is_one_clear_line_and_the_next_episode_plays(told: str | None, words: str) -> None:
    broken = {"yes": False}

    def make() -> Answer:
        walk = Walk()
        return lambda message: told if broken["yes"] and message["type"] == "step" else walk.answer(message)

    with serving(make) as (url, _), opened(url) as environment:
        task = environment.task("episode:0")
        environment.reset(task)
        broken["yes"] = True
        with pytest.raises(DataError) as caught:
            environment.step("right")
        assert words in str(caught.value) and url in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(RuntimeError, match="outside an episode"):
            environment.step("right")
        broken["yes"] = False
        assert environment.reset(task) == "You are at 0."
        assert environment.step("right").text == "You are at 1."


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"observation": "One.", "reward": None}, {"observation": "Two.", "reward": 1, "done": True}),
        (
            {"type": "step_result", "data": {"observation": "One."}},
            {"observation": {"text": "Two.", "reward": "1", "done": 1}},
        ),
        (
            {"data": {"observation": {"text": "One.", "done": False}}},
            {"data": {"observation": "Two.", "reward": True, "done": "true"}},
        ),
        (
            {"type": "observation", "data": {"observation": ["One."], "done": "false"}},
            {"observation": "Two.", "reward": 1.0, "terminated": True},
        ),
        (
            {"type": "observation", "data": {"text": "One."}},
            {"type": "observation", "data": {"text": "Two.", "reward": 1, "done": True}},
        ),
    ],
)
def test_answers_in_other_words_are_understood(first: dict[str, Any], second: dict[str, Any]) -> None:
    def make() -> Answer:
        told = iter(({"observation": "A room."}, first, second))
        return lambda message: next(told)

    with serving(make, schema=None) as (url, _), opened(url) as environment:
        assert environment.reset(environment.task("episode:0")) == "A room."
        one, two = environment.step("a"), environment.step("b")
        assert (one.text, one.outcome, one.done) == ("One.", 0.0, False)
        assert (two.text, two.outcome, two.done) == ("Two.", 1.0, True)


@pytest.mark.parametrize("schema", [None, [], "text", {"action": None}, {"action": {"properties": {"a": 1}}}])
def test_a_schema_that_says_nothing_of_use_is_passed_over(schema: object) -> None:
    heard: list[Any] = []

    def answer(message: dict[str, Any]) -> dict[str, Any]:
        heard.append(message["data"])
        return {"observation": "Here."}

    with serving(lambda: answer, schema=schema) as (url, _), opened(url) as environment:
        environment.reset(environment.task("episode:0"))
        assert environment.step("go").text == "Here."
    assert heard[-1] in ({"message": "go"}, {"a": "go"})


def test_a_place_without_web_sockets_is_one_line() -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class FakePage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 500)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), FakePage)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with pytest.raises(DataError) as caught, opened(f"http://127.0.0.1:{server.server_port}") as environment:
            environment.reset(environment.task("episode:0"))
        assert "Does it speak OpenEnv?" in str(caught.value) and "\n" not in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_session_that_the_server_ended_between_episodes_is_opened_again() -> None:
    with serving() as (url, sessions), opened(url) as environment:
        environment.reset(environment.task("episode:0"))
        sessions[0].close()
        assert environment.reset(environment.task("episode:1")) == "You are at 1."
        assert len(sessions) == 2


def test_a_silent_server_is_given_up() -> None:
    def answer(message: dict[str, Any]) -> dict[str, Any]:
        return {"type": "state", "data": {}}

    with (
        serving(lambda: answer) as (url, _),
        opened(f"{url}#timeout=0.2") as environment,
        pytest.raises(DataError, match="does not answer"),
    ):
        environment.reset(environment.task("episode:0"))


def test_messages_without_an_end_do_not_put_the_deadline_off() -> None:
    def answer(message: dict[str, Any]) -> None:
        while True:  # until the session is closed
            sessions[-1].send('{"type": "state", "data": {}}')

    with (
        serving(lambda: answer) as (url, sessions),
        opened(f"{url}#timeout=0.3") as environment,
        pytest.raises(DataError, match="does not answer"),
    ):
        environment.reset(environment.task("episode:0"))


def test_nobody_there_and_nothing_like_it_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DataError, match=rf"cannot reach .*127\.0\.0\.1:{port}: Connection refused\.") as caught:
        OpenEnvEnvironment(f"http://127.0.0.1:{port}")
    assert caught.value.exit_code == 3
    with serving(health=HTTPStatus.SERVICE_UNAVAILABLE) as (url, _), pytest.raises(DataError, match="status 503"):
        OpenEnvEnvironment(f"{url}#timeout=0.2")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://host", "not the address"),
        ("http://", "not the address"),
        ("http://host:port", "not the address"),
        ("http://me:secret@host", "password"),
        ("http://host#scroe=last", "Did you mean 'score'"),
        ("http://host#score=best", "score"),
        ("http://host#steps=0", "above 0"),
        ("http://host#high=nan", "below high"),
        ("http://host#steps", "key=value"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_is_sent(address: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        make_environment(f"openenv:{address}")
    assert "secret" not in str(caught.value)


class FakeWalker:
    """Proposes each way in turn."""

    traits = PolicyTraits(name="walker", digest="w")
    usage = Usage()

    def propose(
        self, requests: Any, progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:  # the runner's interface
        return [self._answer(request) for request in requests]

    def _answer(self, request: ProposeRequest) -> list[Candidate]:
        ways = ("right", "wait", "left")
        return [Candidate(f"Thought: on\nAction: {ways[number % 3]}", -1.0, 3) for number in range(request.n)]

    def new_episode(self) -> None:
        return

    def close(self) -> None:
        return


def beam_run(url: str) -> tuple[Any, list[ev.AnyEvent]]:
    from agentrm_models.specs import load_reward

    plan = RunPlan(
        environment=f"openenv:{url}",
        tasks=("episode:0",),
        policy="walker",
        reward="random",
        search=Beam(beam=(2, 3)),
        max_steps=4,
    )
    seen: list[ev.AnyEvent] = []
    state = run_plan(plan, policy=FakeWalker(), reward=load_reward("random"), emit=seen.append)
    return state, seen


def test_a_search_replays_prefixes_and_checks_them() -> None:
    with serving() as (url, sessions):
        state, seen = beam_run(url)
        assert state.finished is not None and state.finished.reason == "finished"
        assert not [event for event in seen if isinstance(event, ev.Drifted)]
        assert state.ledger.env_steps > state.ledger.transitions
        assert len(sessions) == 1


def test_a_server_that_does_not_repeat_itself_is_reported() -> None:
    resets = iter(range(1_000))

    def make() -> Answer:
        walk = Walk()

        def answer(message: dict[str, Any]) -> dict[str, Any]:
            if message["type"] == "reset":
                message["data"]["seed"] = next(resets)
            return walk.answer(message)

        return answer

    with serving(make) as (url, _):
        _, seen = beam_run(url)
    drifts = [event for event in seen if isinstance(event, ev.Drifted)]
    assert drifts and drifts[0].node == "0"
    assert {drifts[0].expected, drifts[0].seen} == {"You are at 0.", "You are at 1."}


def test_environments_are_told_apart_by_kind() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'openenv:…'"):
        make_environment("opnenv:http://127.0.0.1:1")
    with pytest.raises(UsageError, match="Write openenv:WHERE"):
        make_environment("openenv")
    with pytest.raises(UsageError, match="after the colon"):
        make_environment("openenv:")
    assert partial(make_environment, "maze")().traits.name == "maze"


NULLABLE = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("action", "said", "sent"),
    [
        ({"properties": {"n": NULLABLE}, "required": ["n"]}, "5", {"n": 5}),
        ({"properties": {"n": NULLABLE}, "required": ["n"]}, "null", {"n": None}),
        ({"properties": {"n": NULLABLE}, "required": ["n"]}, "abc", None),
        ({"properties": {"n": {"type": ["integer", "null"]}}, "required": ["n"]}, "5", {"n": 5}),
        ({"properties": {"n": {"type": ["integer", "string"]}}, "required": ["n"]}, "5", {"n": "5"}),
        ({"properties": {"n": {"type": "string"}}, "required": ["n"]}, "null", {"n": "null"}),
        (
            {
                "$ref": "#/$defs/Go",
                "$defs": {"Go": {"properties": {"to": {"$ref": "#/$defs/Way"}}}, "Way": {"type": "array"}},
            },
            "[1, 2]",
            {"to": [1, 2]},
        ),
        (
            {"properties": {"n": {"$ref": "#/$defs/N"}}, "$defs": {"N": {"anyOf": [{"$ref": "#/$defs/N"}]}}},
            "x",
            {"n": "x"},
        ),
    ],
)
def test_actions_are_written_as_their_schema_asks(action: Any, said: str, sent: Any) -> None:
    received: list[Any] = []

    def answer(message: dict[str, Any]) -> Any:
        if message["type"] == "step":
            received.append(message["data"])
        return {"type": "observation", "data": {"observation": "Here.", "reward": 0, "done": False}}

    with serving(lambda: answer, {"action": action}) as (url, _), opened(url) as environment:
        environment.reset(environment.task("episode:0"))
        assert environment.step(said).valid == (sent is not None)
    assert received == ([] if sent is None else [sent])


def test_an_answer_that_is_too_long_is_said_to_be() -> None:
    def answer(message: dict[str, Any]) -> Any:
        return {"type": "observation", "data": {"observation": "x" * 9_000_000, "done": False}}

    with (
        serving(lambda: answer) as (url, _),
        opened(url) as environment,
        pytest.raises(DataError, match="gave more than 8 MB"),
    ):
        environment.reset(environment.task("episode:0"))
