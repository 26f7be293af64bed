"""The state of a run at any place of its file, in bounded memory: outlines on the way, and trees grown again on demand.

Only the running episodes and the last few that ended hold their trees. A place far away is reached from the nearest
outline before it: a copy of the state without trees. What needs a tree that is not held (the next event of the episode,
a fork of it, a person who looks at it) has it grown again from the episode's own records.
"""

from __future__ import annotations

from collections import deque

from agentrm_models.errors import DataError
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.state import EpisodeState, MisfitError, RunState, apply
from agentrm_tui.ui.recorded_events import Reader, RecordedEvents

TREES_KEPT = 4
"""Ended episodes that hold their trees."""
OUTLINES = 32
"""Outlines over the whole file at most; then every second one is left out."""
NEAR = 64
"""Events between the outlines that are made for single steps back."""
EVENTS_AT_ONCE = 2_000
BYTES_AT_ONCE = 1_500_000
"""Events, and their bytes, that are applied at most before a key can be answered."""


class Timeline:
    """Events, and the state after some of them.

    Attributes:
        events: What was polled, as far as it is sound.
        state: The run after `state.events` events.
        version: Changes whenever `state` does.
        damage: Why there is nothing after the last event; None while all is well.
    """

    def __init__(self, reader: Reader) -> None:
        self.events = RecordedEvents(reader)
        self.state = RunState(trees_kept=TREES_KEPT)
        self.version = 0
        self.damage: DataError | None = None
        self._reader = reader
        self._start = self.state.outline()
        self._far: list[RunState] = []
        self._near: deque[RunState] = deque(maxlen=8)
        self._spacing = 4 * NEAR

    def poll(self) -> bool:
        """Read what is new; whether there is something.

        Raises:
            DataError: Nothing of the file is good.
        """
        if self.damage is not None:
            return False
        try:
            fresh = self._reader.poll()
        except DataError as error:
            if not self.events:
                raise
            self.damage = error
            return False
        if fresh:
            self.events.extend(fresh)
        return bool(fresh)

    @property
    def reading(self) -> bool:
        """Whether a part of the file that is there is still to be read."""
        return self.damage is None and self._reader.behind

    def move(self, goal: int) -> None:
        """Go towards the place after `goal` events, by as many as can be applied at once."""
        position = self.state.events
        nearest = max(
            (made for made in (*self._far, *self._near, self._start) if made.events <= goal),
            key=lambda made: made.events,
        )
        if goal < position or nearest.events > position:
            self.state = nearest.outline()
            self.version += 1
        weight, last = 0, min(goal, self.state.events + EVENTS_AT_ONCE)
        while self.state.events < last and weight < BYTES_AT_ONCE:
            weight += self.events.size(self.state.events)
            if not self._apply():
                return

    def episode(self, name: str) -> EpisodeState | None:
        """An episode with its tree as it stands; None where it has not started."""
        episode = self.state.episodes.get(name)
        if episode is not None and episode.forgotten:
            episode = self._grown(name)
            self.state.remember(episode)
        return episode

    def _apply(self) -> bool:
        """Apply the next event; whether it fits."""
        number = self.state.events
        try:
            event = self.events[number]
            self.episode(event.parent if isinstance(event, ev.EpisodeStarted) else event.episode)
            apply(self.state, event)
        except MisfitError as error:
            self._spoil(number, DataError(f"{self._reader.place(number)}: {error.cause}"))
            return False
        except DataError as error:
            self._spoil(number, error)
            return False
        self.version += 1
        self._outline()
        return True

    def _spoil(self, number: int, error: DataError) -> None:
        """Nothing from this event on is good: forget it, and stand before it."""
        self.damage = error
        self.events.cut(number)
        self._near.clear()
        self._far = [made for made in self._far if made.events <= number]
        self.state = (self._far[-1] if self._far else self._start).outline()
        self.version += 1
        while self.state.events < len(self.events) and self._apply():
            pass

    def _outline(self) -> None:
        position = self.state.events
        if position % NEAR:
            return
        if position % self._spacing == 0 and position > (self._far[-1].events if self._far else 0):
            self._far.append(self.state.outline())
            if len(self._far) > OUTLINES:
                self._spacing *= 2
                self._far = [made for made in self._far if made.events % self._spacing == 0]
        elif all(made.events != position for made in self._near):
            self._near.append(self.state.outline())

    def _grown(self, name: str) -> EpisodeState:
        """An episode as it stands, from its own records and those of the episodes it was forked from."""
        grown = RunState()
        for fork, before in reversed(self._ancestry(name)):
            for number in self.events.numbers_of(fork, before):
                grown.events = number
                apply(grown, self.events[number])
        return grown.episodes[name]

    def _ancestry(self, name: str) -> list[tuple[str, int]]:
        """The episode and those it was forked from, each with the number of events after which it counts."""
        found, before = [(name, self.state.events)], self.state.events
        while parent := self.state.episodes[name].start.parent:
            before = self.state.episodes[name].tree.root.created
            found.append((parent, before))
            name = parent
        return found
