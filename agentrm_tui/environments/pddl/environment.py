"""The PDDL environment: classic planning tasks told in English, one episode at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from hashlib import blake2b
from random import Random
from typing import ClassVar, NamedTuple

from agentrm_models.messages import PromptStyle
from agentrm_models.replies import ACTION_LIMIT
from agentrm_tui.environments.base import EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.pddl.grounding import GroundTask, ground
from agentrm_tui.environments.pddl.language import Problem
from agentrm_tui.environments.pddl.planning import THOROUGH, Effort, Planner
from agentrm_tui.environments.pddl.world import Level, Scene, Wording, World
from agentrm_tui.environments.pddl.worlds import WORLDS

FINISH = "finish"
"""The action that ends an episode; nothing else does, but for the step limit and too many invalid actions."""

CHECK = "check valid actions"
"""An action that lists the others; it counts as a step and is not listed itself."""

INVALID_LIMIT = 3
"""The invalid action with this number ends the episode."""

MIX = (
    *("blockworld-3", "gripper-2", "barman-1", "tyreworld-1"),
    *("blockworld-4", "gripper-3", "barman-2", "tyreworld-2"),
    "tyreworld-3",
)
"""Two sizes of each domain and three of tyreworld, which is the easiest, taking turns."""

_LEVELS: Mapping[str, tuple[World, Level]] = {level.name: (world, level) for world in WORLDS for level in world.levels}

_TRAITS = EnvironmentTraits(
    name="pddl",
    origin="compatible",
    summary="Four classic planning domains in English: barman, blockworld, gripper, tyreworld",
    levels=tuple(_LEVELS),
    mix=MIX,
    snapshots=True,
    valid_actions=True,
    expert=True,
    pictures=True,
    state_keys=True,
    procedural=True,
)

_EXAMPLE = """Goal: k is on m and m is on t.
Observation: You hold k. Blocks: free m at table, free t at table.
Thought: Goal: m is on t, so park k.
Action: put down k"""


class Script:
    """One task made ready: its ground actions, their sentences and an identity. Never changes."""

    def __init__(self, world: Wording, problem: Problem) -> None:
        self.world = world
        self.task: GroundTask = ground(world.domain, problem)
        self.sentences = world.sentences(self.task)
        self.named: dict[str, tuple[int, ...]] = {}
        for index, sentence in enumerate(self.sentences):
            self.named[sentence] = (*self.named.get(sentence, ()), index)
        for index, operator in enumerate(self.task.operators):
            for spelling in world.other_spellings(operator):
                self.named.setdefault(spelling, (index,))

    @cached_property
    def identity(self) -> str:
        """A digest of all but the state: scripts with equal ones have equal futures in equal states."""
        task = self.task
        goal = sorted(task.problem.goal)
        parts = (self.world.identity, task.problem.objects, task.static, task.atoms, goal, task.met_at_first)
        return blake2b(repr(parts).encode(), digest_size=12).hexdigest()

    def find(self, state: int, sentence: str) -> int | None:
        """The ground action that a sentence means in a state; nothing when it cannot be applied."""
        for index in self.named.get(sentence, ()):
            operator = self.task.operators[index]
            if operator.needs & state == operator.needs and not operator.forbids & state:
                return index
        return None

    def valid(self, state: int) -> tuple[str, ...]:
        """Sentences that can be applied, in the order of schemas and objects, then `finish`."""
        return (*(self.sentences[index] for index in self.task.applicable(state)), FINISH)

    def refusal(self, state: int, sentence: str) -> str:
        """Why a sentence cannot be applied: the first missing precondition of the reading that misses fewest."""
        readings = [self.task.unmet(state, index) for index in self.named.get(sentence, ())]
        if not readings:
            return "not understood"
        missing = min(readings, key=len)[0]
        return self.world.fact(missing._replace(positive=not missing.positive))


class Moment(NamedTuple):
    """A frozen episode; immutable, so that it can be restored anywhere and any number of times."""

    script: Script
    step_limit: int
    state: int
    steps: int
    invalid: int
    done: bool


# What the two caches hold never changes, so instances may share it.
@lru_cache(maxsize=256)
def _generate(level_name: str, seed: int) -> Problem:
    world, level = _LEVELS[level_name]
    return world.problem(level, Random(f"{level_name}:{seed}"))


@lru_cache(maxsize=64)
def _script(level_name: str, seed: int) -> Script:
    return Script(_LEVELS[level_name][0], _generate(level_name, seed))


class PDDLEnvironment(BaseEnvironment):
    """Barman, blockworld, gripper and tyreworld with seeded problem generators and a planner as expert.

    The outcome is gained / (missing + broken) over goal literals: those missing in the first state are to be gained,
    those that held then give no head start, and where one of them is broken it counts as missing too. It is 1 exactly
    when the whole goal holds. Reaching the goal does not end the episode: `finish` does, as do the third invalid
    action and the step limit, and the outcome stays as it is then.
    """

    efforts: ClassVar[tuple[Effort, ...]] = THOROUGH
    """How hard the expert plans."""

    def __init__(self) -> None:
        self._now: Moment | None = None
        self._planner: Planner | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """The rules of the four worlds and the reply format, or the list of actions alone."""
        if style == "short":
            lists = [f"{world.name}: {world.short_list}." for world in WORLDS]
            return "\n".join(["Reach the goal, then finish.", *lists])
        rules = [f"{world.name}: {world.action_list}. {world.rules}" for world in WORLDS]
        return "\n".join(
            [
                "You act in one of four worlds to reach a goal. Actions and rules:",
                *rules,
                f"When the whole goal holds, reply with the action: {FINISH}. It ends the episode, and what holds then "
                f"counts. Invalid action number {INVALID_LIMIT} also ends the episode. The action '{CHECK}' lists what "
                "is possible and costs a step.",
                "Reply with a short thought and one action:\nThought: ...\nAction: ...",
                f"Example:\n{_EXAMPLE}",
            ]
        )

    def make_task(self, level: str, seed: int) -> Task:
        """Generate a problem and tell its goal."""
        world, size = _LEVELS[level]
        facts = [world.fact(literal) for literal in _generate(level, seed).goal]
        return Task(f"{level}:{seed}", f"{', '.join(facts)}.", seed, size.step_limit, level)

    def reset(self, task: Task) -> str:
        """Start an episode.

        Raises:
            UsageError: The task is not one of this environment's.
        """
        script = self.prepare(task)
        world = script.world
        self._planner = None
        self._now = Moment(script, task.step_limit, script.task.initial, 0, 0, False)
        scene = self._scene()
        return f"{world.introduce(scene)} {world.describe(scene)}".strip()

    def prepare(self, task: Task) -> Script:
        """The task made ready.

        Raises:
            UsageError: The task is not one of this environment's.
        """
        if task.level not in _LEVELS:
            task = self.task(task.id)
        return _script(task.level, task.seed)

    def step(self, action: str) -> StepResult:
        """Take one action; case, surplus blanks and a full stop at the end do not matter."""
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        sentence = _normalise(action)
        steps = now.steps + 1
        at_limit = steps >= now.step_limit
        if sentence == FINISH:
            self._now = now._replace(steps=steps, done=True)
            task = now.script.task
            return self._result(f"You finish. {task.goals_held(now.state)} of {task.goals} goals hold.", True)
        if sentence == CHECK:
            self._now = now._replace(steps=steps, done=at_limit)
            return self._result(f"Valid actions: {', '.join(now.script.valid(now.state))}.", True)
        index = now.script.find(now.state, sentence)
        if index is None:
            invalid = now.invalid + 1
            reason = now.script.refusal(now.state, sentence)
            self._now = now._replace(steps=steps, invalid=invalid, done=at_limit or invalid >= INVALID_LIMIT)
            told = f"Invalid action ({invalid} of {INVALID_LIMIT}): {reason}. {self._describe()}"
            return self._result(told, False)
        self._now = now._replace(steps=steps, state=now.script.task.apply(now.state, index), done=at_limit)
        return self._result(self._describe(), True)

    def valid_actions(self) -> tuple[str, ...]:
        """Sentences that are accepted now, `finish` last; empty once the episode has ended."""
        now = self._episode()
        return () if now.done else now.script.valid(now.state)

    def snapshot(self) -> Moment:
        """The episode's state; it is immutable, so this costs nothing."""
        return self._episode()

    def restore(self, snapshot: Moment) -> None:
        """Go back to a snapshot of this or another instance."""
        if self._now is None or snapshot.script is not self._now.script:
            self._planner = None
        self._now = snapshot

    def expert(self) -> tuple[str, str]:
        """The next step of a plan from the current state; `finish` once the goal holds.

        It depends on the task and the state only. Both are empty when the episode has ended or no plan was found.
        """
        now = self._episode()
        if now.done:
            return "", ""
        if now.script.task.is_goal(now.state):
            return "The whole goal holds.", FINISH
        if self._planner is None:
            self._planner = Planner(now.script.task, self.efforts)
        plan = self._planner.plan(now.state)
        if plan is None:
            return "", ""
        operators = [now.script.task.operators[index] for index in plan]
        return now.script.world.thought(operators, self._scene()), now.script.sentences[plan[0]]

    def picture(self) -> Picture:
        """The current state as a grid."""
        return self._episode().script.world.picture(self._scene())

    def state_key(self) -> str:
        """Task (objects, fixed facts, goal), state and invalid actions so far; the seed does not enter."""
        now = self._episode()
        ended = ":done" if now.done else ""
        return f"{now.script.identity}:{now.state:x}:{now.invalid}{ended}"

    def _episode(self) -> Moment:
        if self._now is None:
            raise RuntimeError("reset must be called first")
        return self._now

    def _scene(self) -> Scene:
        now = self._episode()
        return Scene(now.script.task, now.state)

    def _describe(self) -> str:
        return self._episode().script.world.describe(self._scene())

    def _result(self, text: str, valid: bool) -> StepResult:
        now = self._episode()
        if now.done and now.steps >= now.step_limit:
            text = f"{text} The step limit is reached."
        elif now.invalid >= INVALID_LIMIT:
            text = f"{text} The episode ends."
        return StepResult(text, now.script.task.progress(now.state), now.done, valid)


def _normalise(action: str) -> str:
    if len(action) > ACTION_LIMIT:
        return ""
    return " ".join(action.lower().split()).rstrip(" .")
