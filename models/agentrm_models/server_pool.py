"""Several servers of one model: an episode stays with one of them, whose prefix cache holds what its requests share.

While a server is down its episodes go to the next one, and they come back once it answers again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from threading import Lock
from typing import Generic, Protocol, TypeVar

from agentrm_models.errors import AgentRMError
from agentrm_models.http import LONGEST_PAUSE, Clock, WaitHook, pause
from agentrm_models.http_failures import ServerDownError
from agentrm_models.notices import Notices

MOST_EPISODES = 10_000
"""Episodes whose server is remembered."""

FIRST_ABSENCE = 2.0
"""Seconds after which a server that is down is looked at again; twice as long each time, `LONGEST_PAUSE` at most."""


class PooledServer(Protocol):
    """One server, with its own connections."""

    @property
    def base(self) -> str:
        """Its address, for messages."""
        ...

    def look(self) -> None:
        """See whether it answers, and serves the model that is meant.

        Raises:
            ServerDownError: It does not answer.
            AgentRMError: It answers, but must not be used.
        """
        ...


Server = TypeVar("Server", bound=PooledServer)
Answer = TypeVar("Answer")


class _Absence:
    """How a server that is down is looked at again."""

    def __init__(self, now: float) -> None:
        self.seconds = FIRST_ABSENCE
        self.until = now + self.seconds

    def go_on(self, now: float) -> None:
        """Look later, and less often."""
        self.seconds = min(2 * self.seconds, LONGEST_PAUSE)
        self.until = now + self.seconds


class ServerPool(Generic[Server]):
    """Hands each episode to a server, in turn, and to another one while that is down; safe to use from many threads.

    Args:
        patience: Seconds over which they are asked again while none answers.
        notices: Told when a server goes down, and when it is back.
        down: Those that did not answer when they were loaded.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        notices: Notices,
        patience: float,
        clock: Clock | None = None,
        down: Sequence[Server] = (),
    ) -> None:
        self.servers = tuple(servers)
        self._notices = notices
        self._patience = patience
        self._clock = clock or Clock()
        self._lock = Lock()
        self._homes: dict[str, int] = {}
        self._given = 0
        self._in_vain = False
        self._absent: dict[int, _Absence] = {
            place: _Absence(self._clock.now()) for place, server in enumerate(servers) if server in down
        }

    def home(self, episode: str) -> Server:
        """The server of an episode; a new one gets the next in turn."""
        return self.servers[self._place(episode)]

    def ask(self, episode: str, put: Callable[[Server, bool], Answer], on_wait: WaitHook) -> Answer:
        """Put a request of an episode to its server, or to the next that answers.

        Args:
            put: Puts the request to a server. Told whether to stay with it while it is down; if not, a server that is
                down raises `ServerDownError` at once.

        Raises:
            ServerDownError: None answers, and none did for all patience.
        """
        if len(self.servers) == 1:
            return put(self.servers[0], True)
        # Once all patience was in vain, each request goes round once until one is answered.
        until, attempt = self._clock.now() + (0.0 if self._in_vain else self._patience), 0
        while True:
            failure: ServerDownError | None = None
            for place in self._candidates(self._place(episode)):
                try:
                    answer = put(self.servers[place], False)
                except ServerDownError as error:
                    failure = error
                    self._lose(place, error)
                else:
                    self._regain(place)
                    self._in_vain = False
                    return answer
            seconds = min(LONGEST_PAUSE, FIRST_ABSENCE * 2.0 ** min(attempt, 10))
            if failure is not None and self._clock.now() + seconds > until:
                self._in_vain = True
                raise failure
            pause(seconds, f"waiting for any of {len(self.servers)} servers: none answers", on_wait, self._clock)
            attempt += 1

    def _place(self, episode: str) -> int:
        with self._lock:
            if episode not in self._homes:
                for old in list(islice(self._homes, max(0, len(self._homes) - MOST_EPISODES + 1))):
                    del self._homes[old]
                self._homes[episode] = self._given % len(self.servers)
                self._given += 1
            return self._homes[episode]

    def _candidates(self, home: int) -> Iterator[int]:
        """Servers that are up, the episode's own first; all where none is."""
        order = [(home + step) % len(self.servers) for step in range(len(self.servers))]
        up = [place for place in order if place not in self._absent or self._is_back(place)]
        yield from up or order

    def _is_back(self, place: int) -> bool:
        """Look at a server that is down, if it is time to; only one thread does. It is back once it does its work."""
        now = self._clock.now()
        with self._lock:
            absence = self._absent.get(place)
            if absence is None:
                return True
            if now < absence.until:
                return False
            absence.go_on(now)
        try:
            self.servers[place].look()
        except ServerDownError:
            return False
        except AgentRMError as error:
            self._notices.add(f"{self.servers[place].base} answers again, but is not used: {error.cause}", loud=True)
            return False
        return True

    def _lose(self, place: int, error: ServerDownError) -> None:
        with self._lock:
            new = place not in self._absent
            if new:
                self._absent[place] = _Absence(self._clock.now())
        if new:
            self._notices.add(f"{error.cause}; its episodes go to the other servers", once=False)

    def _regain(self, place: int) -> None:
        with self._lock:
            back = self._absent.pop(place, None)
        if back is not None:
            self._notices.add(f"{self.servers[place].base} answers again; its episodes come back", once=False)
