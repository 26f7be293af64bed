"""Where the screen's state comes from: events of a run file, applied by the reducer, at a position one can move.

Live and replay are the same: a live screen stands at the end of a file that grows. The worker never pushes; a timer
asks `poll` at most ten times a second and one snapshot answers, so that no backlog can build up. A long file is read
and applied a part at a time, with keys answered in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agentrm_models.errors import DataError
from agentrm_tui.engine.commands import Status
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.state import EpisodeState, RunState
from agentrm_tui.ui.recorded_events import Reader, RecordedEvents
from agentrm_tui.ui.timeline import Timeline

POLL_SECONDS = 0.1
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
LONGEST_WAIT = 1.0
"""Seconds of a recorded pause that playing keeps at most, at normal speed."""
SHORTEST_WAIT = 0.15
"""Seconds that playing gives each event at least, at normal speed."""


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
        self.follow = follow
        self.playing = False
        self.speed = 1.0
        self._reader = reader
        self._timeline = Timeline(reader)
        self._clock = clock
        self._goal = 0
        self._to_end = False
        self._seen_at = clock()
        self._due = 0.0

    @property
    def events(self) -> RecordedEvents:
        """All events that were read, as far as they are sound."""
        return self._timeline.events

    @property
    def state(self) -> RunState:
        """The run after `position` events; `episode` gives trees."""
        return self._timeline.state

    @property
    def position(self) -> int:
        """Number of events that are applied."""
        return self.state.events

    @property
    def version(self) -> int:
        """Changes whenever the state does."""
        return self._timeline.version

    @property
    def damage(self) -> DataError | None:
        """Why the file cannot be read beyond the last event; None while all is well."""
        return self._timeline.damage

    @property
    def notice(self) -> str:
        """What is wrong with the end of the file, for recordings; a file that grows may end in half a line."""
        if self.damage is not None:
            return str(self.damage)
        return "" if self.follow else self._reader.notice

    @property
    def last_event(self) -> ev.AnyEvent | None:
        """The event that was applied last."""
        return self._read(self.position - 1)

    @property
    def final_event(self) -> ev.AnyEvent | None:
        """The last event that was read."""
        return self._read(len(self.events) - 1)

    @property
    def behind(self) -> bool:
        """Whether the next poll has something to read or to apply that is there already."""
        return self.position < self._goal or self._timeline.reading

    @property
    def progress(self) -> float:
        """How much of the file is read, or of the way to the wanted position is done, in [0, 1]."""
        return self._reader.share if self._timeline.reading else self.position / max(1, self._goal)

    def episode(self, name: str) -> EpisodeState | None:
        """An episode with its tree; None where it has not started.

        Raises:
            DataError: Its records were changed after they were read.
        """
        return self._timeline.episode(name)

    def poll(self, status: Status | None = None, *, running: bool = False) -> Snapshot:
        """Read what is new, apply what is due, and say how things stand.

        Raises:
            DataError: The file is not a run file: nothing of it is good. Later damage is kept in `damage`.
        """
        now = self._clock()
        towards_end = self.follow or self._to_end
        if not (towards_end and self.position < self._goal) and self._timeline.poll():
            self._seen_at = now
        if towards_end:
            self._goal = len(self.events)
        elif self.playing:
            self._play(now)
        self._catch_up()
        self._to_end = self._to_end and self.behind
        between = now - self._seen_at if running and self.follow else 0.0
        return Snapshot(
            self.state, self.position, len(self.events), self.version, status, now, self.state.clock + between
        )

    def seek(self, position: int) -> None:
        """Stand after `position` events (clamped) and stop playing; polls go on where that takes longer.

        The end is that of the file, also while it is still being read.
        """
        self.playing = False
        self._move(position)
        self._to_end = self._goal == len(self.events) and self.behind

    def seek_event(self, direction: int) -> None:
        """Go to the next (1) or the previous (-1) event of the shown episode, and beyond its ends to the one beside."""
        self.seek(self.events.beside(self.position, direction))

    def seek_step(self, direction: int) -> None:
        """The same by environment steps."""
        self.seek(self.events.beside(self.position, direction, acted=True))

    def play(self) -> None:
        """Play on or stop; at the end it starts from the beginning."""
        self.playing = not self.playing
        self._to_end = False
        self._due = self._clock()
        if self.playing and self.position >= len(self.events):
            self._move(0)

    def change_speed(self, by: int) -> None:
        """Choose the next faster (1) or slower (-1) speed."""
        index = SPEEDS.index(self.speed) + by
        self.speed = SPEEDS[max(0, min(len(SPEEDS) - 1, index))]

    def seek_episode(self, by: int) -> None:
        """Stand at the end of the next (1) or the previous (-1) episode of the file."""
        end = self.events.episode_end_beside(self._goal, by)
        if end is not None:
            self.seek(end)

    def shown_episode(self) -> str:
        """The episode of the event that was applied last."""
        return self.events.episode_at(self.position)

    def _read(self, number: int) -> ev.AnyEvent | None:
        """An event; None where there is none, or its record was changed after it was read."""
        try:
            return self.events[number] if 0 <= number < len(self.events) else None
        except DataError:
            return None

    def _play(self, now: float) -> None:
        while self.playing and self._due <= now:
            if self.position >= len(self.events):
                self.playing = self._timeline.reading
                return
            before = self.state.clock
            self._move(self.events.beside(self.position, 1))
            recorded = max(0.0, self.state.clock - before)
            self._due += max(SHORTEST_WAIT, min(LONGEST_WAIT, recorded)) / self.speed

    def _move(self, position: int) -> None:
        self._goal = max(0, min(len(self.events), position))
        self._catch_up()

    def _catch_up(self) -> None:
        if self.position != self._goal:
            self._timeline.move(self._goal)
            self._goal = min(self._goal, len(self.events))
