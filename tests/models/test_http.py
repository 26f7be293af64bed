"""The HTTP client against servers on loopback that are busy, broken, slow, greedy for memory or for keys."""

from __future__ import annotations

import socket
from concurrent.futures import CancelledError, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Event

import pytest
from fake_http import FakeHttpServer, FakeTime, Saying, answering

from agentrm_models.errors import DataError, InterruptedRun, UsageError
from agentrm_models.http import HttpClient, Manners
from agentrm_models.http_failures import StatusError, error_text, read_retry_after
from agentrm_models.server_address import is_loopback, key_from, read_server_address, without_secrets

BUSY, LOADING = Saying(429, b"", {"Retry-After": "3"}), Saying(503, b'{"error": {"message": "Loading model"}}')
BAD_GATEWAY, RESET, FINE = Saying(502), Saying(0), Saying(200, b'"fine"')


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def client_of(url: str, time: FakeTime | None = None, key: str = "", **manners: float) -> HttpClient:
    place = read_server_address(url, "http://HOST")
    kept = Manners(5.0, 60.0)._replace(**manners)
    return HttpClient(place, key=key, manners=kept, clock=time.clock if time else None)


@pytest.mark.parametrize(
    ("answers", "repeatable", "asked", "waited"),
    [
        ([FINE], False, 1, 0.0),
        ([BUSY, LOADING, FINE], False, 3, 3.5 + 1.0),
        ([LOADING] * 5 + [FINE], True, 6, 0.5 + 1 + 2 + 4 + 8),
        ([Saying(429, b"", {"Retry-After": "0"}), FINE], True, 2, 0.5),
        ([BAD_GATEWAY, Saying(504), FINE], True, 3, 1.5),
        ([RESET, RESET, FINE], True, 3, 1.5),
    ],
)
def test_a_busy_or_broken_server_is_asked_again(
    answers: list[Saying], repeatable: bool, asked: int, waited: float
) -> None:
    time = FakeTime()
    with answering(*answers) as server:
        assert client_of(server.url, time).post("/step", {}, repeatable=repeatable) == b'"fine"'
        assert (len(server.asked), time.seconds) == (asked, waited)


@pytest.mark.parametrize("broken", [BAD_GATEWAY, Saying(504), RESET, Saying(500), Saying(400), Saying(408)])
def test_what_may_have_been_carried_out_is_not_sent_again(broken: Saying) -> None:
    time = FakeTime()
    with answering(broken, FINE) as server, pytest.raises(DataError):
        client_of(server.url, time).post("/step", {}, repeatable=False)
    assert len(server.asked) == 1 and time.seconds == 0


@pytest.mark.parametrize(
    ("answer", "least", "most", "says"),
    [
        (LOADING, 30, 60, "failed with status 503: Loading model"),
        (Saying(429, b"", {"Retry-After": "3600"}), 0, 0, "status 429.*It wants to be asked again after 3600 s"),
        (Saying(429, b'{"error": {"message": "Pay", "code": "insufficient_quota"}}'), 0, 0, "status 429: Pay"),
        (Saying(500, b"<b>\x1b]0;t\x07</b>"), 0, 0, r"status 500: <b>\\x1b\]0;t\\x07</b>"),
        (RESET, 30, 60, "broke the connection off"),
    ],
)
def test_patience_ends(answer: Saying, least: float, most: float, says: str) -> None:
    time = FakeTime()
    with answering(answer) as server, pytest.raises(DataError, match=says) as raised:
        client_of(server.url, time).get("/models")
    assert least <= time.seconds <= most
    assert str(raised.value).isprintable() and server.url in str(raised.value)


