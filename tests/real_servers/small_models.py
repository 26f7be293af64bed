"""Small Llama folders that servers' own kernels can compute (heads of 64), with a tokenizer and chat template."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from tiny_llama import TEMPLATE, make_tokenizer


def make_folder(folder: Path, outputs: int = 0) -> Path:
    """Save a language model, or a classifier with so many outputs."""
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    torch.set_num_threads(1)
    torch.manual_seed(1)
    tokenizer = make_tokenizer("smollm")
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1_024,
        tie_word_embeddings=not outputs,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.15,
    )
    if outputs:
        config.num_labels = outputs
        config.id2label = {number: f"output {number}" for number in range(outputs)}
    model: Any = LlamaForSequenceClassification(config) if outputs else LlamaForCausalLM(config)
    model.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
    )
    fast.save_pretrained(folder)
    return folder
