"""A small OpenAI-compatible server on the loopback interface, with the manners of several."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeServer(ThreadingHTTPServer):
    """Answers with the seed and the number of the choice; its manners are attributes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.models: list[dict[str, Any]] = [{"id": "small", "max_model_len": 4096}]
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.knows_n = True
        self.knows_logprobs = True
        self.longest = 100
        self.failure: tuple[int, bytes] | None = None
        self.busy: list[int] = []
        self.answer: bytes = b""
        self.kind = "application/json"
        self.minds: Callable[[dict[str, Any]], tuple[int, bytes] | None] = lambda body: None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class FakeHandler(BaseHTTPRequestHandler):
    server: FakeServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("Authorization"))
        if self.server.failure:
            return self.answer(*self.server.failure)
        return self.answer(200, json.dumps({"object": "list", "data": self.server.models}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.paths.append(self.path)
        self.server.keys.append(self.headers.get("Authorization"))
        if refusal := self.server.minds(body):
            return self.answer(*refusal)
        if self.server.busy:
            return self.answer(self.server.busy.pop(), b"")
        if self.server.answer:
            return self.answer(200, self.server.answer)
        if self.server.failure:
            return self.answer(*self.server.failure)
        if body.get("logprobs") and not self.server.knows_logprobs:
            return self.refuse("logprobs are not supported")
        if len(body["messages"]) > self.server.longest:
            return self.refuse("This model's maximum context length is 5 messages")
        choices = []
        for index in range(body.get("n", 1) if self.server.knows_n else 1):
            text = f"Thought: t\nAction: {body.get('seed', len(self.server.asked) * 10) + index}"
            choice: dict[str, Any] = {"index": index, "message": {"role": "assistant", "content": text}}
            if self.server.knows_logprobs:
                choice["logprobs"] = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -0.25}]}
            choices.insert(0, choice)
        usage = {"prompt_tokens": 10, "completion_tokens": 4 * len(choices)}
        return self.answer(200, json.dumps({"choices": choices, "usage": usage}).encode())

    def refuse(self, message: str) -> None:
        self.answer(400, json.dumps({"error": {"message": message}}).encode())


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    """A server that ends with the block."""
    fake = FakeServer()
    thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.shutdown()
        fake.server_close()
        thread.join()
