"""What a pretrained model plays with demonstrations, valid actions, search and a reward model that knows the game.

One cell is one run of `agentrm-tui run` with a run file of its own in the output folder. Started again, it skips the
cells that have finished and resumes the one that was cut off; `--table` prints what has finished so far.

    python benchmarks/small_models.py --out FOLDER
    python benchmarks/small_models.py --out FOLDER --table
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import stdev
from typing import NamedTuple

from agentrm_tui.runs.events import RunFinished
from agentrm_tui.runs.listing import summary_of

ENVIRONMENTS = ("maze", "household", "webshop", "babyai", "toolquery")
HELP = {
    "without": (),
    "demonstration": ("--demonstrations", "1"),
    "valid": ("--candidates", "valid"),
    "both": ("--demonstrations", "1", "--candidates", "valid"),
}
SEARCHES = {
    "greedy": ("--search", "greedy"),
    "beam 3x3": ("--search", "beam", "--beam", "3x3"),
    "mcts": ("--search", "mcts", "--iterations", "10", "--branching", "4", "--share-states"),
}


ATTEMPTS = 2
"""How often a cell is tried that does not finish, such as one in which episodes failed."""


class Cell(NamedTuple):
    """One run: an environment, a way to help the model, a search."""

    environment: str
    help: str
    search: str

    def file(self, folder: Path) -> Path:
        """Its run file."""
        return folder / f"{self.environment}-{self.help}-{self.search.replace(' ', '-')}.jsonl"


def cells() -> Iterator[Cell]:
    """All cells: the cheap ones first, then searches with both helps, then the others; the baseline of random
    valid actions (`expert:1`) first."""
    yield from (Cell(environment, "random valid", "greedy") for environment in ENVIRONMENTS)
    yield from (Cell(environment, help, "greedy") for help in ("both", *HELP) for environment in ENVIRONMENTS)
    searches = [search for search in SEARCHES if search != "greedy"]
    for help in ("both", "valid", "demonstration", "without"):
        yield from (Cell(environment, help, search) for search in searches for environment in ENVIRONMENTS)


def play(cell: Cell, arguments: argparse.Namespace) -> None:
    """Play a cell to its end, from where it was cut off."""
    file = cell.file(arguments.out)
    command = [sys.executable, "-m", "agentrm_tui", "run"]
    if file.exists() and file.stat().st_size:
        command += ["--resume", str(file)]
    else:
        policy = ("expert:1",) if cell.help == "random valid" else (arguments.policy, *HELP[cell.help])
        command += [
            cell.environment,
            "--tasks",
            str(arguments.tasks),
            "--threads",
            "1",
            "--parallel",
            "8",
            "--out",
            str(file),
        ]
        command += ["--policy", *policy, *SEARCHES[cell.search]]
    print(" ".join(command), flush=True)
    subprocess.run([*command, "--display", "none"], check=False)


def finished(file: Path) -> RunFinished | None:
    """How a run ended; None where it has not."""
    found = summary_of(file).finished if file.exists() else None
    return found if found is not None and found.reason == "finished" else None


def table(folder: Path) -> Iterator[str]:
    """The finished cells as a Markdown table: mean score in percent with its standard error, and what it cost."""
    yield "| environment | help | search | tasks | score | policy tokens computed | environment steps | seconds |"
    yield "|---|---|---|---|---|---|---|---|"
    for cell in dict.fromkeys(sorted(cells(), key=lambda cell: ENVIRONMENTS.index(cell.environment))):
        found = finished(cell.file(folder))
        if found is None or found.score_mean is None:
            continue
        scores = [score for score in found.scores if score is not None]
        error = 100 * stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else float("nan")
        ledger, score = found.ledger, f"{100 * found.score_mean:.1f} ± {error:.1f}"
        yield (
            f"| {cell.environment} | {cell.help} | {cell.search} | {len(scores)} | {score} "
            f"| {ledger.policy_tokens_computed:,} | {ledger.env_steps:,} | {ledger.seconds:,.0f} |"
        )


def main() -> None:
    """Play what is left, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run files")
    parser.add_argument("--policy", default="pip:smollm2")
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print("\n".join(table(arguments.out)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for cell in [*dict.fromkeys(cells())] * ATTEMPTS:
        if finished(cell.file(arguments.out)) is None:
            play(cell, arguments)


if __name__ == "__main__":
    main()
