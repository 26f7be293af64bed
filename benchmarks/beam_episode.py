"""How long does a whole beam search 5x5 take, over its number of steps?

A reply has always as many tokens as its budget and each observation is scripted, so the text grows alike whatever the
weights say. Ours goes first; peers are given the same prompts, write as many candidates (theirs are thrown away) and
score the candidates that ours scored: the scores, and so the beams kept, must be the same.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from measuring import ONE_EACH, Part, Settings, cell, mixed, take_turns
from peers import batch_size, in_batches, judge, write, written_tokens
from subjects import Subject, grow, policy, reward

from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.ledger import TokenLedger

QUESTION = "beam episode"
WIDTH, SAMPLES = 5, 5
INSTRUCTION, REPLY, OBSERVATION = 200, 24, 40
"""Tokens."""


class Step(NamedTuple):
    """What peers are given: the prompts of the kept beams, and the candidates (their whole sequences) with scores."""

    prompts: list[list[int]]
    candidates: list[list[int]]
    scores: list[float]


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Measure the cells of this scale."""
    wanted = settings.choose(
        [("tiny", 2)],
        [("bundled", 5), ("bundled", 20), ("110M", 5)],
        [*(("bundled", steps) for steps in (5, 10, 20, 40)), ("110M", 5), ("110M", 20), ("0.5B", 5)],
    )
    return [_cell(settings, *given) for given in wanted]


def play(
    subject: Subject,
    writer: CachedBackend,
    scorer: CachedBackend,
    steps: int,
    record: list[Step],
    episode: str = "",
) -> tuple[int, int]:
    """Search with the prefix cache and write down the steps; gives the rows computed by policy and reward model.

    Args:
        episode: Names the texts; another name, other texts.
    """
    prompts, counts = [subject.text(INSTRUCTION, f"instruction{episode}")], [WIDTH * SAMPLES]
    for number in range(steps):
        grown = grow(writer, prompts, counts, REPLY, f"step {number}")
        candidates = [
            [*prompt, *branch.ids] for prompt, branches in zip(prompts, grown, strict=True) for branch in branches
        ]
        scores: list[float] = scorer.outputs(candidates)[:, 0].tolist()
        record.append(Step(prompts, candidates, scores))
        prompts = [
            [*candidates[kept], *subject.text(OBSERVATION, f"observation {number} {place}{episode}")]
            for place, kept in enumerate(best(scores))
        ]
        counts = [SAMPLES] * len(prompts)
    return writer.computed, scorer.computed


def best(scores: list[float]) -> list[int]:
    """The candidates that are kept."""
    return sorted(range(len(scores)), key=lambda number: (-scores[number], number))[:WIDTH]


def _cell(settings: Settings, size: str, steps: int) -> dict[str, Any]:
    writer, scorer = policy(size), reward(size)
    record: list[Step] = []

    def ours() -> Generator[float | Part, None, None]:
        record.clear()
        yield 1
        tokens = play(writer, writer.backend(), scorer.backend(), steps, record)
        yield Part(1, sum(tokens), tokens)

    def replay(batched: str) -> Generator[float | Part, None, None]:
        yield sum(len(sequence) for step in record for sequence in step.candidates)
        for number, step in mixed(enumerate(record)):
            lengths = [len(sequence) for sequence in step.candidates]
            each = len(step.candidates) // len(step.prompts)
            if batched == "never":
                calls = [[prompt] for prompt in step.prompts for _ in range(each)]
                returns = 1
            else:
                together = batch_size(size, max(lengths) * each, WIDTH) if batched == "all beams" else 1
                calls = [list(batch) for batch in in_batches(step.prompts, together)]
                returns = each
            tokens = 0
            for prompts in calls:
                most = batch_size(size, max(map(len, prompts)) * len(prompts), returns)
                for part in in_batches(range(returns), most):
                    written = write(writer.model, prompts, len(part), REPLY)
                    tokens += written_tokens(max(map(len, prompts)), *written.shape)
            at_once = 1 if batched == "never" else batch_size(size, max(lengths), len(lengths))
            scores: list[float] = []
            for batch in in_batches(step.candidates, at_once):
                scores += judge(scorer.model, batch)
                tokens += len(batch) * max(map(len, batch))
            yield Part(sum(lengths), tokens, (number, scores))

    peers = {
        ONE_EACH: lambda: replay("never"),
        "num_return_sequences, padded scores": lambda: replay("one beam"),
        "one padded batch for all beams": lambda: replay("all beams"),
    }
    turns = take_turns(ours, peers, settings)
    tokens = turns["ours"][0].results[0]
    unique = _unique(record)
    return cell(
        QUESTION,
        size,
        {"steps": steps},
        turns,
        same=_same(record, {name: found[0].results for name, found in turns.items() if name != "ours"}),
        unique_tokens=sum(unique),
        policy_amplification=tokens[0] / unique[0],
        reward_amplification=tokens[1] / unique[1],
    )


def _unique(record: list[Step]) -> tuple[int, int]:
    """Distinct tokens that a policy and a reward model have to read; a reply's last token is read only in a history."""
    policies, rewards = TokenLedger(), TokenLedger()
    for step in record:
        for prompt in step.prompts:
            policies.add(prompt)
        for sequence in step.candidates:
            policies.add(sequence[:-1])
            rewards.add(sequence)
    return policies.unique, rewards.unique


def _same(record: list[Step], results: dict[str, list[tuple[int, list[float]]]]) -> dict[str, float]:
    """Over the steps that peers got to: the largest difference of scores, and the share that keep the same beams."""
    pairs = [(record[number].scores, scores) for found in results.values() for number, scores in found]
    return {
        "largest_score_difference": max(
            abs(x - y) for mine, theirs in pairs for x, y in zip(mine, theirs, strict=True)
        ),
        "same_beams": sum(best(mine) == best(theirs) for mine, theirs in pairs) / len(pairs),
    }
