"""How long does a reward model take for the candidates of one step, over the length of the history?

Ours starts with an empty cache; `ours, history kept` is a later step of an episode, whose history was scored before.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from measuring import ONE_EACH, Part, Settings, cell, one_turn, take_turns
from peers import batch_size, in_batches, judge
from subjects import reward

QUESTION = "reward scoring"
TOKENS = 32
"""Of each candidate."""


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Measure the cells of this scale."""
    sizes = ("110M", "0.5B")
    wanted = settings.choose(
        [("tiny", 64, 4)],
        [*(("bundled", length, 25) for length in (250, 1_500, 4_000, 8_000)), ("110M", 500, 25)],
        [
            *(("bundled", length, n) for length in (250, 500, 1_000, 1_500, 2_000, 4_000, 8_000) for n in (5, 25, 64)),
            *((size, length, 25) for size in sizes for length in (250, 1_500)),
        ],
    )
    return [_cell(settings, *given) for given in wanted]


def _cell(settings: Settings, size: str, length: int, count: int) -> dict[str, Any]:
    subject = reward(size)
    prompt = subject.text(length, f"history {length}")
    # Ragged, as replies are.
    sequences = [[*prompt, *subject.text(TOKENS - number % 5, f"reply {number}")] for number in range(count)]

    def ours(kept: bool) -> Generator[float | Part, None, None]:
        backend = subject.backend()
        if kept:
            backend.outputs([prompt])
        before = backend.computed
        yield 1
        values = backend.outputs(sequences)[:, 0].tolist()
        yield Part(1, backend.computed - before, values)

    def one_call_each() -> Generator[float | Part, None, None]:
        yield count
        for sequence in sequences:
            yield Part(1, len(sequence), judge(subject.model, [sequence]))

    def padded_batches() -> Generator[float | Part, None, None]:
        yield count
        for batch in in_batches(sequences, batch_size(size, max(map(len, sequences)), count)):
            yield Part(len(batch), len(batch) * max(map(len, batch)), judge(subject.model, batch))

    turns = take_turns(lambda: ours(False), {ONE_EACH: one_call_each, "padded batches": padded_batches}, settings)
    turns["ours, history kept"] = [one_turn(lambda: ours(True), float("inf")) for _ in range(settings.rounds)]
    reference = turns["ours"][0].results[0]
    same = {
        name: max(abs(x - y) for x, y in zip(reference, (v for part in found[0].results for v in part), strict=False))
        for name, found in turns.items()
        if name != "ours"
    }
    return cell(
        QUESTION,
        size,
        {"history": length, "candidates": count},
        turns,
        same={"largest_score_difference": max(same.values())},
        unique_tokens=length + len({tuple(s[: end + 1]) for s in sequences for end in range(length, len(s))}),
    )
