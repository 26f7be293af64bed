"""The jericho environment: TextWorld's generated houses (arXiv 1806.11532), played on the original Z-machine."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any, NamedTuple

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.jericho.files import LEVELS, game_files, load_facts
from agentrm_tui.environments.jericho.machine import EXTRA, Machine, Memory, clean, read_command, require

REFUSAL_LIMIT = 4
"""Actions that are not possible after which an episode ends."""

_TRAITS = EnvironmentTraits(
    name="jericho",
    origin="original",
    summary="Generated houses of TextWorld on the Z-machine; own story files: jericho:PATH.",
    levels=tuple(LEVELS),
    snapshots=True,
    valid_actions=True,
    expert=True,
    state_keys=True,
    procedural=True,
    extra=EXTRA,
)
_GOAL = "Do what the first text of the game asks for."
_FULL = """\
You play a text game in a house. The first text says what to do.

Actions: go DIRECTION, take THING, take THING from PLACE, put THING on PLACE, insert THING into PLACE, drop THING, \
open THING, close THING, lock THING with KEY, unlock THING with KEY, eat THING, cook THING with STOVE, examine THING, \
look, inventory. Give one at a time, with the names that the game uses.

An action that is not possible changes nothing; the fourth ends the episode. So does anything after which the goal is \
out of reach, such as eating what is needed.

Reply with one thought and one action:
Thought: The key must be in the chest.
Action: open chest
"""
_SHORT = """\
Text game in a house. Actions: go north, take X, take X from Y, put X on Y, insert X into Y, drop X, open X, close X, \
lock X with Y, unlock X with Y, eat X, examine X, look, inventory. Four impossible actions, or losing what is needed, \
end it.
"""
_EVENT = re.compile(r"\[[^\]]+\]\n?")
_SUCCEEDED = " - succeeded"
_BANNER = re.compile(r".*\$\$[^\n]*\n", re.DOTALL)
_EPILOGUE = re.compile(r"\s*You scored \d+ out of.*", re.DOTALL)


class Moment(NamedTuple):
    """A frozen episode. `progress` is TextWorld's own account of the game; it is copied before it is changed."""

    task: Task
    memory: Memory
    progress: Any
    quest_length: int
    steps: int = 0
    refused: int = 0
    done: bool = False


