"""The generation loop: all branches of all requests advance together, one token a step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agentrm_models.chat import ChatEncoder
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey
from agentrm_models.sampling import NoiseStream, choose_tokens
from agentrm_models.trie.states import Backend
from agentrm_models.usage import Progress, ProgressHook

_ACTION_LINE = re.compile(r"(?:^|\n)[ \t]*Action:[ \t]*\S[^\n]*\n", re.IGNORECASE)
_ACTION = re.compile(r"(?:^|\n)[ \t]*Action:[ \t]*([^\n]*)", re.IGNORECASE)
_TOOL_INPUT = re.compile(r"\s*(?:with )?Action Input:", re.IGNORECASE)


class Prompt(NamedTuple):
    """One request, encoded.

    Attributes:
        ids: The prompt's token ids, ending in the generation prompt.
        numbers: For each candidate its number in the noise key.
        attempt: How often candidates of these numbers were thrown away before.
        whole_turn: Replies end with their turn, not after their action.
    """

    ids: list[int]
    numbers: tuple[int, ...]
    decoding: Decoding
    noise: NoiseKey
    attempt: int = 0
    whole_turn: bool = False


class Branch:
    """One reply being written."""

    __slots__ = ("decoding", "ended", "ids", "log_probability", "noise", "text", "whole_turn")

    def __init__(self, prompt: Prompt, number: int) -> None:
        self.decoding = prompt.decoding
        self.whole_turn = prompt.whole_turn
        self.noise = NoiseStream(prompt.noise, number, prompt.attempt)
        self.ids: list[int] = []
        self.log_probability = 0.0
        self.ended = False
        self.text = ""

    def candidate(self) -> Candidate:
        """The finished reply."""
        return Candidate(self.text, self.log_probability, len(self.ids))


def generate(
    backend: Backend, encoder: ChatEncoder, prompts: Sequence[Prompt], stop_after_action: bool, progress: ProgressHook
) -> list[list[Branch]]:
    """Sample the branches of all prompts; they are ended by a stop token, their limit or a complete action line.

    Args:
        stop_after_action: End a reply at the line break after its `Action:` line, which is left out of the text.

    Raises:
        InterruptedRun: Raised by the progress hook, which is called before each token.
    """
    branches = [[Branch(prompt, number) for number in prompt.numbers] for prompt in prompts]
    flat = [branch for group in branches for branch in group]
    limits = [prompt.decoding.max_tokens for prompt in prompts]
    total = max(limits)
    progress(Progress("generating", 0, total))
    decoding = backend.decode([prompt.ids for prompt in prompts], [len(prompt.numbers) for prompt in prompts], limits)
    try:
        repeats = [request for request, group in enumerate(branches) for _ in group]
        outputs, live = decoding.first[repeats], list(range(len(flat)))
        for position in range(total):
            writers = [flat[row] for row in live]
            tokens, log_probabilities = choose_tokens(
                outputs,
                [branch.decoding.temperature for branch in writers],
                [branch.decoding.top_p for branch in writers],
                [branch.noise.uniform(position) if branch.decoding.temperature else 0.0 for branch in writers],
            )
            for branch, token, value in zip(writers, tokens, log_probabilities, strict=True):
                _write(branch, encoder, token, value, stop_after_action and not branch.whole_turn)
            live = [row for row in live if not flat[row].ended]
            progress(Progress("generating", position + 1, total))
            if not live:
                break
            outputs = decoding.step(live, [flat[row].ids[-1] for row in live])
    finally:
        decoding.close()
    return branches


def _write(branch: Branch, encoder: ChatEncoder, token: int, log_probability: float, stop_after_action: bool) -> None:
    branch.ids.append(token)
    branch.log_probability += log_probability
    if token in encoder.stop_ids:
        branch.ended, branch.text = True, encoder.decode(branch.ids[:-1])
        return
    branch.ended = len(branch.ids) >= branch.decoding.max_tokens
    if not branch.ended and not (stop_after_action and encoder.breaks_line(token)):
        return
    branch.text = encoder.decode(branch.ids)
    if stop_after_action and (complete := complete_action(branch.text)):
        branch.ended, branch.text = True, complete


def complete_action(text: str) -> str:
    """The reply up to the end of its action once that is complete, without the line break; otherwise empty.

    An action that may still be followed by an `Action Input:` line is complete when that line or another one is.
    """
    match = _ACTION_LINE.search(text)
    if match is None:
        return ""
    rest = text[match.end() :]
    if _TOOL_INPUT.match(rest):
        line, found, _ = rest.partition("\n")
        return text[: match.end()] + line if found else ""
    return text[: match.end() - 1]


def action_of(text: str) -> str:
    """The action that a reply names, to compare with excluded ones; empty where it names none."""
    match = _ACTION.search(text)
    if match is None:
        return ""
    following = text[match.end() :].lstrip("\n").partition("\n")[0]
    found = _TOOL_INPUT.match(following)
    action = match.group(1).strip()
    return f"{action} with Action Input: {following[found.end() :].strip()}" if found else action
