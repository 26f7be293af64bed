"""How long a person waits for the first picture: `--help`, and the launcher's first paint in a pseudo-terminal.

    python benchmarks/cold_start.py [--runs 7] [--check]

Budgets: `--help` ≤ 150 ms, first paint ≤ 300 ms. Wall-clock times depend on what else the machine does, so processor
time is printed beside them, with two floors measured in the same way: an empty interpreter, and one that only imports
Textual. `--check` ends with exit code 1 where the processor time of the best run is above a budget.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import pexpect

HELP_BUDGET, PAINT_BUDGET = 150.0, 300.0
"""Milliseconds."""


class Cost(NamedTuple):
    """Milliseconds of one start."""

    wall: float
    processor: float


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.update(PYTHONPYCACHEPREFIX=f"{folder}/bytecode")
        os.environ.update(AGENTRM_RUNS=f"{folder}/runs", AGENTRM_CONFIG=f"{folder}/config", TERM="xterm-256color")
        rows: list[tuple[str, Callable[[], Cost], float]] = [
            ("python -c pass", lambda: to_the_end("-c", "pass"), 0.0),
            ("import textual.app", lambda: to_the_end("-c", "import textual.app"), 0.0),
            ("agentrm-tui --help", lambda: to_the_end("-m", "agentrm_tui", "--help"), HELP_BUDGET),
            ("launcher, first paint", to_first_paint, PAINT_BUDGET),
        ]
        late = False
        print(f"{'':24}{'wall: best':>12}{'median':>9}{'processor: best':>18}{'median':>9}   ms")
        for name, measure, budget in rows:
            measure()
            costs = [measure() for _ in range(options.runs)]
            walls, processors = [cost.wall for cost in costs], [cost.processor for cost in costs]
            middle = statistics.median
            line = f"{name:24}{min(walls):12.0f}{middle(walls):9.0f}{min(processors):18.0f}{middle(processors):9.0f}"
            print(line + (f"   budget {budget:.0f}" if budget else ""), flush=True)
            late = late or bool(budget and min(processors) > budget)
    return 1 if late and options.check else 0


def to_the_end(*arguments: str) -> Cost:
    """Run Python with arguments until it ends."""
    before, began = processor_time(), time.perf_counter()
    child = pexpect.spawn(sys.executable, list(arguments), timeout=120)
    child.expect(pexpect.EOF)
    wall = time.perf_counter() - began
    child.close()
    return Cost(wall * 1e3, (processor_time() - before) * 1e3)


def to_first_paint() -> Cost:
    """Start the program and wait until the launcher's frame is on the terminal; then leave it by force."""
    before, began = processor_time(), time.perf_counter()
    child = pexpect.spawn(sys.executable, ["-m", "agentrm_tui"], dimensions=(24, 80), timeout=120)
    child.expect_exact("Start paused")
    wall = time.perf_counter() - began
    child.kill(signal.SIGKILL)
    child.wait()
    child.close()
    return Cost(wall * 1e3, (processor_time() - before) * 1e3)


def processor_time() -> float:
    """Seconds of processor time of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
