"""Packed trees give the losses and gradients of one row for each state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from agentrm_models.errors import UsageError
from agentrm_models.trie.packed_attention import use_packed_attention
from agentrm_models.trie.packing import LabelledIds, batches, cut_tree, pack_pieces
from agentrm_trainer.config import FitSection
from agentrm_trainer.fitting.implicit_loss import Pair, implicit_loss, judge_paths
from agentrm_trainer.fitting.reward_loss import judge_pieces, packed_values, regression_loss


def make_model(attention: bool = True):
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(1)
    config = LlamaConfig(
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
    model = LlamaForSequenceClassification(config)
    if attention:
        use_packed_attention(model)
    return model.train()


def random_tree(seed: int, nodes: int, longest: int = 40) -> list[LabelledIds]:
    """States of a random tree: each extends an earlier one by some tokens."""
    rng = np.random.default_rng(seed)
    paths = [rng.integers(1, 50, rng.integers(1, longest)).astype(np.int32)]
    families = [0]
    for _ in range(nodes - 1):
        parent = int(rng.integers(len(paths)))
        paths.append(np.concatenate([paths[parent], rng.integers(1, 50, rng.integers(1, longest)).astype(np.int32)]))
        families.append(parent + 1)
    return [
        LabelledIds(path, float(rng.random()), float(rng.integers(1, 4)), family)
        for path, family in zip(paths, families, strict=True)
    ]


def row_loss(model: torch.nn.Module, items: list[LabelledIds]) -> torch.Tensor:
    """The plain way: each state is a row of its own."""
    values = torch.stack([model(input_ids=torch.from_numpy(item.ids).long()[None]).logits[0, 0] for item in items])
    targets = torch.tensor([item.target for item in items])
    weights = torch.tensor([item.weight for item in items])
    return (weights * (values - targets) ** 2).sum() / weights.sum()


@pytest.mark.parametrize("limit", [10**9, 200])
def test_gradients_equal_those_of_one_row_for_each_state(limit):
    items = random_tree(3, 25)
    packed_model, plain_model = make_model(), make_model(attention=False)
    packed = pack_pieces(list(cut_tree(items, limit)))
    loss = regression_loss(packed_model, packed, FitSection(bf16=False), "cpu")
    loss.backward()
    expected = row_loss(plain_model, items)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    for (name, one), other in zip(packed_model.named_parameters(), plain_model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5), name


@pytest.mark.parametrize("limit", [10**9, 200])
def test_the_error_at_every_token_of_a_reply_equals_that_of_one_row_for_each_state(limit):
    draw = np.random.default_rng(5)
    items = [item._replace(reply=int(draw.integers(1, 1 + len(item.ids)))) for item in random_tree(4, 15)]
    packed_model, plain_model = make_model(), make_model(attention=False)
    section = FitSection(bf16=False, every_token=0.5)
    loss = regression_loss(packed_model, pack_pieces(list(cut_tree(items, limit))), section, "cpu")
    loss.backward()
    weights = sum(item.weight for item in items)
    expected = row_loss(plain_model, items)
    for item in items:
        hidden = plain_model.model(input_ids=torch.from_numpy(item.ids).long()[None]).last_hidden_state[0]
        values = plain_model.score(hidden)[-item.reply :, 0]
        expected = expected + 0.5 * item.weight / weights * ((values - item.target) ** 2).mean()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    for (name, one), other in zip(packed_model.named_parameters(), plain_model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5), name


def reply_logs(model: torch.nn.Module, item: LabelledIds, relative: bool = False) -> torch.Tensor:
    """Log-probabilities of the words of a reply, from a row of its own; relative ones with the entropies added."""
    ids = torch.from_numpy(item.ids).long()
    hidden = model.model(input_ids=ids[None]).last_hidden_state[0]
    predicted = torch.distributions.Categorical(logits=hidden[:-1] @ model.model.embed_tokens.weight.T)
    logs = predicted.log_prob(ids[1:]) + (predicted.entropy() if relative else 0)
    return logs[max(len(ids) - item.reply, 1) - 1 : max(len(ids) - item.closing, 1) - 1]


def random_replies(seed: int, nodes: int) -> list[LabelledIds]:
    draw, items = np.random.default_rng(seed), []
    for item in random_tree(seed, nodes):
        reply = int(draw.integers(1, 1 + len(item.ids)))
        items.append(item._replace(reply=reply, closing=int(draw.integers(reply)), best=bool(draw.integers(2))))
    return items


@pytest.mark.parametrize("limit", [10**9, 200])
def test_the_language_loss_equals_that_of_one_row_for_each_state(limit):
    items = random_replies(6, 15)
    packed_model, plain_model = make_model(), make_model(attention=False)
    packed = pack_pieces(list(cut_tree(items, limit)))
    loss = regression_loss(packed_model, packed, FitSection(bf16=False, language=0.5), "cpu")
    loss.backward()
    logs = torch.cat([reply_logs(plain_model, item) for item in items if item.best])
    expected = row_loss(plain_model, items) - 0.5 * logs.mean()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for (name, one), other in zip(packed_model.named_parameters(), plain_model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5), name


def random_paths(seed: int, nodes: int) -> list[LabelledIds]:
    """States whose replies are every second of their stretches of tokens."""
    draw, paths = np.random.default_rng(seed), [((), np.array([7], np.int32))]
    for _ in range(nodes):
        turns, ids = paths[int(draw.integers(len(paths)))]
        stretch = draw.integers(1, 50, draw.integers(2, 30)).astype(np.int32)
        start = len(ids) + int(draw.integers(len(stretch)))
        paths.append(((*turns, (start, len(ids) + len(stretch))), np.concatenate([ids, stretch])))
    return [
        LabelledIds(ids, float(draw.random()), float(draw.integers(1, 4)), at, turns=turns)
        for at, (turns, ids) in enumerate(paths[1:])
    ]


def make_pair(attention: bool) -> Pair:
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = make_model().config
        models.append(LlamaForCausalLM(config).train())
        if attention:
            use_packed_attention(models[-1])
    return Pair(models[0], models[1].eval(), 0.5)


def row_steps(pair: Pair, item: LabelledIds) -> torch.Tensor:
    """Rewards of the replies of a path, from a row of its own."""
    ids, found = torch.from_numpy(item.ids).long(), []
    logs = [model(input_ids=ids[None]).logits[0].log_softmax(-1) for model in (pair.model, pair.reference)]
    for start, stop in item.turns:
        words = ids[start:stop, None]
        one, other = (rows[start - 1 : stop - 1].gather(1, words).sum() for rows in logs)
        found.append(pair.beta * (one - other.detach()))
    return torch.stack(found)


@pytest.mark.parametrize("limit", [10**9, 200])
def test_the_implicit_loss_equals_that_of_one_row_for_each_state(limit):
    items = random_paths(3, 15)
    packed_pair, plain_pair = make_pair(True), make_pair(False)
    loss = implicit_loss(packed_pair, pack_pieces(list(cut_tree(items, limit))), "cpu", False)
    loss.backward()
    weights = sum(item.weight for item in items)
    errors = [item.weight * (row_steps(plain_pair, item).sum() - item.target) ** 2 for item in items]
    expected = torch.stack(errors).sum() / weights
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for (name, one), other in zip(packed_pair.model.named_parameters(), plain_pair.model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-4), name
    assert all(parameter.grad is None for parameter in packed_pair.reference.parameters())


def test_aggregates_of_paths_are_those_of_one_row_for_each_state():
    items = [item._replace(weight=float(place)) for place, item in enumerate(random_paths(5, 12))]
    [judged] = judge_paths(make_pair(True), list(cut_tree(items, 10**9)), "cpu")
    with torch.no_grad():
        steps = [row_steps(make_pair(False), item) for item in items]
    assert max(len(path) for path in steps) > 2
    assert judged["sum"] == pytest.approx([path.sum().item() for path in steps], abs=1e-4)
    assert judged["mean"] == pytest.approx([path.mean().item() for path in steps], abs=1e-4)
    assert judged["min"] == pytest.approx([path.min().item() for path in steps], abs=1e-4)
    assert judged["last"] == pytest.approx([path[-1].item() for path in steps], abs=1e-4)


def test_judgements_are_those_of_one_row_for_each_state():
    items = [item._replace(weight=float(place)) for place, item in enumerate(random_replies(7, 12))]
    [judged] = judge_pieces(make_model(), list(cut_tree(items, 10**9)), "cpu")
    plain = make_model(attention=False)
    logs = [reply_logs(plain, item, relative=True) for item in items]
    expected = [log.min().item() if len(log) else 0.0 for log in logs]
    assert judged.likelihoods == pytest.approx(expected, abs=1e-5)
    rewards = [plain(input_ids=torch.from_numpy(item.ids).long()[None]).logits[0, 0].item() for item in items]
    assert judged.rewards(0.0) == pytest.approx(rewards, abs=1e-5)
    assert judged.rewards(2.0) == pytest.approx([r + 2 * e for r, e in zip(rewards, expected, strict=True)], abs=1e-5)


def test_a_model_with_an_embedding_of_its_own_has_no_language_loss():
    model = make_model()
    model.config.tie_word_embeddings = False
    packed = pack_pieces(list(cut_tree(random_replies(6, 5), 10**9)))
    with pytest.raises(UsageError, match="no language-model head"):
        regression_loss(model, packed, FitSection(bf16=False, language=0.5), "cpu")


def test_a_tree_costs_its_distinct_tokens():
    trunk = np.arange(1, 31, dtype=np.int32)
    items = [LabelledIds(np.append(trunk, token).astype(np.int32), 0.5, 1.0, 0) for token in (31, 32, 33)]
    [piece] = cut_tree(items, 10**9)
    packed = pack_pieces([piece])
    assert piece.tokens == len(packed.ids) == 33
    assert packed.positions.tolist() == [*range(30), 30, 30, 30]
    assert packed.ends.tolist() == [30, 31, 32]


def test_cut_trees_repeat_their_trunk():
    trunk = np.arange(1, 31, dtype=np.int32)
    items = [LabelledIds(np.append(trunk, token).astype(np.int32), 0.5, 1.0, 0) for token in (31, 32, 33)]
    pieces = list(cut_tree(items, 32))
    assert [piece.tokens for piece in pieces] == [32, 31]


@given(seed=st.integers(0, 10_000), nodes=st.integers(1, 30), limit=st.integers(20, 500))
@settings(max_examples=30, deadline=None)
def test_each_state_reads_exactly_its_own_tokens(seed, nodes, limit):
    items = random_tree(seed, nodes, 90)
    pieces = list(cut_tree(items, limit))
    packed = pack_pieces(pieces)
    ordered = [item for piece in pieces for item in piece.items]
    assert len(ordered) == nodes
    row = 0
    read: dict[int, list[int]] = {}
    for block in packed.forest.blocks:
        count, longest = block.queries.shape
        for number in range(count):
            for slot in range(longest):
                tokens = packed.forest.order.eq(row).nonzero().flatten().tolist()
                if tokens:
                    keys = block.keys[number][block.mask[number, 0, slot]]
                    read[tokens[0]] = packed.ids[keys].tolist()
                row += 1
    for item, end in zip(ordered, packed.ends.tolist(), strict=True):
        assert read[end] == item.ids.tolist()


def test_ranking_pairs_are_siblings_that_differ():
    items = [
        LabelledIds(np.array([1, 2], np.int32), 0.9, 1.0, 0),
        LabelledIds(np.array([1, 3], np.int32), 0.2, 1.0, 0),
        LabelledIds(np.array([1, 4], np.int32), 0.25, 1.0, 0),
        LabelledIds(np.array([1, 2, 5], np.int32), 0.0, 1.0, 1),
    ]
    packed = pack_pieces(list(cut_tree(items, 10**9)))
    targets = packed.targets.tolist()
    named = [(round(targets[better], 2), round(targets[worse], 2)) for better, worse in packed.pairs.tolist()]
    assert sorted(named) == [(0.9, 0.2), (0.9, 0.25)]


def test_ranking_loss_is_smaller_when_siblings_are_ordered_right():
    items = random_tree(5, 20)
    packed = pack_pieces(list(cut_tree(items, 10**9)))
    assert len(packed.pairs)
    model = make_model()
    plain = regression_loss(model, packed, FitSection(bf16=False), "cpu")
    ranked = regression_loss(model, packed, FitSection(bf16=False, ranking=1.0), "cpu")
    values = packed_values(model, packed, "cpu", False)
    better, worse = packed.pairs.unbind(1)
    weights = torch.minimum(packed.weights[better], packed.weights[worse])
    expected = (
        (weights * torch.nn.functional.softplus((values[worse] - values[better]) / 0.1)).sum() / weights.sum() / 10
    )
    assert (ranked - plain).item() == pytest.approx(expected.item(), abs=1e-6)


def test_batches_keep_order_and_budget():
    pieces = [piece for seed in range(6) for piece in cut_tree(random_tree(seed, 4), 10**9)]
    order = [3, 1, 0, 5, 4, 2]
    made = list(batches(pieces, 150, order))
    assert [piece for batch in made for piece in batch] == [pieces[index] for index in order]
    assert all(sum(piece.tokens for piece in batch) <= 150 or len(batch) == 1 for batch in made)
