"""Packed trees give the losses and gradients of one row for each state."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from agentrm_models.errors import UsageError
from agentrm_models.trie.packed_attention import PackedPass
from agentrm_models.trie.states import Span
from agentrm_trainer.config import FitSection
from agentrm_trainer.data.packed_trees import LabelledState, PackedTrees, batches, join_trees, pack_states
from agentrm_trainer.fitting.backbone import prepare_for_training
from agentrm_trainer.fitting.implicit_loss import Pair, implicit_loss
from agentrm_trainer.fitting.packed_forward import need_language_head, packed_hidden
from agentrm_trainer.fitting.reward_loss import ranking_pairs, regression_loss, values_at

CONFIG = LlamaConfig(
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=512,
    num_labels=1,
    tie_word_embeddings=True,
    pad_token_id=0,
)
WHOLE = 1 << 40


def make_model():
    torch.manual_seed(1)
    return prepare_for_training(LlamaForSequenceClassification(copy.deepcopy(CONFIG)), "cpu")


def packed(states: list[LabelledState], limit: int = WHOLE) -> PackedTrees:
    return join_trees(list(pack_states(states, limit)))


def random_tree(seed: int, nodes: int) -> list[LabelledState]:
    """States of a random tree, each of which extends an earlier one by some tokens; part of them is its reply."""
    draw = np.random.default_rng(seed)

    def text() -> list[int]:
        return draw.integers(1, 50, int(draw.integers(2, 40))).tolist()

    paths, families = [text()], [0]
    for _ in range(nodes - 1):
        parent = int(draw.integers(len(paths)))
        paths.append([*paths[parent], *text()])
        families.append(parent + 1)
    states = []
    for path, family in zip(paths, families, strict=True):
        start = int(draw.integers(1, len(path)))
        turn = Span(start, int(draw.integers(start, len(path))) + 1)
        target, weight, best = float(draw.random()), float(draw.integers(1, 4)), bool(draw.integers(2))
        states.append(LabelledState(path, target, weight, family, (turn,), best))
    return states


def random_paths(seed: int, nodes: int) -> list[LabelledState]:
    """States whose replies end each of their stretches of tokens."""
    draw, paths = np.random.default_rng(seed), [((), [7])]
    for _ in range(nodes):
        turns, ids = paths[int(draw.integers(len(paths)))]
        stretch = draw.integers(1, 50, int(draw.integers(2, 30))).tolist()
        start = len(ids) + int(draw.integers(len(stretch)))
        paths.append(((*turns, Span(start, len(ids) + len(stretch))), [*ids, *stretch]))
    return [
        LabelledState(ids, float(draw.random()), float(draw.integers(1, 4)), at, turns)
        for at, (turns, ids) in enumerate(paths[1:])
    ]


def row(state: LabelledState) -> torch.Tensor:
    return torch.tensor([state.ids])


def row_loss(model: torch.nn.Module, states: list[LabelledState]) -> torch.Tensor:
    """The plain way: each state is a row of its own."""
    values = torch.stack([model(input_ids=row(state)).logits[0, 0] for state in states])
    targets, weights = (torch.tensor([getattr(state, name) for state in states]) for name in ("target", "weight"))
    return (weights * (values - targets) ** 2).sum() / weights.sum()


def assert_same(loss, expected, model, plain, tolerance=1e-5):
    """Losses and gradients agree."""
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance, abs=tolerance)
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=tolerance), name


@pytest.mark.parametrize("limit", [WHOLE, 200])
def test_gradients_equal_those_of_one_row_for_each_state(limit):
    states, model, plain = random_tree(3, 25), make_model(), make_model()
    loss = regression_loss(model, packed(states, limit), FitSection(bf16=False), "cpu")
    assert_same(loss, row_loss(plain, states), model, plain)


@pytest.mark.parametrize("limit", [WHOLE, 200])
def test_the_error_at_every_token_of_a_reply_equals_that_of_one_row_for_each_state(limit):
    states, model, plain = random_tree(4, 15), make_model(), make_model()
    loss = regression_loss(model, packed(states, limit), FitSection(bf16=False, every_token=0.5), "cpu")
    weights, expected = sum(state.weight for state in states), row_loss(plain, states)
    for state in states:
        values = plain.score(plain.model(input_ids=row(state)).last_hidden_state[0, state.turns[0].start :])
        expected = expected + 0.5 * state.weight / weights * ((values - state.target) ** 2).mean()
    assert_same(loss, expected, model, plain)


@pytest.mark.parametrize("limit", [WHOLE, 200])
def test_the_language_loss_equals_that_of_one_row_for_each_state(limit):
    states, model, plain = random_tree(6, 15), make_model(), make_model()
    loss = regression_loss(model, packed(states, limit), FitSection(bf16=False, language=0.5), "cpu")
    logs = []
    for ids, [(start, stop)] in [(row(state), state.turns) for state in states if state.best]:
        hidden = plain.model(input_ids=ids).last_hidden_state[0]
        predicted = (hidden @ plain.model.embed_tokens.weight.T).log_softmax(-1)
        logs.append(predicted[start - 1 : stop - 1].gather(1, ids[0, start:stop, None]))
    assert_same(loss, row_loss(plain, states) - 0.5 * torch.cat(logs).mean(), model, plain)


def make_pair() -> Pair:
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(prepare_for_training(LlamaForCausalLM(CONFIG), "cpu"))
    return Pair(models[0], models[1].eval(), 0.5)


def row_reward(pair: Pair, state: LabelledState) -> torch.Tensor:
    """The summed rewards of the replies of a path, from a row of its own."""
    logs, found = [model(input_ids=row(state)).logits[0].log_softmax(-1) for model in pair[:2]], torch.zeros(())
    for start, stop in state.turns:
        words = row(state)[0, start:stop, None]
        one, other = (rows[start - 1 : stop - 1].gather(1, words).sum() for rows in logs)
        found = found + pair.beta * (one - other.detach())
    return found


@pytest.mark.parametrize("limit", [WHOLE, 200])
def test_the_implicit_loss_equals_that_of_one_row_for_each_state(limit):
    states, pair, plain = random_paths(3, 15), make_pair(), make_pair()
    assert max(len(state.turns) for state in states) > 2
    loss = implicit_loss(pair, packed(states, limit), "cpu", False)
    errors = [state.weight * (row_reward(plain, state) - state.target) ** 2 for state in states]
    expected = torch.stack(errors).sum() / sum(state.weight for state in states)
    assert_same(loss, expected, pair.model, plain.model, 1e-4)
    assert all(parameter.grad is None for parameter in pair.reference.parameters())


def test_replies_are_there_once_however_many_states_they_lead_to():
    states = random_paths(3, 15)
    trees = packed(states)
    assert trees.replies == len({tuple(state.ids[: turn.stop]) for state in states for turn in state.turns})
    assert len(trees.steps.states) == sum(len(state.turns) for state in states)


def test_a_batch_is_its_trees():
    forest = [random_tree(seed, 8) for seed in (1, 2)] + [random_paths(3, 8)]
    separate = [packed(states) for states in forest]
    joined, model = join_trees(separate), make_model()
    assert joined.size == sum(tree.size for tree in separate)
    total = float(joined.labels.weights.sum())
    for option in ({}, {"every_token": 0.5}):
        section = FitSection(bf16=False, **option)
        losses = [regression_loss(model, tree, section, "cpu", total) for tree in separate]
        assert regression_loss(model, joined, section, "cpu").item() == pytest.approx(sum(losses).item(), abs=1e-5)
    pair = make_pair()
    losses = [implicit_loss(pair, tree, "cpu", False, total) for tree in separate]
    assert implicit_loss(pair, joined, "cpu", False).item() == pytest.approx(sum(losses).item(), rel=1e-5)


def test_a_model_with_an_embedding_of_its_own_has_no_language_loss():
    model = make_model()
    need_language_head(model, "")
    model.config.tie_word_embeddings = False
    with pytest.raises(UsageError, match="no language-model head"):
        need_language_head(model, "")


def test_a_model_that_attends_in_a_window_is_refused_by_name():
    from transformers import MistralConfig, MistralForCausalLM

    model = MistralForCausalLM(MistralConfig(**{**CONFIG.to_dict(), "model_type": "mistral", "sliding_window": 256}))
    with pytest.raises(UsageError, match="MistralForCausalLM cannot be trained packed: its attention has sliding"):
        prepare_for_training(model, "cpu")


def test_ranking_pairs_are_siblings_that_differ():
    states = [
        LabelledState([1, 2], 0.9, 1.0, 0),
        LabelledState([1, 3], 0.2, 1.0, 0),
        LabelledState([1, 4], 0.25, 1.0, 0),
        LabelledState([1, 2, 5], 0.0, 1.0, 1),
    ]
    trees = packed(states)
    targets = trees.labels.targets.tolist()
    named = [(round(targets[better], 2), round(targets[worse], 2)) for better, worse in ranking_pairs(trees, 0.1)]
    assert sorted(named) == [(0.9, 0.2), (0.9, 0.25)]


def test_ranking_loss_is_smaller_when_siblings_are_ordered_right():
    trees, model = packed(random_tree(5, 20)), make_model()
    plain = regression_loss(model, trees, FitSection(bf16=False), "cpu")
    ranked = regression_loss(model, trees, FitSection(bf16=False, ranking=1.0), "cpu")
    values = values_at(
        model, packed_hidden(model, trees.tokens, PackedPass(trees.tokens, "cpu"), False), trees.tokens.ends
    )
    better, worse = ranking_pairs(trees, FitSection().ranking_difference).unbind(1)
    assert len(better)
    weights = torch.minimum(trees.labels.weights[better], trees.labels.weights[worse])
    expected = (
        (weights * torch.nn.functional.softplus((values[worse] - values[better]) / 0.1)).sum() / weights.sum() / 10
    )
    assert (ranked - plain).item() == pytest.approx(expected.item(), abs=1e-6)


def test_batches_keep_order_and_budget():
    trees = [packed(random_tree(seed, 4)) for seed in range(6)]
    order = [3, 1, 0, 5, 4, 2]
    made = list(batches(trees, 150, order))
    assert [id(tree) for batch in made for tree in batch] == [id(trees[index]) for index in order]
    assert all(sum(tree.size for tree in batch) <= 150 or len(batch) == 1 for batch in made)
