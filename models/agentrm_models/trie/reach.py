"""How far attention reaches and what positions depend on: what a short random text does not show.

Windows and chunks are read off the masks that the layers ask the library for, at any distance and without computing
them. Other lengths that a configuration names (sparse attention, hashing, segments) are tried where a text of that
length costs little. Positions that change with the length of the text are known by the name of their scaling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from agentrm_models.trie.states import Architecture
from agentrm_models.trie.tree_attention import UnsupportedAttentionError, attending_by, check_plain, configs_of

if TYPE_CHECKING:
    from torch import Tensor

PROBE = "agentrm_mask_probe"
"""Under this name the library's own attention is run, with masks that are noted down."""

TRIED = 5e10
"""Weights times tokens that one text of a length named by the configuration may cost: seconds on a CPU."""

UNLIMITED = 1 << 20
"""Tokens to which masks are followed where a model names no limit."""

_LENGTH = re.compile(r"window|chunk|local|block|topk|segment|stride|sparse|span")
_OTHER_NUMBER = re.compile(
    r"^_|^num_|^n_|dim|head|layer|feed_forward|pattern|expert|group|step|block_size_|_type|vocab"
)
_WINDOWS = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
"""Kinds of layers that are plain ones in texts that are no longer than a window, and the key that names it."""


class NamedLength(NamedTuple):
    """A number of tokens in a configuration, under the key that names it."""

    name: str
    tokens: int


class LengthPositions(NamedTuple):
    """Rotary positions that depend on the length of the whole text.

    Attributes:
        kind: `dynamic` (other frequencies for every length beyond the original one) or `longrope` (other ones beyond
            it).
        original: The length up to which nothing changes.
    """

    kind: str
    original: int

    def turns_at(self, length: int) -> bool:
        """Whether states of a text that has now grown to `length` tokens must be computed anew."""
        return length == self.original + 1 or (self.kind == "dynamic" and length > self.original)


def length_positions(config: Any) -> LengthPositions | None:
    """What a text configuration says of positions that depend on the length; None where they do not.

    Models with several kinds of layers have rotary parameters for each.
    """
    limit = int(getattr(config, "max_position_embeddings", 0) or 0)
    for parameters in _rotary(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)):
        kind = parameters.get("rope_type", parameters.get("type", "default"))
        if kind in ("dynamic", "longrope"):
            original = parameters.get("original_max_position_embeddings") if kind == "longrope" else None
            original = original or getattr(config, "original_max_position_embeddings", None)
            return LengthPositions(kind, int((original if kind == "longrope" else None) or limit))
    return None


def _rotary(parameters: Any) -> Iterator[dict[str, Any]]:
    if isinstance(parameters, dict):
        yield parameters
        for inner in parameters.values():
            yield from _rotary(inner)


def check_reach(parts: Architecture) -> None:
    """Refuse what a trie of states cannot give: windows, attention of other kinds, positions by length.

    Raises:
        UnsupportedAttentionError: The configuration or a mask tells of one.
    """
    config = parts.model.config.get_text_config()
    limit = parts.context_length or UNLIMITED
    for kind in sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"}):
        if (getattr(config, _WINDOWS.get(kind, ""), None) or 0) < limit:
            raise UnsupportedAttentionError(f"it has {kind.replace('_', ' ')}")
    if positions := length_positions(config):
        raise UnsupportedAttentionError(f"its {positions.kind} positions depend on the length of the whole sequence")
    for named in named_lengths(parts):
        if not affordable(parts, named.tokens):
            raise UnsupportedAttentionError(f"its {named.name} of {named.tokens:,} tokens would take long to try")
    for mask in _masks(parts):
        _check_mask(mask, limit - 1)


def named_lengths(parts: Architecture) -> list[NamedLength]:
    """Lengths below the model's window that its configuration names, and that are not those of masks."""
    config = parts.model.config.get_text_config()
    limit = parts.context_length or UNLIMITED
    found = [
        NamedLength(name, value)
        for name, value in vars(config).items()
        if isinstance(value, int)
        and 1 < value < limit
        and _LENGTH.search(name)
        and not _OTHER_NUMBER.search(name)
        and name not in ("sliding_window", "attention_chunk_size", "max_window_layers")
    ]
    blocks, size = (getattr(config, name, None) for name in ("index_topk_blocks", "index_block_size"))
    if blocks and size and blocks * size < limit:
        found.append(NamedLength("index_topk_blocks", blocks * size))
    return found


def affordable(parts: Architecture, tokens: int) -> bool:
    """Whether a text of so many tokens takes seconds rather than minutes."""
    return tokens * weights(parts) <= TRIED


def weights(parts: Architecture) -> int:
    """Parameters of the model."""
    return sum(weight.numel() for weight in parts.model.parameters())


def _masks(parts: Architecture) -> list[Callable[..., Tensor]]:
    """The functions by which the masks that layers attend with are made; none where they make their masks themselves.

    Raises:
        UnsupportedAttentionError: A layer asks for more than plain attention.
    """
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    made: list[tuple[Tensor, Callable[..., Tensor]]] = []
    attended: set[int] = set()

    def note(
        batch_size: int, q_length: int, kv_length: int, mask_function: Callable[..., Tensor], **more: Any
    ) -> Tensor:
        seen = torch.ones(q_length, kv_length, dtype=torch.bool, device=parts.model.device).tril(kv_length - q_length)
        made.append((seen, mask_function))
        return seen.expand(batch_size, 1, q_length, kv_length)

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **more: Any) -> Any:
        check_plain(module, more)
        if attention_mask is not None:
            attended.add(attention_mask.untyped_storage().data_ptr())
        return sdpa_attention_forward(module, query, key, value, attention_mask, **more)

    AttentionInterface.register(PROBE, attend)
    AttentionMaskInterface.register(PROBE, note)
    ids = torch.tensor([[1, 2, 3]], device=parts.model.device)
    with torch.inference_mode(), attending_by(configs_of(parts.model), PROBE):
        parts.backbone(input_ids=ids, use_cache=False)
    used = [mask for seen, mask in made if seen.untyped_storage().data_ptr() in attended]
    return used or [mask for _, mask in made]


def _check_mask(mask: Callable[..., Tensor], last: int) -> None:
    """Refuse a mask that is not the plain causal one, at places near and far."""
    import torch

    near = [last >> shift for shift in range(last.bit_length() + 1)]
    queries = torch.tensor(
        sorted({place for each in near for place in (each, each + 1, each - 1) if 0 <= place <= last})
    )
    keys = torch.cat([queries, torch.linspace(0, last, 2048).long(), (last - torch.arange(min(last, 64)))])
    zero = torch.tensor(0)
    try:
        seen = mask(zero, zero, queries[:, None], keys[None, :]).expand(len(queries), len(keys))
    except Exception as error:  # masks that look a place up in the text itself know no place behind it
        raise UnsupportedAttentionError("its masks depend on the text") from error
    causal = keys[None, :] <= queries[:, None]
    if bool((seen & ~causal).any()):
        raise UnsupportedAttentionError("it reads what comes later")
    if not bool(seen[causal].all()):
        hidden = (causal & ~seen).nonzero()
        reach = min(int(queries[row] - keys[column]) for row, column in hidden.tolist())
        raise UnsupportedAttentionError(f"its attention does not reach back {reach:,} tokens")
