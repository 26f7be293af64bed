"""What adaptive Best-of-N scores and costs beside Best-of-20, with the bundled pairs on tasks that no stage has played.

    python benchmarks/adaptive.py choose small text   # on dev tasks; writes stop_at into the pairs' agentrm.json
    python benchmarks/adaptive.py                     # on test tasks; prints the table

Both methods sample at temperature 0.7. Run files stay in --out and are only read when the command is given again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from agentrm_models.bundled import find_bundled
from agentrm_models.load_options import LoadOptions
from agentrm_trainer.config import EnvironmentSection
from agentrm_trainer.data.tasks import task_ids
from agentrm_trainer.data.thresholds import store_threshold
from agentrm_trainer.reports.bootstrap import bootstrap_mean
from agentrm_trainer.workflow.plays import Sampling, kept_reward, make_plan, outcomes, play
from agentrm_tui.environments.base import Split
from agentrm_tui.runs.state import RunState
from agentrm_tui.search.adaptive import Adaptive
from agentrm_tui.search.best_of_n import BestOfN
from agentrm_tui.search.registry import SearchSettings

ENVIRONMENTS = {
    "small": ("maze", "babyai", "pddl"),
    "text": ("webshop", "household", "toolquery", "tooloperation", "adventure"),
}
N = 20
FIRST = {"dev": 50_000, "test": 50_000}
"""Tasks that no stage has played: thresholds, settings and figures of the cards come from lower ones."""

METHODS: dict[str, SearchSettings] = {f"Best-of-{N}": BestOfN(n=N), f"adaptive, at most {N}": Adaptive(n=N)}
DRAWS = 4000


class Row(NamedTuple):
    """One method on one environment: the outcome and the sampled tokens of each task."""

    outcomes: list[float]
    tokens: list[int]


def main() -> int:
    """Choose thresholds, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="choose PAIR …; nothing to measure")
    parser.add_argument("--tasks", type=int, default=40, help="tasks of each environment")
    parser.add_argument("--parallel", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("out/adaptive"), help="folder of run files")
    given = parser.parse_args()
    if given.what[:1] == ["choose"]:
        for pair in given.what[1:]:
            _choose(pair, given)
    else:
        _measure(given)
    return 0


def _played(pair: str, environment: str, split: Split, search: SearchSettings, given: argparse.Namespace) -> RunState:
    section = EnvironmentSection(name=environment)
    tasks = task_ids(section, split, FIRST[split], given.tasks)
    sampling = Sampling(temperature=0.7, max_tokens=64, seed=0, parallel=given.parallel, load=LoadOptions())
    name = type(search).__name__.lower()
    plan = make_plan(environment, tasks, search, sampling, f"bundled:{pair}", f"bundled:{pair}")
    return play(plan, given.out / f"{environment}-{split}-{given.tasks}-{name}.jsonl")


def _choose(pair: str, given: argparse.Namespace) -> None:
    states = [_played(pair, name, "dev", BestOfN(n=N), given) for name in ENVIRONMENTS[pair]]
    spec = f"bundled:{pair}"
    found = store_threshold(find_bundled(pair, "reward").folder, states, kept_reward(spec, LoadOptions()), seed=0)
    print(f"{pair}: {found}")


def _measure(given: argparse.Namespace) -> None:
    everything: dict[str, list[Row]] = {name: [] for name in METHODS}
    print(f"| environment | {' | '.join(f'{name}: score | tokens a task' for name in METHODS)} |")
    print("|---|" + "---|" * 2 * len(METHODS))
    for pair, environment in ((pair, name) for pair, names in ENVIRONMENTS.items() for name in names):
        rows = []
        for method, search in METHODS.items():
            state = _played(pair, environment, "test", search, given)
            rows.append(
                Row(outcomes(state), [episode.ledger.policy_tokens_generated for episode in state.episodes.values()])
            )
            everything[method].append(rows[-1])
        print(f"| {environment} | {_cells(rows)} |", flush=True)
    totals = [
        Row([x for row in rows for x in row.outcomes], [x for row in rows for x in row.tokens])
        for rows in everything.values()
    ]
    print(f"| all ({len(totals[0].outcomes)} tasks) | {_cells(totals)} |")
    best, adaptive = totals
    gain = bootstrap_mean([a - b for a, b in zip(adaptive.outcomes, best.outcomes, strict=True)], DRAWS, seed=0)
    print(
        f"\ntokens: {fmean(adaptive.tokens) / fmean(best.tokens):.2f} of Best-of-{N}'s; "
        f"score: {100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    )


def _cells(rows: Sequence[Row]) -> str:
    return " | ".join(f"{100 * fmean(row.outcomes):.1f} | {fmean(row.tokens):,.0f}" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
