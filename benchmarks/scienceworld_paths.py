"""Which variations of ScienceWorld fit into the published step limits? The expert's path for each, played.

    python benchmarks/scienceworld_paths.py LEVEL [LEVEL …] [--every N] [--seconds S]
    python benchmarks/scienceworld_paths.py --seeds 50 [--seconds S]
    python benchmarks/scienceworld_paths.py --write

The first form plays variations of levels, the second those that the first test seeds play. Either plays only what is
not yet in the record (`results/scienceworld_paths.jsonl`, one line each) and adds it, so that it can be stopped and
started again; 0.5 to 15 s a variation. `--write` makes the list of those that are left out from the record: where the
expert reaches less than 0.95 within the limit. With `--seeds`, the mean over those seeds is printed at the end. It
needs the extra `[scienceworld]`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

from agentrm_tui.environments.base import SPLIT_SEEDS
from agentrm_tui.environments.scienceworld.gold import expert_path
from agentrm_tui.environments.scienceworld.levels import LEAST_REACHED, LEFT_OUT_FILE, LEVELS, variation_of
from agentrm_tui.environments.scienceworld.simulators import Simulator

RECORD = Path(__file__).parent / "results" / "scienceworld_paths.jsonl"


def read_record() -> dict[tuple[str, int], tuple[int, float]]:
    """Steps and score of each variation that was played."""
    if not RECORD.is_file():
        return {}
    found = [json.loads(line) for line in RECORD.read_text("utf-8").splitlines()]
    return {(level, variation): (steps, reached) for level, variation, steps, reached in found}


def of_levels(levels: Iterable[str], every: int) -> list[tuple[str, int]]:
    """Each `every`th variation of the levels, from the last on."""
    return [(level, number) for level in levels for number in range(LEVELS[level].variations - 1, -1, -every)]


def of_seeds(count: int) -> list[tuple[str, int]]:
    """The variations that the first test seeds play, the levels taking turns."""
    names, first = list(LEVELS), SPLIT_SEEDS["test"]
    levels = [(names[seed % len(names)], seed) for seed in range(first, first + count)]
    return [(level, variation_of(level, seed)) for level, seed in levels]


def play(wanted: Iterable[tuple[str, int]], seconds: float) -> None:
    """Play what is not yet in the record, until the time is over."""
    until = monotonic() + seconds
    missing = [each for each in dict.fromkeys(wanted) if each not in read_record()]
    if not missing:
        return
    simulator = Simulator()
    with RECORD.open("a", encoding="utf-8") as record:
        for level, variation in missing:
            if monotonic() > until:
                break
            reached, actions = expert_path(simulator, level, variation)
            record.write(f"{json.dumps([level, variation, len(actions), round(reached, 2)])}\n")
            record.flush()
    simulator.close()


def summarise(wanted: list[tuple[str, int]]) -> str:
    """The expert's mean over some variations, and how many of them are in the record."""
    known = read_record()
    scores = [known[each][1] for each in wanted if each in known]
    mean = f"{sum(scores) / len(scores):.3f}" if scores else "-"
    full = sum(score >= LEAST_REACHED for score in scores)
    return f"{len(scores)} of {len(wanted)} seeds played: mean {mean}, {full} at {LEAST_REACHED} or more"


def write() -> None:
    """Make the list from the record, and print a line for each level."""
    known = read_record()
    short = [(level, variation) for (level, variation), (_, reached) in known.items() if reached < LEAST_REACHED]
    found = {level: sorted(variation for name, variation in short if name == level) for level in LEVELS}
    lines = [f"{json.dumps(level)}: {json.dumps(left)}" for level, left in found.items() if left]
    LEFT_OUT_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    played = Counter(level for level, _ in known)
    for level, facts in LEVELS.items():
        print(f"{level:55} {len(found[level]):4d} left out of {played[level]:4d} played; {facts.variations} in all")


def main() -> int:
    """Play, or write; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("levels", nargs="*", metavar="LEVEL")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if wrong := [level for level in options.levels if level not in LEVELS]:
        parser.error(f"there is no level {wrong[0]}")
    seeds = of_seeds(options.seeds)
    play([*seeds, *of_levels(options.levels, options.every)], options.seconds)
    if options.write:
        write()
    if seeds:
        print(summarise(seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
