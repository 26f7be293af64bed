from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import msgspec
import pytest

from agentrm_tui.engine.commands import Status
from agentrm_tui.engine.status import StatusSender
from agentrm_tui.engine.wire import Failure, InFlight, LineBuffer, decode_from_engine
from agentrm_tui.environments.boundary import Waiting

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def messages(connection: socket.socket) -> list[InFlight | Failure]:
    """Everything until the other end is closed."""
    buffer, out = LineBuffer(), list[InFlight | Failure]()
    while data := connection.recv(1 << 16):
        out += [decode_from_engine(line) for line in buffer.feed(data)]
    return out


def test_the_latest_status_arrives_and_few_before_it(pair: Pair) -> None:
    ours, theirs = pair
    sender = StatusSender(theirs, interval=0.02)
    began = time.monotonic()
    for done in range(20_000):
        sender.post(Status("running", done=done))
    seconds = time.monotonic() - began
    sender.close(Failure("over", "", 3))
    theirs.shutdown(socket.SHUT_RDWR)
    *statuses, failure = messages(ours)
    assert failure == Failure("over", "", 3)
    assert statuses[-1] == InFlight(Status("running", done=19_999))
    assert len(statuses) <= seconds / 0.02 + 3


def test_a_link_that_does_not_read_holds_nothing_up(pair: Pair) -> None:
    _, theirs = pair
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    sender = StatusSender(theirs, interval=0.0)
    big = "x" * 4_000
    began = time.monotonic()
    for done in range(2_000):
        sender.post(Status("running", big, done))
    sender.close(Failure("over", "", 1), patience=0.1)
    assert time.monotonic() - began < 5
    assert sender.latest == Status("running", big, 1_999)


def test_a_link_that_is_gone_is_no_error(pair: Pair) -> None:
    ours, theirs = pair
    sender = StatusSender(theirs)
    ours.close()
    sender.post(Status("running"))
    sender.close(Failure("over", "", 1))


def test_nothing_is_sent_when_nothing_was_said(pair: Pair) -> None:
    ours, theirs = pair
    StatusSender(theirs).close()
    theirs.shutdown(socket.SHUT_RDWR)
    assert messages(ours) == []


def test_an_environment_that_does_not_answer_is_named_with_the_time_it_was_asked(pair: Pair) -> None:
    ours, theirs = pair
    calls: list[Waiting | None] = [None]
    sender = StatusSender(theirs, interval=0.01, late=0.01, waiting=lambda: calls[-1])
    posted = Status("running", request="act", since=1.0, nodes=("0",))
    sender.post(posted)
    buffer = LineBuffer()

    def next_status() -> Status:
        while not (lines := list(buffer.feed(ours.recv(1 << 16)))):
            pass
        message = decode_from_engine(lines[-1])
        assert isinstance(message, InFlight)
        return message.status

    assert next_status() == posted
    calls.append(Waiting("Slow.step", 2.0))
    assert next_status() == msgspec.structs.replace(posted, what="Slow.step", since=2.0)
    calls.append(None)
    assert next_status() == posted
    sender.close()
