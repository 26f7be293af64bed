"""ScienceWorld as an environment: light steps, checked texts, and an expert that follows a proven path."""

from __future__ import annotations

import re
import unicodedata

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.scienceworld.gold import expert_path
from agentrm_tui.environments.scienceworld.levels import LEAST_REACHED, LEVELS, left_out, variation_of
from agentrm_tui.environments.scienceworld.simulators import EXTRA, UNKNOWN, Answer, Simulator

_LONGEST = 200
"""Characters that an action may have."""
_REFUSED = f"{UNKNOWN[0]} that input."
_AMBIGUOUS = "Ambiguous request"
_CHOICE = re.compile(r"^(\d+):", re.MULTILINE)
_TRAITS = EnvironmentTraits(
    name="scienceworld",
    origin="original",
    summary="Experiments of elementary science in a house with kitchen, workshop and greenhouse (AI2's simulator).",
    levels=tuple(LEVELS),
    valid_actions=True,
    expert=True,
    procedural=True,
    extra=EXTRA,
    left_out=tuple(
        f"{level}, variations {', '.join(map(str, aside))}: within the limit the expert stays below {LEAST_REACHED}"
        for level, aside in left_out().items()
    ),
)
_FULL = """\
You do a science task in a house with several rooms. The first observation says what is to be done. Actions, where \
OBJ is a thing you can see or carry:
look around, look at OBJ, look in OBJ, read OBJ, inventory, task
teleport to ROOM, go to ROOM, open OBJ, close OBJ
pick up OBJ, put down OBJ, move OBJ to OBJ, pour OBJ in OBJ, dunk OBJ in OBJ, mix OBJ
activate OBJ, deactivate OBJ, use OBJ on OBJ, connect OBJ to OBJ, disconnect OBJ, flush OBJ, eat OBJ
focus on OBJ: tells the task's object; a wrong one ends the episode with nothing
wait (ten moments), wait1 (one moment)
If a request is ambiguous, answer with the number of what you mean. Rooms: kitchen, workshop, art studio, bedroom, \
living room, hallway, bathroom, greenhouse, foundry, outside.

Reply with one thought and one action:
Thought: The thermometer is in the kitchen.
Action: teleport to kitchen
"""
_SHORT = (
    "Science tasks. Actions: look around, look at/in OBJ, read OBJ, inventory, task, teleport to ROOM, open OBJ, "
    "close OBJ, pick up OBJ, put down OBJ, move OBJ to OBJ, pour OBJ in OBJ, dunk OBJ in OBJ, mix OBJ, activate OBJ, "
    "deactivate OBJ, use OBJ on OBJ, connect OBJ to OBJ, disconnect OBJ, flush OBJ, eat OBJ, focus on OBJ, wait, "
    "wait1, or a number where a request is ambiguous."
)


