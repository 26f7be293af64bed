"""What a large run file costs: the first paint of its replay, keys meanwhile, memory, and the plain output.

    python benchmarks/run_file.py [--megabytes 200] [--files 2000] [--gzip] [--check]

A file of that size is made (many beam-search episodes with observations of 1 to 2 kB) and opened in processes of their
own. *first paint* is the time from the call to the first picture of the episode screen, *whole* until the end of the
file is on the screen, *longest turn* the longest time for which the event loop did not answer meanwhile, *back* and
*middle* how long it takes to stand at the start and in the middle from there. Beside it: plain replay, and the list of
a folder of `--files` small files. Budgets: first paint ≤ 2 s, memory ≤ 300 MB. `--check` ends with exit code 1 above
them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from agentrm_models.replies import format_reply
from agentrm_models.usage import Usage
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.codec import Codec
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import settings_of
from agentrm_tui.runs.store import compress_run

FIRST_PAINT, MEMORY = 2.0, 300.0
"""Budgets: seconds and megabytes."""
BEAMS, WIDTH, STEPS = 2, 4, 12
NAP = 0.01


def main() -> int:
    """Make, open, and compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200.0)
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--gzip", action="store_true", help="Open the file compressed.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--inside", choices=list(INSIDE), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        print(json.dumps({**INSIDE[options.inside](options.path), "MB": peak_megabytes()}))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.jsonl"
        count = write_run(path, options.megabytes)
        print(f"{path.stat().st_size / 1e6:.1f} MB, {count} events", flush=True)
        many = Path(folder) / "many"
        many.mkdir()
        for number in range(options.files):
            write_run(many / f"{number:05d}.jsonl", 0.05)
        if options.gzip:
            path = compress_run(path)
        screen = measured("screen", path)
        measured("plain", path)
        measured("list", many)
    late = screen["first paint"] > FIRST_PAINT or screen["MB"] > MEMORY
    return int(late and options.check)


