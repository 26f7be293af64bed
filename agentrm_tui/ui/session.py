"""One run on the screen: its file, the engine that drives it (if any), and what applies to it now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from textual.message import Message

from agentrm_models.errors import DataError
from agentrm_tui.engine.commands import Command, Pause, Phase, Resume, Status, Step
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.written import is_written
from agentrm_tui.search.tree import NodeId
from agentrm_tui.ui.catalog import Offer
from agentrm_tui.ui.feed import Feed, Snapshot
from agentrm_tui.ui.recorded_events import Reader

LOOK_SECONDS = 1.0
"""Between two looks at whether a run that is watched is still written."""
PATIENCE = 2.0
"""Seconds that an engine has for its last words."""


class Link(Protocol):
    """The engine as the screen sees it; `agentrm_tui.engine.link.EngineLink` is one."""

    @property
    def run_path(self) -> Path:
        """The run file that the engine writes."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the engine's process runs."""
        ...

    def send(self, command: Command) -> None:
        """Send a command; the engine answers through the run file."""
        ...

    def status(self) -> Status | None:
        """The latest status, without waiting."""
        ...

    def exit_notice(self) -> str:
        """The last lines of a dead engine's log."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait until the engine has ended, at most so long; whether it has."""
        ...

    def close(self) -> None:
        """End the engine's process and free it."""
        ...


class Surroundings(NamedTuple):
    """What the app needs from outside; tests give fakes.

    Attributes:
        open_run: Opens a run file for reading.
        start_engine: Starts an engine on a plan, going on with a run file if one is given; paused if so asked, and
            whether servers that the plan names may be sent a key.
        describe: Tells what an environment offers, without importing it here.
        clock: Wall-clock seconds.
        runs_folder: Where run files lie.
        memory: File with the launcher's last choice.
    """

    open_run: Callable[[Path], Reader]
    start_engine: Callable[[RunPlan, Path | None, bool, bool], Link]
    describe: Callable[[str], Awaitable[Offer]]
    clock: Callable[[], float]
    runs_folder: Path
    memory: Path


class Left(Message):
    """The person leaves the run on the screen."""


class EngineWanted(Message):
    """An engine should go on with the file of the run on the screen."""


class Unreadable(Message):
    """Nothing of the run file on the screen is good."""

    def __init__(self, error: DataError) -> None:
        self.error = error
        super().__init__()


class Facts(NamedTuple):
    """What decides which actions apply now.

    Attributes:
        live: An engine runs for this run.
        dead: Whoever drove the run ended before it did.
        ended: The episode has ended and the engine waits, so that one can still go back.
        over: So it is, and no other episode waits to be gone on with.
        unfinished: The run did not come to its end, so an engine could go on with its file.
        selected: A node is selected by the person; `pruned` if it was cut.
        several: There is more than one episode.
        grown: There is an episode, and so at least a root node.
        reasoned: The policy reasoned before one of its replies.
    """

    live: bool = False
    dead: bool = False
    replay: bool = False
    paused: bool = False
    finished: bool = False
    ended: bool = False
    over: bool = False
    unfinished: bool = False
    playing: bool = False
    selected: bool = False
    pruned: bool = False
    several: bool = False
    grown: bool = False
    reasoned: bool = False


def waits_at_end(status: Status | None) -> bool:
    """Whether the engine waits after the last step of an episode."""
    return status is not None and status.phase == "ended"


def end_engine(link: Link, over: bool) -> None:
    """End an engine; one that has nothing left to do first writes that the run has finished."""
    if over and link.alive and waits_at_end(link.status()):
        link.send(Resume())
        link.wait(PATIENCE)
    link.close()


class Session:
    """A run file and the engine that writes it, if this screen started one.

    Args:
        path: The run file.
        surroundings: Reader, engine and clock.
        follow: Stay at the end as the file grows (live and attached runs).
        link: The engine; None for replay and attach.
        plan: What was asked for, to start a dead engine again.
        going: Whether the person wants the run to go on by itself; a step in flight does not count.
        send_key: Whether servers of the plan may be sent a key; None where nobody was asked.
    """

    def __init__(
        self,
        path: Path,
        surroundings: Surroundings,
        *,
        follow: bool,
        link: Link | None = None,
        plan: RunPlan | None = None,
        going: bool = True,
        send_key: bool | None = None,
    ) -> None:
        self.path = path
        self.link = link
        self.plan = plan
        self.going = going
        self.send_key = send_key
        self.feed = Feed(surroundings.open_run(path), surroundings.clock, follow=follow)
        self._clock = surroundings.clock
        self._looked = -LOOK_SECONDS
        self._left = False

    def _look_for_a_writer(self) -> None:
        """Notice, once a second, that nobody writes any more; whoever goes on with the file is noticed too."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._left = is_written(self.path) is False

    @property
    def replay(self) -> bool:
        """Whether this is a recording that one can move in."""
        return not self.feed.follow

    @property
    def live(self) -> bool:
        """Whether an engine takes commands."""
        return self.link is not None and self.link.alive

    @property
    def dead(self) -> bool:
        """Whether whoever drove the run ended before it did: this screen's engine, or another one that is watched."""
        if self.feed.state.finished is not None or self.replay:
            return False
        if self.link is None:
            return self._left and not self.feed.behind
        return not self.link.alive

    @property
    def over(self) -> bool:
        """Whether the engine waits after the last step of the last episode: it has nothing left to do."""
        waits = self.link is not None and self.live and waits_at_end(self.link.status())
        return waits and not self.feed.state.waiting()

    def poll(self) -> Snapshot:
        """Read what is new. Raises `DataError` for a file that is not a run."""
        status = self.link.status() if self.link is not None else None
        if self.link is None and self.feed.follow:
            self._look_for_a_writer()
        if self.feed.follow and self.feed.state.finished is not None and not self.live and not self.feed.behind:
            self.feed.follow = False  # nobody writes any more: from now on it is a recording
        return self.feed.poll(status, running=self.phase(status) in ("running", "loading", "starting"))

    def phase(self, status: Status | None) -> Phase:
        """The phase to show: the engine's own, or what the file tells."""
        if self.feed.state.finished is not None:
            return "finished"
        if self.dead:
            return "failed"
        if self.link is None:
            return "running" if self.feed.follow else "paused"
        return status.phase if status is not None else "starting"

    def facts(self, snapshot: Snapshot, episode: str, selected: NodeId | None) -> Facts:
        """What applies now, for the action registry."""
        state = snapshot.state
        shown = state.episodes.get(episode)
        node = shown.tree.nodes.get(selected) if shown is not None and selected is not None else None
        return Facts(
            live=self.live,
            dead=self.dead,
            replay=self.replay,
            paused=self.phase(snapshot.status) in ("paused", "waiting", "ended"),
            finished=state.finished is not None,
            ended=waits_at_end(snapshot.status) and self.live,
            over=self.over,
            unfinished=not self._at_its_end(),
            playing=self.feed.playing,
            selected=node is not None,
            pruned=node is not None and bool(node.pruned),
            several=len(state.episodes) > 1,
            grown=shown is not None,
            reasoned=shown is not None and any(each.reasoning for each in shown.tree),
        )

    def _at_its_end(self) -> bool:
        last = self.feed.final_event
        return isinstance(last, ev.RunFinished) and last.reason == "finished"

    def send(self, *commands: Command) -> None:
        """Send commands to the engine, if there is one."""
        if self.link is not None and self.link.alive:
            for command in commands:
                if isinstance(command, Resume | Pause | Step):
                    self.going = isinstance(command, Resume)
                self.link.send(command)
