"""How long the screen's event loop is held up while a search runs: what a person feels between key and answer.

    python benchmarks/loop_lag.py [--size 200x60] [--environment maze] [--search beam] [--rate 50] [--check]

Budgets: 95 of 100 turns of the loop ≤ 30 ms late, none more than 100 ms. The screen runs in a pseudo-terminal of its
own and follows a run file that grows by RATE lines a second; models on a processor give 2 to 10. With `--rate 0` a
real engine writes as fast as it can on scripted replies, hundreds of events a second: more than anybody could read.

A probe sleeps 10 ms again and again. *lag* is how late it wakes: on a busy machine that is mostly other programs.
*work* is the processor time that the loop's thread used meanwhile, so it is the screen's own share and the figure to
compare. `--check` ends with exit code 1 where *work* is above a budget.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pexpect

NAP = 0.01
BUDGETS = {"p95": 30.0, "max": 100.0}
"""Milliseconds."""
WARM_UP = 0.5
"""Seconds after the first picture that do not count: they belong to the start."""


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="200x60")
    parser.add_argument("--environment", default="maze")
    parser.add_argument("--search", default="beam")
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--profile", type=Path, help="Write cProfile's statistics of the screen there.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        watch(options)
        return 0
    columns, lines = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "AGENTRM_RUNS": folder}
        arguments = [__file__, *sys.argv[1:], "--inside", folder]
        if options.rate:
            record(options, Path(folder) / "recorded.jsonl")
        child = pexpect.spawn(sys.executable, arguments, dimensions=(lines, columns), env=environment, timeout=120)
        child.expect(pexpect.EOF)
        child.close()
        out = Path(folder) / "figures.json"
        if not out.exists():
            sys.stderr.write(child.before.decode("utf-8", "replace"))
            return 1
        figures = json.loads(out.read_text())
    speed = f"{options.rate:g} lines a second" if options.rate else "a real engine as fast as it can"
    print(f"{options.environment} {options.search}, {options.size}, {speed}: {figures['events']} events painted")
    print(f"{'ms':6}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}")
    for name in ("lag", "work"):
        print(f"{name:6}" + "".join(f"{figures[name][key]:8.1f}" for key in ("p50", "p95", "p99", "max")))
    print(f"the loop worked {figures['share']:.0%} of the time")
    late = any(figures["work"][key] > budget for key, budget in BUDGETS.items())
    return 1 if late and options.check else 0


def record(options: argparse.Namespace, path: Path) -> None:
    """Make a run to be fed to the screen."""
    tasks = str(max(2, round(options.rate * (options.seconds + 3) / 40)))
    command = [sys.executable, "-m", "agentrm_tui", "run", options.environment, "--search", options.search]
    models = ["--policy", "scripted", "--reward", "random"]
    subprocess.run(
        [*command, *models, "--tasks", tasks, "--display", "none", "--out", str(path)], check=True, capture_output=True
    )


def watch(options: argparse.Namespace) -> None:
    """Be the screen: follow the search, probe the loop, and leave the figures in a file."""
    from agentrm_tui.environments.task_choice import TaskChoice
    from agentrm_tui.headless.choosing import make_plan
    from agentrm_tui.runs.search_fields import settings_of
    from agentrm_tui.ui.app import AgentRMApp, real_surroundings
    from agentrm_tui.ui.screens.episode import EpisodeScreen
    from agentrm_tui.ui.start import set_aside

    if options.rate:
        growing = options.inside / "growing.jsonl"
        app = AgentRMApp(real_surroundings(), attach=growing, painted=set_aside)
        feeding = [sys.executable, "-c", FEEDER, str(options.inside / "recorded.jsonl"), str(growing)]
        feeder = subprocess.Popen([*feeding, str(options.rate)])
    else:
        choice, search = TaskChoice(number=200), settings_of(options.search, {})
        plan = make_plan(options.environment, choice, search, policy="scripted", reward="random")
        app, feeder = AgentRMApp(real_surroundings(), plan=plan, painted=set_aside), None
    lags: list[float] = []
    works: list[float] = []

    async def probe() -> None:
        while not (isinstance(app.screen, EpisodeScreen) and app.screen.view is not None):
            await asyncio.sleep(NAP)
        await asyncio.sleep(WARM_UP)
        first = app.screen.session.feed.position
        end = time.perf_counter() + options.seconds
        while time.perf_counter() < end:
            before, used = time.perf_counter(), time.thread_time()
            await asyncio.sleep(NAP)
            lags.append(max(0.0, time.perf_counter() - before - NAP) * 1e3)
            works.append((time.thread_time() - used) * 1e3)
        figures = {"lag": spread(lags), "work": spread(works), "share": sum(works) / 1e3 / options.seconds}
        figures["events"] = app.screen.session.feed.position - first
        (options.inside / "figures.json").write_text(json.dumps(figures))
        app.exit(0)

    async def run() -> None:
        probing = asyncio.create_task(probe())
        await app.run_async()
        await probing

    try:
        if options.profile is None:
            asyncio.run(run())
        else:
            import cProfile

            with cProfile.Profile() as profile:
                asyncio.run(run())
            profile.dump_stats(options.profile)
    finally:
        app.close_engines()
        if feeder is not None:
            feeder.kill()
            feeder.wait()


FEEDER = """
import sys, time
source, target, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
with open(source, "rb") as recorded, open(target, "wb", buffering=0) as growing:
    for line in recorded:
        growing.write(line)
        time.sleep(1 / rate)
"""
"""Copies a run file line by line, at a pace."""


def spread(values: list[float]) -> dict[str, float]:
    """Median, high percentiles and the maximum."""
    ordered = sorted(values)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    figures = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in at.items()}
    return {**figures, "max": ordered[-1]}


if __name__ == "__main__":
    sys.exit(main())