class ScienceWorldEnvironment(BaseEnvironment):
    """One episode of ScienceWorld at a time.

    The outcome is the simulator's score; a wrong focus ends the episode with 0. There are no snapshots: a search
    resets and repeats its actions, which gives the same texts, and reports those that differ as drift.
    """

    def __init__(self) -> None:
        self._simulator: Simulator | None = None
        self._task: Task | None = None
        self._taken: list[str] = []
        self._steps = 0
        self._outcome = 0.0
        self._done = True
        self._choices = 0

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """Rules and reply format, or the action list alone."""
        return _FULL if style == "full" else _SHORT

    def make_task(self, level: str, seed: int) -> Task:
        """A variation of one of the 30 tasks; see `levels.variation_of`."""
        return Task(f"{level}:{seed}", LEVELS[level].goal, seed, LEVELS[level].step_limit, level)

    def reset(self, task: Task) -> str:
        """Start an episode; the simulator is started with the first one.

        Raises:
            MissingExtraError: The package or Java is not installed.
            DataError: The simulator failed.
        """
        self._done = True
        if self._simulator is None or not self._simulator.alive:
            self.close()
            self._simulator = Simulator()
        answer = self._simulator.begin(task.level, variation_of(task.level, task.seed))
        self._task, self._taken, self._steps, self._outcome = task, [], 0, 0.0
        self._done, self._choices = False, 0
        return clean(answer.text)

    def step(self, action: str) -> StepResult:
        """Take one action; one that the simulator does not understand changes nothing.

        Raises:
            DataError: The simulator failed; the episode cannot go on.
        """
        simulator, task = self._episode()
        if self._done:
            raise RuntimeError("step was called after the episode had ended")
        command = read_command(action)
        self._steps += 1
        self._done = True
        answer = self._say(simulator, command) if command else None
        valid = answer is not None and answer.understood
        if valid and answer is not None:
            self._taken.append(command)
            self._outcome = min(1.0, max(0.0, answer.score))
        ended = valid and answer is not None and (answer.completed or answer.score < 0)
        self._done = ended or self._steps >= task.step_limit
        text = clean(answer.text) if answer is not None else _REFUSED
        if answer is not None and answer.score < 0:
            text += " That was the wrong one: the episode ends."
        return StepResult(text, self._outcome, self._done, valid)

    def _say(self, simulator: Simulator, command: str) -> Answer:
        """Send a command; an open question is answered by a number, or dropped (at the cost of a moment) for another
        action, and asked again where that is not understood.
        """
        chosen = self._choices > 0 and command.isdigit()
        if chosen and int(command) >= self._choices:
            return Answer(_REFUSED, self._outcome, False)
        number, question = len(self._taken), self._taken[-1] if self._choices else ""
        if question and not chosen:
            simulator.step("", number)
        answer = simulator.step(command, number)
        last = simulator.step(question, number - 1) if question and not answer.understood else answer
        if last is not answer or answer.understood:
            self._choices = len(_CHOICE.findall(last.text)) if last.text.startswith(_AMBIGUOUS) else 0
        return answer

    def valid_actions(self) -> tuple[str, ...]:
        """What the simulator lists, some hundreds; the numbers to choose from after an ambiguous request."""
        simulator, _ = self._episode()
        if self._done:
            return ()
        if self._choices:
            return tuple(str(number) for number in range(self._choices))
        return simulator.valid_actions()

    def expert(self) -> tuple[str, str]:
        """The next action of a path that is proven to reach the goal; silent once another action was taken."""
        simulator, task = self._episode()
        path = () if self._done else expert_path(simulator, task.level, variation_of(task.level, task.seed)).actions
        taken = len(self._taken)
        if taken >= len(path) or path[:taken] != tuple(self._taken):
            return "", ""
        return _thought(path[taken], len(path) - taken), path[taken]

    def close(self) -> None:
        """Give the simulator back; the last one of a process ends Java."""
        simulator, self._simulator = self._simulator, None
        self._done = True
        if simulator is not None:
            simulator.close()

    def _episode(self) -> tuple[Simulator, Task]:
        if self._simulator is None or self._task is None:
            raise RuntimeError("reset must be called first")
        return self._simulator, self._task


def read_command(action: str) -> str:
    """An action as it is sent: one line of plain text; empty where it is none."""
    text = " ".join(action.split()) if len(action) <= _LONGEST else ""
    return text if text.isascii() and text.isprintable() else ""


def clean(text: str) -> str:
    """The simulator's text with spaces for tabs and without what cannot be shown."""
    lines = [line.rstrip() for line in text.replace("\t", "  ").splitlines()]
    joined = "\n".join(line for line in lines if line)
    shown = "".join(char for char in joined if char == "\n" or unicodedata.category(char) not in {"Cc", "Cs", "Cf"})
    return shown.strip() or "Nothing happens."


def _thought(action: str, left: int) -> str:
    """What the next action is for, in a few words."""
    if left == 1:
        return "This is the last step."
    if action.startswith(("teleport to ", "go to ")):
        return f"What comes next is in the {action.partition(' to ')[2]}; {left} steps to go."
    if action.startswith("focus on "):
        return f"The task wants me to focus on this; {left} steps to go."
    if action.startswith("wait"):
        return f"This takes time; {left} steps to go."
    return f"{left} steps to go."
