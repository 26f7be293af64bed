"""From what was typed to a plan: tasks, models and search, each checked before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.typed_path import typed_path
from agentrm_tui.environments.base import Environment, Split
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.store import runs_folder
from agentrm_tui.search.algorithms import needs_reward
from agentrm_tui.search.settings import SearchSettings
from agentrm_tui.settings import default_model, untrained


class TaskChoice(NamedTuple):
    """Which tasks are to be played.

    Attributes:
        ids: Task ids that were named; the other fields then do not count.
        level: Only this level; empty for the environment's mix.
        number: How many tasks; None for one.
        first_seed: Seed (or, in a fixed list, place) of the first task; None for the split's own first.
    """

    ids: tuple[str, ...] = ()
    level: str = ""
    number: int | None = None
    first_seed: int | None = None
    split: Split = "test"


def choose_tasks(environment: Environment, choice: TaskChoice) -> tuple[str, ...]:
    """The ids of the chosen tasks, all of which exist.

    Raises:
        UsageError: No such level or task; the message offers the nearest spelling.
    """
    if choice.ids:
        if choice.level or choice.first_seed is not None or choice.number is not None:
            raise UsageError("--task names the tasks already", "Leave out --level, --first-seed and --tasks.")
        return tuple(environment.task(name).id for name in choice.ids)
    count = 1 if choice.number is None else choice.number
    traits = environment.traits
    if not choice.level:
        tasks = tuple(task.id for task in environment.tasks(choice.split, choice.first_seed, count))
    elif traits.procedural:
        seeds = [task.seed for task in environment.tasks(choice.split, choice.first_seed, count)]
        if choice.level not in traits.levels:
            # The environment may know better than the nearest name what is missing.
            environment.task(choice.level)
        level = _level(traits.name, traits.levels, choice.level)
        tasks = tuple(environment.task(f"{level}:{seed}").id for seed in seeds)
    else:
        level = _level(traits.name, traits.levels, choice.level)
        fitting = [task.id for task in environment.tasks(choice.split, choice.first_seed) if task.level == level]
        tasks = tuple(fitting[:count])
    if tasks:
        environment.task(tasks[-1])
    if not tasks:
        raise UsageError(f"{traits.name} has no tasks in split {choice.split!r} from --first-seed {choice.first_seed}")
    return tasks


def _level(environment: str, levels: Sequence[str], level: str) -> str:
    if level not in levels:
        near = get_close_matches(level, levels, n=1, cutoff=0.0)
        raise UsageError(f"{environment} has no level {level[:80]!r}", f"Did you mean {near[0]!r}?" if near else "")
    return level


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
    if needs_reward(search):
        reward = reward or default_model(environment, "reward")
    if reward:
        parse_spec(reward, "reward")
    return RunPlan(environment=environment, tasks=tasks, search=search, policy=policy, reward=reward, **fields)


def training_notices(plan: RunPlan) -> list[str]:
    """One line for each model of a plan whose folder says that it was trained on other environments."""
    from agentrm_models.specs import parse_spec

    specs = [parse_spec(plan.policy, "policy")]
    if plan.reward:
        specs.append(parse_spec(plan.reward, "reward"))
    notices = [
        untrained(plan.environment, spec.path, spec.name) for spec in specs if spec.kind in ("bundled", "folder")
    ]
    return [*dict.fromkeys(filter(None, notices))]


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
    search = SearchSettings(algorithm="beam", beam_width=3, beam_samples=3)
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
    near = get_close_matches(Path(name).name, known, n=1, cutoff=0.4)
    raise DataError(
        f"there is no run file {name!r}", f"Did you mean {near[0]}?" if near else "See agentrm-tui runs for the list."
    )


def search_from(algorithm: str, **fields: Any) -> SearchSettings:
    """Search settings from flags; a field that was not typed (None) keeps its default.

    Raises:
        UsageError: A number that is too small.
    """
    typed = {name: value for name, value in fields.items() if value is not None}
    settings = msgspec.convert({"algorithm": algorithm, **typed}, SearchSettings)
    for name in ("n", "beam_width", "beam_samples", "iterations", "simulations", "branching"):
        if getattr(settings, name) < 1:
            raise UsageError(f"{name.replace('_', '-')} must be at least 1")
    return settings
