"""ALFWorld (arXiv 2010.03768) on its original engine, as an environment."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from agentrm_models.errors import DataError
from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.alfworld import downloaded
from agentrm_tui.environments.alfworld.games import Game
from agentrm_tui.environments.alfworld.levels import HOMES, MIX, home_goal, make_game, step_limit
from agentrm_tui.environments.alfworld.messages import Begin, Failed, Gone, Shown, Take, spelled
from agentrm_tui.environments.alfworld.process import EXTRA, Engine
from agentrm_tui.environments.base import SPLIT_SEEDS, EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment

NOTHING_HAPPENS = "Nothing happens."
_LONGEST = 200
"""Characters that an action may have."""
_TRAITS = EnvironmentTraits(
    name="alfworld",
    origin="original",
    summary="Household tasks on ALFWorld's engine: own homes of its six types, and your games in ALFWORLD_DATA.",
    levels=tuple(HOMES),
    mix=MIX,
    snapshots=True,
    valid_actions=True,
    expert=True,
    state_keys=True,
    procedural=True,
    extra=EXTRA,
    left_out=(
        "pick_and_place_with_movable_recep, and games that ask for slices: ALFWorld's own list leaves them out too",
    ),
)
_FULL = """\
You act in a room of a home. At first you are told which places there are; what is at a place you see when you go \
there, and inside a closed one when you open it. You can hold one thing.

Actions:
- go to PLACE, open PLACE, close PLACE
- take THING from PLACE, move THING to PLACE (or: put THING in/on PLACE)
- clean THING with sinkbasin 1, heat THING with microwave 1, cool THING with fridge 1 (with the THING in your hand)
- use desklamp 1 (to look at the thing in your hand)
- examine PLACE or THING, slice THING with KNIFE, inventory, look
Write names with their numbers, such as mug 1. The goal names a kind: any such thing and place will do; two things \
must be in the same place. An action that is not possible is answered with "Nothing happens."

