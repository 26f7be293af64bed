"""How rows of tokens go through a model's layers while attention is answered by the trie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from agentrm_models.trie.states import Architecture
from agentrm_models.trie.tree_attention import (
    IMPLEMENTATION,
    AttentionPass,
    UnsupportedAttentionError,
    register,
    running,
)

if TYPE_CHECKING:
    from torch import Tensor


class Layers(Protocol):
    """A model without its attention and head."""

    @property
    def count(self) -> int:
        """Number of layers that attend."""
        ...

    def forward(self, ids: Sequence[int], positions: Sequence[int], attention: AttentionPass) -> Tensor:
        """Hidden states after the last norm (rows, width)."""
        ...


class LibraryLayers:
    """The layers of any `transformers` model that takes its attention from the library's registry."""

    def __init__(self, parts: Architecture) -> None:
        register()
        self._backbone = parts.backbone
        config = parts.model.config.get_text_config()
        self.count = int(config.num_hidden_layers)
        found = {id(module.config): module.config for module in parts.model.modules() if hasattr(module, "config")}
        self._configs: list[Any] = list(found.values())
        self._device = parts.model.device

    def forward(self, ids: Sequence[int], positions: Sequence[int], attention: AttentionPass) -> Tensor:
        """See `Layers`."""
        import torch

        with torch.inference_mode():
            return self.hidden(torch.tensor(ids), torch.tensor(positions), attention)

    def hidden(self, ids: Tensor, positions: Tensor, attention: AttentionPass) -> Tensor:
        """The same with gradients, where these are wanted: what training calls; shapes (rows,).

        Raises:
            UnsupportedAttentionError: A layer asks for an attention that a pass cannot give.
        """
        counted = _CountedPass(attention)
        with running(counted), self._switched():
            result = self._backbone(
                input_ids=ids[None].to(self._device),
                position_ids=positions[None].to(self._device),
                use_cache=False,
            )
        if len(counted.layers) != self.count:
            raise UnsupportedAttentionError(f"{self.count - len(counted.layers)} of its layers attend in their own way")
        hidden: Tensor = result.last_hidden_state[0]
        return hidden

    @contextmanager
    def _switched(self) -> Iterator[None]:
        """Let the layers call our attention; others who use the same model object keep theirs."""
        before = [config._attn_implementation for config in self._configs]
        try:
            for config in self._configs:
                config._attn_implementation = IMPLEMENTATION
            yield
        finally:
            for config, implementation in zip(self._configs, before, strict=True):
                config._attn_implementation = implementation


class _CountedPass:
    """A pass that notes which layers asked it."""

    def __init__(self, attention: AttentionPass) -> None:
        self._attention = attention
        self.layers: set[int] = set()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        self.layers.add(layer)
        return self._attention.attend(layer, query, key, value, scaling)


def check_config(parts: Architecture) -> None:
    """Refuse what a short random tree would not show: long windows and positions that depend on the length.

    Raises:
        UnsupportedAttentionError: The configuration names something that a trie of states cannot give.
    """
    config = parts.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if kinds:
        raise UnsupportedAttentionError(f"it has {sorted(kinds)[0].replace('_', ' ')}")
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default") if isinstance(rope, dict) else "default"
    if kind in ("dynamic", "longrope"):
        raise UnsupportedAttentionError(f"its {kind} positions depend on the length of the whole sequence")
