"""Heads that compute in float32, whatever the layers below them compute in: scores that differ stay different."""

from __future__ import annotations

from typing import Any


def in_float32(model: Any) -> None:
    """Make the head of a 16-bit classifier a float32 one: every part of it outside the layers that it stands on.

    A language-model head shares its weights with the embedding and is left alone.
    """
    import torch

    if model.dtype not in (torch.bfloat16, torch.float16) or model.get_output_embeddings() is not None:
        return
    for name, part in model.named_children():
        if name != model.base_model_prefix and any(True for _ in part.parameters()):
            part.float()
            part.register_forward_pre_hook(_widen)


def _widen(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        each.float() if hasattr(each, "is_floating_point") and each.is_floating_point() else each for each in inputs
    )
