"""The models that are measured, and the texts they are given: token ids, so that both sides read the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from agentrm_models.bundled import bundled_models
from agentrm_models.chat import ChatEncoder
from agentrm_models.generation import Branch, Prompt, generate
from agentrm_models.policies.base import Decoding, NoiseKey
from agentrm_models.trie.backends import choose_backend
from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.states import Backend, architecture_of
from agentrm_models.usage import ignore_progress

CONTEXT = 16_384
FIRST_ID = 5
"""Ids below are special tokens of the bundled tokenizer."""

SHAPES = {
    "tiny": {"vocab_size": 500, "hidden_size": 64, "layers": 2, "heads": 4, "intermediate_size": 128},
    "110M": {"vocab_size": 32_000, "hidden_size": 768, "layers": 12, "heads": 12, "intermediate_size": 2_048},
    "0.5B": {"vocab_size": 32_000, "hidden_size": 1_024, "layers": 28, "heads": 16, "intermediate_size": 4_096},
}
"""Llama-shaped models with random weights: speed does not depend on what weights say."""


class Subject(NamedTuple):
    """One model, used by both sides.

    Attributes:
        name: `bundled`, or a key of `SHAPES`.
        model: The library's object; peers call it, the prefix cache reads its weights or calls its layers.
    """

    name: str
    model: Any

    def backend(self, tokens: int = 0) -> CachedBackend:
        """A fresh, empty prefix cache that holds at most so many tokens; 0 takes the usual limit."""
        config = self.model.config
        head = config.hidden_size // config.num_attention_heads
        states = 2 * config.num_hidden_layers * config.num_key_value_heads * head
        limit = tokens * states * self.model.dtype.itemsize
        backend, notice = choose_backend(architecture_of(self.model), limit, True)
        assert isinstance(backend, CachedBackend), notice
        return backend

    def text(self, length: int, seed: str) -> list[int]:
        """Random ids, the same for the same seed."""
        draw, vocabulary = random.Random(seed), self.model.config.vocab_size
        return [draw.randrange(FIRST_ID, vocabulary) for _ in range(length)]


@cache
def policy(name: str) -> Subject:
    """The policy of this size."""
    return _subject(name, "policy")


@cache
def reward(name: str) -> Subject:
    """The reward model of this size."""
    return _subject(name, "reward")


def bundled_folder(role: str) -> Path:
    """Where the first bundled model of this role lies."""
    return next(model.folder for model in bundled_models() if model.role == role)


def _subject(name: str, role: str) -> Subject:
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    kind = LlamaForCausalLM if role == "policy" else LlamaForSequenceClassification
    torch.manual_seed(0)
    if name == "bundled":
        model = kind.from_pretrained(bundled_folder(role), dtype=torch.float32, max_position_embeddings=CONTEXT)
    else:
        shape = dict(SHAPES[name])
        layers, heads = shape.pop("layers"), shape.pop("heads")
        config = LlamaConfig(
            **shape,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            num_labels=1,
            pad_token_id=0,
        )
        model = kind(config)
    model.eval()
    if role == "policy":
        model.generation_config.eos_token_id = None
        model.generation_config.pad_token_id = 0
    return Subject(name, model)


class _Unending(ChatEncoder):
    """Nothing ends a reply but its budget, so that both sides write equally much; its text is of no interest."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self.stop_ids = type(self.stop_ids)()

    def decode(self, ids: list[int]) -> str:
        """Ids of larger vocabularies have no text here."""
        return ""


@cache
def _encoder() -> _Unending:
    from transformers import AutoTokenizer

    return _Unending(AutoTokenizer.from_pretrained(bundled_folder("policy")))


def grow(
    backend: Backend,
    prompts: Sequence[list[int]],
    counts: Sequence[int],
    tokens: int,
    node: str,
    temperature: float = 1,
) -> list[list[Branch]]:
    """Let the project's generation loop write replies of exactly so many tokens."""
    decoding = Decoding(temperature=temperature, max_tokens=tokens)
    asked = [
        Prompt(prompt, tuple(range(count)), decoding, NoiseKey(0, "bench", f"{node}.{number}"))
        for number, (prompt, count) in enumerate(zip(prompts, counts, strict=True))
    ]
    return generate(backend, _encoder(), asked, False, ignore_progress)
