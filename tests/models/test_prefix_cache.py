from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_policy_model, tiny_reward_model, tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.transformers import transformers_policy
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.explicit import ExplicitReward
from agentrm_models.trie import llama_layers
from agentrm_models.trie.backends import choose_backend
from agentrm_models.trie.cached import EVICTED_AT_ONCE, CachedBackend
from agentrm_models.trie.llama_layers import LlamaLayers
from agentrm_models.trie.state_memory import ALIGNMENT, Buffers, lazy_zeros
from agentrm_models.trie.states import Span, architecture_of
from agentrm_models.trie.token_trie import TokenTrie
from agentrm_models.trie.uncached import UncachedBackend

TOKENIZER = tiny_tokenizer()
VOCABULARY = 300
Tree = list[list[int]]


def backends(family: str = "llama", reward: bool = False, limit: int = 0) -> tuple[CachedBackend, UncachedBackend]:
    parts = architecture_of(tiny_reward_model(family) if reward else tiny_policy_model(family))
    cached, notice = choose_backend(parts, limit, True)
    assert isinstance(cached, CachedBackend), notice
    return cached, UncachedBackend(parts)


POLICIES = backends()
MODELS = {family: backends(family, reward=True) for family in ("llama", "qwen2", "gpt2")}


def random_tree(seed: int, sequences: int, longest: int) -> Tree:
    """Sequences that fork from each other anywhere, some of them beginnings of others, some twice."""
    draw = random.Random(seed)
    tree: Tree = [[draw.randrange(VOCABULARY) for _ in range(draw.randint(1, longest))]]
    for _ in range(sequences - 1):
        stem = draw.choice(tree)
        kept = stem[: draw.randint(0, len(stem))]
        tree.append(kept + [draw.randrange(VOCABULARY) for _ in range(draw.randint(0 if kept else 1, longest))])
    return tree


def assert_same(cached: CachedBackend, plain: UncachedBackend, batch: Tree) -> None:
    found, expected = cached.outputs(batch), plain.outputs(batch)
    assert torch.allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@given(seed=st.integers(0, 10**6), calls=st.integers(1, 3))
@settings(max_examples=12)
def test_cached_scores_equal_uncached_ones_on_random_trees(family: str, seed: int, calls: int) -> None:
    cached, plain = MODELS[family]
    tree = random_tree(seed, 8, 30)
    for call in range(calls):
        assert_same(cached, plain, tree[call::calls] or tree[:1])
    assert_same(cached, plain, tree)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_larger_models_keep_most_of_their_matrices_where_they_are(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_layers, "SMALL", 0)
    model = tiny_policy_model(family)
    cached, plain = (choose_backend(architecture_of(model), 0, use_cache)[0] for use_cache in (True, False))
    assert isinstance(cached, CachedBackend) and isinstance(plain, UncachedBackend)
    for seed in range(3):
        assert_same(cached, plain, random_tree(seed, 8, 30))
    layers = LlamaLayers(architecture_of(model))
    own, theirs = layers._layers[1], model.model.layers[1]
    assert own.value is not None and own.up is not None
    modules = (theirs.self_attn.v_proj, theirs.self_attn.o_proj, theirs.mlp.gate_proj, theirs.mlp.up_proj)
    for (weight, _), module in zip((own.value, own.out, own.gate, own.up), modules, strict=True):
        assert weight.data_ptr() == module.weight.data_ptr()


def poison(cached: CachedBackend) -> int:
    """Fill everything that holds no state now with NaN; gives the buffers that were kept for another use."""
    pool = cached._pool
    free = torch.from_numpy(np.concatenate([pool._free, *pool._returned]))
    assert len(free) + pool.used == pool._slots
    with torch.inference_mode():
        for store in pool._stores:
            assert store is not None
            store[free] = float("nan")
            store[pool._slots :] = float("nan")
        for buffer in pool.buffers._free:
            buffer.fill_(float("nan"))
    return len(pool.buffers._free)


