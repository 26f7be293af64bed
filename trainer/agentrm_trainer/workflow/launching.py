"""Starting a training stage in several processes of this machine, as `sft.processes` and `fit.processes` ask for.

Two processes with a core each wait only for the sum of the gradients, two threads for every single operation. On
several machines or GPUs a launcher does this (see `processes`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.errors import MemoryExhaustedError
from agentrm_models.torch_environment import prepare_torch
from agentrm_trainer.config import Config
from agentrm_trainer.config_view import value_at
from agentrm_trainer.fitting.processes import Processes, launched_processes
from agentrm_trainer.workflow.failures import in_one_line
from agentrm_trainer.workflow.lifeline import end_with_parent
from agentrm_trainer.workflow.plays import forget_models
from agentrm_trainer.workflow.progress import make_display
from agentrm_trainer.workflow.registry import Stage, stage_named
from agentrm_trainer.workflow.workspace import Workspace

GRACE_SECONDS = 3.0
"""How long the other processes may take to leave after one that has stopped or failed."""


def run_here(workspace: Workspace, stage: Stage) -> None:
    """Run one stage in this process, importing only what it needs; nothing is done where it is finished.

    Raises:
        UsageError: A stage before it is not finished or has other settings, or there is earlier work and no `resume`.
    """
    workspace.check_upstream(stage)
    folder = workspace.stage(stage.name)
    processes = Processes(workspace.config.device if stage.processes else "cpu")
    try:
        with in_one_line():
            if not processes.open(workspace, folder):
                stage.function(workspace.seen_by(stage), folder)
    finally:
        forget_models()  # the next stage needs the memory, and may have other weights at the same place


class Sitting(NamedTuple):
    """What every process of a stage is told.

    Attributes:
        processes: How many there are.
        port: Where the first one listens, on loopback.
    """

    stage: str
    config: Config
    out: Path
    resume: bool
    processes: int
    port: int


def processes_for(config: Config, stage: Stage) -> int:
    """In how many processes a stage is to be started from here; 1 where a launcher has started it already."""
    if launched_processes() > 1 or not stage.processes:
        return 1
    return int(value_at(config, stage.processes))


def run_in_processes(workspace: Workspace, stage: Stage, count: int) -> None:
    """Run a training stage in `count` processes, which share the threads; an error of one ends all.

    Raises:
        AgentRMError: What the stage raises; `InterruptedRun` where a person asked to stop.
        MemoryExhaustedError: A process was ended from outside.
    """
    threads = max(1, workspace.config.threads // count)
    config = msgspec.structs.replace(workspace.config, threads=threads)
    sitting = Sitting(stage.name, config, workspace.out, workspace.resume, count, _free_port())
    prepare_torch()
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)
    try:
        _follow(workspace, [pool.submit(_take_part, sitting, index) for index in range(count)])
    except BrokenProcessPool:
        workspace.check_stop()
        raise MemoryExhaustedError(
            f"a process of {stage.name} was ended from outside, as happens when memory runs out", "Use fewer processes."
        ) from None
    finally:
        _dismiss(pool)


def _dismiss(pool: ProcessPoolExecutor) -> None:
    """Let the processes leave, and tidy up; one that still waits for another that failed is ended."""
    children = multiprocessing.active_children()

    def end_all() -> None:
        for child in children:
            child.kill()

    timer = threading.Timer(GRACE_SECONDS, end_all)
    timer.start()
    try:
        pool.shutdown(cancel_futures=True)
    finally:
        timer.cancel()
        end_all()


def _follow(workspace: Workspace, running: list[Future[None]]) -> None:
    """Wait for all processes, and hand on the wish to stop once."""
    told = False
    while True:
        done, waiting = wait(running, timeout=0.5, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        if not waiting:
            return
        if workspace.stopping and not told:
            told = True
            for child in multiprocessing.active_children():
                child.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _take_part(sitting: Sitting, index: int) -> None:
    """One process's part of the stage."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    place = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": sitting.processes, "LOCAL_WORLD_SIZE": sitting.processes}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(sitting.port)})
    # Where this is not set, accelerate takes one thread whatever the settings say, and warns.
    os.environ.setdefault("OMP_NUM_THREADS", str(sitting.config.threads))
    workspace = Workspace(sitting.config, sitting.out, make_display(), sitting.resume)
    try:
        with workspace.catching_signals():
            # The parent alone answers Ctrl-C, and hands it on as SIGTERM.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            run_here(workspace, stage_named(sitting.stage))
    finally:
        # Who is through waits to be dismissed: the wish to stop concerns it no more.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
