"""AgentGym against real HTTP servers on loopback, started and ended by each test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import conformance
import pytest

from agentrm_models.errors import DataError, UsageError
from agentrm_tui.environments.agentgym import AgentGymEnvironment
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.beam import Beam

Answer = tuple[int, Any]
Handler = Callable[[str, str, dict[str, Any]], Answer]


class Shelf:
    """Sessions in AgentGym's first dialect: open the drawer that the task names; its score is given at the end."""

    def __init__(self) -> None:
        self.sessions: dict[int, dict[str, Any]] = {}
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, method: str, path: str, record: dict[str, Any]) -> Answer:
        self.seen.append((path, record))
        if path == "/create":
            self.sessions[len(self.sessions)] = {"wanted": 0, "open": []}
            return 200, len(self.sessions) - 1
        if "env_idx" not in record:
            return 422, {"detail": "env_idx is missing"}
        session = self.sessions[int(record["env_idx"])]
        match method, path:
            case "POST", "/reset":
                session.update(wanted=record["session_id"] % 3, open=[])
                return 200, [self.told(session), None]
            case "POST", "/step":
                return 200, self.step(session, record["action"])
            case "GET", "/observation":
                return 200, self.told(session)
            case "GET", "/available_actions":
                return 200, [f"open {number}" for number in range(3) if number not in session["open"]] + ["stop"]
            case "POST", "/close":
                return 200, {"closed": True}
            case _:
                return 404, {"detail": "Not Found"}

    def step(self, session: dict[str, Any], action: str) -> dict[str, Any]:
        name, _, number = action.partition(" ")
        if name == "open" and number in ("0", "1", "2") and int(number) not in session["open"]:
            session["open"].append(int(number))
        found = session["wanted"] in session["open"]
        return {"state": self.told(session), "reward": float(found), "done": found or action == "stop", "info": None}

    def told(self, session: dict[str, Any]) -> str:
        return f"Find what is in drawer {session['wanted']}. Open: {session['open']}."


class Kitchen:
    """The second dialect, `id` and `data_idx` in records that know nothing else, without a list of actions."""

    def __init__(self) -> None:
        self.heat = 0.0

    def __call__(self, method: str, path: str, record: dict[str, Any]) -> Answer:
        match path, sorted(record):
            case "/create", _:
                return 200, {"id": "a7"}
            case "/reset", ["data_idx", "id"]:
                self.heat = 0.0
                return 200, {"observation": "A stove.", "task_description": f"Heat it, {record['data_idx']}."}
            case "/step", ["action", "id"]:
                self.heat += 0.5
                return 200, {"observation": "Warmer.", "reward": 0.5, "done": self.heat >= 1, "score": self.heat}
            case (("/reset" | "/step" | "/available_actions"), _):
                return 422, {"detail": "extra fields"}
            case _:
                return 404, {"detail": "Not Found"}


