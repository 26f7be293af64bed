"""What all questions share: ways that are timed in turn within one run, what they computed, and the machine.

A *way* is a generator. It first yields the amount of work it is going to do, any unit; from then on the clock runs.
Then it yields a `Part` for each call it has made. So a slow way can be stopped between two calls, and its time carried
forward by the share of work done; such figures are marked. Ways whose calls differ make them in a mixed order, so that
those made before the stop stand for the rest.

Machines are shared: ways take turns, round by round, and the median of a way's rounds counts.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import random
import re
import statistics
import sys
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

ONE_EACH = "one call each"
"""Name of the plainest way; every question has it."""

LONG = 4.0
"""A way that takes more seconds than this is run once; noise of a second matters little there."""


class Part(NamedTuple):
    """One call of a way.

    Attributes:
        work: Share of the amount yielded first.
        tokens: Rows that went through the model's layers, padding included.
        result: What the ways are compared by.
    """

    work: float
    tokens: int
    result: Any


Way = Callable[[], Generator[float | Part, None, None]]


class Turn(NamedTuple):
    """One run of a way.

    Attributes:
        seconds: Of all its work, carried forward where it was stopped before.
        measured_seconds: Of what it did.
    """

    seconds: float
    measured_seconds: float
    tokens: float
    calls: float
    memory_mb: float
    extrapolated: bool
    results: list[Any]


def mixed(items: Iterable[Any]) -> list[Any]:
    """Items in a fixed random order."""
    found = list(items)
    random.Random(0).shuffle(found)
    return found


class Settings(NamedTuple):
    """How thorough a run is.

    Attributes:
        scale: `quick`, `default` or `full`; chooses the cells of each question.
        rounds: Turns of each way.
        limit: Seconds after which a peer is stopped.
    """

    scale: str
    rounds: int
    limit: float
    threads: int

    def choose(self, quick: Any, default: Any, full: Any) -> Any:
        """The value for this scale."""
        return {"quick": quick, "default": default, "full": full}[self.scale]


def take_turns(ours: Way, peers: dict[str, Way], settings: Settings) -> dict[str, list[Turn]]:
    """Run every way, ours first, in turn; gives the turns by name (`ours` for ours)."""
    ways = {"ours": ours, **peers}
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    for _ in range(settings.rounds):
        for name, way in ways.items():
            if turns[name] and turns[name][-1].seconds > LONG:
                continue
            turns[name].append(one_turn(way, settings.limit if name != "ours" else float("inf")))
    return turns


def one_turn(way: Way, limit: float) -> Turn:
    """Run a way, to its end or until the limit."""
    steps = way()
    total = next(steps)
    assert not isinstance(total, Part)
    before = _reset_peak()
    parts: list[Part] = []
    began = perf_counter()
    for part in steps:
        assert isinstance(part, Part)
        parts.append(part)
        if perf_counter() - began > limit:
            break
    seconds = perf_counter() - began
    done = sum(part.work for part in parts)
    factor = total / done
    return Turn(
        seconds * factor,
        seconds,
        sum(part.tokens for part in parts) * factor,
        len(parts) * factor,
        max(0.0, _peak() - before),
        factor > 1 + 1e-9,
        [part.result for part in parts],
    )


def cell(question: str, model: str, given: dict[str, Any], turns: dict[str, list[Turn]], **more: Any) -> dict[str, Any]:
    """One line of the results; prints it too.

    `ratio` is the fastest peer's time divided by ours, `ratio_one_call_each` that of the way with that name.
    """
    ways = {name: _summary(found) for name, found in turns.items()}
    ours = ways["ours"]["seconds"]
    peers = {name: way for name, way in ways.items() if not name.startswith("ours")}
    each = ways[ONE_EACH]
    strongest = min(peers, key=lambda name: peers[name]["seconds"])
    found = {
        "model": model,
        **given,
        "strongest_peer": strongest,
        "ratio": peers[strongest]["seconds"] / ours,
        "ratio_extrapolated": peers[strongest]["extrapolated"],
        "ratio_one_call_each": each["seconds"] / ours,
        "ratio_one_call_each_extrapolated": each["extrapolated"],
        "ways": ways,
        **more,
    }
    print(line(question, found), flush=True)
    return found


def line(question: str, found: dict[str, Any]) -> str:
    """A cell in words, for the terminal."""
    given = " ".join(f"{key}={value}" for key, value in found.items() if isinstance(value, int) and key in GIVEN)
    ways = "; ".join(
        f"{name} {tilde(way['extrapolated'])}{way['seconds']:.3g} s, {way['tokens']:,.0f} tokens, "
        f"{way['memory_mb']:.0f} MB"
        for name, way in found["ways"].items()
    )
    ratio = f"{tilde(found['ratio_extrapolated'])}{found['ratio']:.1f}x"
    each = f"{tilde(found['ratio_one_call_each_extrapolated'])}{found['ratio_one_call_each']:.1f}x"
    same = ", ".join(f"{key} {value:.3g}" for key, value in found.get("same", {}).items())
    return f"{question} {found['model']} {given}: {ratio} ({each} one call each) | {ways} | {same}"


GIVEN = ("history", "candidates", "steps", "episodes", "states")
"""What cells are varied over."""


def tilde(extrapolated: bool) -> str:
    """The mark of figures that were carried forward."""
    return "~" if extrapolated else ""


def _summary(turns: list[Turn]) -> dict[str, Any]:
    seconds = [turn.seconds for turn in turns]
    return {
        "seconds": statistics.median(seconds),
        "seconds_of_turns": seconds,
        "tokens": round(turns[0].tokens),
        "calls": round(turns[0].calls),
        "memory_mb": max(turn.memory_mb for turn in turns),
        "extrapolated": any(turn.extrapolated for turn in turns),
    }


def _reset_peak() -> float:
    """Forget the peak of resident memory, after giving free memory back; what is resident now, in MB."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError):
        return 0.0
    return _status("VmRSS")


def _peak() -> float:
    return _status("VmHWM")


def _status(field: str) -> float:
    """A line of Linux's process status, in MB; 0 elsewhere, where memory is not measured."""
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return 0.0
    return int(found.group(1)) / 1024 if found else 0.0


def circumstances(threads: int) -> dict[str, Any]:
    """Where and how these figures came about."""
    import torch
    import transformers

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "gpu": "not measured",
    }


def machine() -> str:
    """Processor, cores and system, in words."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or "unknown processor"
