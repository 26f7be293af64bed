"""Tables of what there is, as aligned lines: environments, tasks, models, runs."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from agentrm_models.errors import AgentRMError
from agentrm_models.terminal_text import on_one_line, one_line
from agentrm_tui.environments.base import SPLIT_SEEDS, EnvironmentTraits
from agentrm_tui.environments.registry import address_kinds, environment_names, make_environment
from agentrm_tui.environments.task_choice import TaskChoice, choose_tasks
from agentrm_tui.runs.events import RunFinished
from agentrm_tui.runs.listing import RunSummary, list_runs

_WHOLE_LINE = 1_000_000
"""Cells of a line at most: what a table says is never cut to a terminal's width, so that pipes get all of it."""
_CELL = 1_000
"""Characters of a cell at most."""


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows of equal length by terminal cells, each cell cleaned; the last column is not padded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return []
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in rows[0]:
        table.add_column(no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*(Text(one_line(cell, _CELL)) for cell in row))
    drawn = StringIO()
    Console(width=_WHOLE_LINE, color_system=None, file=drawn).print(table)
    return [line.rstrip() for line in drawn.getvalue().splitlines()]


def environment_table() -> list[str]:
    """One line for each environment: where it comes from, its tasks, what it offers; a broken one says why."""
    rows = [["environment", "origin", "extra", "tasks", "goes back by", "offers", "summary"]]
    for name in environment_names():
        try:
            made = make_environment(name)
            traits = made.traits
            made.close()
        except AgentRMError as error:
            rows.append([name, "-", "-", "-", "-", "-", f"broken: {on_one_line(str(error))}"])
            continue
        back, tasks = _goes_back_by(traits), _tasks(traits)
        rows.append([name, traits.origin, traits.extra or "-", tasks, back, _offers(traits), traits.summary])
    return [*columns(rows), "", *split_lines(), "", *address_lines()]


def _tasks(traits: EnvironmentTraits) -> str:
    return f"{len(traits.levels)} levels" + (", any seed" if traits.procedural else "")


def split_lines() -> list[str]:
    """What the splits are where any seed gives a task."""
    firsts = ", ".join(f"{split} from seed {first:,}" for split, first in SPLIT_SEEDS.items())
    return [f"splits: {firsts}; `list tasks ENVIRONMENT` shows those of one"]


_ADDRESSES = {
    "agentgym": ("agentgym:URL", "an AgentGym server, for example agentgym:http://127.0.0.1:8000"),
    "jericho": ("jericho:PATH", "a story file for the Z-machine, for example jericho:zork1.z5"),
    "openenv": ("openenv:URL", "an OpenEnv server, for example openenv:http://127.0.0.1:8000"),
    "pddl": ("pddl:DOMAIN.pddl", "your own planning problems; or pddl --domain FILE --problem FILE"),
}


def address_lines() -> list[str]:
    """How environments are named that the program did not come with."""
    rows = [_ADDRESSES.get(kind, (f"{kind}:WHERE", "from an installed package")) for kind in address_kinds()]
    return ["your own:", *columns(rows)] if rows else []


def perturbation_table() -> list[str]:
    """One line for each rule, and how it is asked for."""
    from agentrm_tui.environments.perturbed import PERTURBATIONS

    rows = [["perturbation", "what it does"], *([name, found.summary] for name, found in PERTURBATIONS.items())]
    how = "--perturb NAME, or ENVIRONMENT+NAME; NAME@SEED chooses other words or another order"
    return [*columns(rows), "", how]


def _offers(traits: EnvironmentTraits) -> str:
    declared = {
        "valid actions": traits.valid_actions,
        "expert": traits.expert,
        "picture": traits.pictures,
    }
    return ", ".join(name for name, has in declared.items() if has) or "-"


def task_table(environment: str, choice: TaskChoice) -> list[str]:
    """Task ids, step limits and goals, after a line with the levels."""
    made = make_environment(environment)
    try:
        tasks = [made.task(name) for name in choose_tasks(made, choice)]
        traits = made.traits
    finally:
        made.close()
    rows = [["task", "steps", "goal"]]
    rows += [[task.id, str(task.step_limit), one_line(task.goal, 160)] for task in tasks]
    head = [f"levels: {', '.join(traits.levels)}"] if traits.levels else []
    head.append(f"{traits.origin}{_extra(traits)}, goes back by {_goes_back_by(traits)}")
    if traits.procedural:
        head += split_lines()[:1]
    if traits.mix:
        head.append(f"taking turns: {', '.join(traits.mix)}")
    head += [f"left out: {line}" for line in traits.left_out]
    return [*head, "", *columns(rows)]


def _extra(traits: EnvironmentTraits) -> str:
    return f", extra {traits.extra}" if traits.extra else ""


def _goes_back_by(traits: EnvironmentTraits) -> str:
    """How a search gets back to a state: by a copy of it, or by doing all again."""
    return "snapshot" if traits.snapshots else "replay"


def model_table() -> list[str]:
    """Bundled models with their sizes, then the ways to name others."""
    from agentrm_models.packaged import PACKAGED
    from agentrm_models.specs import list_models, policy_kinds, reward_kinds

    rows = [[model.spec, model.role, f"{model.size_bytes / 1e6:.1f} MB"] for model in list_models()]
    packaged = [[one.spec, one.words if one.here() else f"not installed: {one.install}"] for one in PACKAGED]
    return [
        *(columns(rows) or ["no model is bundled with this version"]),
        "",
        *columns(packaged),
        "",
        f"--policy: {', '.join(policy_kinds())}",
        f"--reward: {', '.join(reward_kinds())}",
    ]


def run_table() -> list[str]:
    """One line for each run file, newest first."""
    rows = [_run_row(run) for run in list_runs()]
    header = ["changed", "run", "environment", "search", "score", "policy"]
    return columns([header, *rows]) if rows else ["no runs yet"]


def _run_row(run: RunSummary) -> list[str]:
    changed = run.changed.astimezone().strftime("%Y-%m-%d %H:%M")
    if run.started is None:
        return [changed, run.path.name, "-", "-", "-", one_line(run.problem, 120)]
    score = _score(run.finished) if run.finished else "unfinished"
    plan = run.started.plan
    environment = f"{one_line(plan.environment, 60)} ({one_line(run.started.origin, 60)})"
    return [changed, run.path.name, environment, plan.search.words, score, one_line(plan.policy, 60)]


def _score(finished: RunFinished) -> str:
    score = "-" if finished.score_mean is None else f"{100 * finished.score_mean:.1f}"
    return f"{score} ({finished.share})" if finished.share else score
