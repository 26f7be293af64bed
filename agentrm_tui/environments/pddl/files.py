"""A person's own planning problems: `pddl:DOMAIN` plays the problem files of a domain file, in words made from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from agentrm_models.errors import DataError, UsageError
from agentrm_models.messages import PromptStyle
from agentrm_models.replies import ACTION_LIMIT
from agentrm_models.typed_path import refuse_endless, typed_path
from agentrm_tui.environments.base import EnvironmentTraits, Picture, Split, StepResult, Task
from agentrm_tui.environments.pddl.environment import CHECK, FINISH, INVALID_LIMIT, PDDLEnvironment, Script
from agentrm_tui.environments.pddl.language import Domain
from agentrm_tui.environments.pddl.planning import QUICK, Effort, Planner, RelaxedTask
from agentrm_tui.environments.pddl.reading import parse_domain, parse_problem
from agentrm_tui.environments.pddl.schema_words import SchemaWords

LARGEST_FILE = 4_000_000
"""Bytes of a file that is read; a longer one is refused."""

MOST_STATES, MOST_WORK = 4_000, 1_000_000
"""States, and states times ground actions, that are looked at for a plan when the step limit is set."""

_DIGEST = re.compile(r"(.+)#([0-9a-f]{8})")

_EXAMPLE = "Thought: what the next subgoal is\nAction: one of the actions above"


class PDDLFilesEnvironment(PDDLEnvironment):
    """The problems of one domain file; rules, outcome and ways to end are those of the built-in planning tasks.

    A task's id is the problem file's path, then `#` and a digest of both files, so that a run that is gone on with
    after a file was changed says so instead of playing something else.

    Args:
        address: Path of the domain file.

    Raises:
        DataError: The file cannot be read, or is not a STRIPS domain; names file, line and what is not supported.
    """

    efforts = QUICK

    def __init__(self, address: str) -> None:
        super().__init__()
        self._path = _absolute(address)
        self._text = _read(self._path, "domain")
        self._domain = _domain(self._text, str(self._path))
        self._words = _words(self._text, str(self._path))
        number = len(self._domain.schemas)
        self._traits = EnvironmentTraits(
            name=f"pddl:{self._path}",
            origin="own",
            summary=f"PDDL domain {self._domain.name} from a file, with {number} action{'s' * (number != 1)}",
            levels=(self._domain.name,),
            snapshots=True,
            valid_actions=True,
            expert=True,
            state_keys=True,
        )

    @property
    def traits(self) -> EnvironmentTraits:
        """Facts about this domain."""
        return self._traits

    def instruction(self, style: PromptStyle) -> str:
        """Every action with what it needs and does, and the reply format; or the list of actions alone."""
        words = self._words
        if style == "short":
            return f"Reach the goal, then finish.\n{self._domain.name}: {words.short_list}."
        return "\n".join(
            [
                f"You act in the planning domain {self._domain.name} to reach a goal. Actions, what they need and do:",
                *words.rules,
                "What is not said to hold does not hold.",
                f"When the whole goal holds, reply with the action: {FINISH}. It ends the episode, and what holds then "
                f"counts. Invalid action number {INVALID_LIMIT} also ends the episode. The action '{CHECK}' lists what "
                "is possible and costs a step.",
                f"Reply with a short thought and one action:\n{_EXAMPLE}",
            ]
        )

    def tasks(self, split: Split, first_seed: int | None = None, count: int | None = None) -> Sequence[Task]:
        """The problem files beside the domain file, or in a folder beside it with its name; the same in all splits."""
        first = first_seed or 0
        last = None if count is None else first + count
        return [self.task(str(path)) for path in self._beside()[first:last]]

    def task(self, task_id: str) -> Task:
        """Read a problem file; the digest may be left out.

        Raises:
            UsageError: There is no such file.
            DataError: It is not a problem of this domain, cannot be solved, or has changed since the id was written.
        """
        path, digest = self._locate(task_id)
        text = _read(path, "problem")
        now = _digest(self._text, text)
        if digest and digest != now:
            raise DataError(f"{path}: this file or its domain has changed since the run began", "Start a new run.")
        script = _script(self._text, str(self._path), text, str(path))
        goal = self._words.goal(script.task.problem.goal)
        return Task(f"{path}#{now}", goal, 0, _step_limit(script, str(path)), self._domain.name)

    def make_task(self, level: str, seed: int) -> Task:
        """The problem file with this number among those beside the domain file."""
        beside = self._beside()
        if not 0 <= seed < len(beside):
            raise UsageError(f"{self._path.name} has {len(beside)} problem files beside it", "Give one with --problem.")
        return self.task(str(beside[seed]))

    def prepare(self, task: Task) -> Script:
        """The problem made ready."""
        path, _ = self._locate(task.id)
        return _script(self._text, str(self._path), _read(path, "problem"), str(path))

    def step(self, action: str) -> StepResult:
        """Take one action; `pick-up(a)` and `(pick-up a)` are understood as well."""
        if len(action) <= ACTION_LIMIT:
            action = re.sub(r"[(),]", " ", action)
        return super().step(action)

    def picture(self) -> Picture:
        """Refuse: a file does not say how to draw it."""
        self._undeclared("pictures")

    def _locate(self, task_id: str) -> tuple[Path, str]:
        found = _DIGEST.fullmatch(task_id)
        name, digest = (found[1], found[2]) if found else (task_id, "")
        path = _absolute(name)
        beside = self._path.parent / name
        if not path.is_file() and "\0" not in name and beside.is_file():
            path = beside.resolve()
        return path, digest

    def _beside(self) -> list[Path]:
        folders = (self._path.parent, self._path.parent / self._path.stem)
        files = [file for folder in folders if folder.is_dir() for file in folder.iterdir() if file.suffix == ".pddl"]
        found = sorted((file for file in files if self._is_problem(file)), key=_natural)
        if not found:
            raise UsageError(f"no problem of {self._path.name} lies beside it", "Give one with --problem FILE.")
        return found

    def _is_problem(self, path: Path) -> bool:
        """Whether a file says that it is a problem of this domain."""
        try:
            text = _read(path, "problem").lower()
        except (DataError, UsageError):
            return False
        name = re.escape(self._domain.name)
        return bool(re.search(r"\(\s*problem\s", text) and re.search(rf"\(\s*:domain\s+{name}\s*\)", text))


def _absolute(name: str) -> Path:
    if not name or "\0" in name:
        raise UsageError(f"{name[:80]!r} is not the name of a file")
    return typed_path(name).resolve()


def _read(path: Path, what: str) -> str:
    refuse_endless(path)
    try:
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path}: more than {LARGEST_FILE // 1_000_000} MB are not a {what}")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no {what} file {path}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not text in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _digest(domain: str, problem: str = "") -> str:
    return blake2b(f"{domain}\0{problem}".encode(), digest_size=4).hexdigest()


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts p2 before p10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], str(path)


# What these caches hold never changes, so instances may share it; the texts are the keys, so that a file that is
# edited is read anew.
@lru_cache(maxsize=16)
def _domain(text: str, source: str) -> Domain:
    domain = parse_domain(text, source)
    if not domain.schemas:
        raise DataError(f"{source}: the domain has no action")
    return domain


@lru_cache(maxsize=16)
def _words(text: str, source: str) -> SchemaWords:
    return SchemaWords(_domain(text, source), _digest(text))


@lru_cache(maxsize=64)
def _script(domain_text: str, domain_source: str, text: str, source: str) -> Script:
    problem = parse_problem(text, _domain(domain_text, domain_source), source)
    try:
        script = Script(_words(domain_text, domain_source), problem)
    except DataError as error:
        raise DataError(f"{source}: {error.cause}", error.remedy) from None
    for word in (FINISH, CHECK):
        if word in script.named:
            raise DataError(f"{source}: the action {word!r} has a meaning of its own here", "Rename it in the domain.")
    return script


@lru_cache(maxsize=256)
def _step_limit(script: Script, source: str) -> int:
    """Three times the length of a plan that ignores deletions, and ten, between 20 and 300; or more.

    Where a real plan is found quickly, there is room for twice its length, up to 300, and in any case for ten more.

    Raises:
        DataError: Not even the plan that ignores deletions exists.
    """
    relaxed = RelaxedTask(script.task).solve(script.task.initial)
    if relaxed is None:
        raise DataError(f"{source}: the goal cannot be reached by any actions")
    # The work of a state grows with the ground actions, so that large problems are not waited for.
    states = max(1, min(MOST_STATES, MOST_WORK // max(1, len(script.task.operators))))
    plan = Planner(script.task, (Effort(5, states),)).plan(script.task.initial) or ()
    return max(20, min(300, max(3 * relaxed.length, 2 * len(plan)) + 10), len(plan) + 10)
