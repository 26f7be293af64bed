"""The engine's process: shared, started again where it was killed, gone after `close` and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import conformance
import pytest
from alfworld_games import needs_extra

from agentrm_tui.environments.alfworld import ALFWorldEnvironment

pytestmark = needs_extra


@pytest.fixture
def env() -> Iterator[ALFWorldEnvironment]:
    environment = ALFWorldEnvironment()
    yield environment
    environment.close()


def _ends(process_id: int, seconds: float = 60.0) -> bool:
    """Whether a process is gone, or dead and not yet reaped, before the time is over."""
    stat, until = Path(f"/proc/{process_id}/stat"), time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if stat.read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
    return False


def test_a_snapshot_outlives_the_process_and_other_games(env: ALFWorldEnvironment) -> None:
    task = env.task("pick_two_obj_and_place-small:6")
    env.reset(task)
    for _ in range(4):
        env.step(env.expert()[1])
    snapshot = env.snapshot()
    future = list(conformance.moves(env, "future"))
    for seed in range(9):
        env.reset(env.task(f"pick_and_place_simple-small:{seed}"))
    env.restore(snapshot)
    assert list(conformance.moves(env, "future")) == future, "after nine other games, more than are kept"
    process = env._running().process_id
    os.kill(process, signal.SIGKILL)
    assert _ends(process)
    engine, until = env._engine, time.monotonic() + 60
    while engine is not None and engine.alive and time.monotonic() < until:  # its other threads may go a moment later
        time.sleep(0.01)
    env.restore(snapshot)
    assert list(conformance.moves(env, "future")) == future and env._running().process_id != process


def test_instances_share_one_process_that_ends_with_the_last() -> None:
    one, other = ALFWorldEnvironment(), ALFWorldEnvironment()
    for each in (one, other):
        each.reset(each.task("pick_and_place_simple-small:0"))
    process = one._running().process_id
    assert process == other._running().process_id
    one.close()
    one.close()
    assert other.step("look").valid
    assert one.reset(one.task("pick_and_place_simple-small:0")) and one._running().process_id == process
    one.close()
    other.close()
    assert _ends(process)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_the_engine_does_not_outlive_a_killed_process() -> None:
    script = (
        "import os, signal\n"
        "from agentrm_tui.environments.alfworld import ALFWorldEnvironment\n"
        "env = ALFWorldEnvironment()\n"
        "env.reset(env.task('pick_and_place_simple-small:0'))\n"
        "print(env._running().process_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert _ends(int(ended.stdout))
