"""Progress with time left: a bar in a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from agentrm_models.terminal_text import one_line, printable_line
from agentrm_tui.standard_streams import drawing_stream, write_line


class Task(Protocol):
    """A piece of work whose end is known as a share."""

    def update(self, share: float, note: str = "") -> None:
        """Say how much is done (0 to 1) and what is worth knowing now."""
        ...


class Display(Protocol):
    """Shows what the pipeline is doing."""

    def say(self, line: str) -> None:
        """Show one line that stays."""
        ...

    def task(self, name: str) -> AbstractContextManager[Task]:
        """Begin a piece of work; used in a `with` statement."""
        ...


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole % 60:02d} s"


def time_left(share: float, elapsed: float) -> str:
    """The time a piece of work still needs at its speed so far."""
    return f"{duration(elapsed * (1 - share) / share)} left" if share > 0.005 else "time left unknown yet"


class PlainDisplay:
    """Lines without control characters, at most one every `every` seconds for each piece of work."""

    def __init__(
        self, stream: TextIO | None = None, every: float = 15.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._every = every
        self._clock = clock

    def say(self, line: str) -> None:
        """Print one line."""
        write_line(line, self._stream)
        self._stream.flush()

    @contextmanager
    def task(self, name: str) -> Iterator[Task]:
        """Print progress lines for a piece of work."""
        yield _PlainTask(self, name, self._every, self._clock)


class _PlainTask:
    def __init__(self, display: PlainDisplay, name: str, every: float, clock: Callable[[], float]) -> None:
        self._display, self._name, self._every, self._clock = display, name, every, clock
        self._began = self._last = clock()
        self._first: float | None = None

    def update(self, share: float, note: str = "") -> None:
        """Print a line when the last one is old enough, or the work is done."""
        now = self._clock()
        if self._first is None:
            self._first = share
        if share < 1 and now - self._last < self._every:
            return
        self._last = now
        gone = (share - self._first) / (1 - self._first) if self._first < 1 else 1.0
        self._display.say(f"{self._name}: {share:4.0%}, {time_left(gone, now - self._began)}. {note}".rstrip(". "))


class RichDisplay:
    """A bar with time left, for terminals."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=drawing_stream())

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self._console.print(printable_line(line), markup=False, highlight=False)

    @contextmanager
    def task(self, name: str) -> Iterator[Task]:
        """Show a bar until the work ends."""
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self._console) as bar:
            yield _RichTask(bar, bar.add_task(one_line(name), total=1.0, note=""))


class _RichTask:
    def __init__(self, bar: object, number: int) -> None:
        self._bar, self._number = bar, number

    def update(self, share: float, note: str = "") -> None:
        """Move the bar."""
        from rich.progress import Progress, TaskID

        assert isinstance(self._bar, Progress)
        self._bar.update(TaskID(self._number), completed=share, note=one_line(note))


class MutedDisplay:
    """Shows nothing: for processes beside the one that speaks."""

    def say(self, line: str) -> None:
        """Say nothing."""

    @contextmanager
    def task(self, name: str) -> Iterator[Task]:
        """A piece of work that nobody watches."""
        yield _MutedTask()


class _MutedTask:
    def update(self, share: float, note: str = "") -> None:
        """Show nothing."""


def make_display() -> Display:
    """A bar on a terminal, plain lines otherwise."""
    return RichDisplay() if sys.stderr.isatty() else PlainDisplay()
