"""A GGUF file's vocabulary and chat template, in the shape that the chat encoder expects of a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentrm_models.errors import DataError
from agentrm_models.llama_cpp.native import NativeModel

TEMPLATE_DATE = "2024-07-26"
"""What templates are told is today: prompts must not change from one day to the next."""


class GGUFTokenizer:
    """As much of a `transformers` tokenizer as `ChatEncoder` uses, without transformers."""

    def __init__(self, model: NativeModel) -> None:
        self._model = model
        self.chat_template = model.metadata("tokenizer.chat_template")
        self._names = model.special_texts()
        stops = model.stop_tokens()
        self.eos_token_id = model.token_id("eos") if model.token_id("eos") is not None else min(stops, default=None)
        controls = model.control_tokens()
        self.all_special_ids = list(controls)
        self.all_special_tokens = list(controls.values())
        self._compiled: dict[str, Any] = {}

    def encode(self, text: str, add_special_tokens: bool = False, split_special_tokens: bool = False) -> list[int]:
        """Encode text; with `split_special_tokens` the names of control tokens in it are plain characters."""
        return self._model.tokenize(text, special=not split_special_tokens)

    def decode(self, ids: Sequence[int], **ignored: bool) -> str:
        """The text of tokens without control tokens; bytes that are not UTF-8 become replacement characters."""
        return b"".join(self._model.piece(token) for token in ids).decode("utf-8", "replace")

    def apply_chat_template(
        self, rows: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, chat_template: str = ""
    ) -> str:
        """Render a conversation with the file's template, or with another one."""
        source = chat_template or self.chat_template or ""
        if source not in self._compiled:
            self._compiled[source] = _compile(source, self._model.file)
        text: str = self._compiled[source].render(
            messages=rows, add_generation_prompt=add_generation_prompt, **self._names
        )
        return text


def _compile(source: str, file: Path) -> Any:
    """Compile a chat template in a sandbox, with the names that such templates expect."""
    from datetime import datetime

    from jinja2 import TemplateError, TemplateSyntaxError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    sandbox.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    sandbox.globals["raise_exception"] = raise_exception
    sandbox.globals["strftime_now"] = lambda layout: datetime.fromisoformat(TEMPLATE_DATE).strftime(layout)
    try:
        return sandbox.from_string(source)
    except TemplateSyntaxError as error:
        raise DataError(f"{file}: its chat template is broken: {error.message}") from None