Reply with one thought and one action:
Thought: I have mug 1, now heat it.
Action: go to microwave 1
"""
_SHORT = """\
Household. Actions: go to X, open X, close X, take X from Y, move X to Y, clean/heat/cool X with Y, use desklamp, \
examine X, slice X with Y, inventory, look. One thing in hand.
"""


_impossible: dict[Path, bool] = {}
"""Games without a stored solution, and whether the engine found that they cannot be won."""


class Moment(NamedTuple):
    """A frozen episode; immutable.

    The engine keeps every state that was reached, so going back is naming one. Where it was closed or has loaded other
    games meanwhile, the commands are given again, which leads to the same state: the rules know no chance.
    """

    task: Task
    game: Game
    shown: Shown
    commands: tuple[str, ...] = ()
    steps: int = 0
    done: bool = False


class ALFWorldEnvironment(BaseEnvironment):
    """One episode of ALFWorld at a time.

    The outcome is the share of the goal's conditions that hold, as in `household`; it is 1 exactly when the engine says
    that the game is won, which ends the episode.
    """

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._now: Moment | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Facts about this environment; the splits of a person's own games are levels where `ALFWORLD_DATA` is set."""
        return _TRAITS._replace(levels=(*HOMES, *downloaded.data_levels()))

    def instruction(self, style: PromptStyle) -> str:
        """Rules and reply format, or the action list alone."""
        return _FULL if style == "full" else _SHORT

    def task(self, task_id: str) -> Task:
        """Find a task by `LEVEL:SEED`.

        Raises:
            UsageError: There is no such level, or the seed is no number.
            DataError: It is of a person's own games, and there are none, or this one cannot be read.
        """
        downloaded.need_variable(task_id.partition(":")[0])
        return super().task(task_id)

    def make_task(self, level: str, seed: int) -> Task:
        """A home of this level; or one of a person's own games, which consecutive seeds of a split go through.

        Raises:
            DataError: There are no such games, or this one cannot be read.
        """
        if level in HOMES:
            return Task(f"{level}:{seed}", home_goal(level, seed), seed, step_limit(level), level)
        goal = downloaded.goal_of(downloaded.read_game(self._path(level, seed)))
        return Task(f"{level}:{seed}", goal, seed, downloaded.STEP_LIMIT, level)

    def reset(self, task: Task) -> str:
        """Start a game; the engine is started with the first one.

        Raises:
            MissingExtraError: The extra is not installed.
            DataError: The engine has failed, or the game cannot be played.
        """
        self._now = None
        own = task.level in HOMES
        game = make_game(task.level, task.seed) if own else downloaded.read_game(self._path(task.level, task.seed))
        shown = self._begin(game, task.id if own else str(self._path(task.level, task.seed)))
        if own and not shown.solved:
            raise AssertionError(f"{task.id} is not solved by its own solution")
        self._now = Moment(task, game, shown)
        return shown.text

    def step(self, action: str) -> StepResult:
        """Give one command; one that the engine does not offer changes nothing but counts.

        Raises:
            DataError: The engine has failed; the episode cannot go on.
        """
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        steps = now.steps + 1
        at_limit = steps >= now.task.step_limit
        command = spelled(read_command(action), now.shown.actions)
        if not command:
            self._now = now._replace(steps=steps, done=at_limit)
            return StepResult(NOTHING_HAPPENS, now.shown.progress, at_limit, valid=False)
        shown = self._take(now, command)
        done = at_limit or shown.won
        self._now = now._replace(shown=shown, commands=(*now.commands, command), steps=steps, done=done)
        return StepResult(shown.text, shown.progress, done, valid=True)

    def valid_actions(self) -> tuple[str, ...]:
        """What the engine calls admissible, sorted; none once the episode has ended."""
        now = self._episode()
        return () if now.done else now.shown.actions

    def snapshot(self) -> Moment:
        """The episode's state by the engine's name for it; costs nothing."""
        return self._episode()

    def restore(self, snapshot: Moment) -> None:
        """Go back to a snapshot of this or another instance."""
        self._now = snapshot

    def expert(self) -> tuple[str, str]:
        """The next command of the solution that is stored with the game, on its way or beside it; else silence."""
        now = self._episode()
        return ("", "") if now.done else (now.shown.thought, now.shown.advice)

    def state_key(self) -> str:
        """The task, and what holds in the home."""
        now = self._episode()
        game = blake2b(f"{now.task.id}/{now.game.key}".encode(), digest_size=6).hexdigest()
        return f"{game}@{now.shown.key}{'!' if now.done else ''}"

    def remarks(self) -> tuple[str, ...]:
        """What there is to say about a person's own games: how many there are, what is left out, what is missing."""
        if not downloaded.data_levels():
            return (f"no downloaded games ({downloaded.VARIABLE} is not set)",)
        try:
            return tuple(self._remark(level) for level in downloaded.present_levels())
        except DataError as error:
            return (error.cause,)

    def _remark(self, level: str) -> str:
        try:
            games = self._playable(level)
        except DataError as error:
            return f"{level}: {error.cause}"
        found = downloaded.list_games(level)
        skipped = (
            *found.skipped,
            *(downloaded.Skipped(path, "KeyError: 'val1'") for path in found.games if path not in games),
        )
        told = downloaded.describe_skipped(skipped)
        return f"{level}: {len(games)} games{f', {told}' if told else ''}"

    def close(self) -> None:
        """Give the engine back; the last one of this process ends its process."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _begin(self, game: Game, name: str) -> Shown:
        answer = self._running().ask(Begin(game))
        if isinstance(answer, Shown):
            return answer
        reason = answer.reason if isinstance(answer, Failed) else "no answer"
        why = (
            "its goal can never be reached"
            if isinstance(answer, Failed) and answer.impossible
            else "it cannot be played"
        )
        raise DataError(f"the game {name} is left out: {why} ({reason})")

    def _take(self, now: Moment, command: str) -> Shown:
        """Give an offered command; where the engine has forgotten the state, go there again first."""
        answer = self._running().ask(Take(now.game.key, now.shown.state, command))
        if isinstance(answer, Gone):
            shown = self._begin(now.game, now.task.id)
            for earlier in now.commands:
                shown = self._expect(self._running().ask(Take(now.game.key, shown.state, earlier)), now.task)
            if (shown.text, shown.actions, shown.key) != (now.shown.text, now.shown.actions, now.shown.key):
                raise DataError(f"{now.task.id} did not repeat: {now.shown.text!r} became {shown.text!r}")
            answer = self._running().ask(Take(now.game.key, shown.state, command))
        return self._expect(answer, now.task)

    def _expect(self, answer: object, task: Task) -> Shown:
        if isinstance(answer, Shown):
            return answer
        reason = answer.reason if isinstance(answer, Failed) else "a state is gone"
        raise DataError(f"ALFWorld's engine failed in {task.id}: {reason}")

    def _running(self) -> Engine:
        if self._engine is None or not self._engine.alive:
            self.close()
            self._engine = Engine()
        return self._engine

    def _path(self, level: str, seed: int) -> Path:
        games = self._playable(level)
        return games[(seed - max(first for first in SPLIT_SEEDS.values() if first <= seed)) % len(games)]

    def _playable(self, level: str) -> tuple[Path, ...]:
        """The games of a split without those that the engine finds impossible; asked where no solution is stored."""
        found = downloaded.list_games(level)
        games = tuple(path for path in found.games if path not in found.unproven or not self._impossible(path))
        if not games:
            raise DataError(f"no game of {level} can be won", f"See {downloaded.VARIABLE} in agentrm-tui doctor.")
        return games

    def _impossible(self, path: Path) -> bool:
        if path not in _impossible:
            answer = self._running().ask(Begin(downloaded.read_game(path)))
            _impossible[path] = isinstance(answer, Failed) and answer.impossible
        return _impossible[path]

    def _episode(self) -> Moment:
        if self._now is None:
            raise RuntimeError("reset must be called first")
        return self._now


def read_command(action: str) -> str:
    """An action as the engine takes it: one line in small letters, without surplus blanks and the last full stop."""
    return " ".join(action.lower().split()).removesuffix(".") if len(action) <= _LONGEST else ""
