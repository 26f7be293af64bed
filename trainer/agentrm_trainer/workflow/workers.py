"""Chunks of work in several processes; each result is a file, so that a stop loses at most what is in flight."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from agentrm_models.errors import MemoryExhaustedError
from agentrm_trainer.workflow.failures import in_one_line
from agentrm_trainer.workflow.lifeline import end_with_parent
from agentrm_trainer.workflow.workspace import Workspace

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_chunks(
    workspace: Workspace, jobs: Iterable[Job], work: Callable[[Job], Result], processes: int
) -> Iterator[tuple[Job, Result]]:
    """Do each job and yield it with its result as it finishes; in this process when one process is asked for.

    Jobs are taken from the iterable only when a process is free, so that it may end by a budget of time.

    Raises:
        InterruptedRun: A person asked to stop; jobs in flight are given up.
    """
    if processes == 1:
        for job in jobs:
            workspace.check_stop()
            yield job, _work_here(workspace, work, job)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)
    try:
        yield from _in_pool(workspace, iter(jobs), work, pool, processes)
    except BrokenProcessPool:
        workspace.check_stop()
        raise MemoryExhaustedError(
            "a worker process was ended from outside, as happens when memory runs out", "Use fewer processes."
        ) from None
    finally:
        children = list(multiprocessing.active_children()) if workspace.stopping else []
        pool.shutdown(wait=not workspace.stopping, cancel_futures=True)
        for child in children:
            child.kill()


def _work_here(workspace: Workspace, work: Callable[[Job], Result], job: Job) -> Result:
    _in_this_process.append(workspace)
    try:
        return work(job)
    finally:
        _in_this_process.pop()


def _in_pool(
    workspace: Workspace, jobs: Iterator[Job], work: Callable[[Job], Result], pool: ProcessPoolExecutor, processes: int
) -> Iterator[tuple[Job, Result]]:
    running: dict[Future[Result], Job] = {}
    exhausted = False
    while running or not exhausted:
        workspace.check_stop()
        while not exhausted and len(running) < processes:
            job = next(jobs, None)
            if job is None:
                exhausted = True
            else:
                running[pool.submit(_work_there, work, job)] = job
        finished = wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done if running else set()
        for future in [future for future in running if future in finished]:
            yield running.pop(future), future.result()


_in_this_process: list[Workspace] = []


def check_stop_here() -> None:
    """Raise where work that runs in this process is to stop; in a worker process there is nothing to check.

    Raises:
        InterruptedRun: A person asked to stop.
    """
    for workspace in _in_this_process:
        workspace.check_stop()


def _begin() -> None:
    """In a worker: the parent alone answers Ctrl-C and SIGTERM, since it ends its workers itself, in whatever way."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _work_there(work: Callable[[Job], Result], job: Job) -> Result:
    """Do a job in a worker; a failure that only its library can unpickle reaches the parent as one of ours."""
    with in_one_line():
        return work(job)
