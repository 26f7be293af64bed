"""BabyAI: minigrid's levels, dynamics and verifier, with a text view and macro actions of our own."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from agentrm_models.errors import UsageError
from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.babyai import prompts
from agentrm_tui.environments.babyai.canvas import paint
from agentrm_tui.environments.babyai.expert import Expert
from agentrm_tui.environments.babyai.levels import EXCLUDED, LEVELS, MIX, generate
from agentrm_tui.environments.babyai.macros import Plan, Planner
from agentrm_tui.environments.babyai.mission import finished_share, is_lost, mission_parts, outcome, permits
from agentrm_tui.environments.babyai.view import Known, describe, describe_progress, known_things, shown_things
from agentrm_tui.environments.babyai.world import World, WorldState
from agentrm_tui.environments.base import EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment

INVALID_LIMIT = 3
"""Invalid actions that end an episode."""

_TRAITS = EnvironmentTraits(
    name="babyai",
    origin="original",
    summary="BabyAI's missions in grid rooms (minigrid) with a text view and macro actions",
    levels=tuple(LEVELS),
    mix=MIX,
    snapshots=True,
    valid_actions=True,
    expert=True,
    pictures=True,
    state_keys=True,
    procedural=True,
    left_out=tuple(f"{name}: {why}" for name, why in EXCLUDED.items()),
)


class Snapshot(NamedTuple):
    """A frozen episode; immutable, so it can be shared and kept."""

    task: Task
    world: WorldState
    steps: int
    invalid: int
    score: float
    done: bool


class BabyAIEnvironment(BaseEnvironment):
    """Plays one BabyAI episode at a time. Instances share nothing; minigrid is imported on first use."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._world_now: World | None = None
        self._beginning: WorldState | None = None
        self._steps = 0
        self._invalid = 0
        self._score = 0.0
        self._done = False
        self._planner: Planner | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about BabyAI."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """What a model is told before the goal."""
        return prompts.FULL if style == "full" else prompts.SHORT

    def task(self, task_id: str) -> Task:
        """Find a task by `LEVEL:SEED`; a level that was left out is refused with the reason."""
        reason = EXCLUDED.get(task_id.partition(":")[0])
        if reason:
            raise UsageError(f"babyai leaves out level {task_id.partition(':')[0]!r}: {reason}")
        return super().task(task_id)

    def make_task(self, level: str, seed: int) -> Task:
        """Generate the level once to learn its mission; a running episode is not touched."""
        chosen = LEVELS[level]
        return Task(f"{level}:{seed}", str(generate(chosen, seed).mission), seed, chosen.step_limit, level)

    def reset(self, task: Task) -> str:
        """Start an episode; starting the same task again does not generate it anew."""
        self._enter(task)
        assert self._beginning is not None
        self._world.load(self._beginning)
        self._steps = self._invalid = 0
        self._done = False
        self._planner = None
        self._score = outcome(self._world)
        return self._view()

    def step(self, action: str) -> StepResult:
        """Carry out an action as one or more primitive ones; it costs one step."""
        if self._done:
            raise RuntimeError("step() after the episode has ended")
        world, task = self._world, self._running_task
        self._steps += 1
        plan = self._plans().plan(action)
        before = mission_parts(world)
        allowed = permits(world, LEVELS[task.level], plan.deed)
        for primitive in plan.moves:
            world.act(primitive)
            if world.verdict:
                break
        self._planner = None
        told = self._tell(plan)
        ending = self._ending(bool(plan.moves), allowed)
        if not ending:
            progress = describe_progress(before, mission_parts(world))
            told = f"{told} {progress}" if progress else told
            ending = " No steps are left." if self._steps >= task.step_limit else ""
            self._done = bool(ending)
            self._score = outcome(world)
        text = told + ending if self._done else f"{told} {self._view()}"
        return StepResult(text, self._score, self._done, bool(plan.moves))

    def _tell(self, plan: Plan) -> str:
        """Say what an action did; a walk through a door may end in its frame."""
        if not plan.moves:
            self._invalid += 1
            return f"Invalid action ({self._invalid} of {INVALID_LIMIT}): {plan.told}"
        world = self._world
        if plan.told.startswith("You go through") and not world.verdict and world.cell in world.door_at:
            return "You stop in the door: the way behind it is blocked."
        return plan.told

    def _ending(self, valid: bool, allowed: bool) -> str:
        """Decide whether the mission has just been completed or failed, and say so; empty when it goes on."""
        world = self._world
        if world.verdict == "success":
            self._done, self._score = True, 1.0
            return " Mission complete."
        if world.verdict == "failure" or not allowed:
            why = " That was not what the mission asks for now: mission failed."
        elif not valid and self._invalid >= INVALID_LIMIT:
            why = " Mission failed."
        elif is_lost(world):
            why = " What the mission needs is destroyed: mission failed."
        else:
            return ""
        self._done, self._score = True, finished_share(world)
        return why

    def valid_actions(self) -> tuple[str, ...]:
        """Primitive actions, then the macros that can be carried out on the things that the text names."""
        planner = self._plans()
        candidates = ["turn left", "turn right", "turn around", "move forward", "explore", "drop", "toggle"]
        for entry in shown_things(self._world, self._known()):
            is_door = self._world.things[entry.thing].type == "door"
            verbs = ("go to", "open", "close", "go through") if is_door else ("go to", "pick up")
            candidates += [f"{verb} {entry.name}" for verb in (*verbs, "put next to")]
        return tuple(action for action in candidates if planner.plan(action).moves)

    def snapshot(self) -> Snapshot:
        """Freeze the episode."""
        return Snapshot(self._running_task, self._world.save(), self._steps, self._invalid, self._score, self._done)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a frozen episode; one of another task is generated anew first."""
        self._enter(snapshot.task)
        self._world.load(snapshot.world)
        self._steps, self._invalid = snapshot.steps, snapshot.invalid
        self._score, self._done = snapshot.score, snapshot.done
        self._planner = None

    def expert(self) -> tuple[str, str]:
        """Thought and action of an expert that knows what the agent has seen; both empty after the end."""
        if self._done:
            return ("", "")
        advice = Expert(self._world, self._plans(), LEVELS[self._running_task.level]).advise()
        return (advice.thought, advice.action)

    def picture(self) -> Picture:
        """Draw what has been seen of the grid."""
        return paint(self._world, self._running_task.goal)

    def state_key(self) -> str:
        """Digest everything but the steps taken."""
        state = self._world.save()._replace(primitive_steps=0)
        content = repr((self._running_task.id, state, self._invalid, self._done))
        return blake2b(content.encode(), digest_size=16).hexdigest()

    def _enter(self, task: Task) -> None:
        """Have the task's level at hand."""
        if self._task is None or (task.level, task.seed) != (self._task.level, self._task.seed):
            self._world_now = World(generate(LEVELS[task.level], task.seed))
            self._beginning = self._world_now.save()
        self._task = task

    @property
    def _world(self) -> World:
        if self._world_now is None:
            raise RuntimeError("reset() comes first")
        return self._world_now

    @property
    def _running_task(self) -> Task:
        if self._task is None:
            raise RuntimeError("reset() comes first")
        return self._task

    def _plans(self) -> Planner:
        """The planner of the current state, made once for each state."""
        if self._planner is None:
            self._planner = Planner(self._world, known_things(self._world))
        return self._planner

    def _view(self) -> str:
        return describe(self._world, self._known(), bool(self._plans().exploring.moves))

    def _known(self) -> tuple[Known, ...]:
        return self._plans().known
