"""A person's own story file on the Z-machine: `jericho:PATH`.

For files that jericho knows, it tells score and end. Of others it knows neither; there the score is read from the
answer to the command `score`, typed and taken back after each step, and the end from the line between asterisks.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from agentrm_models.errors import DataError
from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.jericho.machine import EXTRA, Machine, Memory, clean, read_command, require

STEP_LIMIT = 100
_LARGEST_SEED = 2**31 - 2
_SUFFIXES = tuple(f".z{number}" for number in range(1, 9))
_SCORE = re.compile(
    r"(-?\d+)\s*(?:points?\s*)?(?:\(?out of|of)\s*(?:a\s+|the\s+)?(?:possible\s+|maximum\s+of\s+)?(\d+)"
)
"""`you have so far scored 10 out of a possible 350` and its relatives."""
_END = re.compile(r"\*\*\*\s*(?:you|the end|game over)[^*]*\*\*\*|\*{4}\s*you have died\s*\*{4}", re.IGNORECASE)
_REFUSALS = re.compile(
    r"not a verb I recogni[sz]e|I (?:don't|do not|didn't|did not) (?:know|understand)|You can't see any such thing"
    r"|I only understood you as far as|You can't go that way|There was no verb|What do you want to",
    re.IGNORECASE,
)
"""Answers of the usual parsers to what they do not understand."""
_GOAL = "Play the game for as many points as you can."
_FULL = """\
You play a text adventure. Actions are commands of a few words in the imperative, such as: north, take lamp, open \
door, put coin in slot, unlock chest with key, examine desk, look, inventory. Give one at a time. A command that the \
game does not understand changes nothing, but counts as a step. The episode ends with the game or at the step limit.

Reply with one thought and one action:
Thought: It is dark, I need light.
Action: turn on lamp
"""
_SHORT = "Text adventure. Actions: short commands such as north, take lamp, open door, examine desk, look, inventory."


class Moment(NamedTuple):
    """A frozen episode; never changed."""

    task: Task
    memory: Memory
    outcome: float
    steps: int = 0
    done: bool = False


class StoryEnvironment(BaseEnvironment):
    """One story file.

    Args:
        path: Where it lies: a file for the Z-machine, version 1 to 8.

    Raises:
        DataError: There is no such file, or it is of another kind.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).expanduser()
        if not self._path.is_file():
            raise DataError(
                f"there is no story file at {path}", "Write jericho:PATH, with the path of a .z5 or .z8 file."
            )
        if self._path.suffix.lower() not in _SUFFIXES:
            raise DataError(f"{path} is not a story file for the Z-machine", "Its name must end in .z1 to .z8.")
        self._machine = Machine()
        self._now: Moment | None = None
        self._known: bool | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this story file."""
        source = {None: "", True: "; score from the game", False: "; unknown to jericho: score read from the text"}
        return EnvironmentTraits(
            name=f"jericho:{self._path}",
            origin="original",
            summary=f"The story file {self._path.name} on the Z-machine{source[self._known]}.",
            levels=("story",),
            snapshots=True,
            state_keys=True,
            procedural=True,
            extra=EXTRA,
        )

    def instruction(self, style: PromptStyle) -> str:
        """Rules and reply format, or the kind of actions alone."""
        return _FULL if style == "full" else _SHORT

    def make_task(self, level: str, seed: int) -> Task:
        """The whole game; the seed is that of the game's random numbers."""
        return Task(f"{level}:{seed}", _GOAL, seed, STEP_LIMIT, level)

    def reset(self, task: Task) -> str:
        """Start the story from its beginning.

        Raises:
            DataError: The extra is not installed.
        """
        first = self._load(task)
        self._now = Moment(task, self._machine.freeze(), self._score(0.0))
        return clean(first) or "The story begins."

    def _load(self, task: Task) -> str:
        require("jericho")
        first = self._machine.load(self._path, task.seed % _LARGEST_SEED + 1)
        self._known = bool(self._machine.frotz.is_fully_supported)
        return first

    def step(self, action: str) -> StepResult:
        """Type one command; one that is not understood is taken back."""
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        command = read_command(action)
        answer = self._machine.say(command) if command else ""
        text = clean(answer) or "That is not an action here."
        steps = now.steps + 1
        at_limit = steps >= now.task.step_limit
        if not command or not answer.strip() or _REFUSALS.search(answer):
            if command:
                self._machine.thaw(now.memory)
            self._now = now._replace(steps=steps, done=at_limit)
            return StepResult(text, now.outcome, at_limit, valid=False)
        ended = self._ended(answer)
        memory = self._machine.freeze()
        outcome = self._score(now.outcome, text, ended)
        self._now = Moment(now.task, memory, outcome, steps, ended or at_limit)
        return StepResult(text, outcome, self._now.done, valid=True)

    def _ended(self, answer: str) -> bool:
        frotz = self._machine.frotz
        known = self._known and (frotz.game_over() or frotz.victory())
        return bool(known) or _END.search(answer) is not None

    def _score(self, before: float, text: str = "", ended: bool = False) -> float:
        """The game's score over its maximum; what it was before, where the game does not tell."""
        if self._known:
            most = self._machine.frotz.get_max_score()
            return min(1.0, max(0.0, self._machine.frotz.get_score() / most)) if most > 0 else before
        match = _SCORE.search(text if ended else clean(self._machine.ask("score")))
        if match is None or int(match[2]) <= 0:
            return before
        return min(1.0, max(0.0, int(match[1]) / int(match[2])))

    def snapshot(self) -> Moment:
        """The machine's memory and the score."""
        return self._episode()

    def restore(self, snapshot: Moment) -> None:
        """Go back to a snapshot of this or another instance with the same file."""
        if not self._machine.holds(self._path, snapshot.task.seed % _LARGEST_SEED + 1):
            self._load(snapshot.task)
        self._machine.thaw(snapshot.memory)
        self._now = snapshot

    def state_key(self) -> str:
        """The task and the machine's memory, its turn counter included."""
        now = self._episode()
        digest = blake2b(now.memory.content(), digest_size=12).hexdigest()
        return f"{now.task.id}@{digest}{'!' if now.done else ''}"

    def close(self) -> None:
        """Free the interpreter."""
        self._machine.close()

    def _episode(self) -> Moment:
        if self._now is None:
            raise RuntimeError("reset must be called first")
        return self._now
