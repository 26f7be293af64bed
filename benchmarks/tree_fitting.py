"""How long does one pass of fitting a reward model on a search tree take, forward and backward?

Ours packs the tree into rows in which each token is there once; peers give each labelled state a row of its own.
Gradients are compared on a small tree, where every way comes to its end.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from measuring import ONE_EACH, Part, Settings, cell, mixed, take_turns
from peers import batch_size, in_batches
from subjects import Subject, reward

from agentrm_trainer.config import FitSection
from agentrm_trainer.data.packed_trees import LabelledState, batches, join_trees, pack_states
from agentrm_trainer.fitting.reward_loss import regression_loss

QUESTION = "reward fitting"
SECTION = FitSection(bf16=False)
INSTRUCTION, REPLY, OBSERVATION, BRANCHES = 200, 24, 40, 5
"""Tokens, and the replies to each state that is gone on with."""


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Measure the cells of this scale: a size and the number of steps of the tree."""
    wanted = settings.choose(
        [("tiny", 2)],
        [("bundled", 5), ("bundled", 10), ("110M", 3)],
        [("bundled", 5), ("bundled", 10), ("bundled", 20), ("110M", 5), ("0.5B", 3)],
    )
    return [_cell(settings, *given) for given in wanted]


def tree(subject: Subject, steps: int) -> list[LabelledState]:
    """The states of a search that goes on with two replies of each step's, as exploring leaves it."""
    draw = random.Random(steps)
    histories, states = [subject.text(INSTRUCTION, "instruction")], []
    for step in range(steps):
        replies = [
            [*history, *subject.text(REPLY, f"{step} {place} {k}")]
            for place, history in enumerate(histories)
            for k in range(BRANCHES)
        ]
        for number, ids in enumerate(replies):
            states.append(LabelledState(ids, draw.random(), 1.0, step * 100 + number // BRANCHES))
        kept = draw.sample(replies, 2)
        histories = [[*ids, *subject.text(OBSERVATION, f"seen {step} {k}")] for k, ids in enumerate(kept)]
    return states


@cache
def _trained(size: str, way: str) -> Any:
    """A copy of the model to take gradients of, for each way."""
    return copy.deepcopy(reward(size).model).train()


def packed(model: Any, states: Sequence[LabelledState]) -> Iterator[Part]:
    """Ours: sub-trees of a token budget, laid end to end, one step of the optimiser's tokens at a time."""
    trees = list(pack_states(states, SECTION.tokens_per_step))
    for batch in batches(trees, SECTION.tokens_per_step, range(len(trees))):
        rows = join_trees(batch)
        loss = regression_loss(model, rows, SECTION, "cpu", float(len(states)))
        loss.backward()  # type: ignore[no-untyped-call]
        yield Part(rows.states, rows.size, loss.item())


def in_rows(model: Any, states: Sequence[LabelledState], size: int) -> Iterator[Part]:
    """Peers: padded batches of rows; a batch of one is a row for each state."""
    for batch in mixed(in_batches(states, size)):
        longest = max(len(state.ids) for state in batch)
        ids = torch.zeros((len(batch), longest), dtype=torch.long)
        for row, state in enumerate(batch):
            ids[row, : len(state.ids)] = torch.tensor(state.ids)
        targets = torch.tensor([state.target for state in batch])
        values = model(input_ids=ids, attention_mask=(ids != 0).long(), use_cache=False).logits[:, 0]
        loss = ((values - targets) ** 2).sum() / len(states)
        loss.backward()
        yield Part(sum(len(state.ids) for state in batch), ids.numel(), loss.item())


def _cell(settings: Settings, size: str, steps: int) -> dict[str, Any]:
    subject = reward(size)
    states = tree(subject, steps)
    longest = max(len(state.ids) for state in states)

    def fresh(way: str) -> Any:
        model = _trained(size, way)
        model.zero_grad()
        return model

    def ours() -> Generator[float | Part, None, None]:
        model = fresh("packed")
        yield len(states)
        yield from packed(model, states)

    def rows(together: int) -> Generator[float | Part, None, None]:
        model = fresh("rows")
        yield sum(len(state.ids) for state in states)
        yield from in_rows(model, states, together)

    together = batch_size(size, longest, 8)
    turns = take_turns(ours, {ONE_EACH: lambda: rows(1), "padded batches": lambda: rows(together)}, settings)
    unique = sum(tree.size for tree in pack_states(states, 1 << 40))
    return cell(QUESTION, size, {"steps": steps, "states": len(states)}, turns, same=_same(size), unique_tokens=unique)


@cache
def _same(size: str) -> Any:
    """The largest difference of a parameter's gradients, relative to their length."""
    states = tree(reward(size), 2)
    models = _trained(size, "packed"), _trained(size, "rows")
    for model in models:
        model.zero_grad()
    list(packed(models[0], states))
    list(in_rows(models[1], states, 1))
    pairs = [(mine.grad, theirs.grad) for mine, theirs in zip(*(m.parameters() for m in models), strict=True)]
    return {
        "largest_relative_gradient_difference": max(
            ((mine - theirs).norm() / theirs.norm()).item()
            for mine, theirs in pairs
            if mine is not None and theirs is not None and theirs.norm() > 0
        )
    }
