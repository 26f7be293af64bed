"""Does a long process grow? Episodes over all environments, one after another, with the memory as it goes.

    python benchmarks/memory.py [NAME …] [--episodes 1000] [--policy scripted] [--reward random:0] [--search beam]
                                [--check]

All installed environments, or those that are named, take turns, each episode on a seed of its own; what cannot be
played here is named. Printed is the resident memory after every hundredth episode, beside it that of child processes
(Java, whose heap has a limit of its own), and the ratio of the process's last figure to that after 200. Budget: 1.1.
`--check` ends with exit code 1 above it.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agentrm_models.errors import AgentRMError
from agentrm_models.specs import load_policy, load_reward
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.registry import environment_names, make_environment
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import settings_of

BUDGET = 1.1
SETTLED = 200
"""Episodes after which caches are expected to be full."""


def main() -> int:
    """Play, print, and compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--episodes", type=int, default=1_000)
    parser.add_argument("--policy", default="scripted")
    parser.add_argument("--reward", default="random:0")
    parser.add_argument("--search", choices=["greedy", "beam"], default="beam")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    policy, reward = load_policy(options.policy), load_reward(options.reward)
    search = settings_of(options.search, {"beam": (2, 2)})
    # One of each stays open to the end, as in a long session: so Java, which they share, is started once.
    held = {name: made for name in options.names or environment_names() if (made := _begun(name))}
    names = list(held)
    if not names:
        return 1
    print(f"{len(names)} environments: {', '.join(names)}")
    figures: dict[int, float] = {}
    for episode in range(options.episodes):
        name = names[episode % len(names)]
        task = _task(name, episode)
        plan = RunPlan(
            environment=name, tasks=(task,), policy=options.policy, reward=options.reward, search=search, parallel=1
        )
        run_plan(plan, policy=policy, reward=reward, emit=_ignore)
        if (done := episode + 1) % 100 == 0 or done == options.episodes:
            gc.collect()
            figures[done] = resident_megabytes()
            beside = children_megabytes()
            told = f" and {beside:.1f} MB in child processes" if beside else ""
            print(f"{done:6d} episodes  {figures[done]:8.1f} MB{told}", flush=True)
    for made in held.values():
        made.close()
    if SETTLED not in figures or options.episodes <= SETTLED:
        print(f"no ratio: play more than {SETTLED} episodes")
        return 0
    ratio = figures[options.episodes] / figures[SETTLED]
    print(f"after {options.episodes} / after {SETTLED}: {ratio:.3f} (budget {BUDGET})")
    return int(options.check and ratio > BUDGET)


def resident_megabytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def children_megabytes() -> float:
    """Resident memory of the processes that this one has started."""
    pages = 0
    for listed in Path("/proc/self/task").glob("*/children"):
        for number in listed.read_text().split():
            with suppress(OSError):
                pages += int(Path("/proc", number, "statm").read_text().split()[1])
    return pages * 4096 / 1e6


def _begun(name: str) -> Environment | None:
    """An instance in its first episode; none, and a line that says why, where it cannot be played here."""
    made = None
    try:
        made = make_environment(name)
        made.reset(made.tasks("test", count=1)[0])
    except AgentRMError as error:
        print(f"left out: {name}: {error}")
        if made is not None:
            made.close()
        return None
    return made


def _task(name: str, episode: int) -> str:
    return _with(name, lambda made: made.tasks("test", 9_000_000 + episode if made.traits.procedural else 0, 1)[0].id)


def _with(name: str, ask: Callable[[Environment], str]) -> str:
    made = make_environment(name)
    try:
        return ask(made)
    finally:
        made.close()


def _ignore(event: object) -> None:
    return


if __name__ == "__main__":
    sys.exit(main())
