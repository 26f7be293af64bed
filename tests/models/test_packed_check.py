"""What a model gives packed is compared with what it gives by itself, and what cannot be given is named."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

from agentrm_models.trie import packed_check
from agentrm_models.trie.packed_check import PACKED_TOLERANCE, packed_difference
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
    "num_labels": 1,
    "pad_token_id": 0,
}
KINDS = [hf.AutoModelForCausalLM, hf.AutoModelForSequenceClassification]


def make(config, kind=hf.AutoModelForCausalLM):
    torch.manual_seed(0)
    model = kind.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(4.0)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "config",
    [
        hf.LlamaConfig(**SHAPE),
        hf.Qwen2Config(**SHAPE),
        hf.MistralConfig(**SHAPE, sliding_window=None),
        hf.Qwen3Config(**SHAPE, head_dim=8),
    ],
    ids=lambda config: config.model_type,
)
def test_models_that_are_trained_packed_give_the_same(kind, config):
    model = make(config, kind)
    before = model.config._attn_implementation
    assert packed_difference(architecture_of(model)) <= PACKED_TOLERANCE
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("config", "why"),
    [
        (hf.MistralConfig(**SHAPE, sliding_window=256), "sliding window"),
        (hf.Gemma2Config(**SHAPE, head_dim=8, sliding_window=256), "sliding attention"),
        (hf.Gemma2Config(**SHAPE, head_dim=8, layer_types=["full_attention"] * 2), "softcap"),
        (hf.Gemma3TextConfig(**SHAPE, head_dim=8, sliding_window=256), "sliding attention"),
        (hf.BloomConfig(vocab_size=60, hidden_size=32, n_layer=2, n_head=4, num_labels=1), "in their own way"),
    ],
    ids=lambda value: getattr(value, "model_type", value),
)
def test_attention_that_packed_trees_cannot_give_is_refused_by_name(kind, config, why):
    with pytest.raises(UnsupportedAttentionError, match=why):
        packed_difference(architecture_of(make(config, kind)))


def test_logits_that_the_head_alone_does_not_give_are_a_difference():
    model = make(hf.GraniteConfig(**SHAPE, logits_scaling=4.0))
    assert packed_difference(architecture_of(model)) <= PACKED_TOLERANCE
    assert packed_difference(architecture_of(model)._replace(head=model.lm_head)) > 0.1


def test_capped_logits_are_those_of_the_model():
    layers = {"layer_types": ["full_attention"] * 2, "attn_logit_softcapping": None, "final_logit_softcapping": 1.0}
    model = make(hf.Gemma2Config(**SHAPE, head_dim=8, **layers))
    assert packed_difference(architecture_of(model)) <= PACKED_TOLERANCE


def test_attention_that_reads_too_much_is_a_difference(monkeypatch):
    class FakePass(packed_check.SequencesPass):
        """Lets every text read those before it."""

        def __init__(self, lengths):
            super().__init__([sum(lengths)])

    monkeypatch.setattr(packed_check, "SequencesPass", FakePass)
    assert packed_difference(architecture_of(make(hf.LlamaConfig(**SHAPE)))) > 0.01


def test_a_short_context_is_not_exceeded():
    config = hf.GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=24, num_labels=1)
    assert packed_difference(architecture_of(make(config))) <= PACKED_TOLERANCE
