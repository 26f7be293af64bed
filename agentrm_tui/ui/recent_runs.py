"""How a run looks in the launcher's list: what was run, and how it went."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

from agentrm_models.terminal_text import one_line
from agentrm_tui.runs.listing import RunSummary
from agentrm_tui.terminal_text import fit, number


def run_line(run: RunSummary, now: float, width: int) -> Content:
    """Two lines of at most `width` cells.

    Args:
        now: Seconds since the epoch.
    """
    age = _age(now - run.changed.timestamp())
    if run.started is None:
        problem = fit(one_line(run.problem), width)
        return Content.assemble((fit(one_line(run.path.name), width), "$foreground 62%"), "\n", (problem, "$error"))
    started, finished = run.started, run.finished
    plan = started.plan
    tasks = f"{len(plan.tasks)} task" + "s" * (len(plan.tasks) != 1) if plan.tasks else "conversations"
    name = one_line(f"{plan.environment} · {plan.search.words} · {tasks}")
    score = "unfinished"
    if finished is not None:
        scored = finished.reason == "finished" and finished.score_mean is not None
        score = f"score {number(finished.score_mean)}" if scored else finished.reason
        score += f", {finished.share}" if finished.share else ""
    models = "  " + one_line(plan.policy + (f" + {plan.reward}" if plan.reward else ""))
    first = fit(name, max(4, width - cell_len(age) - 1)) + " " + age
    second = fit(models, max(4, width - cell_len(score) - 1)) + " " + score
    return Content.assemble(first, "\n", (second, "$foreground 62%"))


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now"
