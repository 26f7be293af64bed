"""Several requests to a server at once: who waits for them is told what for, and the first failure ends all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Event, Thread
from typing import TypeVar

from agentrm_models.errors import InterruptedRun
from agentrm_models.http import HttpClient, WaitHook
from agentrm_models.usage import Progress, ProgressHook

Job = TypeVar("Job")
Answer = TypeVar("Answer")

CONNECTIONS = 8
"""Requests in flight at once, to each server."""

WAITING = "waiting for the server"


def ask_all(
    ways: Sequence[HttpClient], jobs: Sequence[Job], ask: Callable[[Job, WaitHook], Answer], progress: ProgressHook
) -> list[Answer]:
    """Ask for all jobs, several at a time; the answers stand in the order of the jobs.

    The threads are daemons, so that nobody waits for a silent server after an interruption.

    Args:
        ways: The way to each server, to give up on.

    Raises:
        AgentRMError: What `ask` raised first; the rest is given up.
        InterruptedRun: Raised by the progress hook.
    """
    futures: list[Future[Answer]] = [Future() for _ in jobs]
    queue = deque(zip(futures, jobs, strict=True))
    held_up: dict[Future[Answer], str] = {}
    given_up = Event()

    def work() -> None:
        while queue:
            try:
                future, job = queue.popleft()
            except IndexError:
                return

            def on_wait(words: str, future: Future[Answer] = future) -> None:
                if given_up.is_set():
                    raise InterruptedRun(words)
                held_up[future] = words

            try:
                future.set_result(ask(job, on_wait))
            except Exception as error:
                future.set_exception(error)
            held_up.pop(future, None)

    for _ in range(min(CONNECTIONS * len(ways), len(jobs))):
        Thread(target=work, name="requests", daemon=True).start()
    try:
        _wait(futures, held_up, progress)
    except BaseException:
        given_up.set()
        queue.clear()
        for way in ways:
            way.give_up()
        raise
    return [future.result() for future in futures]


def _wait(futures: list[Future[Answer]], held_up: dict[Future[Answer], str], progress: ProgressHook) -> None:
    waiting = set(futures)
    while waiting:
        words = next(iter(list(held_up.values())), "")
        progress(Progress(words or WAITING, len(futures) - len(waiting), len(futures), words))
        done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
