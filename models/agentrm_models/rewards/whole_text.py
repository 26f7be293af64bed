"""Classifiers that only the whole model can be asked: encoders, and decoders whose head is not a layer of its own.

They read one text at a time, unpadded, as `model(**tokenizer(text)).logits` does. Of an encoder every token sees every
other, so nothing of a text can be kept for the next one, and the text is tokenised as a whole, with the special tokens
that its tokenizer adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn

from agentrm_models.chat import ChatEncoder
from agentrm_models.messages import Conversation, Message
from agentrm_models.trie.check import distance, random_text, reading
from agentrm_models.trie.states import Architecture, Rows, Span, TokenLogs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

PLAIN_TEXT = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}{{ '\\n' }}{% endfor %}"
)
"""The template of encoders that bring none: their tokenizer adds what begins and ends a text."""

TEXTS_REMEMBERED = 2_000
"""Conversations whose ids are remembered; beyond that the memory is emptied (only time is lost)."""


_NO_ID = -1
"""Stands for the padding token's id where nothing is padded; strict configurations refuse None."""


class WholeTextEncoder(ChatEncoder):
    """Tokenises a conversation as one text, with the special tokens that the tokenizer adds to any text.

    A template that begins a text with such a token itself gets none added, as the library's `apply_chat_template` does.
    Names of special tokens in what people, models and environments wrote are broken by a space, so that they are plain
    characters.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer, plain=PLAIN_TEXT)
        self._known: dict[Conversation, list[int]] = {}
        self._starts = tuple(token for token in (tokenizer.cls_token, tokenizer.bos_token) if token)

    def ids(self, conversation: Conversation, add_generation_prompt: bool = False) -> list[int]:
        """The ids of the whole text; a generation prompt is never added, since nothing is generated."""
        known = self._known.get(conversation)
        if known is None:
            if len(self._known) >= TEXTS_REMEMBERED:
                self._known.clear()
            known = self._known[conversation] = self._whole_text(conversation)
        return list(known)

    def _whole_text(self, conversation: Conversation) -> list[int]:
        messages = self._merge_system(tuple(map(self._plain, conversation)))
        text = self._try_render(messages)
        if text is None:
            self._refuse(messages)
            return []
        text = self._covering.uncovered(text)
        add = not (self._starts and text.startswith(self._starts))
        return list(self.tokenizer.encode(text, add_special_tokens=add))

    def _plain(self, message: Message) -> Message:
        """The message with every name of a special token broken: some vocabularies know them as pieces too."""
        text = message.content
        for token in self._special:
            text = text.replace(token, f"{token[:1]} {token[1:]}")
        return message if text == message.content else Message(message.role, text)


class WholeModelBackend:
    """Outputs of a classifier as the library gives them, one text at a time, so that none is padded.

    A decoder is told of no padding, so its scored token is the last one, even where the end of a turn doubles as
    padding.

    Args:
        model: A `transformers` classifier in evaluation mode.
        both_ways: Whether it is an encoder.
    """

    def __init__(self, model: Any, both_ways: bool) -> None:
        self._model = model
        self._both_ways = both_ways
        self.computed = 0

    def outputs(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The logits of each sequence (sequences, outputs); of a token classifier those of its last token."""
        import torch

        rows = []
        for sequence in sequences:
            ids = torch.tensor([list(sequence)], device=self._model.device)
            with torch.inference_mode(), self._no_padding(), reading(self._model):
                output = self._model(input_ids=ids, attention_mask=torch.ones_like(ids))
            logits = (output.logits if hasattr(output, "logits") else output[0])[0]
            rows.append(logits[-1] if logits.ndim == 2 else logits)
            self.computed += ids.numel()
        return torch.stack(rows)

    def logs(self, sequences: Sequence[Sequence[int]], spans: Sequence[Span]) -> list[TokenLogs]:
        """Refuse: a classifier is no language model."""
        self._refuse()

    def decode(self, prompts: Sequence[Sequence[int]], counts: Rows, limits: Rows) -> NoReturn:
        """Refuse, as above."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RuntimeError("a classifier does not tell how likely a token is")

    @contextmanager
    def _no_padding(self) -> Iterator[None]:
        config = self._model.config.get_text_config()
        pad = getattr(config, "pad_token_id", None)
        if self._both_ways or pad is None:
            yield
            return
        config.pad_token_id = _NO_ID
        try:
            yield
        finally:
            config.pad_token_id = pad


def reads_both_ways(parts: Architecture) -> bool:
    """Whether a token is understood by those behind it: encoders, and models with one."""
    import torch

    model = parts.model
    if getattr(model.config, "is_encoder_decoder", False):
        return True
    if parts.backbone is None:
        return False
    text = random_text(parts, Random(7), 4)
    other = [*text[:-1], next(token for token in random_text(parts, Random(8), 64) if token != text[-1])]
    with torch.inference_mode(), reading(model):
        first, second = (
            parts.backbone(input_ids=torch.tensor([ids], device=model.device)).last_hidden_state[0, 0].float()
            for ids in (text, other)
        )
    rounding = 1e-5 if model.dtype in (torch.float32, torch.float64) else 2e-2
    return distance(first, second) > rounding