def test_an_absent_server_is_told_at_once_and_one_that_restarts_is_waited_for() -> None:
    time = FakeTime()
    with answering(FINE) as server:
        client, port = client_of(server.url, time, keep_alive=0), server.server_port
        client.get("/")
    restarted: list[FakeHttpServer] = []

    def restart() -> None:
        if time.seconds >= 5 and not restarted:
            restarted.append(reopened.enter())

    reopened = _Reopened(port)
    time.then = restart
    assert client.post("/step", {}, repeatable=False) == b'"again"'
    reopened.leave()
    assert 5 <= time.seconds < 10
    time.then = lambda: None
    with pytest.raises(DataError, match=f"cannot reach http://127.0.0.1:{port}: Connection refused. Is the server"):
        client_of(f"http://127.0.0.1:{port}", time).get("/")
    assert time.seconds < 10


class _Reopened:
    """A server that begins to listen at a given port in the middle of a test."""

    def __init__(self, port: int) -> None:
        self.port = port

    def enter(self) -> FakeHttpServer:
        from threading import Thread

        self.server = FakeHttpServer(Saying(200, b'"again"'))
        self.server.socket.close()
        self.server.socket = socket.create_server(("127.0.0.1", self.port))
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self.server

    def leave(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    "beginning", [b"H", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n"]
)
def test_one_deadline_covers_an_answer_that_drips(beginning: bytes) -> None:
    with answering(Saying(drip=beginning)) as server, pytest.raises(DataError, match=r"does not answer within 0\.3 s"):
        client_of(server.url, answer_seconds=0.3).get("/models")
    assert len(server.asked) == 1


@pytest.mark.parametrize("declared", ["1001", "5000000000"])
def test_a_long_answer_is_refused(declared: str) -> None:
    body = Saying(200, b"x" * 200_000, {"Content-Length": declared} if len(declared) > 4 else {})
    with answering(body) as server, pytest.raises(DataError, match="/big gave more than"):
        client_of(server.url, limit=100_000).get("/big")


def test_connections_are_kept() -> None:
    with answering(FINE) as server:
        client = client_of(server.url)
        for _ in range(5):
            client.post("/step", {"a": "\ud800"}, repeatable=False)
        assert (len(server.asked), server.connections) == (5, 1)
        client.close()
        client.get("/", {"a b": "c&d"})
        assert server.connections == 2 and server.asked[-1][1] == "/?a+b=c%26d"


def test_the_key_stays_with_its_host() -> None:
    with answering(FINE) as other, answering(Saying(307, b"", {"Location": "/here"}), FINE) as server:
        assert client_of(server.url, key="k-1").get("/there") == b'"fine"'
        assert [key for _, _, key in server.asked] == ["Bearer k-1"] * 2
        server.answers = [Saying(302, b"", {"Location": f"{other.url}/x"})]
        assert client_of(server.url, key="k-1").get("/there") == b'"fine"'
        assert other.asked == [("GET", "/x", None)]
        server.answers = [Saying(307, b"", {"Location": f"{other.url}/y"})]
        assert client_of(server.url, key="k-1").post("/there", {}, repeatable=True) == b'"fine"'
        assert other.asked[-1] == ("POST", "/y", None)
        server.answers = [Saying(302, b"", {"Location": "/there"})]
        with pytest.raises(DataError, match="redirect"):
            client_of(server.url, key="k-1").get("/there")


def test_a_key_is_never_shown() -> None:
    told = b'{"error": {"message": "Wrong key k-123456 in Bearer k-999 at http://me:pw@host/?api_key=k-5"}}'
    with answering(Saying(401, told)) as server, pytest.raises(StatusError) as raised:
        client_of(server.url, key="k-123456").get("/models")
    assert not any(secret in str(raised.value) for secret in ("k-1", "k-9", "k-5", "pw"))
    assert "Wrong key …" in raised.value.text


def test_loopback_goes_direct_and_others_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://me:pw@127.0.0.1:{taken.getsockname()[1]}"
    with answering(FINE) as server:
        monkeypatch.setenv("http_proxy", nobody)
        assert client_of(server.url).get("/") == b'"fine"'
        monkeypatch.setenv("http_proxy", server.url)
        assert client_of("http://host.invalid/v1").get("/models") == b'"fine"'
        assert server.asked[-1][1] == "http://host.invalid/v1/models"
    monkeypatch.setenv("http_proxy", nobody)
    with pytest.raises(DataError, match=r"refused.*through the proxy of HTTP_PROXY") as raised:
        client_of("http://host.invalid").get("/")
    assert "pw" not in str(raised.value)
    monkeypatch.setenv("http_proxy", "ftp://proxy")
    with pytest.raises(UsageError, match="proxy that the environment names"):
        client_of("http://host.invalid").get("/")


def test_waiting_is_told_and_may_be_given_up() -> None:
    told: list[str] = []

    def stop(words: str) -> None:
        told.append(words)
        if len(told) == 3:
            raise InterruptedRun("stopped")

    time = FakeTime()
    with answering(BUSY) as server, pytest.raises(InterruptedRun):
        client_of(server.url, time).get("/models", on_wait=stop)
    assert told == [f"waiting for the server: 429 Too Many Requests, {seconds} s" for seconds in (4, 3, 3)]
    assert len(server.asked) == 1 and time.seconds == 1.0


def test_a_request_in_flight_is_given_up() -> None:
    with answering(Saying(drip=b"HTTP/1.1 200 OK\r\n\r\n")) as server, ThreadPoolExecutor(1) as pool:
        client = client_of(server.url)
        future = pool.submit(client.get, "/")
        while not server.asked:
            Event().wait(0.005)
        client.give_up()
        with pytest.raises(CancelledError):
            future.result(5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Mon, 30 Nov 2026 12:00:10 GMT", 10.0),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert read_retry_after(text, datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"error": {"message": "a", "code": 1}}', "a"),
        (b'{"error": "a"}', "a"),
        (b'{"message": "a"}', "a"),
        (b'{"detail": [{"loc": ["body"], "msg": "a"}]}', "a"),
        (b'{"other": 1}', '{"other": 1}'),
        (b"plain", "plain"),
        (b"\xff", "\ufffd"),
        (b"[" * 9_000, "[" * 9_000),
        (b"", ""),
    ],
)
def test_the_servers_own_words(content: bytes, text: str) -> None:
    assert error_text(content) == text


