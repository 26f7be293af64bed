"""The events of the run on the screen: a sequence that keeps a few facts of each event and reads the rest again."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Protocol, overload

from agentrm_tui.runs import events as ev

_OF_RUN, _OF_EPISODE, _ACTED = 0, 1, 2


class Reader(Protocol):
    """Reads a run file that may still grow."""

    def poll(self) -> list[ev.AnyEvent]:
        """The events that were appended since the last call, or some of them (then it is `behind`)."""
        ...

    @property
    def behind(self) -> bool:
        """Whether the last poll left something unread."""
        ...

    @property
    def share(self) -> float:
        """How much of the file is read, in [0, 1]."""
        ...

    @property
    def notice(self) -> str:
        """A line about a torn end of the file; empty while all is well."""
        ...

    def place(self, number: int) -> str:
        """Where event `number` stands, for messages."""
        ...

    def size(self, number: int) -> int:
        """Bytes of event `number`."""
        ...

    def read(self, number: int) -> ev.AnyEvent:
        """Event `number`, which was polled before."""
        ...


class RecordedEvents(Sequence[ev.AnyEvent]):
    """Whether an event acted, and its episode, in 5 bytes each; only the events polled last are held themselves."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kinds = bytearray()
        self._owners = array("i")
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._first, self._last = array("q"), array("q")
        self._held: tuple[int, list[ev.AnyEvent]] = (0, [])

    def extend(self, fresh: list[ev.AnyEvent]) -> None:
        """Take what was polled."""
        self._held = (len(self), fresh)
        for event in fresh:
            number, owner = len(self._kinds), -1
            if event.episode:
                owner = self._numbers.setdefault(event.episode, len(self._names))
                if owner == len(self._names):
                    self._names.append(event.episode)
                    self._first.append(number)
                    self._last.append(number)
                self._last[owner] = number
            self._owners.append(owner)
            self._kinds.append(_ACTED if isinstance(event, ev.Acted) else _OF_EPISODE if event.episode else _OF_RUN)

    def cut(self, length: int) -> None:
        """Leave out all from event number `length` on, which are damaged."""
        del self._kinds[length:], self._owners[length:]
        started = max(self._owners, default=-1) + 1
        for name in self._names[started:]:
            del self._numbers[name]
        del self._names[started:], self._first[started:], self._last[started:]
        for number, owner in enumerate(self._owners):
            if owner >= 0:
                self._last[owner] = number

    def __len__(self) -> int:
        return len(self._kinds)

    @overload
    def __getitem__(self, index: int) -> ev.AnyEvent: ...

    @overload
    def __getitem__(self, index: slice) -> list[ev.AnyEvent]: ...

    def __getitem__(self, index: int | slice) -> ev.AnyEvent | list[ev.AnyEvent]:
        """One event or several, read from the file where they are no longer held."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        start, held = self._held
        return held[number - start] if 0 <= number - start < len(held) else self._reader.read(number)

    def size(self, number: int) -> int:
        """Bytes of event `number`."""
        return self._reader.size(number)

    def beside(self, position: int, direction: int, *, acted: bool = False) -> int:
        """The place after the next (1) or previous (-1) event of the episode at `position`.

        Beyond its ends lie the next episode's start and the previous one's end, in the order in which they started,
        and at last those of the file: episodes that were played at once are gone through one after another.

        Args:
            acted: Only environment steps count.
        """
        name = self.episode_at(position)
        if not name and not (acted and direction > 0 and self._names):
            return max(0, min(len(self), position + direction))
        here = self._numbers.get(name, 0)
        forward, back = range(position, self._last[here] + 1), range(position - 2, self._first[here] - 1, -1)
        for number in forward if direction > 0 else back:
            if self._owners[number] == here and (not acted or self._kinds[number] == _ACTED):
                return number + 1
        if direction > 0:
            return self._first[here + 1] + 1 if here + 1 < len(self._names) else len(self)
        return self._last[here - 1] + 1 if here else 0 if acted else self._first[here]

    def episode_at(self, position: int) -> str:
        """The episode of the last event before `position` that has one; empty where there is none."""
        number = max(self._kinds.rfind(kind, 0, position) for kind in (_OF_EPISODE, _ACTED))
        return self._names[self._owners[number]] if number >= 0 else ""

    def episode_end_beside(self, position: int, by: int) -> int | None:
        """The place after the last event of the episode `by` after the one at `position`; None without episodes."""
        if not self._names:
            return None
        here = self._numbers.get(self.episode_at(position), 0)
        return self._last[max(0, min(len(self._names) - 1, here + by))] + 1

    def numbers_of(self, episode: str, before: int) -> Iterator[int]:
        """Numbers of the events of an episode, of those before number `before`."""
        owner = self._numbers[episode]
        for number in range(self._first[owner], min(before, self._last[owner] + 1)):
            if self._owners[number] == owner:
                yield number