class JerichoEnvironment(BaseEnvironment):
    """TextWorld games with the commands that are possible and the shortest way to the goal.

    The outcome is the share of that way that has been gone, 1 when the game is won; the game's own score is 0 until
    then. TextWorld's account is kept from the events that the game reports, which are removed from its texts.
    """

    def __init__(self) -> None:
        self._machine = Machine()
        self._now: Moment | None = None
        self._names: Any = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """Rules and reply format, or the action list alone."""
        return _FULL if style == "full" else _SHORT

    def make_task(self, level: str, seed: int) -> Task:
        """A game of this level; what it asks for stands in its first text."""
        return Task(f"{level}:{seed}", _GOAL, seed, LEVELS[level].step_limit, level)

    def reset(self, task: Task) -> str:
        """Start the game.

        Raises:
            DataError: The extra is not installed, or TextWorld cannot compile here.
        """
        first = self._load(task)
        self._machine.say("tw-trace-actions")
        facts = load_facts(game_files(task.level, task.seed).facts)
        progress = require("textworld.generator.game").GameProgression(facts, track_quests=True)
        self._now = Moment(task, self._machine.freeze(), progress, len(progress.winning_policy or ()))
        return _first_text(first)

    def _load(self, task: Task) -> str:
        files = game_files(task.level, task.seed)
        self._names = require("textworld.generator.inform7").Inform7Game(load_facts(files.facts))
        return self._machine.load(files.story, 1)

    def step(self, action: str) -> StepResult:
        """Type one command; one that changes nothing and is not offered is refused and taken back."""
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        command = read_command(action)
        steps = now.steps + 1
        at_limit = steps >= now.task.step_limit
        answer = self._machine.say(command) if command else ""
        progress, moved = self._follow(now.progress, answer)
        text = clean(_EVENT.sub("", answer)) or "That is not an action here."
        if not moved and command not in self.valid_actions():
            if command:
                self._machine.thaw(now.memory)
            refused = now.refused + 1
            ends = refused >= REFUSAL_LIMIT
            self._now = now._replace(steps=steps, refused=refused, done=at_limit or ends)
            end = f" That was number {REFUSAL_LIMIT}: the episode ends." if ends else ""
            return StepResult(f"{text}{end}", _outcome(self._now), self._now.done, valid=False)
        now = now._replace(memory=self._machine.freeze(), progress=progress, steps=steps)
        lost = progress.failed or (not progress.completed and progress.winning_policy is None)
        self._now = now._replace(done=at_limit or progress.completed or lost)
        end = " You have won." if progress.completed else " The goal is out of reach: the episode ends." if lost else ""
        return StepResult(f"{_EPILOGUE.sub('', text)}{end}", _outcome(now), self._now.done, valid=True)

    def _follow(self, progress: Any, answer: str) -> tuple[Any, bool]:
        """TextWorld's account after the events that the game reports; whether there were any it knows."""
        moved = False
        for tag in _EVENT.findall(answer):
            event, succeeded, _ = tag.strip()[1:-1].partition(_SUCCEEDED)
            if not succeeded or "(" in event:
                continue
            action = self._names.detect_action(event, progress.valid_actions)
            if action is not None:
                progress = progress if moved else progress.copy()
                progress.update(action)
                moved = True
        return progress, moved

    def valid_actions(self) -> tuple[str, ...]:
        """The commands that TextWorld calls admissible, sorted; none once the episode has ended."""
        now = self._episode()
        if now.done:
            return ()
        return tuple(sorted(set(self._names.gen_commands_from_actions(now.progress.valid_actions))))

    def snapshot(self) -> Moment:
        """The machine's memory and TextWorld's account; neither is changed later."""
        return self._episode()

    def restore(self, snapshot: Moment) -> None:
        """Go back to a snapshot of this or another instance."""
        files = game_files(snapshot.task.level, snapshot.task.seed)
        if self._names is None or not self._machine.holds(files.story, 1):
            self._load(snapshot.task)
        self._machine.thaw(snapshot.memory)
        self._now = snapshot

    def expert(self) -> tuple[str, str]:
        """The first command of TextWorld's way to the goal."""
        now = self._episode()
        policy = None if now.done else now.progress.winning_policy
        if not policy:
            return "", ""
        commands = self._names.gen_commands_from_actions(policy)
        return _thought(commands), commands[0]

    def state_key(self) -> str:
        """The task, what holds in the house, and how many actions were refused."""
        now = self._episode()
        holds = sorted(str(fact) for fact in now.progress.state.facts)
        digest = blake2b(repr((holds, now.refused, now.done)).encode(), digest_size=12).hexdigest()
        return f"{now.task.id}@{digest}"

    def close(self) -> None:
        """Free the interpreter."""
        self._machine.close()

    def _episode(self) -> Moment:
        if self._now is None:
            raise RuntimeError("reset must be called first")
        return self._now


def _outcome(now: Moment) -> float:
    if now.progress.completed:
        return 1.0
    left = len(now.progress.winning_policy or ())
    if now.progress.failed or not left or not now.quest_length:
        return 0.0
    return max(0.0, 1.0 - left / now.quest_length)


def _thought(commands: list[str]) -> str:
    """What comes after the next command, if anything does."""
    if len(commands) == 1:
        return "This is the last step."
    words = f"After this I {commands[1]}.".split()
    return " ".join(words[:14])


def _first_text(text: str) -> str:
    """What the game asks for and where it begins, without the banner."""
    return clean(_EVENT.sub("", _BANNER.sub("", text))) or "The game begins."
