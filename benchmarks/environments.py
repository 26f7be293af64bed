"""Every installed environment in a table: reset and step times, what its expert reaches, and memory.

    python benchmarks/environments.py [NAME …] [--seeds 50] [--steps 200] [--seconds 300] [--json FILE]

Each environment plays in a process of its own: first `--steps` random valid actions (the expert's, where actions are
not listed), then the expert's episodes of the first `--seeds` test tasks, which the levels of its mix take turns in.
Tasks and actions are the same in every run. After `--seconds` no further episode begins; the table says how many
episodes the expert's figures stand on.

Two figures are given for each kind of call: the median of wall-clock times, which depends on what else the machine
does, and in brackets the mean of processor time, that of child processes (Java) included. An expert's step is asking
it and taking its action. Memory is the peak of the process and its children.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any, NamedTuple, TypeVar

from measuring import machine

from agentrm_models.errors import AgentRMError
from agentrm_tui.environments.base import Environment, StepResult, Task
from agentrm_tui.environments.registry import environment_names, make_environment

_T = TypeVar("_T")
HEADS = (
    "environment",
    "origin",
    "goes back by",
    "reset, ms",
    "step, ms",
    "expert's step, ms",
    "expert's score",
    "expert's steps",
    "memory, MB",
)
_RESETS = 20
"""Episodes that are at least begun."""


class Cost(NamedTuple):
    """Seconds of one call."""

    wall: float
    processor: float


class Watch:
    """Collects what the calls of each kind cost."""

    def __init__(self) -> None:
        self.costs: dict[str, list[Cost]] = {}

    def time(self, kind: str, call: Callable[[], _T]) -> _T:
        """Make a call and remember its cost."""
        beside, own, wall = children_seconds(), process_time(), perf_counter()
        found = call()
        taken, used = perf_counter() - wall, process_time() - own
        self.costs.setdefault(kind, []).append(Cost(taken, used + children_seconds() - beside))
        return found

    def figures(self, kind: str) -> dict[str, float] | None:
        """Milliseconds: median of wall-clock, mean of processor time; nothing where no such call was made."""
        if not (costs := self.costs.get(kind)):
            return None
        wall, processor = [1e3 * cost.wall for cost in costs], [1e3 * cost.processor for cost in costs]
        return {"wall": statistics.median(wall), "processor": statistics.fmean(processor), "calls": len(costs)}


def children() -> list[Path]:
    """Child processes of this one, as folders of /proc; none where there is no /proc."""
    with suppress(OSError):
        lists = Path("/proc/self/task").glob("*/children")
        return [Path("/proc", number) for each in lists for number in each.read_text().split()]
    return []


def children_seconds() -> float:
    """Processor time of child processes, to the hundredth of a second."""
    total = 0.0
    for child in children():
        with suppress(OSError):
            fields = (child / "stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def peak_megabytes() -> float:
    """The peak of resident memory of this process and its children; 0 where it cannot be read."""
    total = 0
    for process in (Path("/proc/self"), *children()):
        with suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
            total += int(found[1]) if found else 0
    return total / 1024


def wander(environment: Environment, tasks: Sequence[Task], steps: int, until: float, watch: Watch) -> None:
    """Take random valid actions, episode after episode."""
    rng = random.Random(f"steps of {environment.traits.name}")
    taken = 0
    for number in range(max(steps, _RESETS)):
        if number and (monotonic() > until or (taken >= steps and number >= _RESETS)):
            return
        watch.time("reset", partial(environment.reset, tasks[number % len(tasks)]))
        done = False
        while not done and taken < steps and (action := _any_action(environment, rng)):
            done = watch.time("step", partial(environment.step, action)).done
            taken += 1


def _any_action(environment: Environment, rng: random.Random) -> str:
    """A random valid action; the expert's where actions are not listed; empty where there is neither."""
    if environment.traits.valid_actions:
        offered = environment.valid_actions()
        return rng.choice(offered) if offered else ""
    return environment.expert()[1] if environment.traits.expert else ""


