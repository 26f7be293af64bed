"""Commands meet the search: a queue filled by one thread, and hooks in which the thread of the search obeys it.

Commands are obeyed in the order in which they came, at the next token or request.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from agentrm_models.errors import InterruptedRun
from agentrm_models.usage import Progress
from agentrm_tui.engine.commands import (
    Command,
    Fork,
    Override,
    Pause,
    Phase,
    Resume,
    Rewind,
    Status,
    Step,
    Stop,
    Unprune,
)
from agentrm_tui.runs.control import CallAbandoned, Directive, ForkAt, KeepNode, Pending, PlayMove, RewindTo
from agentrm_tui.search.requests import Act, Backpropagate, Choose, Propose, Prune, Request, Score
from agentrm_tui.search.tree import NodeId


class EngineControl:
    """The control of a run that a person may pause, step and change.

    Args:
        post: Takes each status; must return at once.
        paused: Wait before the first request.
        wait_at_end: Pause when an episode has ended, so that a person can still go back.
        clock: Wall-clock seconds, for `Status.since`.
    """

    def __init__(
        self,
        post: Callable[[Status], None],
        paused: bool = False,
        wait_at_end: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._post = post
        self._clock = clock
        self._commands: deque[Command] = deque()
        self._arrived = threading.Condition()
        self._paused = paused
        self._wait_at_end = wait_at_end
        self._step: Step | None = None
        self._in_flight: Request | None = None
        self._status = Status("starting", since=clock())

    def put(self, command: Command) -> None:
        """Queue a command; called from another thread."""
        with self._arrived:
            self._commands.append(command)
            self._arrived.notify_all()

    def report(self, phase: Phase, what: str = "") -> None:
        """Post a status that belongs to no request: loading, finished, failed. Raises `InterruptedRun` on `Stop`."""
        self._show(Status(phase, what, since=self._clock()))
        if phase == "loading" and any(isinstance(command, Stop) for command in tuple(self._commands)):
            raise InterruptedRun("stopped while loading")

    def before_request(self, pending: Pending) -> Directive | None:
        """Wait while paused; hand over what a person wants changed, or None to go on."""
        self._pause_after_step()
        directive = self._obey(lambda: self._describe("paused", pending, with_actions=True))
        self._show(self._describe("running", pending))
        if directive is None:
            self._in_flight = pending.request
        return directive

    def await_move(self, pending: Pending) -> Directive:
        """Wait for a person's move (or rewind, fork, un-prune), whether paused or not."""
        waiting = self._describe("waiting", pending, with_actions=True)
        while True:
            self._show(waiting)
            self._wait_for_command()
            directive = self._take()
            if directive is not None:
                self._show(self._describe("running", pending))
                return directive

    def progress(self, progress: Progress) -> None:
        """Between two tokens: show how far the call is, pause in it, or give it up for a person's directive."""
        status = self._status
        since = status.since if status.phase == "running" else self._clock()
        running = Status(
            "running", progress.what, progress.done, progress.total, since, status.episode, status.request, status.nodes
        )
        self._show(running)
        if not self._commands:
            return
        directive = self._obey(lambda: _with_phase(running, "paused", self._clock()))
        if directive is not None:
            with self._arrived:
                self._commands.appendleft(_to_command(directive))
            self._in_flight = None
            raise CallAbandoned("a person steps in")
        self._show(running)

    def after_episode(self, episode: str) -> Directive | None:
        """An episode has ended: a step ends here too, and a paused engine waits, so that one can still go back."""
        stepped = self._step is not None and self._in_flight is not None
        self._in_flight = None
        if stepped or self._wait_at_end:
            self._pause()
        return self._obey(lambda: Status("ended", since=self._clock(), episode=episode))

    def _obey(self, describe_pause: Callable[[], Status]) -> Directive | None:
        """Carry out queued commands; return at the first directive, or when there is nothing left to wait for."""
        shown = False
        while True:
            while self._commands:
                directive = self._take()
                if directive is not None:
                    return directive
            if not self._paused:
                return None
            if not shown:
                self._show(describe_pause())
                shown = True
            self._wait_for_command()

    def _take(self) -> Directive | None:
        """Take the oldest command: change the mode of running, or translate it for the runner."""
        with self._arrived:
            command = self._commands.popleft()
        match command:
            case Pause():
                self._pause()
            case Resume():
                self._paused, self._step = False, None
            case Step():
                self._paused, self._step = False, command
            case Override(node, reply, episode):
                return PlayMove(node, reply, episode)
            case Rewind(to, episode):
                self._pause()
                return RewindTo(to, episode)
            case Unprune(node, episode):
                self._pause()
                return KeepNode(node, episode)
            case Fork(to, episode):
                self._pause()
                return ForkAt(to, episode)
            case Stop():
                raise InterruptedRun("stopped")
        return None

    def _pause(self) -> None:
        self._paused, self._step = True, None

    def _pause_after_step(self) -> None:
        """End a step when what it waited for has been answered."""
        answered, self._in_flight = self._in_flight, None
        if self._step is None or answered is None:
            return
        if self._step.until == "request" or isinstance(answered, Act):
            self._pause()

    def _wait_for_command(self) -> None:
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._commands))

    def _show(self, status: Status) -> None:
        self._status = status
        self._post(status)

    def _describe(self, phase: Phase, pending: Pending, with_actions: bool = False) -> Status:
        request = pending.request
        nodes = request_nodes(request)
        asks = with_actions and isinstance(request, Propose)
        actions = {node: offered for node in nodes if (offered := pending.valid_actions(node))} if asks else {}
        what = "your move" if phase == "waiting" else ""
        return Status(
            phase,
            what,
            since=self._clock(),
            episode=pending.episode,
            request=type(request).__name__.lower(),
            nodes=nodes,
            actions=actions,
        )


def request_nodes(request: Request) -> tuple[NodeId, ...]:
    """The nodes that a request is about, in its order."""
    match request:
        case Propose(nodes=nodes) | Act(nodes=nodes) | Prune(nodes=nodes):
            return nodes
        case Score(groups):
            return tuple(node for group in groups for node in group)
        case Choose(node=node):
            return (node,)
        case Backpropagate(path=path):
            return path


def _to_command(directive: Directive) -> Command:
    """The command that a directive came from, to be taken again at the request."""
    match directive:
        case PlayMove(node, reply, episode):
            return Override(node, reply, episode)
        case RewindTo(to, episode):
            return Rewind(to, episode)
        case KeepNode(node, episode):
            return Unprune(node, episode)
        case ForkAt(to, episode):
            return Fork(to, episode)


def _with_phase(status: Status, phase: Phase, since: float) -> Status:
    return Status(phase, status.what, status.done, status.total, since, status.episode, status.request, status.nodes)
