"""A GGUF file's vocabulary and chat template, in the shape that the chat encoder expects of a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from agentrm_models.llama_cpp.native import NativeModel


class GGUFTokenizer:
    """As much of a `transformers` tokenizer as `ChatEncoder` uses, without transformers."""

    def __init__(self, model: NativeModel) -> None:
        self._model = model
        self.name_or_path = str(model.file)
        self.chat_template = model.metadata("tokenizer.chat_template")
        self.special_tokens_map = model.special_texts()
        stops = model.stop_tokens()
        self.eos_token_id = model.token_id("eos") if model.token_id("eos") is not None else min(stops, default=None)
        controls = model.control_tokens()
        self.all_special_ids = list(controls)
        self.all_special_tokens = list(controls.values())

    def encode(self, text: str, add_special_tokens: bool = False, split_special_tokens: bool = False) -> list[int]:
        """Encode text; with `split_special_tokens` the names of control tokens in it are plain characters."""
        return self._model.tokenize(text, special=not split_special_tokens)

    def decode(self, ids: Sequence[int], **ignored: bool) -> str:
        """The text of tokens without control tokens; bytes that are not UTF-8 become replacement characters."""
        return b"".join(self._model.piece(token) for token in ids).decode("utf-8", "replace")
