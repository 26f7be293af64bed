"""How long do N candidates of one step take, over the length of the history?

Ours starts with an empty cache, so it reads the history too; within an episode most of it would be there already.
Both sides write the same number of tokens. What is written is compared without randomness: the greedy reply, token for
token.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from measuring import ONE_EACH, Part, Settings, cell, take_turns
from peers import batch_size, in_batches, write, written_tokens
from subjects import Subject, grow, policy

QUESTION = "candidates"
TOKENS = 32
"""Of each reply."""

GREEDY_UP_TO = 2_000
"""Histories up to this length are also continued greedily by both sides, and the tokens compared."""


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Measure the cells of this scale."""
    bundled = [(250, 25), (1_000, 25), (2_000, 25), (8_000, 25), (1_000, 1), (1_000, 5), (1_000, 64)]
    full = [("bundled", length, n) for length in (250, 500, 1_000, 2_000, 4_000, 8_000) for n in (1, 5, 25, 64)]
    full += [(size, length, n) for size in ("110M", "0.5B") for length in (250, 1_000, 2_000) for n in (5, 25)]
    wanted = settings.choose(
        [("tiny", 64, 1), ("tiny", 64, 4)],
        [*(("bundled", *given) for given in bundled), ("110M", 1_000, 25), ("0.5B", 500, 5)],
        full,
    )
    return [_cell(settings, *given) for given in wanted]


def _cell(settings: Settings, size: str, length: int, count: int) -> dict[str, Any]:
    subject = policy(size)
    prompt = subject.text(length, f"history {length}")

    def ours() -> Generator[float | Part, None, None]:
        backend = subject.backend()
        yield 1
        found = grow(backend, [prompt], [count], TOKENS, "step")
        yield Part(1, backend.computed, [branch.ids for branch in found[0]])

    def one_call_each() -> Generator[float | Part, None, None]:
        yield count
        for _ in range(count):
            found = write(subject.model, [prompt], 1, TOKENS)
            yield Part(1, written_tokens(length, *found.shape), found.tolist())

    def several_returns() -> Generator[float | Part, None, None]:
        yield count
        for part in in_batches(range(count), batch_size(size, length, count)):
            found = write(subject.model, [prompt], len(part), TOKENS)
            yield Part(len(part), written_tokens(length, *found.shape), found.tolist())

    turns = take_turns(ours, {ONE_EACH: one_call_each, "num_return_sequences": several_returns}, settings)
    same = {"greedy_tokens": _greedy_share(subject, prompt)} if length <= GREEDY_UP_TO else {}
    given = {"history": length, "candidates": count}
    return cell(QUESTION, size, given, turns, same=same, unique_tokens=_unique(prompt, turns["ours"][0].results[0]))


def _unique(prompt: list[int], replies: list[list[int]]) -> int:
    """Distinct tokens of the trie of prompt and replies: what any method has to compute."""
    return len(prompt) + len({tuple(reply[: end + 1]) for reply in replies for end in range(len(reply) - 1)})


def _greedy_share(subject: Subject, prompt: list[int]) -> float:
    """Share of greedy tokens up to the first difference; 1 is what we want."""
    mine = grow(subject.backend(), [prompt], [1], TOKENS, "greedy", temperature=0)[0][0].ids
    theirs = write(subject.model, [prompt], 1, TOKENS, greedy=True)[0].tolist()
    return next((k for k, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1]), TOKENS) / TOKENS