def follow(environment: Environment, tasks: Sequence[Task], until: float, watch: Watch) -> list[tuple[str, int, float]]:
    """The expert's episodes: task, steps, outcome."""
    episodes: list[tuple[str, int, float]] = []
    for task in tasks:
        if episodes and monotonic() > until:
            break
        watch.time("reset", partial(environment.reset, task))
        steps, outcome, done = 0, 0.0, False
        while not done and (result := watch.time("expert", partial(_expert_step, environment))):
            steps, outcome, done = steps + 1, result.outcome, result.done
        episodes.append((task.id, steps, outcome))
    return episodes


def _expert_step(environment: Environment) -> StepResult | None:
    action = environment.expert()[1]
    return environment.step(action) if action else None


def measure(name: str, seeds: int, steps: int, seconds: float) -> dict[str, Any]:
    """All figures of one environment.

    Raises:
        AgentRMError: It cannot be played here.
    """
    watch, began = Watch(), monotonic()
    environment = make_environment(name)
    try:
        traits, tasks = environment.traits, environment.tasks("test", count=seeds)
        environment.reset(tasks[0])  # the first reset also loads what all later ones share
        wander(environment, tasks, steps, began + seconds / 2, watch)
        episodes = follow(environment, tasks, began + seconds, watch) if traits.expert else []
        return {
            "environment": name,
            "origin": traits.origin,
            "extra": traits.extra,
            "snapshots": traits.snapshots,
            **{f"{kind}_ms": watch.figures(kind) for kind in ("reset", "step", "expert")},
            "expert_score": statistics.fmean(outcome for _, _, outcome in episodes) if episodes else None,
            "expert_steps": statistics.fmean(steps for _, steps, _ in episodes) if episodes else None,
            "episodes": len(episodes),
            "below_0.95": [[task, round(outcome, 3)] for task, _, outcome in episodes if outcome < 0.95],
            "memory_mb": peak_megabytes(),
        }
    finally:
        environment.close()


def in_a_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of one environment, measured in a fresh process; what went wrong where it cannot be played."""
    given = [f"--seeds={options.seeds}", f"--steps={options.steps}", f"--seconds={options.seconds}"]
    command = [sys.executable, __file__, "--alone", *given, name]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        return {"environment": name, "error": f"the process ended with exit code {ended.returncode}"}
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def row(found: dict[str, Any]) -> list[str]:
    """One environment's cells."""
    score = "-" if found["expert_score"] is None else f"{found['expert_score']:.3f} ({found['episodes']} tasks)"
    steps = "-" if found["expert_steps"] is None else f"{found['expert_steps']:.1f}"
    name = f"{found['environment']} `[{found['extra']}]`" if found["extra"] else found["environment"]
    back = "snapshot" if found["snapshots"] else "replay"
    times = [_milliseconds(found[f"{kind}_ms"]) for kind in ("reset", "step", "expert")]
    return [name, found["origin"], back, *times, score, steps, f"{found['memory_mb']:.0f}"]


def _milliseconds(figures: dict[str, float] | None) -> str:
    return f"{_two_digits(figures['wall'])} ({_two_digits(figures['processor'])})" if figures else "-"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: the table, and what could not be played."""
    rows = [HEADS, ["---"] * len(HEADS), *(row(found) for found in results if "error" not in found)]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    lines += [f"\nNot played: {found['environment']}: {found['error']}" for found in results if "error" in found]
    return "\n".join(lines)


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.seeds, options.steps) < 1:
        parser.error("--seeds and --steps are 1 or more")
    if options.alone:
        try:
            found = measure(options.names[0], options.seeds, options.steps, options.seconds)
        except AgentRMError as error:
            found = {"environment": options.names[0], "error": str(error)}
        print(json.dumps(found))
        return 0
    results = [in_a_process(name, options) for name in options.names or environment_names()]
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 2),
    }
    print(table(results))
    print("\n" + "; ".join(f"{key}: {value}" for key, value in about.items()))
    if options.json:
        options.json.write_text(json.dumps({"circumstances": about, "environments": results}, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