@contextmanager
def serving(handler: Handler) -> Iterator[str]:
    """A server on a free port; yields its URL."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(dict(parse_qsl(urlsplit(self.path).query)))

        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, record: dict[str, Any]) -> None:
            status, told = handler(self.command, urlsplit(self.path).path, record)
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert not thread.is_alive()


@contextmanager
def opened(address: str) -> Iterator[AgentGymEnvironment]:
    environment = AgentGymEnvironment(address)
    try:
        yield environment
    finally:
        environment.close()


def test_an_episode_and_its_score() -> None:
    shelf = Shelf()
    with serving(shelf) as url:
        with opened(url) as environment:
            task = environment.task("session:4")
            assert environment.reset(task) == "Find what is in drawer 1. Open: []."
            assert environment.valid_actions() == ("open 0", "open 1", "open 2", "stop")
            first = environment.step("open 0")
            assert (first.outcome, first.done, first.valid) == (0.0, False, True)
            assert environment.valid_actions() == ("open 1", "open 2", "stop")
            assert environment.step("open 1")[1:] == (1.0, True, True)
        assert shelf.seen[-1] == ("/close", {"env_idx": 0})
        reset = next(record for path, record in shelf.seen if path == "/reset")
        assert (reset["env_idx"], reset["session_id"]) == (0, 4)


def test_it_keeps_the_rules_of_environments() -> None:
    shelf = Shelf()
    with serving(shelf) as url:
        name = f"agentgym:{url}#steps=6"
        made = []

        def make() -> Any:
            made.append(make_environment(name))
            return made[-1]

        tasks = conformance.sample_tasks(make(), 2)
        assert [task.id for task in tasks] == ["session:0", "session:1"]
        conformance.check_traits(make, name)
        conformance.check_tasks(make)
        conformance.check_instructions(make)
        conformance.check_determinism(make, tasks)
        conformance.check_no_leak(make, tasks)
        conformance.check_instances_apart(make, tasks)
        conformance.check_valid_actions(make, tasks)
        conformance.check_step_limit(make, tasks)
        conformance.check_observations(make, tasks)
        conformance.check_any_text(make, tasks, conformance.HOSTILE)
        for environment in made:
            environment.close()
        assert len(shelf.sessions) == len(made)


def test_the_other_dialect_is_found_and_kept() -> None:
    with serving(Kitchen()) as url, opened(url) as environment:
        assert not environment.traits.valid_actions
        with pytest.raises(UsageError, match="valid actions"):
            environment.valid_actions()
        assert environment.reset(environment.task("session:3")) == "Heat it, 3.\nA stove."
        assert environment.step("heat")[:3] == ("Warmer.", 0.5, False)
        assert environment.step("heat")[:3] == ("Warmer.", 1.0, True)
        assert environment.reset(environment.task("session:1")) == "Heat it, 1.\nA stove."


def test_pages_with_buttons_and_an_observation_of_its_own() -> None:
    def shop(method: str, path: str, record: dict[str, Any]) -> Answer:
        match path:
            case "/create":
                return 200, 0
            case "/reset":
                return 200, [None, None]
            case "/observation":
                return 200, "WebShop [SEP] Search"
            case "/available_actions":
                return 200, {"has_search_bar": True, "clickables": ["search", "b07", "b07", "bad\x00name"]}
            case _:
                return 400, {"detail": "bad action"}

    with serving(shop) as url, opened(url) as environment:
        assert environment.reset(environment.task("session:0")) == "WebShop [SEP] Search"
        assert environment.valid_actions() == ("click[search]", "click[b07]")
        assert environment.step("dance") == ("Invalid action.", 0.0, False, False)


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/create", (500, {"detail": "boom"}), "POST /create failed with status 500"),
        ("/create", (200, {"error": "no more\nroom"}), "no more room"),
        ("/create", (200, [1]), "did not answer with a session's number"),
        ("/create", (200, b"<html>"), "did not answer in JSON"),
        ("/reset", (500, {"detail": "boom"}), "POST /reset failed with status 500"),
        ("/reset", (422, {"detail": "who?"}), "POST /reset failed with status 422"),
        ("/step", (500, b"Internal Server Error"), "status 500: Internal Server Error"),
        ("/step", (200, b"{"), "did not answer in JSON"),
        ("/step", (200, [1]), "not answered by a JSON record"),
        ("/step", (200, {"reward": 1}), "without a state or observation"),
        ("/step", (200, {"error": "env 0 is gone"}), "env 0 is gone"),
        ("/step", (200, {"state": "x", "reward": "much", "done": False}), "not a finite number"),
    ],
)
def test_a_broken_answer_is_one_clear_line(path: str, answer: Answer, words: str) -> None:
    shelf = Shelf()

    def handler(method: str, at: str, record: dict[str, Any]) -> Answer:
        return answer if at == path else shelf(method, at, record)

    with serving(handler) as url:
        with pytest.raises(DataError) as caught, opened(url) as environment:
            environment.reset(environment.task("session:0"))
            environment.step("open 1")
        assert words in str(caught.value) and url in str(caught.value) and "\n" not in str(caught.value)


class Strange:
    """A server that speaks as some do: two steps end an episode, the second one is rewarded."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.sessions: list[Any] = []
        self.steps = 0

    def __call__(self, method: str, path: str, record: dict[str, Any]) -> Answer:
        told = self.answers.get(path.removeprefix("/"))
        if told is not None and path != "/step":
            return told if isinstance(told, tuple) else (200, told)
        match path:
            case "/create":
                return 200, 3
            case "/reset":
                self.steps = 0
                self.sessions.append(record.get("env_idx", record.get("id")))
                return 200, "A room."
            case "/step":
                self.steps += 1
                return 200, told[min(self.steps, len(told)) - 1]
            case "/close":
                return 200, True
            case _:
                return 404, {"detail": "Not Found"}


PLAIN = [{"observation": "One.", "reward": 0, "done": False}, {"observation": "Two.", "reward": 1, "done": True}]


@pytest.mark.parametrize(
    "answers",
    [
        {"step": PLAIN},
        {"step": [{"observation": {"text": "One."}, "reward": None}, {**PLAIN[1], "reward": "1.0", "done": "true"}]},
        {"step": [{"state": ["One."], "done": 0}, {"observation": "Two.", "score": 1, "reward": None, "done": 1}]},
        {"step": [{"obs": "One.", "done": "False"}, {"state": "Two.", "reward": True, "terminated": True}]},
        {"step": [{"state": "One.", "terminated": False}, {"state": "Two.", "score": 1.0, "truncated": True}]},
        {"step": PLAIN, "reset": ["A room.", {"info": 1}]},
        {"step": PLAIN, "reset": [{"observation": "A room.", "reward": 0}, None]},
        {"step": PLAIN, "reset": {"observation": {"text": "A room."}, "done": False}},
        {"step": PLAIN, "reset": None, "observation": "A room."},
        {"step": PLAIN, "reset": (200, None), "observation": {"observation": "A room."}},
        {"step": PLAIN, "available_actions": (500, b"Internal Server Error")},
        {"step": PLAIN, "available_actions": (200, b"<html>")},
        {"step": PLAIN, "available_actions": {"detail": "no episode"}},
        {"step": PLAIN, "close": (500, b"")},
    ],
)
def test_answers_in_other_words_are_understood(answers: dict[str, Any]) -> None:
    with serving(Strange(**answers)) as url, opened(url) as environment:
        assert not environment.traits.valid_actions
        assert environment.reset(environment.task("session:0")) == "A room."
        one, two = environment.step("a"), environment.step("b")
        assert (one.text, one.outcome, one.done) == ("One.", 0.0, False)
        assert (two.text, two.outcome, two.done) == ("Two.", 1.0, True)


