"""A policy without a model: a seeded, imperfect player for demos and tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from agentrm_models.errors import UsageError
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Candidate, Policy, PolicyTraits, ProposeRequest
from agentrm_models.replies import action_of
from agentrm_models.sampling import NoiseStream, check_decoding
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress

EXPERT_SHARE = 0.5
"""Probability that the seeded player follows the expert, where the environment has one."""


def reply_distribution(request: ProposeRequest) -> dict[str, float]:
    """The seeded player's replies and their probabilities at temperature 1, most likely first.

    Half of the mass is the expert's reply, the other half is spread evenly over the valid actions; where one of them
    is missing the other has it all.

    Raises:
        UsageError: There is neither an expert nor a list of valid actions.
    """
    expert = request.expert_action
    actions = list(dict.fromkeys(request.valid_actions))
    if not expert and not actions:
        raise UsageError(
            "the scripted policy finds no action here",
            "It needs an environment that lists valid actions or has an expert; scripted:FILE needs neither.",
        )
    share = (1.0 if not actions else EXPERT_SHARE) if expert else 0.0
    replies = {expert: share} if expert else {}
    experts = action_of(expert)
    for action in actions:
        reply = expert if experts and experts == action else f"Action: {action}"
        replies[reply] = replies.get(reply, 0.0) + (1 - share) / len(actions)
    return replies


@dataclass(frozen=True)
class ScriptedSpec(ModelSpec[Policy]):
    """The spec `scripted`."""

    syntax = words = ("scripted",)

    spec: str

    @classmethod
    def parse(cls, text: SpecText) -> ScriptedSpec | None:
        """The word alone."""
        return cls(text.whole) if text.whole == "scripted" else None

    def describe(self) -> str:
        """How it plays."""
        return "a seeded player without a model: half expert, half random valid actions"

    def load(self, options: LoadOptions) -> Policy:
        """There is nothing to load."""
        return ScriptedPolicy()


class ScriptedPolicy:
    """Follows the expert half of the time and otherwise picks a valid action at random; needs no model."""

    notice = ""

    def __init__(self) -> None:
        self._usage = Usage()

    @property
    def traits(self) -> PolicyTraits:
        """It wants valid actions and the expert's reply with each request."""
        return PolicyTraits(name="scripted", wants_valid_actions=True, wants_expert=True)

    @property
    def usage(self) -> Usage:
        """No tokens are computed; words are counted as generated tokens."""
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Sample independently from `reply_distribution`, with noise keyed by node and candidate.

        Excluded actions are not sampled while others remain; the log-probability is that of the whole distribution.
        """
        started = perf_counter()
        answers = []
        for done, request in enumerate(requests):
            progress(Progress("choosing", done, len(requests)))
            check_decoding(request.decoding, request.n)
            answers.append(self._answer(request))
        self._usage += Usage(
            tokens_generated=sum(reply.tokens for replies in answers for reply in replies),
            requests=1,
            milliseconds=(perf_counter() - started) * 1e3,
        )
        return answers

    def _answer(self, request: ProposeRequest) -> list[Candidate]:
        replies = reply_distribution(request)
        wanted = {reply: mass for reply, mass in replies.items() if action_of(reply) not in request.exclude} or replies
        temperature = request.decoding.temperature
        first = request.noise.first_candidate
        candidates = []
        for number in range(first, first + request.n):
            if temperature == 0:
                text = max(wanted, key=wanted.__getitem__)
            else:
                text = _pick(wanted, temperature, NoiseStream(request.noise, number).uniform(0))
            candidates.append(Candidate(text, math.log(replies[text]), len(text.split())))
        return candidates

    def new_episode(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Nothing is held."""


def _pick(replies: dict[str, float], temperature: float, uniform: float) -> str:
    highest = max(replies.values())
    weights = [(mass / highest) ** (1 / temperature) for mass in replies.values()]
    threshold = uniform * sum(weights)
    for text, weight in zip(replies, weights, strict=True):
        threshold -= weight
        if threshold < 0:
            return text
    return next(reversed(replies))
