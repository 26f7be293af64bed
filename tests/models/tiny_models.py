"""Tiny models with random weights and a tokenizer of our own: what the tests of the model backends run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

torch.set_num_threads(1)

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
TEXTS = [
    "Thought: the red key is to the left\nAction: go to the red key",
    "You see a red key, a blue door and a green ball.",
    "Action: pick up the green ball",
    "<|start|>user\nassistant\nsystem\n",
]


def tiny_tokenizer(template: str | None = TEMPLATE, size: int = 300) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with two special tokens, trained on four sentences."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|pad|>", "<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS * 5, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.chat_template = template
    return tokenizer


def tiny_config(family: str, vocabulary: int, **changes: Any) -> Any:
    """The configuration of a tiny model of one family."""
    import transformers as hf

    ends = {"pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 2}
    wide = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    rotary = {**wide, "num_key_value_heads": 2, "max_position_embeddings": 512, **ends}
    match family:
        case "llama":
            return hf.LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=True, **{**rotary, **changes})
        case "qwen2":
            return hf.Qwen2Config(vocab_size=vocabulary, **{**rotary, **changes})
        case "mistral":
            return hf.MistralConfig(vocab_size=vocabulary, **{**rotary, "sliding_window": 16, **changes})
        case "gpt2":
            options = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, **ends, **changes}
            return hf.GPT2Config(vocab_size=vocabulary, **options)
        case "gpt_neo":
            options = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 8, **ends}
            options |= {"attention_types": [[["global", "local"], 1]], "max_position_embeddings": 512, **changes}
            return hf.GPTNeoConfig(vocab_size=vocabulary, **options)
        case _:
            raise KeyError(family)


def tiny_policy_model(family: str = "llama", vocabulary: int = 300, seed: int = 0, **changes: Any) -> Any:
    """A causal language model with random weights, larger than usual so that its choices differ."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    return _widen(AutoModelForCausalLM.from_config(tiny_config(family, vocabulary, **changes)).eval())


def tiny_reward_model(family: str = "llama", vocabulary: int = 300, seed: int = 0, labels: int = 1) -> Any:
    """A sequence classifier with random weights and `labels` outputs."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    config = tiny_config(family, vocabulary)
    config.num_labels = labels
    return _widen(AutoModelForSequenceClassification.from_config(config).eval())


def save_model(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Write a folder as `from_pretrained` reads it."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _widen(model: Any) -> Any:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.mul_(4.0 if "emb" not in name else 2.0)
    return model
