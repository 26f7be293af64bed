"""From what was typed to a plan: tasks, models and search, each checked before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentrm_models.errors import DataError, UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_models.typed_path import typed_path
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.environments.task_choice import TaskChoice, choose_tasks
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.store import runs_folder
from agentrm_tui.search.beam import Beam
from agentrm_tui.search.registry import SearchSettings
from agentrm_tui.settings import default_model


def make_plan(environment: str, choice: TaskChoice, search: SearchSettings, **fields: Any) -> RunPlan:
    """Build the plan; a model that was not named is the bundled one.

    Args:
        fields: Other fields of `RunPlan`; `policy` and `reward` may be empty.

    Raises:
        UsageError, DataError: A name, level, task or model that does not exist.
    """
    from agentrm_models.specs import parse_spec

    made = make_environment(environment)
    try:
        tasks = choose_tasks(made, choice)
        # An address is written out in full, so that the run file can be gone on with from anywhere.
        environment = made.traits.name if ":" in environment else environment
    finally:
        made.close()
    policy = fields.pop("policy", "") or default_model(environment, "policy")
    parse_spec(policy, "policy")
    reward = fields.pop("reward", "")
    if search.needs_reward:
        reward = reward or default_model(environment, "reward")
    if reward:
        parse_spec(reward, "reward")
    return RunPlan(environment=environment, tasks=tasks, search=search, policy=policy, reward=reward, **fields)


class OwnFiles(NamedTuple):
    """A person's own files, as typed: a planning domain with problems, or a story file."""

    domain: Path | None = None
    problems: tuple[Path, ...] = ()
    story: Path | None = None


def own_files(environment: str, files: OwnFiles, named: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The address that `--domain` or `--story` stands for, and the task ids that `--problem` and `--task` stand for.

    Raises:
        UsageError: A flag was given to another environment than its own, or one without the other.
    """
    domain, problems, story = files
    for flag, given, owner in (
        ("--domain", domain, "pddl"),
        ("--problem", problems, "pddl"),
        ("--story", story, "jericho"),
    ):
        if given and environment.partition(":")[0].partition("+")[0] != owner:
            raise UsageError(f"{flag} is for the environment {owner}, not {environment[:80]!r}", "Leave it out.")
    if problems and domain is None and environment == "pddl":
        raise UsageError("--problem lacks the domain that the problem belongs to", "Give its file with --domain.")
    for flag, file, what in (("--domain", domain, "domain"), ("--story", story, "story file")):
        if file is not None and ":" in environment:
            raise UsageError(f"{flag} and {environment[:80]!r} both name a {what}", "Leave one of them out.")
        if file is not None:
            kind, plus, rule = environment.partition("+")
            environment = f"{kind}:{file}{plus}{rule}"
    return environment, (*(str(problem) for problem in problems), *named)


DEMO_TASK = "maze-5:9000010"


def demo_plan() -> RunPlan:
    """What is played when nobody chose anything: a maze the bundled models solve, or others where there are none."""
    policy, reward = "", ""
    try:
        default_model("maze", "policy"), default_model("maze", "reward")
    except UsageError:
        policy, reward = "scripted", "random"
    search = Beam(beam=(3, 3))
    return make_plan("maze", TaskChoice(ids=(DEMO_TASK,)), search, policy=policy, reward=reward)


def find_run(name: str) -> Path:
    """A run by path, or by its name in the runs folder.

    Raises:
        DataError: There is none; the message offers the nearest name.
        UsageError: No file can have that name.
    """
    folder = runs_folder()
    typed = typed_path(name)
    for path in (typed, folder / name, folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"):
        if path.is_file():
            return path
    known = [path.name for path in folder.glob("*.jsonl*")] if folder.is_dir() else []
    near = did_you_mean(Path(name).name, known, listed_as="")
    raise DataError(f"there is no run file {name!r}", near or "See agentrm-tui runs for the list.")
