"""Where the screen's state comes from: events of a run file, applied by the reducer, at a position one can move.

Live and replay are the same: a live screen stands at the end of a file that grows. The worker never pushes; a timer
asks `poll` at most ten times a second and one snapshot answers, so that no backlog can build up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from agentrm_tui.engine.commands import Status
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.state import RunState, apply

POLL_SECONDS = 0.1
EVENTS_A_POLL = 2_000
"""Events applied at most in one poll, so that a long file cannot hold up a key."""
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
LONGEST_WAIT = 1.0
"""Seconds of a recorded pause that playing keeps at most, at normal speed."""
SHORTEST_WAIT = 0.15
"""Seconds that playing gives each event at least, at normal speed."""


class Reader(Protocol):
    """Reads a run file that may still grow."""

    def poll(self) -> list[ev.AnyEvent]:
        """The events that were appended since the last call."""
        ...

    @property
    def notice(self) -> str:
        """A line about a torn end of the file; empty while all is well."""
        ...


class Snapshot(NamedTuple):
    """All that one paint shows.

    Attributes:
        state: The run after `position` events.
        total: Events read so far.
        version: Changes whenever `state` does.
        status: What the engine says it is doing; None without an engine.
        now: Wall-clock time of the snapshot, in seconds.
        elapsed: Seconds of the run, going on between events while it runs.
    """

    state: RunState
    position: int
    total: int
    version: int
    status: Status | None
    now: float
    elapsed: float


class Feed:
    """Events read so far and the state at a position among them.

    Args:
        reader: Where events come from.
        clock: Wall-clock seconds.
        follow: Stay at the end as the file grows.
    """

    def __init__(self, reader: Reader, clock: Callable[[], float], *, follow: bool) -> None:
        self.events: list[ev.AnyEvent] = []
        self.state = RunState()
        self.follow = follow
        self.playing = False
        self.speed = 1.0
        self.version = 0
        self._reader = reader
        self._clock = clock
        self._goal = 0
        self._seen_at = clock()
        self._due = 0.0

    @property
    def position(self) -> int:
        """Number of events that are applied."""
        return self.state.events

    @property
    def notice(self) -> str:
        """What is wrong with the end of the file, for recordings; a file that grows may end in half a line."""
        return "" if self.follow else self._reader.notice

    @property
    def last_event(self) -> ev.AnyEvent | None:
        """The event that was applied last."""
        return self.events[self.position - 1] if 0 < self.position <= len(self.events) else None

    @property
    def behind(self) -> bool:
        """Whether events wait for the next poll."""
        return self.position < self._goal

    def poll(self, status: Status | None = None, *, running: bool = False) -> Snapshot:
        """Read what is new, apply what is due, and say how things stand.

        Raises:
            DataError: The file is not a run file, or does not fit together.
        """
        now = self._clock()
        fresh = self._reader.poll()
        if fresh:
            self.events.extend(fresh)
            self._seen_at = now
        if self.follow:
            self._goal = len(self.events)
        elif self.playing:
            self._play(now)
        self._catch_up()
        between = now - self._seen_at if running and self.follow else 0.0
        return Snapshot(
            self.state, self.position, len(self.events), self.version, status, now, self.state.clock + between
        )

    def seek(self, position: int) -> None:
        """Stand after `position` events (clamped) and stop playing."""
        self.playing = False
        self._move(position)

    def seek_step(self, direction: int) -> None:
        """Go to the next (1) or the previous (-1) environment step, or to the end of the file on that side."""
        index = self.position + (0 if direction > 0 else -2)
        while 0 <= index < len(self.events) and not isinstance(self.events[index], ev.Acted):
            index += direction
        self.seek(index + 1)

    def play(self) -> None:
        """Play on or stop; at the end it starts from the beginning."""
        self.playing = not self.playing
        self._due = self._clock()
        if self.playing and self.position >= len(self.events):
            self._move(0)

    def change_speed(self, by: int) -> None:
        """Choose the next faster (1) or slower (-1) speed."""
        index = SPEEDS.index(self.speed) + by
        self.speed = SPEEDS[max(0, min(len(SPEEDS) - 1, index))]

    def seek_episode(self, by: int) -> None:
        """Stand at the end of the next (1) or the previous (-1) episode of the file."""
        last: dict[str, int] = {}
        for number, event in enumerate(self.events):
            if event.episode:
                last[event.episode] = number
        if not last:
            return
        order = list(last)
        here = self.shown_episode()
        index = order.index(here) if here in last else 0
        self.seek(last[order[max(0, min(len(order) - 1, index + by))]] + 1)

    def shown_episode(self) -> str:
        """The episode of the event that was applied last."""
        for number in range(self.position - 1, -1, -1):
            if self.events[number].episode:
                return self.events[number].episode
        return ""

    def _play(self, now: float) -> None:
        while self.playing and self._due <= now:
            if self.position >= len(self.events):
                self.playing = False
                return
            before = self.state.clock
            self._move(self.position + 1)
            recorded = self.state.clock - before
            self._due += max(SHORTEST_WAIT, min(LONGEST_WAIT, recorded)) / self.speed

    def _move(self, position: int) -> None:
        self._goal = max(0, min(len(self.events), position))
        if self._goal < self.position:
            self.state = RunState()
            self.version += 1
        self._catch_up(limit=len(self.events))

    def _catch_up(self, limit: int = EVENTS_A_POLL) -> None:
        for event in self.events[self.position : min(self._goal, self.position + limit)]:
            apply(self.state, event)
            self.version += 1
