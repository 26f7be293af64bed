"""A policy and a reward model that chat: what is said is a hash of the conversation and of the noise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation
from agentrm_models.policies.base import Candidate, Cut, PolicyTraits, ProposeRequest
from agentrm_models.rewards.base import RewardTraits, ScoreGroup
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress
from agentrm_tui.environments.served import SERVED, ServedConversations
from agentrm_tui.runs.events import AnyEvent
from agentrm_tui.runs.open_run import OpenRun, open_run
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.beam import Beam
from agentrm_tui.search.walk import Walk

WORDS = ("red", "blue", "green", "grey", "black", "white")


def number_from(*key: object) -> int:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "big")


class FakeChat:
    """Replies `I say WORD.`; counts a token for each word of a conversation.

    Args:
        hook: Called with the requests of each call, in the thread that owns the models.
    """

    def __init__(self, hook: Callable[[Sequence[ProposeRequest]], None] = lambda _: None, **traits: Any) -> None:
        self._traits = PolicyTraits(**{"name": "fake-chat", "digest": "p1", **traits})
        self._usage = Usage()
        self._hook = hook
        self.calls: list[list[ProposeRequest]] = []
        self.threads: set[int] = set()

    @property
    def traits(self) -> PolicyTraits:
        return self._traits

    @property
    def usage(self) -> Usage:
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        self.threads.add(threading.get_ident())
        self.calls.append(list(requests))
        self._hook(requests)
        progress(Progress("generating", 0, 4))
        answers = [[self.reply(request, number) for number in range(request.n)] for request in requests]
        tokens = sum(candidate.tokens for found in answers for candidate in found)
        self._usage += Usage(tokens_computed=tokens, tokens_unique=tokens, tokens_generated=tokens, requests=1)
        return answers

    def reply(self, request: ProposeRequest, number: int) -> Candidate:
        noise = request.noise
        key = (noise.seed, noise.task, noise.node, noise.first_candidate + number)
        if request.decoding.temperature == 0:
            key = ()
        text = f"I say {WORDS[number_from(request.conversation, key) % len(WORDS)]}."
        words = text.split()
        kept = words[: request.decoding.max_tokens]
        cut: Cut = "reply" if len(kept) < len(words) else ""
        return Candidate(" ".join(kept), -1.5, min(len(words) + 1, request.decoding.max_tokens), cut=cut)

    def count_tokens(self, conversation: Conversation) -> int:
        return sum(len(message.content.split()) for message in conversation)

    def new_episode(self) -> None:
        pass

    def close(self) -> None:
        pass


class FakeTaste:
    """Likes words in the order of `WORDS`, whatever was said before."""

    def __init__(self, **traits: Any) -> None:
        self._traits = RewardTraits(**{"name": "fake-taste", "digest": "r1", **traits})
        self._usage = Usage()
        self.calls: list[list[ScoreGroup]] = []

    @property
    def traits(self) -> RewardTraits:
        return self._traits

    @property
    def usage(self) -> Usage:
        return self._usage

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[float]]:
        self.calls.append(list(groups))
        self._usage += Usage(tokens_computed=1, tokens_unique=1, requests=1)
        return [[self.taste(item[-1].content) for item in group.items] for group in groups]

    def taste(self, reply: str) -> float:
        return next((1 - place / 10 for place, word in enumerate(WORDS) if word in reply), 0.0)

    def new_episode(self) -> None:
        pass

    def close(self) -> None:
        pass


class FakeModels:
    """Gives a run the models of a test."""

    def __init__(self, policy: Any, reward: Any) -> None:
        self._policy, self._reward = policy, reward

    def check(self, plan: RunPlan) -> None:
        pass

    def policy(self, spec: str, options: LoadOptions) -> Any:
        return self._policy

    def reward(self, spec: str, options: LoadOptions) -> Any:
        return self._reward

    def release(self) -> None:
        pass


def served_plan(samples: int = 4, **fields: Any) -> RunPlan:
    fields = {"reward": "fake", "search": Beam(beam=(1, samples)), **fields}
    return RunPlan(environment=SERVED, tasks=(), policy="fake", **fields)


@contextmanager
def opened_run(path: Path, policy: Any, reward: Any, **fields: Any) -> Iterator[OpenRun]:
    """A run file and models for it."""
    if reward is None:
        fields |= {"reward": "", "search": Walk(candidates=1)}
    models = FakeModels(policy, reward)
    with open_run(
        served_plan(**fields), path, models=models, environments=lambda _: ServedConversations(), keep_trees=False
    ) as opened:
        yield opened


def of_type(events: Sequence[AnyEvent], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
