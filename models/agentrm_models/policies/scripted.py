"""Policies without a model: a seeded, imperfect player for demos and tests, and replies read from a text file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from time import perf_counter

from agentrm_models.errors import DataError, UsageError
from agentrm_models.policies.base import Candidate, PolicyTraits, ProposeRequest
from agentrm_models.sampling import NoiseStream, check_decoding
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress

EXPERT_SHARE = 0.5
"""Probability that the seeded player follows the expert, where the environment has one."""

_ACTION = re.compile(r"^[ \t]*Action:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)


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
    same = _ACTION.search(expert)
    for action in actions:
        reply = expert if same and same.group(1).strip() == action else f"Action: {action}"
        replies[reply] = replies.get(reply, 0.0) + (1 - share) / len(actions)
    return replies


class ScriptedPolicy:
    """Follows the expert half of the time and otherwise picks a valid action at random; needs no model."""

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
        wanted = {reply: mass for reply, mass in replies.items() if not _excluded(reply, request.exclude)} or replies
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


def _excluded(reply: str, exclude: tuple[str, ...]) -> bool:
    match = _ACTION.search(reply)
    return match is not None and match.group(1).strip() in exclude


def _pick(replies: dict[str, float], temperature: float, uniform: float) -> str:
    highest = max(replies.values())
    weights = [(mass / highest) ** (1 / temperature) for mass in replies.values()]
    threshold = uniform * sum(weights)
    for text, weight in zip(replies, weights, strict=True):
        threshold -= weight
        if threshold < 0:
            return text
    return next(reversed(replies))


class FileScriptPolicy:
    """Gives the replies of a text file, one for each step, separated by blank lines; the last one repeats."""

    def __init__(self, file: Path) -> None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise DataError(f"cannot read the script {file}: {reason}") from None
        self._replies = [part.strip("\n") for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
        if not self._replies:
            raise DataError(
                f"the script {file} has no reply", "Write one reply for each step, with blank lines between."
            )
        self._name = f"scripted:{file.name}"
        self._digest = blake2b(text.encode(), digest_size=8).hexdigest()
        self._usage = Usage()

    @property
    def traits(self) -> PolicyTraits:
        """It always gives the same reply at the same step."""
        return PolicyTraits(name=self._name, digest=self._digest, deterministic=True)

    @property
    def usage(self) -> Usage:
        """No tokens are computed; words are counted as generated tokens."""
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Answer with the reply of the current step, which is the number of assistant messages so far."""
        started = perf_counter()
        answers = []
        for done, request in enumerate(requests):
            progress(Progress("reading the script", done, len(requests)))
            check_decoding(request.decoding, request.n)
            step = sum(message.role == "assistant" for message in request.conversation)
            text = self._replies[min(step, len(self._replies) - 1)]
            answers.append([Candidate(text, 0.0, len(text.split()))] * request.n)
        self._usage += Usage(
            tokens_generated=sum(reply.tokens for replies in answers for reply in replies),
            requests=1,
            milliseconds=(perf_counter() - started) * 1e3,
        )
        return answers

    def new_episode(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Nothing is held."""
