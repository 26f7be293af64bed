"""Heads that compute in float32, whatever the layers below them compute in: scores that differ stay different."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def in_float32(model: Any, columns: Sequence[int]) -> None:
    """Make the head of a 16-bit model a float32 one.

    That is every part of a classifier outside the layers that it stands on. A language-model head shares its weights
    with the embedding, so of its outputs only those that count are computed in float32.

    Args:
        columns: The outputs of a language model that count; none where all do.
    """
    import torch

    if model.dtype not in (torch.bfloat16, torch.float16):
        return
    if (vocabulary := model.get_output_embeddings()) is not None:
        if columns:
            vocabulary.register_forward_hook(_Exact(columns))
        return
    for name, part in model.named_children():
        if name != model.base_model_prefix and any(True for _ in part.parameters()):
            part.float()
            part.register_forward_pre_hook(_widen)


def _widen(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        each.float() if hasattr(each, "is_floating_point") and each.is_floating_point() else each for each in inputs
    )


class _Exact:
    """Computes some outputs of a linear layer once more, in float32."""

    def __init__(self, columns: Sequence[int]) -> None:
        self._columns = list(columns)

    def __call__(self, module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        import torch

        bias = getattr(module, "bias", None)
        rows = module.weight[self._columns].float()
        found = output.float()
        found[..., self._columns] = torch.nn.functional.linear(
            inputs[0].float(), rows, None if bias is None else bias[self._columns].float()
        )
        return found
