"""A run in this process: models loaded, events to a file and to stdout, stopped by Ctrl-C without losing anything."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from agentrm_models.errors import DataError, InterruptedRun
from agentrm_models.usage import Progress
from agentrm_tui.headless.display import Display, DisplayName, JsonDisplay, NoDisplay, make_display
from agentrm_tui.headless.waits import Waits
from agentrm_tui.runs.control import Directive, Pending, RunFreely, nobody_there
from agentrm_tui.runs.events import AnyEvent, Fault, ModelLoading, Noticed
from agentrm_tui.runs.limits import cut_summary
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import MisfitError, RunState
from agentrm_tui.runs.store import RunReader
from agentrm_tui.standard_streams import tell, write_line


class StopOnSignal(RunFreely):
    """Runs freely until Ctrl-C (or SIGTERM, or a reader that has gone away); then stops at the next token."""

    def __init__(self) -> None:
        self.stopping = False
        self.waits = Waits(tell)

    def before_request(self, pending: Pending) -> Directive | None:
        """Go on, or stop."""
        self._check()
        return None

    def progress(self, progress: Progress) -> None:
        """Go on, or stop; say what holds the run up."""
        self._check()
        if progress.held_up:
            self.waits.tell(progress.held_up)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; the second one stops at once."""
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True
        tell("stopping at the next token; once more stops at once")

    def _check(self) -> None:
        if self.stopping:
            raise InterruptedRun("interrupted", "What was done so far is saved.")


class DataOut:
    """Lines of data to where stdout was; a reader that goes away closes it quietly.

    Raises:
        DataError: It cannot be written, for example because a disk is full.
    """

    def __init__(self, stream: TextIO, gone: Callable[[], None]) -> None:
        self._stream = stream
        self._gone = gone
        self._open = True

    def __call__(self, line: str) -> None:
        """Write one line and flush it."""
        if not self._open:
            return
        try:
            write_line(line, self._stream)
            self._stream.flush()
        except BrokenPipeError:
            self._open = False
            self._gone()
        except OSError as error:
            self._open = False
            reason = f"stdout: cannot be written ({error.strerror or error})"
            raise DataError(reason, "The run file has it all: go on with --resume.") from None


@contextmanager
def only_data_on_stdout() -> Iterator[TextIO]:
    """Give descriptor 1 to diagnostics while libraries may print there, and yield a stream to the real stdout."""
    try:
        ours = sys.stdout.fileno() == 1
    except (OSError, ValueError):
        ours = False
    if not ours:
        yield sys.stdout
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    stream = os.fdopen(kept, "w", encoding="utf-8", errors="replace", closefd=False)
    try:
        yield stream
    finally:
        _flush_quietly(sys.stdout)
        _flush_quietly(stream)
        os.dup2(kept, 1)
        os.close(kept)


def _flush_quietly(stream: TextIO) -> None:
    """Write out what is left, to nowhere where it cannot be written: nothing may remain for the stream's own end."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def run_here(plan: RunPlan, path: Path, display: DisplayName, resume: bool = False, send_key: bool = True) -> RunState:
    """Run a plan to its end, writing its file and showing its events.

    Raises:
        InterruptedRun: Stopped; the file can be resumed.
        AgentRMError: A model or the plan does not work, or every episode failed.
    """
    from agentrm_tui.runs.open_run import open_run

    control = StopOnSignal()
    with only_data_on_stdout() as stream:
        out = DataOut(stream, lambda: setattr(control, "stopping", True))
        with open_run(
            plan, path, resume=resume, on_wait=control.waits.tell, keep_trees=False, send_key=send_key
        ) as opened:
            if opened.policy.traits.interactive:
                raise nobody_there()
            shown = make_display(display, out, terminal=stream.isatty())

            def watch(event: AnyEvent) -> None:
                shown.show(event)
                remark(event)

            try:
                if opened.resumed is not None:
                    show_run(shown, path)
                with _signals(control):
                    state = opened.drive(control, watch)
                if isinstance(shown, JsonDisplay | NoDisplay):
                    for line in cut_summary(state.ledger, plan):
                        tell(f"note: {line}")
                return state
            finally:
                shown.close()


def remark(event: AnyEvent) -> None:
    """Say on stderr what should be seen whatever is shown on stdout: faults, and what models say of themselves."""
    match event:
        case Fault():
            where = f"episode {event.episode}" if event.episode else "run"
            tell(f"{where}: {event.message}")
        case ModelLoading() if event.notice:
            tell(f"note: {event.notice}")
        case Noticed():
            tell(f"{'warning' if event.loud else 'note'}: {event.notice}")
        case _:
            pass


def show_run(shown: Display, path: Path) -> None:
    """Show all events of a run file, read a part at a time; a torn last line is told on stderr.

    Raises:
        DataError: The file is no run, is damaged, or its records do not fit together.
    """
    reader = RunReader(path)
    for number, event in enumerate(reader.read_all()):
        try:
            shown.show(event)
        except MisfitError as error:
            raise DataError(f"{reader.place(number)}: {error.cause}") from None
    if reader.notice:
        tell(reader.notice)
    if not reader.events:
        raise DataError(f"{path}: not a run file of agentrm-tui: it holds no event")


@contextmanager
def _signals(control: StopOnSignal) -> Iterator[None]:
    before = {number: signal.signal(number, control.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
