"""A word game, a policy and a reward model that need no weights: everything depends on text and seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from agentrm_models.messages import PromptStyle
from agentrm_models.policies.base import Candidate, PolicyTraits, ProposeRequest
from agentrm_models.rewards.base import RewardTraits, ScoreGroup
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress
from agentrm_tui.environments.base import Cell, EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.runs.events import AnyEvent
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import flags, settings_of
from agentrm_tui.runs.state import RunState, apply

LETTERS = ("a", "b", "c")
WORD_LENGTH = 4


def number_from(*key: object) -> int:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "big")


class FakeEnvironment(BaseEnvironment):
    """Spell a secret word; `stop` ends the episode, anything but a letter is invalid."""

    made = 0

    def __init__(self, snapshots: bool = True, drifting: bool = False) -> None:
        self._snapshots = snapshots
        self._drifting = drifting
        self._secret = ""
        self._typed = ""
        self._steps = 0
        self._limit = 0
        self._ended = False
        self.steps_taken = 0
        self.resets = 0

    @property
    def traits(self) -> EnvironmentTraits:
        return EnvironmentTraits(
            "fake",
            "own",
            "spell a word",
            levels=("word",),
            snapshots=self._snapshots,
            valid_actions=True,
            expert=True,
            pictures=True,
            state_keys=True,
            procedural=True,
        )

    def instruction(self, style: PromptStyle) -> str:
        return f"Spell the word. ({style})" + " Reply with a thought and an action." * (style == "full")

    def make_task(self, level: str, seed: int) -> Task:
        return Task(f"{level}:{seed}", f"spell word number {seed}", seed, 8, level)

    def reset(self, task: Task) -> str:
        if task.seed == 666:
            raise RuntimeError("this task is broken")
        self._secret = "".join(LETTERS[number_from(task.seed, i) % 3] for i in range(WORD_LENGTH))
        self._typed, self._steps, self._limit, self._ended = "", 0, task.step_limit, False
        self.resets += 1
        return "The page is empty."

    def step(self, action: str) -> StepResult:
        assert not self._ended, "stepped after the end"
        self.steps_taken += 1
        self._steps += 1
        valid = action in LETTERS or action == "stop"
        if action == "explode":
            raise RuntimeError("the environment exploded")
        if action in LETTERS:
            self._typed += action
        self._ended = action == "stop" or len(self._typed) >= WORD_LENGTH or self._steps >= self._limit
        suffix = f" ({self.resets})" if self._drifting else ""
        text = f"You have typed {self._typed!r}.{suffix}" if valid else "Nothing happens."
        return StepResult(text, self._outcome(), self._ended, valid)

    def _outcome(self) -> float:
        right = 0
        for typed, wanted in zip(self._typed, self._secret, strict=False):
            if typed != wanted:
                break
            right += 1
        return right / WORD_LENGTH

    def valid_actions(self) -> tuple[str, ...]:
        return (*LETTERS, "stop")

    def expert(self) -> tuple[str, str]:
        if not self._secret.startswith(self._typed):
            return "", ""
        return "type the next letter", self._secret[len(self._typed)]

    def snapshot(self) -> Any:
        if not self._snapshots:
            self._undeclared("snapshots")
        return self._secret, self._typed, self._steps, self._limit, self._ended

    def restore(self, snapshot: Any) -> None:
        self._secret, self._typed, self._steps, self._limit, self._ended = snapshot

    def picture(self) -> Picture:
        return Picture((tuple(Cell(letter, "label") for letter in self._typed.ljust(WORD_LENGTH, "_")),), "word")

    def state_key(self) -> str:
        return self._typed


class FakePolicy:
    """Draws replies by a hash of the noise key; at temperature 0 by the conversation alone."""

    def __init__(self, strange: bool = True, **traits: Any) -> None:
        self._traits = PolicyTraits(**{"name": "fake-policy", "digest": "p1", **traits})
        self._usage = Usage()
        self.calls: list[list[ProposeRequest]] = []
        self.replies = [f"Thought: maybe {letter}\nAction: {letter}" for letter in LETTERS] * 2
        self.replies += ["Action: stop"] + (["Action: dance", "I do not know."] if strange else [])

    @property
    def traits(self) -> PolicyTraits:
        return self._traits

    @property
    def usage(self) -> Usage:
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        progress(Progress("generating", 0, 10))
        self.calls.append(list(requests))
        answers = [[self.reply(request, i) for i in range(request.n)] for request in requests]
        tokens = sum(candidate.tokens for found in answers for candidate in found)
        self._usage += Usage(tokens_computed=3 * tokens, tokens_unique=2 * tokens, tokens_generated=tokens, requests=1)
        return answers

    def reply(self, request: ProposeRequest, i: int) -> Candidate:
        noise = request.noise
        key = (noise.seed, noise.task, noise.node, noise.first_candidate + i)
        number = number_from(request.conversation) if request.decoding.temperature == 0 else number_from(key)
        text = self.replies[number % len(self.replies)]
        return Candidate(text, -(number % 97) / 31, len(text.split()))

    def new_episode(self) -> None:
        pass

    def close(self) -> None:
        pass


class FakeReward:
    """Scores by a hash of the conversation."""

    def __init__(self, **traits: Any) -> None:
        self._traits = RewardTraits(**{"name": "fake-reward", "digest": "r1", **traits})
        self._usage = Usage()
        self.calls: list[list[ScoreGroup]] = []

    @property
    def traits(self) -> RewardTraits:
        return self._traits

    @property
    def usage(self) -> Usage:
        return self._usage

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[float]]:
        progress(Progress("scoring", 0, len(groups)))
        self.calls.append(list(groups))
        count = sum(len(group.items) for group in groups)
        self._usage += Usage(tokens_computed=5 * count, tokens_unique=5 * count, requests=1)
        return [[number_from(item) % 1009 / 1009 for item in group.items] for group in groups]

    def new_episode(self) -> None:
        pass

    def close(self) -> None:
        pass


class FakeRecorder:
    """Collects events and keeps the state that they give."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.state = RunState()

    def __call__(self, event: AnyEvent) -> None:
        self.events.append(event)
        apply(self.state, event)


def fake_plan(algorithm: str = "greedy", tasks: int = 1, first: int = 0, **changes: Any) -> RunPlan:
    fields = {field: changes.pop(field) for field in list(changes) if field in flags()}
    return RunPlan(
        environment="fake",
        tasks=tuple(f"word:{first + i}" for i in range(tasks)),
        policy="fake-policy",
        reward="fake-reward",
        search=settings_of(algorithm, fields),
        **changes,
    )


def make_fake(name: str) -> FakeEnvironment:
    return FakeEnvironment()


SETTINGS = {
    "greedy": {},
    "best-of-n": {"n": 4},
    "beam": {"beam": (2, 3)},
    "mcts": {"iterations": 6, "branching": 3},
}
EXPLORING = {"algorithm": "mcts", "iterations": 12, "branching": 3, "leaf": "rollout", "simulations": 2}
