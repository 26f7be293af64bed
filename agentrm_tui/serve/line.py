"""The line in which requests wait: bounded, fair between clients, and left by those whose client has gone."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Condition
from typing import TypeAlias

from agentrm_tui.serve.chat_request import ChatRequest
from agentrm_tui.serve.refusals import Refusal
from agentrm_tui.serve.replies import Guided

Outcome: TypeAlias = Guided | Refusal

LONGEST_WAIT = 60
"""Seconds after which a client is told to ask again, at most."""


class Ticket:
    """One request in the line.

    Args:
        client: Whose turn it takes.
        deliver: Called once, from the thread that owns the models.

    Attributes:
        gone: The client no longer waits.
    """

    def __init__(self, request: ChatRequest, client: str, deliver: Callable[[Outcome], None]) -> None:
        self.request = request
        self.client = client
        self.gone = False
        self._deliver: Callable[[Outcome], None] | None = deliver

    @property
    def answered(self) -> bool:
        """Whether it has its outcome."""
        return self._deliver is None

    def answer(self, outcome: Outcome) -> None:
        """Deliver the outcome; a second one is left out."""
        deliver, self._deliver = self._deliver, None
        if deliver is not None and not self.gone:
            deliver(outcome)


class Line:
    """Tickets by client; rounds take one from each in turn. Safe between threads.

    Args:
        room: Tickets that may wait.
        width: Tickets that a round takes.
    """

    def __init__(self, room: int, width: int) -> None:
        self._room = room
        self._width = width
        self._changed = Condition()
        self._waiting: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._round_seconds = 1.0
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return self._count()

    def join(self, ticket: Ticket) -> None:
        """Put a ticket at the end of its client's line.

        Raises:
            Refusal: 429, the line is full; 503, the endpoint is ending.
        """
        with self._changed:
            if self._closed:
                raise closing()
            if self._count() >= self._room:
                wait = self.wait_seconds()
                raise Refusal(429, f"{self._room} requests wait already", code="rate_limit_exceeded", retry_after=wait)
            self._waiting.setdefault(ticket.client, deque()).append(ticket)
            self._changed.notify()

    def leave(self, ticket: Ticket) -> None:
        """The client has gone."""
        with self._changed:
            ticket.gone = True
            tickets = self._waiting.get(ticket.client)
            if tickets and ticket in tickets:
                tickets.remove(ticket)
                if not tickets:
                    del self._waiting[ticket.client]

    def take(self, timeout: float) -> list[Ticket]:
        """The tickets of the next round; none where nobody came within so many seconds, or the line was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout)
            taken: list[Ticket] = []
            while self._waiting and len(taken) < self._width:
                client, tickets = self._waiting.popitem(last=False)
                taken.append(tickets.popleft())
                if tickets:
                    self._waiting[client] = tickets
            return taken

    def close(self) -> list[Ticket]:
        """Let nobody in any more; returns those who still wait."""
        with self._changed:
            self._closed = True
            left = [ticket for tickets in self._waiting.values() for ticket in tickets]
            self._waiting.clear()
            self._changed.notify_all()
            return left

    def note_round(self, seconds: float) -> None:
        """How long a round took, from which waiting times are reckoned."""
        self._round_seconds = 0.5 * self._round_seconds + 0.5 * seconds

    def wait_seconds(self) -> int:
        """Seconds until the line has probably moved on."""
        rounds = 1 + self._count() // self._width
        return max(1, min(LONGEST_WAIT, round(rounds * self._round_seconds)))

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))


def closing() -> Refusal:
    """The endpoint is ending."""
    return Refusal(503, "the endpoint is ending", code="shutting_down", retry_after=LONGEST_WAIT)
