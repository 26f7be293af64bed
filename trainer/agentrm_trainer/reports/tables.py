"""Results as Markdown tables."""

from __future__ import annotations

from agentrm_models.errors import AgentRMError
from agentrm_trainer.reports.bootstrap import Interval
from agentrm_trainer.reports.chance import CHANCE
from agentrm_trainer.reports.results import ALL, MethodFigures, Results
from agentrm_tui.environments.registry import make_environment

_ORDER = (
    "greedy",
    "single",
    "random-of-n",
    "shortest-of-n",
    "likeliest-of-n",
    "best-of-n",
    "oracle",
    "beam",
    "beam-random",
    "best-of-n-at-cost",
)


def results_markdown(results: Results) -> str:
    """Every table of a report: all environments first, then each by itself, then the reward model's accuracies."""
    parts = [_table(results, name) for name in (ALL, *results.passed_over)]
    return "\n\n".join([*parts, _accuracies(results)]) + "\n"


def method_title(method: str, results: Results) -> str:
    """A method's name as a reader knows it."""
    n, beam = results.n, results.beam.replace("x", "×")
    titles = {
        "greedy": "greedy",
        "single": "single sample",
        "random-of-n": f"random one of {n} samples (expectation)",
        "shortest-of-n": f"shortest of {n}",
        "likeliest-of-n": f"likeliest of {n} (mean log-probability)",
        "best-of-n": f"**Best-of-{n}, reward model**",
        "oracle": f"best of {n} (oracle)",
        "beam": f"**beam {beam}, reward model**",
        "beam-random": f"beam {beam}, random scores",
        "best-of-n-at-cost": "Best-of-N at the beam's cost, reward model",
    }
    return titles.get(method, method)


def _table(results: Results, name: str) -> str:
    tasks = max((figures[name].tasks for figures in results.methods.values()), default=0)
    head = f"### {'All tasks' if name == ALL else _with_origin(name)} ({tasks} test tasks)"
    rows = [
        head,
        "",
        "| method | score ×100 [95 %] | success | tokens a task | − greedy | − random of N | − beam, random scores |",
        "|---|---|---|---|---|---|---|",
    ]
    others = (method for method in results.methods if method not in _ORDER)
    for method in (*_ORDER, *others):
        if method in results.methods:
            rows.append(_row(method_title(method, results), results.methods[method][name]))
    return "\n".join(rows)


def _with_origin(name: str) -> str:
    """An environment with where it comes from: original software, a compatible re-implementation, or one's own."""
    try:
        made = make_environment(name)
    except AgentRMError:
        return name
    origin = made.traits.origin
    made.close()
    return f"{name}, {origin}"


def _row(title: str, figures: MethodFigures) -> str:
    versus = [_signed(figures.versus.get(other)) for other in ("greedy", "random-of-n", "beam-random")]
    score = figures.score
    return (
        f"| {title} | {score.mean:.1f} [{score.low:.1f}, {score.high:.1f}] | {figures.success:.2f} | "
        f"{figures.tokens:,.0f} | {' | '.join(versus)} |"
    )


def _signed(interval: Interval | None) -> str:
    return f"{interval.mean:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]" if interval else ""


def _accuracies(results: Results) -> str:
    rows = [
        "### What the reward model orders right",
        "",
        "| tasks | ends of one task's episodes, both early | siblings after fresh rollouts | failures before the limit "
        "| test tasks passed over |",
        "|---|---|---|---|---|",
    ]
    for name in (ALL, *results.passed_over):
        ends, siblings, early = results.ends[name], results.siblings[name], results.early_failures[name]
        passed = sum(results.passed_over.values()) if name == ALL else results.passed_over[name]
        cells = [
            f"{found.accuracy:.2f} ({found.pairs} pairs)" if found.accuracy is not None else "no pair"
            for found in (ends, siblings)
        ]
        share = "no failure" if early is None else f"{early:.0%}"
        rows.append(f"| {name} | {cells[0]} | {cells[1]} | {share} | {passed} |")
    return "\n".join([*rows, *_below_chance(results)])


def _below_chance(results: Results) -> list[str]:
    """A warning about what the reward model orders worse than chance on test; no line where there is nothing."""
    found = [
        f"{kind} of {'all tasks' if name == ALL else name}"
        for kind, figures in (("ends", results.ends), ("siblings", results.siblings))
        for name, each in figures.items()
        if each.accuracy is not None and each.accuracy < CHANCE
    ]
    return ["", f"> **Warning:** the reward model is worse than chance on test: {', '.join(found)}."] if found else []
