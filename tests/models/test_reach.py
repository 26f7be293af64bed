"""What differs only in long texts is known on load, without a long text being read."""

from __future__ import annotations

import copy
import random
from types import SimpleNamespace

import pytest
import torch
import transformers as hf

from agentrm_models.errors import DataError
from agentrm_models.trie import backends, reach
from agentrm_models.trie.backends import choose_backend
from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.reach import check_reach, length_positions, named_lengths
from agentrm_models.trie.states import architecture_of
from agentrm_models.trie.tree_attention import UnsupportedAttentionError

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}


def make(config):
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.mul_(4.0)
    return model


def alone(model, text):
    """The library's own logits after a text, by a copy that read nothing before."""
    with torch.inference_mode():
        return copy.deepcopy(model)(input_ids=torch.tensor([text])).logits[0, -1]


def texts(*lengths):
    draw = random.Random(5)
    return [[draw.randrange(1, 60) for _ in range(length)] for length in lengths]


@pytest.mark.parametrize("window", [40, 511])
def test_a_window_that_only_the_mask_tells_of_is_found_at_any_distance(window):
    parts = architecture_of(make(hf.PhimoeConfig(**SHAPE, sliding_window=window, num_local_experts=2)))
    with pytest.raises(UnsupportedAttentionError, match=f"does not reach back {window} tokens"):
        check_reach(parts)
    assert parts.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("kind", [hf.PhimoeConfig, hf.MistralConfig, hf.Qwen3Config])
def test_a_window_as_long_as_the_models_own_is_none(kind):
    more = {"num_local_experts": 2} if kind is hf.PhimoeConfig else {}
    more |= {"use_sliding_window": True, "max_window_layers": 0} if kind is hf.Qwen3Config else {}
    backend, notice = choose_backend(architecture_of(make(kind(**SHAPE, sliding_window=512, **more))), 0, True)
    assert isinstance(backend, CachedBackend), notice


DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [2.0, 4.0, 6.0, 8.0],
    "original_max_position_embeddings": 24,
    "factor": 4.0,
}


@pytest.mark.parametrize(
    "config",
    [
        hf.LlamaConfig(**{**SHAPE, "max_position_embeddings": 24}, rope_parameters=DYNAMIC),
        hf.Phi3Config(**SHAPE, rope_parameters=LONG, original_max_position_embeddings=24),
    ],
    ids=["dynamic", "longrope"],
)
def test_positions_that_depend_on_the_length_give_what_each_text_alone_gives(config):
    model = make(config)
    fresh = copy.deepcopy(model)
    backend, notice = choose_backend(architecture_of(model), 0, True)
    assert f"{config.rope_parameters['rope_type']} positions depend on the length" in notice
    batch = texts(20, 40, 23, 60, 30, 24, 25)
    for _ in range(2):
        for found, text in zip(backend.outputs(batch), batch, strict=True):
            assert torch.allclose(found, alone(fresh, text), atol=1e-4)
    decoding = backend.decode([batch[0], batch[1]], [2, 1], [12, 12])
    written = [list(batch[0]), list(batch[0]), list(batch[1])]
    for step in range(12):
        tokens = [3 + step, 20 + step, 7]
        for text, token in zip(written, tokens, strict=True):
            text.append(token)
        for found, text in zip(decoding.step([0, 1, 2], tokens), written, strict=True):
            assert torch.allclose(found, alone(fresh, text), atol=1e-4)


def test_positions_of_each_kind_of_layer_are_looked_at():
    kinds = {"full_attention": LONG, "sliding_attention": {"rope_type": "default"}}
    found = length_positions(SimpleNamespace(rope_parameters=kinds))
    assert found is not None and found.kind == "longrope" and found.original == 24
    kinds = {"full_attention": {"rope_type": "yarn", "original_max_position_embeddings": 24}}
    assert length_positions(SimpleNamespace(rope_parameters=kinds)) is None


def test_lengths_that_the_configuration_names_are_tried_or_refused(monkeypatch):
    config = hf.DogeConfig(**{**SHAPE, "sliding_window": None}, keep_window_size=48)
    parts = architecture_of(make(config))
    assert [named.name for named in named_lengths(parts)] == ["keep_window_size"]
    monkeypatch.setattr(reach, "TRIED", 1.0)
    with pytest.raises(UnsupportedAttentionError, match="its keep_window_size of 48 tokens would take long to try"):
        check_reach(parts)


@pytest.mark.parametrize("config", [hf.LlamaConfig(**SHAPE), hf.Qwen2Config(**SHAPE), hf.GPT2Config(vocab_size=60)])
def test_usual_configurations_name_no_length(config):
    parts = architecture_of(make(hf.GPT2Config(vocab_size=60, n_embd=32, n_layer=1, n_head=2)))
    parts.model.config = config
    assert named_lengths(parts) == []


def test_what_reads_both_ways_is_no_policy():
    config = hf.BertConfig(**{key: value for key, value in SHAPE.items() if key != "num_key_value_heads"})
    with pytest.raises(DataError, match="BertLMHeadModel reads text in both directions"):
        choose_backend(architecture_of(make(config)), 0, True)


def test_a_small_16_bit_model_is_tried_in_float32(monkeypatch):
    """A fault of one in a hundred passes as rounding in bfloat16, and does not in the copy."""
    model = make(hf.LlamaConfig(**SHAPE)).to(torch.bfloat16)
    assert isinstance(choose_backend(architecture_of(model), 0, True)[0], CachedBackend)
    forward = backends.LibraryLayers.forward

    def faulty(*given):
        hidden = forward(*given)
        return hidden * torch.linspace(0.99, 1.01, hidden.shape[-1]).to(hidden.dtype)

    monkeypatch.setattr(backends.LibraryLayers, "forward", faulty)
    backend, notice = choose_backend(architecture_of(model), 0, True)
    assert not isinstance(backend, CachedBackend) and "outputs differ" in notice
    monkeypatch.setattr(backends, "TWIN_WEIGHTS", 0)
    assert isinstance(choose_backend(architecture_of(model), 0, True)[0], CachedBackend)
