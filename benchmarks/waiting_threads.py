"""How long a beam search of the bundled models takes where idle threads spin, and where they sleep.

    python benchmarks/waiting_threads.py

PyTorch's threads spin by default while they wait; our programs set `OMP_WAIT_POLICY=PASSIVE`, with which they sleep.
Each way runs in a process of its own on all cores, first alone and then beside a process that is always busy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 10
POLICIES = {"spin (default)": {}, "sleep (PASSIVE)": {"OMP_WAIT_POLICY": "PASSIVE"}}


def main() -> int:
    """Measure every way, or, with an argument, one search in this process."""
    if len(sys.argv) > 1:
        print(f"{_search():.1f} s", flush=True)
        return 0
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for busy in (False, True):
        for name, setting in POLICIES.items():
            print(f"{'beside a busy process' if busy else 'alone':22} {name:16} ", end="", flush=True)
            with _busy(busy):
                subprocess.run([sys.executable, __file__, "search"], env={**plain, **setting}, check=True)
    return 0


@contextmanager
def _busy(wanted: bool) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _search() -> float:
    """Seconds of a beam search 5x5; models are loaded and have run before."""
    import torch
    from beam_episode import play
    from subjects import policy, reward
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    writer, scorer = policy("bundled"), reward("bundled")
    play(writer, writer.backend(), scorer.backend(), 1, [])
    caches = writer.backend(), scorer.backend()
    began = perf_counter()
    play(writer, *caches, STEPS, [])
    return perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
