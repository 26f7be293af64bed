"""The adventure environment: subgoals of Colossal Cave, and the whole game."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.adventure import prompts
from agentrm_tui.environments.adventure.candidates import candidates
from agentrm_tui.environments.adventure.cave import Cave, CaveState
from agentrm_tui.environments.adventure.drawing import draw
from agentrm_tui.environments.adventure.quests import QUESTS
from agentrm_tui.environments.adventure.rules import advise
from agentrm_tui.environments.adventure.starts import errand_of, make_start
from agentrm_tui.environments.adventure.things import Thing
from agentrm_tui.environments.adventure.tour import advise_whole_game
from agentrm_tui.environments.base import EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment

WHOLE_GAME = "whole-game"
WHOLE_GAME_STEPS = 450
REFUSAL_LIMIT = 4
WHOLE_GAME_REFUSALS = 20

_TRAITS = EnvironmentTraits(
    name="adventure",
    origin="original",
    summary="Colossal Cave (the adventure package): own subgoals from the middle of the game, and the whole game.",
    levels=(*QUESTS, WHOLE_GAME),
    mix=tuple(QUESTS),
    snapshots=True,
    valid_actions=True,
    expert=True,
    pictures=True,
    state_keys=True,
    procedural=True,
)


class Moment(NamedTuple):
    """A frozen episode; immutable, so that it can be restored anywhere and any number of times.

    `given` counts the facts of a subgoal that held at its start.
    """

    task: Task
    state: CaveState
    given: int = 0
    steps: int = 0
    refused: int = 0
    done: bool = False


class AdventureEnvironment(BaseEnvironment):
    """Colossal Cave.

    The outcome of a subgoal is the share of its facts that hold now, of those that did not hold at the start; all of
    them together end the episode with 1. That of the whole game is the game's score over its maximum. An action that
    the game does not understand, or that changes nothing, takes no turn of the game but counts as a step.
    """

    def __init__(self) -> None:
        self._cave = Cave()
        self._now: Moment | None = None
        self._offered: tuple[CaveState, tuple[str, ...]] | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """Rules and reply format, or the action list alone."""
        return prompts.FULL if style == "full" else prompts.SHORT

    def make_task(self, level: str, seed: int) -> Task:
        """A subgoal that the seed chooses with its start, or the whole game with the seed's luck."""
        if level == WHOLE_GAME:
            goal = "Find the treasures of the cave and lay them down in the building, for as many points as you can."
            return Task(f"{level}:{seed}", goal, seed, WHOLE_GAME_STEPS, level)
        return Task(f"{level}:{seed}", errand_of(level, seed).goal, seed, QUESTS[level].step_limit, level)

    def reset(self, task: Task) -> str:
        """Stand at the beginning of the road, or where the subgoal starts.

        Raises:
            UsageError: The task is not one of this environment's.
        """
        if task.level not in _TRAITS.levels:
            task = self.task(task.id)
        if task.level == WHOLE_GAME:
            text = self._cave.begin(f"{WHOLE_GAME}/{task.seed}")
            self._now = Moment(task, self._cave.state())
            return text
        start = make_start(task.level, task.seed)
        self._cave.restore(start.state)
        self._now = Moment(task, start.state, start.given)
        held = [thing.title for thing in Thing if start.state.thing(thing).held]
        return f"{self._cave.describe()} You carry: {', '.join(held) or 'nothing'}."

    def step(self, action: str) -> StepResult:
        """Say one command; one that is refused changes nothing but counts."""
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        effect = self._cave.do(action)
        steps = now.steps + 1
        at_limit = steps >= now.task.step_limit
        if not effect.valid:
            limit = WHOLE_GAME_REFUSALS if now.task.level == WHOLE_GAME else REFUSAL_LIMIT
            refused = now.refused + 1
            self._now = now._replace(steps=steps, refused=refused, done=at_limit or refused >= limit)
            end = f" That was number {limit}: the episode ends." if refused >= limit else ""
            return StepResult(f"{effect.text}{end}", self._outcome(self._now), self._now.done, valid=False)
        state = self._cave.state()
        now = now._replace(state=state, steps=steps)
        ending = self._ending(now)
        outcome = self._outcome(now)
        self._now = now._replace(done=at_limit or bool(ending) or outcome == 1.0)
        return StepResult(f"{effect.text} {ending}".rstrip(), outcome, self._now.done, valid=True)

    def _ending(self, now: Moment) -> str:
        """Why the episode ends before its goal; empty while it goes on."""
        state = now.state
        if state.scalar("deaths"):
            return "The episode ends."
        if now.task.level == WHOLE_GAME:
            return "The game is over." if state.scalar("is_done") else ""
        quest = QUESTS[now.task.level]
        if state.room not in quest.region:
            return "This is not where the task is: it has failed."
        lost = any(
            loss.fact.holds(state) and not (loss.unless is not None and loss.unless.holds(state))
            for loss in quest.losses
        )
        return "What the task needs is lost: it has failed." if lost else ""

    def _outcome(self, now: Moment) -> float:
        if now.task.level == WHOLE_GAME:
            score, most = self._cave.score()
            return max(0, score) / most
        facts = errand_of(now.task.level, now.task.seed).facts
        held = sum(fact.holds(now.state) for fact in facts)
        if held == len(facts):
            return 1.0
        return max(0, held - now.given) / (len(facts) - now.given)

    def valid_actions(self) -> tuple[str, ...]:
        """Commands that the game accepts now, in a fixed order; none once the episode has ended."""
        now = self._episode()
        if now.done:
            return ()
        if self._offered is None or self._offered[0] != now.state:
            self._offered = (now.state, tuple(word for word in candidates(now.state) if self._accepts(word, now.state)))
        return self._offered[1]

    def _accepts(self, command: str, state: CaveState) -> bool:
        valid = self._cave.do(command).valid
        if valid:
            self._cave.restore(state)
        return valid

    def snapshot(self) -> Moment:
        """The episode's state; it is immutable, so this costs nothing."""
        return self._episode()

    def restore(self, snapshot: Moment) -> None:
        """Go back to a snapshot of this or another instance."""
        self._now = snapshot
        self._cave.restore(snapshot.state)

    def expert(self) -> tuple[str, str]:
        """The next command of someone who knows the cave; nothing where the task cannot be done any more."""
        now = self._episode()
        if now.done:
            return "", ""
        if now.task.level == WHOLE_GAME:
            advice = advise_whole_game(self._cave)
        else:
            advice = advise(now.state, errand_of(now.task.level, now.task.seed).rules, QUESTS[now.task.level].region)
        if advice is None or not self._accepts(advice.command, now.state):
            return "", ""
        return advice

    def picture(self) -> Picture:
        """The room, its ways, and what is here and carried."""
        now = self._episode()
        return Picture(draw(now.state), f"step {now.steps}/{now.task.step_limit}")

    def state_key(self) -> str:
        """The task, the game's state as far as it matters later, and how many actions were refused."""
        now = self._episode()
        state = now.state
        content: tuple[object, ...] = state
        if not state.luck:
            said = state.scalar("turns") - state.scalar("foobar") if state.scalar("foobar") > 0 else -1
            content = (*state.gist(), said, state.came_from, state.described, state.question)
        digest = blake2b(repr((content, now.refused, now.done)).encode(), digest_size=12).hexdigest()
        return f"{now.task.id}@{digest}"

    def _episode(self) -> Moment:
        if self._now is None:
            raise RuntimeError("reset must be called first")
        return self._now