@pytest.mark.parametrize(
    ("created", "session"),
    [(7, 7), ("a-7", "a-7"), ({"env_idx": 0}, 0), ({"id": "7"}, "7"), ({"session_id": 7}, 7), ({"data": {"id": 7}}, 7)],
)
def test_sessions_are_numbers_or_words(created: object, session: object) -> None:
    server = Strange(create=created, step=PLAIN)
    with serving(server) as url, opened(url) as environment:
        environment.reset(environment.task("session:0"))
        assert server.sessions == [session]


def test_actions_that_are_listed_only_once_an_episode_runs_are_found() -> None:
    server = Strange(step=PLAIN)

    def handler(method: str, path: str, record: dict[str, Any]) -> Answer:
        if path == "/available_actions":
            return (200, {"available_actions": ["look", "go"]}) if server.sessions else (500, {"detail": "KeyError"})
        return server(method, path, record)

    with serving(handler) as url, opened(url) as environment:
        environment.reset(environment.task("session:0"))
        assert environment.traits.valid_actions and environment.valid_actions() == ("look", "go")


@pytest.mark.parametrize(
    "content", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", b"SSH-2.0-OpenSSH_9.2\r\n"]
)
def test_a_connection_that_is_closed_too_soon_is_one_line(content: bytes) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(content)

        thread = Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(DataError) as caught:
            AgentGymEnvironment(f"http://127.0.0.1:{server.getsockname()[1]}#timeout=5")
        thread.join(5)
    assert "\n" not in str(caught.value) and "127.0.0.1" in str(caught.value)


def test_a_server_that_drips_is_given_up() -> None:
    import socket
    from threading import Event

    stopped = Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stopped.wait(0.02):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(DataError, match=r"does not answer within 0\.3 s"):
            AgentGymEnvironment(f"http://127.0.0.1:{server.getsockname()[1]}#timeout=0.3")
        stopped.set()
        thread.join(5)
    assert not thread.is_alive()


def test_a_busy_server_is_asked_again_and_a_step_never_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrm_models.http.FIRST_PAUSE", 0.001)
    shelf, troubles = Shelf(), [503, 429, 502, 0]
    sent: list[str] = []

    def handler(method: str, path: str, record: dict[str, Any]) -> Answer:
        if path != "/step":
            return shelf(method, path, record)
        sent.append(record["action"])
        trouble = troubles.pop(0) if troubles else 200
        if trouble == 0:
            raise ConnectionResetError
        return shelf(method, path, record) if trouble == 200 else (trouble, {})

    with serving(handler) as url, opened(url) as environment:
        for action, words in (("open 0", "status 502"), ("open 1", "broke the connection off"), ("open 2", "")):
            environment.reset(environment.task("session:2"))
            if words:
                with pytest.raises(DataError, match=words):
                    environment.step(action)
            else:
                assert environment.step(action).valid
    assert sent == ["open 0"] * 3 + ["open 1", "open 2"]


def test_a_silent_server_is_given_up() -> None:
    from threading import Event

    released = Event()

    def handler(method: str, path: str, record: dict[str, Any]) -> Answer:
        released.wait(10)
        return 200, 0

    with serving(handler) as url:
        with pytest.raises(DataError, match=r"does not answer within 0\.2 s"):
            AgentGymEnvironment(f"{url}#timeout=0.2")
        released.set()


def test_the_runner_plays_it_by_name_and_replays_prefixes() -> None:
    from agentrm_models.specs import load_policy, load_reward

    shelf = Shelf()
    with serving(shelf) as url:
        plan = RunPlan(
            environment=f"agentgym:{url}",
            tasks=("session:0", "session:2"),
            policy="scripted",
            reward="random",
            search=Beam(beam=(2, 3)),
            max_steps=5,
            parallel=2,
        )
        seen: list[ev.AnyEvent] = []
        state = run_plan(plan, policy=load_policy("scripted"), reward=load_reward("random"), emit=seen.append)
        assert state.finished is not None and state.finished.reason == "finished"
        assert not [event for event in seen if isinstance(event, (ev.Drifted, ev.Fault))]
        assert [path for path, _ in shelf.seen].count("/close") == len(shelf.sessions)
