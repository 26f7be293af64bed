"""Tokens that mean something to a model beyond their characters, and texts that only look like them."""

from __future__ import annotations

from typing import Any


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """All special tokens of a tokenizer, those without a role of their own (`<|eot_id|>` of Llama 3) included."""
    found = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=False))
    added = getattr(tokenizer, "added_tokens_decoder", None) or {}
    found |= {int(token): str(each.content) for token, each in added.items() if each.special}
    return {token: text for token, text in found.items() if text}
