"""The command `serve`: binds a port, loads the models, and answers until a signal ends it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import sleep, time
from types import FrameType
from typing import NamedTuple

import uvicorn

from agentrm_models.errors import UsageError
from agentrm_models.policies.base import Decoding, PolicyTraits
from agentrm_models.terminal_text import one_line
from agentrm_tui.environments.served import ServedConversations
from agentrm_tui.headless.display import DisplayName, make_display
from agentrm_tui.headless.running import DataOut, only_data_on_stdout, remark
from agentrm_tui.headless.waits import Waits
from agentrm_tui.runs.batch import AUTOMATIC_PARALLEL
from agentrm_tui.runs.events import AnyEvent
from agentrm_tui.runs.open_run import OpenRun, open_run
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.serve.access import Access
from agentrm_tui.serve.chat_request import Defaults
from agentrm_tui.serve.line import Line
from agentrm_tui.serve.rounds import RoundControl, Rounds
from agentrm_tui.serve.web import Front, make_app
from agentrm_tui.standard_streams import tell

CONNECTIONS = 1_024
"""Connections at once; further ones are refused."""

ENDING_SECONDS = 5
"""Seconds for answers that are on their way when the endpoint ends."""


class Endpoint(NamedTuple):
    """Where and how to serve.

    Attributes:
        name: The model's name for clients; empty for the policy's spec.
        samples: Replies sampled for each answer, unless a request says otherwise.
        room: Requests that may wait.
        idle: Seconds after which a conversation that nobody continues has ended.
    """

    host: str
    port: int
    access: Access
    name: str = ""
    samples: int = 5
    room: int = 256
    idle: float = 600.0


def serve(plan: RunPlan, path: Path, endpoint: Endpoint, display: DisplayName = "plain") -> None:
    """Serve until SIGINT or SIGTERM; then the run is finished and the file complete.

    Raises:
        UsageError: The port cannot be bound, or the policy cannot talk with clients.
        AgentRMError: A model cannot be loaded, or the run file cannot be written.
    """
    waits = Waits(tell)
    control = RoundControl(waits.tell)
    with (
        only_data_on_stdout() as stream,
        closing(bind(endpoint.host, endpoint.port)) as bound,
        open_run(plan, path, on_wait=waits.tell, keep_trees=False, environments=_served) as opened,
        _signals(control),
    ):
        _check(opened.policy.traits, plan.policy)
        shown = make_display(display, DataOut(stream, lambda: None), terminal=False)

        def watch(event: AnyEvent) -> None:
            shown.show(event)
            remark(event)

        answer(opened, bound, endpoint, control, watch, lambda: _announce(bound, path, endpoint))


def answer(
    opened: OpenRun,
    bound: socket.socket,
    endpoint: Endpoint,
    control: RoundControl,
    watch: Callable[[AnyEvent], None],
    ready: Callable[[], None],
) -> None:
    """Answer requests that reach a socket, until the control stops; the models are used in this thread alone.

    Args:
        ready: Called once connections are taken.

    Raises:
        AgentRMError: The run file cannot be written.
    """
    width = opened.plan.parallel or AUTOMATIC_PARALLEL
    line = Line(endpoint.room, width)
    rounds = Rounds(opened, line, control=control, width=width, idle=endpoint.idle, watch=watch)
    rounds.begin()
    with _listening(_front(opened, line, endpoint), bound):
        ready()
        rounds.run()


def _served(name: str) -> ServedConversations:
    return ServedConversations()


def _check(policy: PolicyTraits, spec: str) -> None:
    if policy.interactive or policy.wants_expert or policy.wants_valid_actions:
        what = "a person at a screen" if policy.interactive else "an environment"
        raise UsageError(f"policy {spec[:80]!r} needs {what}, which serve does not have", "Choose a language model.")


def _front(opened: OpenRun, line: Line, endpoint: Endpoint) -> Front:
    plan = opened.plan
    decoding = Decoding(plan.temperature, plan.top_p, plan.max_tokens, plan.reasoning_tokens)
    defaults = Defaults(endpoint.name or plan.policy, endpoint.samples, decoding)
    return Front(line, endpoint.access, defaults, opened.policy.traits.digest, int(time()))


def bind(host: str, port: int) -> socket.socket:
    """A socket on a port; port 0 is any that is free.

    Raises:
        UsageError: The host is not this machine's, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {host[:80]} port {port} ({reason})", "Choose another --port or --host."
        ) from None
    return bound


@contextmanager
def _listening(front: Front, bound: socket.socket) -> Iterator[None]:
    """A thread with the HTTP server, for the length of the block."""
    config = uvicorn.Config(
        make_app(front),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=ENDING_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]}, name="http", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        sleep(0.01)
    if not server.started:
        raise UsageError("the HTTP server could not be started", "Choose another --port or --host.")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(2 * ENDING_SECONDS)


@contextmanager
def _signals(control: RoundControl) -> Iterator[None]:
    """End cleanly at the first signal, at once at the second."""

    def stop(number: int, frame: FrameType | None) -> None:
        if control.stopping:
            raise KeyboardInterrupt
        control.stopping = True
        with suppress(RuntimeError):
            tell("ending; once more ends at once")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(bound: socket.socket, path: Path, endpoint: Endpoint) -> None:
    """Say where it is; the key is not shown."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    keyed = ", a key is needed" if endpoint.access.key else ""
    tell(f"serving http://{shown}:{port}/v1{keyed}")
    tell(f"watch it: agentrm-tui attach {one_line(str(path))}")
