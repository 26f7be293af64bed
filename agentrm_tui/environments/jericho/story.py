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
from agentrm_models.typed_path import refuse_endless, typed_path
from agentrm_tui.environments.base import EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.jericho.machine import EXTRA, Machine, Memory, clean, read_command, require
from agentrm_tui.environments.jericho.trying import candidates, understood

STEP_LIMIT = 100
_LARGEST_SEED = 2**31 - 2
_SUFFIXES = (*(f".z{number}" for number in range(1, 9)), ".dat")
_HEADER_BYTES = 64
_LENGTH_UNITS = {1: 2, 2: 2, 3: 2, 4: 4, 5: 4, 6: 8, 7: 8, 8: 8}
"""By what the length in the header is to be multiplied, for each version of the Z-machine (its Standard, 11.1.6)."""
_SCORE = re.compile(
    r"(-?\d+)\s*(?:points?,?\s*)?"
    r"(?:\((?:out\s+)?(?:total\s+)?of|out\s+of|of|/)\s*"
    r"(?:a\s+|the\s+)?(?:total\s+|maximum\s+|possible\s+|of\s+)*(\d+)",
    re.IGNORECASE,
)
"""`you have so far scored 10 out of a possible 350`, `your score is 10 (total of 350 points)`, and their relatives."""
_END = re.compile(r"\*{3,4}\s*(?:you|the end|game over)[^*]*\*{3,4}", re.IGNORECASE)
_REFUSALS = re.compile(
    r"not a verb I recogni[sz]e|(?<!\")\bI (?:don't|do not|didn't|did not) (?:know|understand)|I beg your pardon\?"
    r"|You can(?:'|no)t see any|You can't see (?:that|it)\b|I only understood you as far as|There was no verb"
    r"|You can't go that way|There is no way to go (?:in )?that|What do you want to|You used the word .* in a way",
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


def check_story(path: Path) -> None:
    """Look at a story file's name and header; the interpreter would end this process over a wrong one.

    Raises:
        DataError: There is no such file, it is of another kind, or its end is missing.
    """
    refuse_endless(path)
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        size = path.stat().st_size
    except FileNotFoundError:
        remedy = "Write jericho:PATH, with the path of a .z5 or .z8 file."
        raise DataError(f"there is no story file at {path}", remedy) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if header.startswith(b"FORM") and header[8:12] == b"IFRS":
        raise DataError(f"{path} is a Blorb archive, not a plain story file", "Take the story file out of it.")
    if path.suffix.lower() not in _SUFFIXES:
        remedy = "Its name must end in .z1 to .z8 or .dat."
        raise DataError(f"{path} is not a story file for the Z-machine", remedy)
    if len(header) < _HEADER_BYTES or header[0] not in _LENGTH_UNITS:
        remedy = "Its first byte tells a version from 1 to 8."
        raise DataError(f"{path} is not a story file for the Z-machine", remedy)
    told = int.from_bytes(header[26:28], "big") * _LENGTH_UNITS[header[0]]
    if size < told:
        raise DataError(f"{path} is cut off: it has {size} of {told} bytes", "Fetch it once more.")


class StoryEnvironment(BaseEnvironment):
    """One story file.

    Args:
        path: Where it lies: a file for the Z-machine, version 1 to 8.

    Raises:
        DataError: There is no such file, it is of another kind, or its end is missing.
    """

    def __init__(self, path: str) -> None:
        self._path = typed_path(path).resolve()
        check_story(self._path)
        self._machine = Machine()
        self._now: Moment | None = None
        self._known: bool | None = None
        self._words: tuple[str, ...] = ()
        self._offered: tuple[Memory, tuple[str, ...]] | None = None

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
            valid_actions=True,
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
        self._words = tuple(entry.word for entry in self._machine.frotz.get_dictionary())
        return first

    def step(self, action: str) -> StepResult:
        """Type one command; one that is not understood is taken back."""
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        command = read_command(action)
        answer = self._machine.say(command) if command else ""
        text = clean(answer) or ("The game stops." if self._machine.halted else "That is not an action here.")
        steps = now.steps + 1
        at_limit = steps >= now.task.step_limit
        ended = bool(command) and self._ended(answer)
        if not ended and (not answer.strip() or _REFUSALS.search(answer)):
            if command:
                self._machine.thaw(now.memory)
            self._now = now._replace(steps=steps, done=at_limit)
            return StepResult(text, now.outcome, at_limit, valid=False)
        memory = self._machine.freeze()
        outcome = self._score(now.outcome, text, ended)
        self._now = Moment(now.task, memory, outcome, steps, ended or at_limit)
        return StepResult(text, outcome, self._now.done, valid=True)

    def _ended(self, answer: str) -> bool:
        frotz = self._machine.frotz
        if self._machine.halted:
            return True
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

    def valid_actions(self) -> tuple[str, ...]:
        """Commands that were tried and understood, up to a hundred: moves, and usual verbs on what the texts name."""
        now = self._episode()
        if now.done:
            return ()
        if self._offered is None or self._offered[0] is not now.memory:
            self._machine.thaw(now.memory)
            ask = self._machine.ask
            commands = candidates(self._words, (clean(ask("look")), clean(ask("inventory"))))
            self._offered = now.memory, understood(commands, ask, _REFUSALS)
        return self._offered[1]

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
