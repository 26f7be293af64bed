"""A byte-level BPE tokenizer of the collected texts, saved as an ordinary Hugging Face folder.

Digits are split, so that numbers are read digit by digit; the pre-tokenizer is the one llama.cpp calls `smollm`.
Fixed phrases are added tokens, which `tokenizers` and llama.cpp both look for first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentrm_trainer.data.phrases import find_phrases
from agentrm_trainer.data.trajectories import Trajectory

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(
    trajectories: Sequence[Trajectory], vocabulary: int, texts: int, context: int, phrases: int = 0
) -> Any:
    """Train a tokenizer on conversations spread evenly over the trajectories.

    Args:
        trajectories: What the expert played.
        vocabulary: Entries at most; few templates give fewer.
        texts: Conversations used.
        context: Tokens the model can read (written to the tokenizer's configuration).
        phrases: Fixed phrases that become tokens beside the vocabulary, at most.

    Returns:
        A `PreTrainedTokenizerFast` with role tokens, an end-of-turn token and the chat template.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, *ROLES, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    used = trajectories[:: max(1, len(trajectories) // texts)]
    tokenizer.train_from_iterator(_texts(used), trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in find_phrases(used, phrases)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def _texts(trajectories: Sequence[Trajectory]) -> Iterator[str]:
    for trajectory in trajectories:
        for turn in trajectory.messages:
            yield turn.content


def load_tokenizer(folder: Path | str) -> Any:
    """Load the tokenizer of a model folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder))
