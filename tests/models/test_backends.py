"""Whatever backend a model gets, its outputs are the logits that the model gives itself."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

from agentrm_models.trie.backends import choose_backend
from agentrm_models.trie.states import Span, architecture_of

LAYERS = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    "config",
    [
        hf.GraniteConfig(**LAYERS, logits_scaling=4.0),
        hf.Gemma2Config(**LAYERS, head_dim=8, final_logit_softcapping=0.5),
        hf.LlamaConfig(**LAYERS),
    ],
    ids=lambda config: config.model_type,
)
@pytest.mark.parametrize("use_cache", [True, False])
def test_outputs_are_the_logits_that_the_model_gives_itself(config, use_cache) -> None:
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)
    backend, _ = choose_backend(architecture_of(model), 0, use_cache)
    text = list(range(3, 40))
    with torch.inference_mode():
        logits = model(torch.tensor([text])).logits[0]
    assert torch.allclose(backend.outputs([text])[0], logits[-1], atol=1e-4)
    [found] = backend.logs([text], [Span(30, 37)])
    expected = logits[29:36].log_softmax(-1).gather(1, torch.tensor(text[30:37])[:, None])[:, 0]
    assert found[:, 0] == pytest.approx(expected.numpy(), abs=1e-4)
