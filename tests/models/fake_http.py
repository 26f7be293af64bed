"""A server on the loopback interface that answers as a test has written down, and a clock that never waits."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import NamedTuple

from agentrm_models.http import Clock


class Saying(NamedTuple):
    """One answer; status 0 resets the connection, and `drip` sends the bytes one by one until nobody listens."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = MappingProxyType({})
    drip: bytes = b""


class FakeHttpServer(ThreadingHTTPServer):
    """Gives its answers in turn, the last one for ever, and remembers what was asked."""

    daemon_threads = True

    def __init__(self, *answers: Saying) -> None:
        super().__init__(("127.0.0.1", 0), FakeHttpHandler)
        self.answers = list(answers)
        self.asked: list[tuple[str, str, str | None]] = []
        self.connections = 0
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class FakeHttpHandler(BaseHTTPRequestHandler):
    server: FakeHttpServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization")))
        saying = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if saying.drip:
            self.drip(saying.drip)
        elif saying.status == 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        else:
            self.send_response(saying.status)
            for name, value in {"Content-Length": str(len(saying.body)), **saying.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(saying.body)

    do_POST = do_GET

    def drip(self, beginning: bytes) -> None:
        self.close_connection = True
        try:
            self.wfile.write(beginning)
            while not self.server.ended.wait(0.02):
                self.wfile.write(b"x")
        except OSError:
            return


@contextmanager
def answering(*answers: Saying) -> Iterator[FakeHttpServer]:
    """A server that ends with the block."""
    server = FakeHttpServer(*answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class FakeTime:
    """Seconds pass only in `sleep`; `then` is called in each."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.seconds = 0.0
        self.then = then

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.then()

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.sleep, lambda: 1.0)
