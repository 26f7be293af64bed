"""LLM-as-a-judge: a language model reads the attempts at a task and orders them; nothing is trained.

Scores compare the attempts of one group and mean nothing beyond it. More attempts than a judge reads well, or than its
window holds, are compared in heats: the better half of each goes on (arXiv 2502.18407 finds judges worse beyond 16
attempts, which no longer fit).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import zip_longest
from typing import NamedTuple, TypeAlias

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.notices import Notice, notices_of
from agentrm_models.policies.base import Candidate, CountsTokens, Decoding, NoiseKey, Policy, ProposeRequest
from agentrm_models.policies.registry import PolicySpec, parse_policy
from agentrm_models.rewards.base import RewardModel, RewardTraits, ScoreGroup
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

LARGEST_HEAT = 16
"""Attempts that are compared in one call at most."""

REASON_TOKENS = 256
"""Tokens of a judgement beside the numbers of the attempts."""

REASONING_TOKENS = 2_048
"""Tokens of reasoning before a judgement, once a judge was seen to reason; fewer where its window holds fewer."""

SECOND_TEMPERATURE = 0.7
"""At which a judge is asked again after an answer without a ranking; the first time it is 0."""

CHARACTERS_PER_TOKEN = 3
"""Assumed, where a judge cannot count its tokens: rather too few, so that nothing is cut off unseen."""

_INSTRUCTION = """\
You compare attempts of an agent at one task. An attempt may still be going on; its last action has not been answered \
yet. Judge how likely each attempt is to reach the goal if the agent goes on as well as it can from where the attempt \
ends: what it has done, what it has found out, and what it can no longer undo.
Say in one or two sentences what decides it. Then end with one line that orders the numbers of all attempts from the \
best to the worst, in this form:
Ranking: 2, 1, 3"""
_RANKING = re.compile(r"(?:ranking|best)\W*((?:\d+[^\w\n]*)+)", re.IGNORECASE)
_LEFT_OUT = "(earlier steps are left out)"


class _Ranking(NamedTuple):
    """Attempts from best to worst.

    Attributes:
        order: Numbers of attempts.
        tied: Places in the order whose attempts the judge did not tell apart.
    """

    order: list[int]
    tied: range


_Heat: TypeAlias = list[int]
_Ranker: TypeAlias = Generator[list[_Heat], list[_Ranking] | None, _Ranking]
"""Yields heats, is sent their rankings, and returns the whole ranking."""


@dataclass(frozen=True)
class JudgeSpec(ModelSpec[RewardModel]):
    """The spec `judge:POLICY`."""

    syntax = ("judge:POLICY",)

    spec: str
    policy: PolicySpec

    @classmethod
    def parse(cls, text: SpecText) -> JudgeSpec | None:
        """The word and a policy that reads what it is asked."""
        if text.head != "judge" or text.rest is None:
            return None
        policy = parse_policy(text.rest)
        if not policy.reads:
            raise UsageError(
                f"{text.whole[:80]!r}: {policy.spec} cannot judge", "A judge is a chat model or a server of one."
            )
        return cls(text.whole, policy)

    def describe(self) -> str:
        """Who judges."""
        return f"{self.policy.spec} as a judge, which orders the attempts"

    def load(self, options: LoadOptions) -> RewardModel:
        """Load the policy."""
        return JudgeReward(self.policy.load(options), self.spec)


class JudgeReward:
    """A policy's language model as a judge: the best attempt of a group has score 1, the worst of n has 1 / n.

    Judgements are made at temperature 0: the same attempts in the same order are judged alike.

    Args:
        policy: Any chat model.
        name: Shown on screen.

    Attributes:
        notice: The policy's.
    """

    def __init__(self, policy: Policy, name: str) -> None:
        self.notice = policy.notice
        self._policy = policy
        self._ever_ranked = False
        self._reasons = False
        self._dropped = 0
        self._requests = 0
        self._traits = RewardTraits(
            name,
            policy.traits.digest,
            "short",
            unit="trajectory",
            scale="within_group",
            context_length=policy.traits.context_length,
            environments=policy.traits.environments,
        )

    @property
    def traits(self) -> RewardTraits:
        """Scores of trajectories that are comparable within their group only."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Cost of all calls so far; steps of attempts that did not fit are counted as dropped."""
        spent = self._policy.usage
        dropped = spent.dropped_observations + self._dropped
        return msgspec.structs.replace(spent, requests=self._requests, dropped_observations=dropped)

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[float]]:
        """Rank each group; heats of all groups are put to the judge together.

        Raises:
            DataError: The judge gives no ranking, not even when asked again, and never gave one before; its window does
                not hold two attempts; or its server failed.
            MemoryExhaustedError: No memory left even for one sequence.
            InterruptedRun: Raised by the progress hook.
        """
        self._requests += 1
        rankers = [self._tournament(group.items, list(range(len(group.items)))) for group in groups]
        waiting: dict[int, list[_Heat]] = {}
        found: dict[int, _Ranking] = {}
        for place, ranker in enumerate(rankers):
            _go_on(place, ranker, None, waiting, found)
        while waiting:
            heats, waiting = waiting, {}
            asked = [(groups[place].items, heat) for place, part in heats.items() for heat in part]
            answers = iter(self._judge(asked, progress))
            for place, part in heats.items():
                _go_on(place, rankers[place], [next(answers) for _ in part], waiting, found)
        return [_scores(found[place]) for place in range(len(groups))]

    def new_notices(self) -> list[Notice]:
        """What the policy found out."""
        return notices_of(self._policy)

    def new_episode(self) -> None:
        """Pass it on."""
        self._policy.new_episode()

    def close(self) -> None:
        """Free the judge."""
        self._policy.close()

    def _tournament(self, items: Sequence[Conversation], attempts: _Heat) -> _Ranker:
        """Rank attempts, in heats where they are too many: the better half of each heat is ranked before the rest."""
        if len(attempts) < 2:
            return _Ranking(attempts, range(0))
        heats = self._heats(items, attempts)
        found = yield [heat for heat in heats if len(heat) > 1]
        assert found is not None
        if len(heats) == 1:
            return found[0]
        answers = iter(found)
        rankings = [next(answers) if len(heat) > 1 else _Ranking(heat, range(0)) for heat in heats]
        halves = [(len(ranking.order) + 1) // 2 for ranking in rankings]
        better = [attempt for ranking, half in zip(rankings, halves, strict=True) for attempt in ranking.order[:half]]
        worse = [ranking.order[half:] for ranking, half in zip(rankings, halves, strict=True)]
        ranked = yield from self._tournament(items, better)
        rest = [attempt for place in zip_longest(*worse) for attempt in place if attempt is not None]
        return _Ranking(ranked.order + rest, ranked.tied)

    def _heats(self, items: Sequence[Conversation], attempts: _Heat) -> list[_Heat]:
        """Cut attempts into heats of almost equal size that the judge's window holds; two are compared in any case."""
        size = min(LARGEST_HEAT, len(attempts))
        while True:
            count = -(-len(attempts) // size)
            heats = [attempts[len(attempts) * k // count : len(attempts) * (k + 1) // count] for k in range(count)]
            if size <= 2 or all(self._fits(_question(items, heat), len(heat)) for heat in heats):
                return heats
            size = max(size // 2, 2)

    def _fits(self, question: Conversation, attempts: int) -> bool:
        window = self._policy.traits.context_length
        if not window:
            return True
        return self._tokens_of(question) + _reply_tokens(attempts) <= window

    def _tokens_of(self, question: Conversation) -> int:
        if isinstance(self._policy, CountsTokens):
            return self._policy.count_tokens(question)
        return sum(len(message.content) for message in question) // CHARACTERS_PER_TOKEN

    def _judge(self, asked: Sequence[tuple[Sequence[Conversation], _Heat]], progress: ProgressHook) -> list[_Ranking]:
        asking = [_request(self._shortened(items, heat), len(heat), _task(items[0])) for items, heat in asked]
        requests = [self._with_reasoning(request) for request in asking]
        replies = self._replies(requests, progress)
        replies = self._reasoned(requests, replies, progress)
        numbers = [_read(reply.text, len(heat)) for reply, (_, heat) in zip(replies, asked, strict=True)]
        silent = [place for place, found in enumerate(numbers) if not found]
        if silent:
            warm = [_warmer(requests[place]) for place in silent]
            for place, reply in zip(silent, self._replies(warm, progress), strict=True):
                numbers[place] = _read(reply.text, len(asked[place][1]))
        self._ever_ranked |= any(numbers)
        if not self._ever_ranked and asked:
            said = " ".join(replies[0].text.split())[:80]
            where = f" after {REASONING_TOKENS:,} tokens of reasoning" if replies[0].cut == "reasoning" else ""
            raise DataError(
                f"{self._traits.name} gives no ranking{where}; it says {said!r}", "Take a larger chat model."
            )
        return [_ranking(heat, found) for (_, heat), found in zip(asked, numbers, strict=True)]

    def _reasoned(
        self, requests: list[ProposeRequest], replies: list[Candidate], progress: ProgressHook
    ) -> list[Candidate]:
        """Ask again, with tokens for reasoning, where reasoning left none for the answer; remembered from then on."""
        unfinished = [place for place, reply in enumerate(replies) if reply.cut == "reasoning"]
        if self._reasons or not unfinished:
            return replies
        self._reasons = True
        requests[:] = [self._with_reasoning(request) for request in requests]
        again = self._replies([requests[place] for place in unfinished], progress)
        found = dict(zip(unfinished, again, strict=True))
        return [found.get(place, reply) for place, reply in enumerate(replies)]

    def _with_reasoning(self, request: ProposeRequest) -> ProposeRequest:
        """A request with tokens for reasoning, as many as its window has left, where the judge reasons."""
        room = REASONING_TOKENS
        if window := self._policy.traits.context_length:
            room = min(room, window - self._tokens_of(request.conversation) - request.decoding.max_tokens)
        if not self._reasons or room < 1:
            return request
        return msgspec.structs.replace(
            request, decoding=msgspec.structs.replace(request.decoding, reasoning_tokens=room)
        )

    def _replies(self, requests: Sequence[ProposeRequest], progress: ProgressHook) -> list[Candidate]:
        return [found[0] for found in self._policy.propose(requests, progress)] if requests else []

    def _shortened(self, items: Sequence[Conversation], heat: _Heat) -> Conversation:
        """The question about a heat, with only the last steps of its attempts where more do not fit."""
        question = _question(items, heat)
        longest = steps = max(_steps(items[attempt]) for attempt in heat)
        while steps > 1 and not self._fits(question, len(heat)):
            steps = (steps + 1) // 2
            question = _question(items, heat, steps)
        if steps < longest:
            self._dropped += sum(max(_steps(items[attempt]) - steps, 0) for attempt in heat)
        if isinstance(self._policy, CountsTokens) and not self._fits(question, len(heat)):
            raise DataError(
                f"{self._traits.name}: its window of {self._traits.context_length} tokens does not hold the last steps "
                "of two attempts",
                "Take a judge with a longer one.",
            )
        return question


def _go_on(
    place: int,
    ranker: _Ranker,
    answers: list[_Ranking] | None,
    waiting: dict[int, list[_Heat]],
    found: dict[int, _Ranking],
) -> None:
    """Send a ranker the rankings of its heats; it asks for further ones or comes to its end."""
    try:
        waiting[place] = ranker.send(answers)
    except StopIteration as stop:
        found[place] = stop.value


def _question(items: Sequence[Conversation], heat: _Heat, last: int = 0) -> Conversation:
    """What the judge is asked; of each attempt only the last steps, where a number of them is given."""
    attempts = [items[attempt] for attempt in heat]
    start = _opening(attempts[0])
    shared = start if last else _shared(attempts, start)
    parts = ["What the agent was told:", *(message.content for message in attempts[0][:start]), ""]
    if shared > start:
        parts += ["How all attempts begin:", *_lines(attempts[0][start:shared]), ""]
    for number, attempt in enumerate(attempts, 1):
        begin = max(shared, len(attempt) - 2 * last + 1) if last else shared
        left_out = [_LEFT_OUT] if begin > shared else []
        parts += [f"Attempt {number}:", *left_out, *_lines(attempt[begin:]), ""]
    parts.append(f"Order the attempts 1 to {len(attempts)}.")
    return Message("system", _INSTRUCTION), Message("user", "\n".join(parts))


def _opening(conversation: Conversation) -> int:
    """Messages before the first reply."""
    return next((at for at, message in enumerate(conversation) if message.role == "assistant"), len(conversation))


def _steps(conversation: Conversation) -> int:
    return sum(message.role == "assistant" for message in conversation)


def _shared(attempts: Sequence[Conversation], start: int) -> int:
    """How many messages all attempts begin with; the last of none is among them."""
    most = min(len(attempt) for attempt in attempts) - 1
    same = (at for at in range(start, most) if any(attempt[at] != attempts[0][at] for attempt in attempts))
    return next(same, max(most, start))


def _lines(messages: Conversation) -> list[str]:
    names = {"assistant": "", "user": "Observation: ", "system": ""}
    return [names[message.role] + message.content for message in messages]


def _task(attempt: Conversation) -> str:
    """What the questions about one task have in common: several servers of a judge share them out by it."""
    told = "\n".join(message.content for message in attempt[: _opening(attempt)])
    return blake2b(told.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _request(question: Conversation, attempts: int, task: str) -> ProposeRequest:
    decoding = Decoding(temperature=0.0, max_tokens=_reply_tokens(attempts))
    noise = NoiseKey(0, "judge", "judge")
    return ProposeRequest(question, 1, decoding, noise, whole_turn=True, episode=task)


def _reply_tokens(attempts: int) -> int:
    return REASON_TOKENS + 4 * attempts


def _warmer(request: ProposeRequest) -> ProposeRequest:
    decoding = msgspec.structs.replace(request.decoding, temperature=SECOND_TEMPERATURE)
    return msgspec.structs.replace(request, decoding=decoding)


def _read(reply: str, attempts: int) -> list[int]:
    """The numbers of the last ranking in a reply, each once, those of no attempt left out."""
    found = _RANKING.findall(reply)
    numbers = (int(text[:9]) for text in re.findall(r"\d+", found[-1])) if found else ()
    return list(dict.fromkeys(number for number in numbers if 1 <= number <= attempts))


def _ranking(heat: _Heat, numbers: list[int]) -> _Ranking:
    """Attempts in the order of their numbers, those that were not named behind."""
    named = [heat[number - 1] for number in numbers]
    rest = [attempt for attempt in heat if attempt not in named]
    return _Ranking(named + rest, range(len(named), len(heat)))


def _scores(ranking: _Ranking) -> list[float]:
    count = len(ranking.order)
    scores = [0.0] * count
    for place, attempt in enumerate(ranking.order):
        middle = (ranking.tied.start + ranking.tied.stop - 1) / 2 if place in ranking.tied else place
        scores[attempt] = 1 - middle / count
    return scores
