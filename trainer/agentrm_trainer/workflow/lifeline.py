"""Processes that end with the one that started them, however that ends: nobody is left to write into a folder.

A signal handler cannot see `kill -9`. Linux can be asked to end a process with its parent; elsewhere, and beside it, a
thread waits for the end of the pipe that the parent holds open as long as it lives.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait
from typing import Any

_PR_SET_PDEATHSIG = 1
"""Of `prctl` (man 2 PR_SET_PDEATHSIG): the signal that this process gets when its parent ends."""


def end_with_parent() -> None:
    """To be called in a spawned process before it does anything: it ends at once when its parent does."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    ask_system(signal.SIGKILL)
    if os.getppid() != parent.pid:  # it ended before the system was asked
        os._exit(1)
    threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True, name="lifeline").start()


def ask_system(number: int) -> None:
    """Have this process sent a signal when its parent ends, where the system can do that."""
    if sys.platform == "linux":
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def _watch(sentinel: Any) -> None:
    wait([sentinel])
    os._exit(1)
