"""How rows of tokens go through a model's layers while attention is answered by the trie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from agentrm_models.trie.states import Architecture
from agentrm_models.trie.tree_attention import (
    IMPLEMENTATION,
    AttentionPass,
    UnsupportedAttentionError,
    attending_by,
    configs_of,
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
        self._configs = configs_of(parts.model)
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
        with running(counted), attending_by(self._configs, IMPLEMENTATION):
            result = self._backbone(
                input_ids=ids[None].to(self._device),
                position_ids=positions[None].to(self._device),
                use_cache=False,
            )
        if len(counted.layers) != self.count:
            raise UnsupportedAttentionError(f"{self.count - len(counted.layers)} of its layers attend in their own way")
        hidden: Tensor = result.last_hidden_state[0]
        return hidden


class _CountedPass:
    """A pass that notes which layers asked it."""

    def __init__(self, attention: AttentionPass) -> None:
        self._attention = attention
        self.layers: set[int] = set()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        self.layers.add(layer)
        return self._attention.attend(layer, query, key, value, scaling)