def test_memory_that_nothing_was_written_to_is_never_read() -> None:
    cached, plain = backends()
    prompts = [list(range(5, 25)), list(range(5, 12)), list(range(7, 18))]
    cached.outputs(prompts[:1])
    kept = []
    for turn in range(3):
        kept.append(poison(cached))
        decoding = cached.decode(prompts, [2, 2, 2], [80] * 3)
        written = [prompt for prompt in prompts for _ in range(2)]
        live = list(range(6))
        for token in range(75):
            if token == 70:
                live = [4, 5]
            tokens = [(50 * turn + 10 * row + token) % VOCABULARY for row in live]
            for row, new in zip(live, tokens, strict=True):
                written[row] = [*written[row], new]
            found = decoding.step(live, tokens)
            if token % 35 in (0, 34):
                assert torch.allclose(found, plain.outputs([written[row] for row in live]), atol=1e-4, rtol=0)
        decoding.close()
    assert_same(cached, plain, written)
    assert 0 < kept[1] == kept[2]  # what the branches left is used again


@pytest.mark.parametrize("length", [30, 400, 600])
def test_long_replies_grow_into_memory_that_others_left(length: int) -> None:
    cached, plain = backends()
    prompts = [[(7 * k + place) % VOCABULARY for k in range(length)] for place in range(2)]
    for prompt in prompts:
        decoding = cached.decode([prompt], [1], [200])
        written = list(prompt)
        for token in range(150):
            written.append(token)
            found = decoding.step([0], [token])
            if token % 50 == 49:
                assert torch.allclose(found, plain.outputs([written]), atol=1e-4, rtol=0)
        decoding.close()


def test_states_of_any_kind_lie_in_memory_that_is_used_again() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        with torch.inference_mode():
            zeros = lazy_zeros((3, 5), torch.empty(1, dtype=dtype))
        assert zeros.shape == (3, 5) and zeros.dtype == dtype and not zeros.any()
        assert zeros.data_ptr() % ALIGNMENT == 0 and not zeros.is_inference()
    buffers, like = Buffers(), torch.empty(1)
    large, new = buffers.take(100, like)
    assert new and len(large) >= 100
    small, _ = buffers.take(10, like)
    buffers.give_back(large, 100)
    buffers.give_back(small, 10)
    assert buffers.take(8, like)[0].data_ptr() == small.data_ptr()
    again, new = buffers.take(90, like)
    assert again.data_ptr() == large.data_ptr() and not new
    buffers.give_back(again, 90)
    assert buffers.take(1_000, like)[1]  # nothing fits: the largest made way
    assert not buffers._free
    with buffers.lent(5, like.double()) as memory:
        assert memory.dtype == torch.float64 and not buffers._free
    assert buffers._free
    buffers.clear()
    assert not buffers._free


def test_no_more_memory_is_kept_than_was_in_use_at_once() -> None:
    buffers, like, draw = Buffers(), torch.empty(1), random.Random(0)
    most = 0
    for turn in range(200):
        sizes = [draw.randrange(1, 50 + 10 * turn) for _ in range(draw.randrange(1, 9))]
        most = max(most, sum(sizes))
        taken = [(buffers.take(size, like)[0], size) for size in sizes]
        for buffer, size in taken:
            buffers.give_back(buffer, size)
        assert sum(map(len, buffers._free)) <= 1.6 * most


def assert_same_logs(cached: CachedBackend, plain: UncachedBackend, batch: Tree, starts: list[int]) -> None:
    spans = [Span(min(start, len(ids)), len(ids)) for start, ids in zip(starts, batch, strict=True)]
    for found, expected in zip(cached.logs(batch, spans), plain.logs(batch, spans), strict=True):
        assert found.shape == expected.shape
        assert np.allclose(found, expected, atol=1e-3, rtol=0)
    assert_same(cached, plain, batch)


@pytest.mark.parametrize("limit", [0, 150])
@given(seed=st.integers(0, 10**6), calls=st.integers(1, 3))
@settings(max_examples=20)
def test_cached_likelihoods_equal_uncached_ones_whatever_was_read_before(limit: int, seed: int, calls: int) -> None:
    token = 2 * 2 * 2 * 8 * 4
    cached, plain = backends(limit=limit * token) if limit else POLICIES
    draw, tree = random.Random(seed), [ids for ids in random_tree(seed, 8, 30) if ids]
    cached.outputs(tree[: draw.randint(1, len(tree))][:1])
    for call in range(calls):
        batch = tree[call::calls] or tree[:1]
        for ids in [[ids] for ids in batch] if limit else [batch]:
            assert_same_logs(cached, plain, ids, [draw.randint(1, 40) for _ in ids])


