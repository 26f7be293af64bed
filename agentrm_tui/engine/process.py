"""The engine: loads models and environments, drives the run, writes its file, and listens to its link.

Nothing is written to the run file before the plan has been found to work; what stops it then reaches the link as a
`Failure`, and the log as a traceback where only a bug can be the reason.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, TypeVar

from agentrm_models.errors import AgentRMError, DataError, InterruptedRun, MemoryExhaustedError, UsageError
from agentrm_tui.engine.commands import Stop
from agentrm_tui.engine.control import EngineControl
from agentrm_tui.engine.status import StatusSender
from agentrm_tui.engine.wire import Failure, LineBuffer, Start, decode_to_engine
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.events import AnyEvent, ModelLoading
from agentrm_tui.runs.opening import plan_of
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import RunWriter, load_state

if TYPE_CHECKING:
    from agentrm_models.policies.base import Policy
    from agentrm_models.rewards.base import RewardModel

Loaded = TypeVar("Loaded", "Policy", "RewardModel", Environment)

PATIENCE = 5.0
"""Seconds that a call which cannot be interrupted has left, once the link said stop or went away."""

_FIXED_BY_A_RUN = ("environment", "tasks", "search", "temperature", "top_p", "max_tokens", "max_steps", "seed")
"""What must not change when a run is gone on with; models may move, devices and threads may differ."""


def serve(descriptor: int) -> int:
    """Be the engine of the link at the other end of an inherited socket; returns the exit code."""
    faulthandler.enable()
    with socket.socket(fileno=descriptor) as connection:
        lines = read_lines(connection)
        start = decode_to_engine(next(lines, b"null"))
        if not isinstance(start, Start):
            raise TypeError(f"an engine must be told what to start first, not {start}")
        sender = StatusSender(connection)
        control = EngineControl(sender.post, start.paused, start.wait_at_end)
        threading.Thread(target=_listen, args=(lines, control), name="commands", daemon=True).start()
        failure = run_reporting(start, control)
        sender.close(failure)
        _exit_after(PATIENCE, failure.exit_code if failure else 0)
        connection.shutdown(socket.SHUT_RDWR)
    return failure.exit_code if failure else 0


def read_lines(connection: socket.socket) -> Iterator[bytes]:
    """The lines that come over a connection, until the other end closes it."""
    buffer = LineBuffer()
    while data := _receive(connection):
        yield from buffer.feed(data)


def run_reporting(start: Start, control: EngineControl) -> Failure | None:
    """Run what a link asked for; say as a status how it ended, and return the failure if it failed."""
    try:
        control.report("starting")
        state = run(start, control)
    except InterruptedRun:
        control.report("finished", "stopped")
        return None
    except AgentRMError as error:
        failure = Failure(error.cause, error.remedy, error.exit_code)
    except MemoryError:
        failure = Failure("no memory left", "Use a smaller model or beam.", MemoryExhaustedError.exit_code)
    except Exception as error:
        traceback.print_exc()
        failure = Failure(f"the engine failed by {type(error).__name__}: {error}", "", 1)
    else:
        finished = state.finished
        if finished is None or finished.reason != "failed":
            control.report("finished")
            return None
        fault = state.faults[-1]
        failure = Failure(fault.message, fault.remedy, 1)
    control.report("failed", failure.cause)
    return failure


def run(start: Start, control: EngineControl) -> RunState:
    """Load what the plan names, then drive the run; its file is begun or gone on with."""
    plan, path = start.plan, Path(start.run_path)
    resumed = open_run(plan, path, start.resume)
    loading: list[ModelLoading] = []
    with ExitStack() as stack, closing(RunWriter(path)) as writer:

        def emit(event: AnyEvent) -> None:
            writer.append(event)

        first = _load(control, loading, "environment", plan.environment, lambda: make_environment(plan.environment))
        stack.callback(first.close)
        spare = [first]
        for task in plan.tasks:
            first.task(task)
        policy, reward = load_models(plan, control, loading, stack)
        return run_plan(
            plan,
            policy=policy,
            reward=reward,
            emit=emit,
            control=control,
            resume=resumed,
            loading=loading,
            environments=lambda name: spare.pop() if spare else make_environment(name),
        )


def load_models(
    plan: RunPlan, control: EngineControl, loading: list[ModelLoading], stack: ExitStack
) -> tuple[Policy, RewardModel | None]:
    """Load policy and reward model, after both specs were read, so that a misspelt one is found at once."""
    from agentrm_models.specs import load_policy, load_reward, parse_spec

    parse_spec(plan.policy, "policy")
    if plan.reward:
        parse_spec(plan.reward, "reward")
    device, threads, limit, code = plan.device, plan.threads, plan.cache_bytes, plan.trust_remote_code

    def policy_of(spec: str) -> Policy:
        return load_policy(spec, device=device, threads=threads, cache_bytes=limit, trust_remote_code=code)

    def reward_of(spec: str) -> RewardModel:
        return load_reward(spec, device=device, threads=threads, cache_bytes=limit, trust_remote_code=code)

    policy = _load(control, loading, "policy", plan.policy, lambda: policy_of(plan.policy))
    stack.callback(policy.close)
    if not plan.reward:
        return policy, None
    reward = _load(control, loading, "reward", plan.reward, lambda: reward_of(plan.reward))
    stack.callback(reward.close)
    return policy, reward


def open_run(plan: RunPlan, path: Path, resume: bool) -> RunState | None:
    """The state to go on from; None for a fresh file, and for one whose engine ended before its first event.

    Raises:
        DataError: There is a run in the file and nobody asked to go on with it, or the file is no run.
        UsageError: The run in the file was made by another plan.
    """
    if not path.exists() or not path.stat().st_size:
        return None
    if not resume:
        raise DataError(f"{path} exists already", "Resume it, or write to another file.")
    state = load_state(path)
    recorded = plan_of(state.run) if state.run else plan
    changed = [name for name in _FIXED_BY_A_RUN if getattr(recorded, name) != getattr(plan, name)]
    if changed:
        raise UsageError(f"{path} was made by another plan: {', '.join(changed)} cannot be changed when it is resumed")
    return state


def _load(
    control: EngineControl,
    loading: list[ModelLoading],
    what: Literal["policy", "reward", "environment"],
    name: str,
    load: Callable[[], Loaded],
) -> Loaded:
    """Load one thing, saying so before and how long it took after."""
    control.report("loading", f"{what} {name}")
    began = perf_counter()
    loaded = load()
    milliseconds = round((perf_counter() - began) * 1e3, 1)
    loading.append(ModelLoading(what=what, name=name, milliseconds=milliseconds))
    control.report("loading", f"{what} {name}")
    return loaded


def _listen(lines: Iterator[bytes], control: EngineControl) -> None:
    """Queue commands as they come; a link that is gone means stop."""
    with suppress(OSError):
        for line in lines:
            command = decode_to_engine(line)
            if isinstance(command, Start):
                raise TypeError("an engine starts once")
            control.put(command)
            if isinstance(command, Stop):
                _exit_after(PATIENCE, InterruptedRun.exit_code)
    control.put(Stop())
    _exit_after(PATIENCE, InterruptedRun.exit_code)


def _exit_after(seconds: float, code: int) -> None:
    """End the process by force later, if it has not ended by itself; the run file is whole after every event."""

    def leave() -> None:
        print(f"still busy after {seconds:g} s: leaving by force", file=sys.stderr, flush=True)
        os._exit(code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""
