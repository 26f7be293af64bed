"""What only the environments know: whether they can be made here, their levels, experts, snapshots and tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agentrm_models.errors import AgentRMError
from agentrm_models.spelling import did_you_mean
from agentrm_trainer.config import Config, EnvironmentSection
from agentrm_trainer.data.tasks import initial_state, tasks_from, unseen_tasks
from agentrm_trainer.preflight.mistakes import Given, Mistake, Rule, shown
from agentrm_trainer.workflow.registry import STAGES
from agentrm_tui.environments.base import Environment, Split
from agentrm_tui.environments.registry import make_environment

FIRST_LOOK = 32
"""Training tasks that are begun: where all their initial states differ, enough are left for the test."""

LONG_LOOK = 150
"""Training tasks that are begun where some of the first ones began alike."""

CHARACTERS_A_TOKEN = 12
"""More than tokens of these tokenizers have on average, so that only a hopeless context is refused."""

_TASKS: tuple[tuple[Split, str], ...] = (("train", "train_tasks"), ("dev", "dev_tasks"), ("test", "test_tasks"))


def each_environment(given: Given) -> Iterator[Mistake]:
    """Make each environment, and begin tasks of each split; whatever it raises is told now, not after hours."""
    for number, section in enumerate(given.file.config.environments):
        key = f"environments.{number}"
        with _made(section.name) as made:
            if isinstance(made, Exception):
                yield Mistake(f"{key}.name", *_in_words(made))
                continue
            try:
                found = [*_levels(made, section, key)] or [*_abilities(made, section, key, given)]
                found = found or [*_tasks(made, section, key, given)]
            except Exception as error:
                found = [Mistake(f"{key}.name", *_in_words(error))]
            yield from found


@contextmanager
def _made(name: str) -> Iterator[Environment | Exception]:
    """An environment, or the error that stands in its way, whoever raises it."""
    try:
        environment = make_environment(name)
    except Exception as error:
        yield error
        return
    try:
        yield environment
    finally:
        environment.close()


def _in_words(error: Exception) -> tuple[str, str]:
    if isinstance(error, AgentRMError):
        return error.cause, error.remedy or "Take another environment."
    return f"{type(error).__name__}: {str(error)[:200]}", "Mend the environment, or take another one."


def _levels(environment: Environment, section: EnvironmentSection, key: str) -> Iterator[Mistake]:
    known = environment.traits.levels
    for name in ("levels", "test_levels"):
        for level in getattr(section, name):
            if known and level not in known:
                yield Mistake(
                    f"{key}.{name}", f"{section.name} has no level {level[:80]!r}", did_you_mean(level, known)
                )


def _abilities(environment: Environment, section: EnvironmentSection, key: str, given: Given) -> Iterator[Mistake]:
    traits, config = environment.traits, given.file.config
    if "collect" in given.stages and not traits.expert:
        yield Mistake(
            f"{key}.name",
            f"{section.name} has no expert to collect from",
            "Take an environment that has one (agentrm-tui list environments).",
        )
    if "explore" in given.stages and not traits.procedural:
        yield Mistake(
            f"{key}.name",
            f"{section.name} has a fixed list of tasks, and exploration needs further ones",
            "Take an environment that makes tasks from seeds.",
        )
    if config.label.contrasts and not (traits.expert and traits.snapshots):
        yield Mistake(
            "label.contrasts",
            f"{config.label.contrasts}: {section.name} has no expert or no exact snapshots",
            "Leave label.contrasts out.",
        )


def _tasks(environment: Environment, section: EnvironmentSection, key: str, given: Given) -> Iterator[Mistake]:
    """Begin the first task of each split, where a stage that will run plays any."""
    if not any("environments.levels" in stage.reads for stage in STAGES if stage.name in given.stages):
        return
    opening = 0
    for split, name in _TASKS:
        wanted = 1 if environment.traits.procedural else int(getattr(section, name))
        tasks = tasks_from(environment, section, split, 0, wanted)
        if len(tasks) < wanted:
            yield Mistake(
                f"{key}.{name}",
                f"{wanted} is more than the {len(tasks)} tasks that {section.name} has",
                f"Take at most {len(tasks)}.",
            )
            return
        observation = environment.reset(tasks[0])
        opening = len(environment.instruction("short")) + len(tasks[0].goal) + len(observation)
    yield from _context(given.file.config, section, opening)
    if not {"collect", "evaluate"}.isdisjoint(given.stages):
        yield from _unseen(environment, section, key)


def _context(config: Config, section: EnvironmentSection, opening: int) -> Iterator[Mistake]:
    least = opening // CHARACTERS_A_TOKEN + config.evaluate.max_tokens
    if not (config.sft.init_from or config.tokenizer.phrases) and config.model.context < least:
        yield Mistake(
            "model.context",
            f"{config.model.context} does not hold how {section.name} begins ({opening} characters) and a reply of "
            f"{config.evaluate.max_tokens} tokens",
            f"Take at least {least}.",
        )


def _unseen(environment: Environment, section: EnvironmentSection, key: str) -> Iterator[Mistake]:
    """Whether a test task is left that begins in a state which training has not seen."""
    states = _states(environment, section, 0, min(FIRST_LOOK, section.train_tasks))
    if len(states) == min(FIRST_LOOK, section.train_tasks):
        return
    states |= _states(environment, section, FIRST_LOOK, min(LONG_LOOK, section.train_tasks) - FIRST_LOOK)
    few = min(section.test_tasks, 10)
    found = sum(new for _, new in unseen_tasks(environment, section, "test", few, frozenset(states)))
    if found < few:
        yield Mistake(
            f"{key}.test_tasks",
            f"{section.test_tasks} test tasks are not left: {section.name} begins in few different states "
            f"({len(states)} in training), and {found or 'none'} of {20 * few} test tasks begins in another",
            "Lower train_tasks, take more levels, or let the environment make more different tasks.",
        )


def _states(environment: Environment, section: EnvironmentSection, first: int, count: int) -> set[str]:
    tasks = tasks_from(environment, section, "train", first, max(0, count))
    return {initial_state(environment, task, environment.reset(task)) for task in tasks}


def all_environments(given: Given) -> Iterator[Mistake]:
    """Keys that somebody has written though no environment can do what they ask for."""
    config = given.file.config
    traits = []
    for section in config.environments:
        with _made(section.name) as made:
            if isinstance(made, Exception):
                return
            traits.append(made.traits)
    snapshots = any(found.snapshots for found in traits)
    for key, count in (
        ("explore.dev_sibling_states", config.explore.dev_sibling_states),
        ("evaluate.sibling_states", config.evaluate.sibling_states),
    ):
        if count and given.file.gives(key) and not snapshots:
            yield Mistake(
                key,
                f"{count}: no environment has the exact snapshots that siblings start from",
                "Leave it out, or set it to 0.",
            )
    if config.label.expert_share and not any(found.expert and found.snapshots for found in traits):
        yield Mistake(
            "label.expert_share",
            f"{shown(config.label.expert_share)}: no environment has an expert and exact snapshots",
            "Leave it out.",
        )


RULES: tuple[Rule, ...] = (each_environment, all_environments)