def test_a_likelihood_costs_no_token_where_replies_are_new() -> None:
    cached, plain = backends()
    stem, replies = list(range(40)), [[100 + k] * 5 for k in range(6)]
    grown = [stem + reply for reply in replies]
    assert_same_logs(cached, plain, grown, [40] * 6)
    assert cached.computed == 40 + 6 * 5
    assert_same_logs(cached, plain, [grown[2] + [7, 8, 9], grown[2] + [7, 8, 5]], [46, 46])
    assert_same_logs(cached, plain, grown, [40] * 6)
    assert cached.computed == 40 + 6 * 5 + 4
    assert_same_logs(cached, plain, [[*stem, 250]], [40])
    assert cached.computed == 40 + 6 * 5 + 4 + 2  # the last token of the stem again: its output is gone
    assert_same_logs(cached, plain, [stem], [30])
    assert cached.computed == 40 + 6 * 5 + 4 + 2 + 11


def test_each_token_of_a_tree_is_computed_once() -> None:
    cached, _ = backends(reward=True)
    stem, replies = list(range(40)), [[100 + k] * 5 for k in range(6)]
    cached.outputs([stem + reply for reply in replies])
    assert cached.computed == 40 + 6 * 5
    cached.outputs([stem + replies[2] + [7, 8, 9], stem + replies[4] + [7, 8]])
    assert cached.computed == 40 + 6 * 5 + 5
    cached.outputs([stem + reply for reply in replies])
    assert cached.computed == 40 + 6 * 5 + 5
    cached.outputs([stem])
    assert cached.computed == 40 + 6 * 5 + 6  # the last token again: nobody had asked for its output