SECRET = "s3cret"


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{SECRET}@host/v1",
        f"http://{SECRET}@host",
        f"http://host/v1?api_key={SECRET}",
        f"http://host?token={SECRET}#m",
        f"ftp://me:{SECRET}@host",
        f"http://me:{SECRET}#x@host",
        f"http://me:{SECRET}/x@host",
    ],
)
def test_an_address_with_a_secret_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_server_address(text, "http://HOST:PORT")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "host", "http://", "http://host:port", "http://host:0", "http://a b/", "http://[/"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not the address of a server\. Write http://HOST:PORT"):
        read_server_address(text, "http://HOST:PORT")


def test_addresses_are_taken_apart() -> None:
    assert read_server_address("wss://Host:1/a/b/#m%20n", "") == ("https://Host:1/a/b", "host", "m%20n")
    names: list[tuple[str, bool]] = [("localhost", True), ("127.0.0.9", True), ("::1", True), ("host", False)]
    assert [is_loopback(name) for name, _ in names] == [loopback for _, loopback in names]


def test_a_key_is_stripped_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    read = partial(key_from, "A_KEY")
    monkeypatch.delenv("A_KEY", raising=False)
    assert read() == ""
    monkeypatch.setenv("A_KEY", f" {SECRET}\r\n")
    assert read() == SECRET
    for wrong in (f"{SECRET} {SECRET}", f"{SECRET}\u00e9", f"a\r{SECRET}"):
        monkeypatch.setenv("A_KEY", wrong)
        with pytest.raises(UsageError, match="A_KEY") as raised:
            read()
        assert SECRET not in str(raised.value)
    assert without_secrets("a\x1bb sig=1 x?sig=2&b=3", "") == "a\\x1bb sig=1 x?sig=…&b=3"