def measured(what: str, path: Path) -> dict[str, float]:
    """Do one thing in a process of its own, and print what it took."""
    command = [sys.executable, __file__, "--inside", what, "--path", str(path)]
    environment = {**os.environ, "AGENTRM_RUNS": str(path if path.is_dir() else path.parent)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    line = "  ".join(f"{name} {value:.2f} s" for name, value in figures.items() if name != "MB")
    print(f"{what:8}{line}  peak {figures['MB']:.0f} MB", flush=True)
    return figures


def write_run(path: Path, megabytes: float, seed: int = 7) -> int:
    """Write a finished beam-search run of about that size; the number of its events."""
    noise = random.Random(seed)
    codec, count, written = Codec(), 0, 0
    words = [f"{noise.choice('bcdfglmnprst')}{noise.choice('aeiou')}{noise.choice('lmnrst')}" for _ in range(500)]
    clock, episode = 0.0, 0
    with path.open("wb") as file:

        def add(event: ev.AnyEvent) -> None:
            nonlocal count, written
            line = codec.encode(event)
            file.write(line)
            count, written = count + 1, written + len(line)

        plan = RunPlan(environment="maze", tasks=("maze-6:9000000",), search=settings_of("beam", {}), policy="scripted")
        add(ev.RunStarted(run="0badcafe", plan=plan, origin="compatible"))
        while written < megabytes * 1e6 or not episode:
            for event in beam_episode(str(episode), noise, words, clock):
                clock = event.at
                add(event)
            episode += 1
        add(ev.RunFinished(at=clock, score_mean=0.5, scores=(0.5,), ledger=ev.Ledger()))
    return count


def beam_episode(name: str, noise: random.Random, words: list[str], clock: float) -> list[ev.AnyEvent]:
    """The events of one episode."""

    def text(characters: int) -> str:
        return " ".join(noise.choices(words, k=characters // 4))

    events: list[ev.AnyEvent] = [
        ev.EpisodeStarted(episode=name, task=f"maze-6:{name}", goal=text(80), observation=text(1_500), step_limit=30)
    ]
    asked = ["0"]
    for step in range(STEPS):
        nodes = [
            ev.ProposedNode(f"{parent}.{number}", parent, format_reply(text(120), text(24)), -1.5, 40)
            for parent in asked
            for number in range(WIDTH)
        ]
        ids = tuple(node.node for node in nodes)
        values = tuple(round(noise.random(), 3) for _ in ids)
        best = [node for _, node in sorted(zip(values, ids, strict=True), reverse=True)][:BEAMS]
        rest = tuple(node for node in ids if node not in best)
        acted = tuple(
            ev.ActedNode(node, text(noise.randint(1_000, 2_000)), 0.5, step == STEPS - 1, state_key=f"{noise.random()}")
            for node in best
        )
        usage = Usage(tokens_computed=400, tokens_unique=300, tokens_generated=320, requests=1, milliseconds=30.0)
        events += [
            ev.Proposed(episode=name, asked=tuple(asked), nodes=tuple(nodes), usage=usage),
            ev.Scored(episode=name, groups=(ids,), values=(values,), usage=usage),
            ev.Pruned(episode=name, nodes=rest, why="beam", margins=tuple(-0.1 for _ in rest)),
            ev.Acted(episode=name, nodes=acted, env_steps=len(acted), milliseconds=2.0),
        ]
        asked = best
    events += [
        ev.Chosen(episode=name, node=asked[0], final=True),
        ev.EpisodeFinished(episode=name, node=asked[0], outcome=0.5, steps=STEPS, done=True),
    ]
    return [msgspec.structs.replace(event, at=round(clock + 0.1 * n, 3)) for n, event in enumerate(events, 1)]


def watch_screen(path: Path) -> dict[str, float]:
    """Open a replay as the command does, wait until the whole file is read, and move in it."""
    import asyncio

    from agentrm_tui.ui.app import AgentRMApp, real_surroundings
    from agentrm_tui.ui.screens.episode import EpisodeScreen

    began = time.perf_counter()
    figures: dict[str, float] = {}
    app = AgentRMApp(
        real_surroundings(), replay=path, painted=lambda: figures.update({"first paint": time.perf_counter() - began})
    )

    async def follow() -> None:
        longest = 0.0
        async with app.run_test(size=(120, 40)) as pilot:
            while not (isinstance(app.screen, EpisodeScreen) and "first paint" in figures):
                await asyncio.sleep(NAP)
            screen = app.screen
            feed = screen.session.feed
            while feed.behind:
                before = time.perf_counter()
                await asyncio.sleep(NAP)
                longest = max(longest, time.perf_counter() - before - NAP)
            figures.update({"whole": time.perf_counter() - began, "longest turn": longest})
            total = len(feed.events)
            for name, place in (("back", 0), ("middle", total // 2), ("end", total)):
                before = time.perf_counter()
                feed.seek(place)
                screen.refresh_run()
                while feed.behind:
                    await asyncio.sleep(NAP)
                figures[name] = time.perf_counter() - before
                assert feed.position == place
            before = time.perf_counter()
            await pilot.press("left_square_bracket")
            figures["episode before"] = time.perf_counter() - before

    asyncio.run(follow())
    return figures


def replay_plainly(path: Path) -> dict[str, float]:
    """Show all lines, to nowhere."""
    from agentrm_tui.headless.display import PlainDisplay
    from agentrm_tui.headless.running import show_run

    began = time.perf_counter()
    with Path(os.devnull).open("w") as nowhere:
        show_run(PlainDisplay(lambda line: print(line, file=nowhere)), path)
    return {"time": time.perf_counter() - began}


def list_folder(folder: Path) -> dict[str, float]:
    """List the runs of a folder."""
    from agentrm_tui.runs.listing import list_runs

    began = time.perf_counter()
    listed = list_runs(folder)
    assert not any(run.problem for run in listed)
    return {f"{len(listed)} files": time.perf_counter() - began}


def peak_megabytes() -> float:
    """The most resident memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


INSIDE = {"screen": watch_screen, "plain": replay_plainly, "list": list_folder}


if __name__ == "__main__":
    sys.exit(main())