@pytest.mark.parametrize("reward", [True, False])
def test_long_texts_and_wide_trees_are_computed_in_pieces(reward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentrm_models.trie import passes, token_trie

    monkeypatch.setattr(token_trie, "LONGEST_EDGE", 16)
    monkeypatch.setattr(passes, "GROUP_TOKENS", 24)
    monkeypatch.setattr(passes, "FORWARD_TOKENS", 40)
    cached, plain = backends(reward=reward)
    for seed in range(6):
        assert_same(cached, plain, random_tree(seed, 10, 60))


def test_a_small_limit_evicts_and_changes_nothing() -> None:
    token = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, width, bytes
    cached, plain = backends(reward=True, limit=120 * token)
    evicted = 0
    for seed in range(12):
        for sequence in random_tree(seed, 4, 50):
            before = cached.tokens_cached()
            assert_same(cached, plain, [sequence])
            evicted += cached.tokens_cached() < before
            assert cached.tokens_cached() <= max(120, len(sequence))
    assert evicted > 0
    stem = list(range(40))
    assert_same(cached, plain, [stem])
    computed = cached.computed
    for k in range(5):
        assert_same(cached, plain, [stem + [k] * 30])
    assert cached.computed == computed + 5 * 30  # the stem was used each time, so it was never the one to go


def test_a_full_cache_is_not_looked_through_for_every_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    token = 2 * 2 * 2 * 8 * 4
    cached, _ = backends(reward=True, limit=1_000 * token)
    searches = []
    plain = TokenTrie.evict
    monkeypatch.setattr(TokenTrie, "evict", lambda trie, tokens: searches.append(tokens) or plain(trie, tokens))
    draw = random.Random(1)
    for _ in range(200):
        cached.outputs([[draw.randrange(VOCABULARY) for _ in range(10)]])
    assert cached.tokens_cached() > 900
    assert 10 < len(searches) <= 1_000 // (1_000 // EVICTED_AT_ONCE) + 10


def test_a_batch_beyond_the_limit_is_halved() -> None:
    token = 2 * 2 * 2 * 8 * 4
    reward = ExplicitReward(tiny_reward_model(), TOKENIZER, cache_bytes=150 * token)
    plain = ExplicitReward(tiny_reward_model(), TOKENIZER, use_cache=False)
    items = tuple((Message("user", f"{k} " * 30), Message("assistant", "Action: go")) for k in range(6))
    assert reward.score([ScoreGroup(items)])[0] == pytest.approx(plain.score([ScoreGroup(items)])[0], abs=1e-4)
    policy = transformers_policy(tiny_policy_model().double(), TOKENIZER, cache_bytes=300 * token)
    wide = transformers_policy(tiny_policy_model().double(), TOKENIZER)
    requests = [ask(item[:1], 3, str(k)) for k, item in enumerate(items)]
    found, expected = policy.propose(requests), wide.propose(requests)
    assert [[one.text for one in some] for some in found] == [[one.text for one in some] for some in expected]


class FakeInterruption(Exception):
    pass


def test_an_interrupted_pass_leaves_the_cache_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    cached, plain = backends(reward=True)
    tree = random_tree(5, 6, 30)
    cached.outputs(tree[:2])
    forward = cached._layers.forward

    def fail(*arguments: object) -> torch.Tensor:
        raise FakeInterruption

    monkeypatch.setattr(cached._layers, "forward", fail)
    with pytest.raises(FakeInterruption):
        cached.outputs(tree)
    monkeypatch.setattr(cached._layers, "forward", forward)
    assert_same(cached, plain, tree)


def test_branches_of_ragged_prompts_equal_whole_sequences() -> None:
    cached, plain = backends()
    draw = random.Random(1)
    prompts = [[draw.randrange(VOCABULARY) for _ in range(length)] for length in (70, 5, 64, 30, 5, 120)]
    prompts.append(prompts[0][:40] + prompts[1])
    counts = [3, 1, 3, 7, 1, 2, 3]
    decoding = cached.decode(prompts, counts, [40] * len(prompts))
    home = [k for k, count in enumerate(counts) for _ in range(count)]
    written = [list(prompts[k]) for k in home]
    assert torch.allclose(decoding.first, plain.outputs(prompts), atol=1e-4)
    live = list(range(len(home)))
    for position in range(40):
        live = [row for row in live if draw.random() > 0.06] or live[:1]
        tokens = [draw.randrange(VOCABULARY) for _ in live]
        for row, token in zip(live, tokens, strict=True):
            written[row].append(token)
        found = decoding.step(live, tokens)
        if position % 6 == 0:
            assert torch.allclose(found, plain.outputs([written[row] for row in live]), atol=1e-4)
    decoding.close()
    computed = cached.computed
    assert_same(cached, plain, written)
    assert cached.computed <= computed + len(written)  # at most the last token of each again


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_branches_that_agree_are_written_once_and_fork_anywhere(seed: int) -> None:
    draw = random.Random(seed)
    cached, plain = backends()
    prompts = random_tree(seed, 3, 20)
    counts = [draw.randint(1, 6) for _ in prompts]
    decoding = cached.decode(prompts, counts, [8] * 3)
    prompt_of = [prompt for prompt, count in zip(prompts, counts, strict=True) for _ in range(count)]
    written: list[list[int]] = [[] for _ in prompt_of]
    live = list(range(len(prompt_of)))
    before, nodes = cached.computed, set[tuple[int, ...]]()
    for _ in range(8):
        live = [branch for branch in live if draw.random() < 0.9]
        if not live:
            break
        for branch in live:
            written[branch].append(draw.choice((5, 6)) if draw.random() < 0.4 else 5)
            nodes.add((id(prompt_of[branch]), *written[branch]))
        outputs = decoding.step(live, [written[branch][-1] for branch in live])
        expected = plain.outputs([prompt_of[branch] + written[branch] for branch in live])
        assert torch.allclose(outputs, expected, atol=1e-4, rtol=0)
    assert cached.computed - before == len(nodes)
    decoding.close()
    whole = [prompt + ids for prompt, ids in zip(prompt_of, written, strict=True)]
    assert_same(cached, plain, whole)


def ask(chat: Conversation, n: int, node: str, max_tokens: int = 10, temperature: float = 1.0) -> ProposeRequest:
    return ProposeRequest(chat, n, Decoding(temperature, 1.0, max_tokens), NoiseKey(1, "task", node))


def test_samples_follow_the_law_of_one_by_one_sampling() -> None:
    """Chi-square of the first two sampled tokens against the model's own probabilities."""
    tokenizer = tiny_tokenizer(size=262)
    model = tiny_policy_model(vocabulary=len(tokenizer))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embed" in name:
                weight[8:] = 0  # leaves mass on a few tokens
                weight *= 3
    policy = transformers_policy(model, tokenizer, stop_after_action=False)
    chat = (Message("user", "go"),)
    encoder = ChatEncoder(tokenizer)
    prompt = encoder.ids(chat, True)
    with torch.inference_mode():
        first = torch.softmax(model(torch.tensor([prompt])).logits[0, -1].double(), -1)
    n = 4000
    texts = [one.text for one in policy.propose([ask(chat, n, "0", max_tokens=1)])[0]]
    by_text: dict[str, float] = {}
    for token, share in enumerate(first.tolist()):
        text = encoder.decode([token])
        by_text[text] = by_text.get(text, 0.0) + share
    likely = [text for text, share in by_text.items() if share * n >= 10]
    seen = {text: texts.count(text) for text in likely}
    rest = n - sum(by_text[text] * n for text in likely)
    chi_square = sum((seen[text] - by_text[text] * n) ** 2 / (by_text[text] * n) for text in likely)
    chi_square += (n - sum(seen.values()) - rest) ** 2 / max(rest, 1.0)
    freedom = len(likely)
    assert freedom >= 3
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_beam_episode_computes_each_unique_token_once(family: str) -> None:
    """Five beams of five candidates, six steps: tokens computed / unique tokens <= 1.05, for policy and reward."""
    policy = transformers_policy(tiny_policy_model(family, seed=3), TOKENIZER)
    reward = ExplicitReward(tiny_reward_model(family), TOKENIZER)
    plain = ExplicitReward(tiny_reward_model(family), TOKENIZER, use_cache=False)
    assert policy.notice == reward.notice == ""
    beams: list[Conversation] = [(Message("system", "Play."), Message("user", "Goal: the red key."))]
    for step in range(6):
        requests = [ask(beam, 25 // len(beams), f"{step}.{k}") for k, beam in enumerate(beams)]
        found = policy.propose(requests)
        candidates = [
            (*beam, Message("assistant", one.text)) for beam, some in zip(beams, found, strict=True) for one in some
        ]
        scores = reward.score([ScoreGroup(tuple(candidates))])[0]
        expected = plain.score([ScoreGroup(tuple(candidates))])[0]
        assert scores == pytest.approx(expected, abs=1e-4)
        best = sorted(range(len(scores)), key=lambda k: -scores[k])[:5]
        beams = [(*candidates[k], Message("user", f"You see {step} and {k}.")) for k in best]
    for usage in (policy.usage, reward.usage):
        assert usage.tokens_computed <= 1.05 * usage.tokens_unique
    assert plain.usage.tokens_computed > 3 * reward.usage.tokens_computed


def test_architectures_that_cannot_be_cached_are_named() -> None:
    for family, word in (("gpt_neo", "own way"), ("mistral", "sliding")):
        policy = transformers_policy(tiny_policy_model(family), TOKENIZER)
        assert word in policy.notice and type(tiny_policy_model(family)).__name__ in policy.notice
    for family in ("llama", "qwen2", "gpt2"):
        assert transformers_policy(tiny_policy_model(family), TOKENIZER).notice == ""
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    assert transformers_policy(tiny_policy_model(rope_parameters=scaled), TOKENIZER).notice == ""
    scaled["rope_type"] = "dynamic"
    assert "dynamic" in transformers_policy(tiny_policy_model(rope_parameters=scaled), TOKENIZER).notice


def test_the_model_object_keeps_its_own_attention() -> None:
    model = tiny_policy_model()
    before = model.config._attn_implementation
    policy = transformers_policy(model, TOKENIZER)
    policy.propose([ask((Message("user", "go"),), 2, "0")])
    assert model.config._attn_implementation == before


def test_sixteen_bit_models_rank_alike() -> None:
    """bfloat16: the share of equally ranked pairs, cached against uncached, is near 1."""
    model = tiny_reward_model().to(torch.bfloat16)
    cached = ExplicitReward(model, TOKENIZER)
    plain = ExplicitReward(model, TOKENIZER, use_cache=False)
    history = (Message("user", "Goal: the red key."),)
    items = tuple((*history, Message("assistant", f"Action: go {k} " * (k % 5 + 1))) for k in range(24))
    left, right = (one.score([ScoreGroup(items)])[0] for one in (cached, plain))
    pairs = [(i, j) for i in range(24) for j in range(i) if abs(right[i] - right[j]) > 0.02]
    alike = sum((left[i] > left[j]) == (right[i] > right[j]) for i, j in pairs)
    assert len(pairs) > 50
    assert alike / len(pairs) >= 0.95
