"""The checks on load: whatever computes a model's outputs must give the logits that the model gives itself.

A random tree (forks, a second call, branches of ragged length) is read by a backend, and each of its texts by the
model's own forward pass: alone, unpadded, without states of an earlier call.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from agentrm_models.errors import DataError
from agentrm_models.trie.reach import affordable, length_positions, named_lengths
from agentrm_models.trie.states import Architecture, ScoringBackend, Span
from agentrm_models.trie.tree_attention import UnsupportedAttentionError

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-3
"""Largest difference of outputs in float32, in units of how far they are spread."""
FINEST_COARSE, COARSEST = 1e-2, 5e-2
"""The root mean square of it in 16-bit types, whose own rounding lies between these."""
ROUNDINGS = 3
"""So many times the rounding that is measured may be a difference in 16-bit types."""

Pair = tuple["Tensor", "Tensor"]


class _Tree(NamedTuple):
    """Texts that share beginnings.

    Attributes:
        early: Read first.
        later: Read afterwards; some continue what was read.
        prompts: Two of these, from which branches grow.
        grown: For each branch the text that it becomes; two for each prompt.
    """

    early: list[list[int]]
    later: list[list[int]]
    prompts: list[list[int]]
    grown: list[list[int]]


class Trial:
    """What a model gives itself on a random tree, to compare backends with.

    Args:
        parts: The model, in evaluation mode.

    Attributes:
        has_own_head: Whether the outputs are what the head makes of the hidden states.

    Raises:
        DataError: The model gives nothing on plain text, no numbers, or is a language model that reads both ways.
    """

    def __init__(self, parts: Architecture) -> None:
        self._parts = parts
        self._known: dict[tuple[int, ...], Tensor] = {}
        self._tree = _random_tree(parts)
        self.generates = False
        self.generates = self.logits(self._tree.later[1]).ndim == 2
        if self.generates:
            self._check_direction()
            for text in sorted([*self._tree.grown, *self._tree.later], key=len, reverse=True):
                self.logits(text)
        self.has_own_head = parts.head is not None and self._head_is_own()

    def logits(self, text: Sequence[int]) -> Tensor:
        """The model's own logits of a text (tokens, vocabulary), or of a classifier (outputs,).

        Those of a text that goes on begin with those of the text, where the direction was checked.
        """
        key = tuple(text)
        if key not in self._known:
            whole = next((ids for ids in self._known if ids[: len(key)] == key), None)
            if whole is None or not self.generates or self._by_length():
                self._known[key] = own_logits(self._parts.model, text)
            else:
                self._known[key] = self._known[whole][: len(key)]
        return self._known[key]

    def difference(self, backend: ScoringBackend) -> float:
        """How far a backend is from the model's own logits, in units of their spread.

        Raises:
            UnsupportedAttentionError: The backend cannot run this model.
        """
        with layers_alone():
            pairs = self._pairs(backend)
        return _spread_difference(pairs, rms=not is_exact(self._parts))

    def tolerance(self) -> float:
        """What `difference` may be for this model's number type."""
        if is_exact(self._parts):
            return TOLERANCE
        return min(max(FINEST_COARSE, ROUNDINGS * self._rounding()), COARSEST)

    def _pairs(self, backend: ScoringBackend) -> list[Pair]:
        import torch

        tree, pairs = self._tree, list[Pair]()
        for batch in (tree.early, tree.later):
            pairs += zip(backend.outputs(batch), map(self._last, batch), strict=True)
        if self.generates and self._parts.vocabulary is not None:
            spans = [Span(5, len(text)) for text in tree.later]
            for text, logs in zip(tree.later, backend.logs(tree.later, spans), strict=True):
                pairs.append((torch.from_numpy(logs[:, 0]), self._log_probabilities(text, 5)))
        if self.generates:
            pairs += self._branches(backend)
        return pairs

    def _branches(self, backend: ScoringBackend) -> list[Pair]:
        """Branches that grow together; the second of them ends a token earlier than the others."""
        _, _, prompts, grown = self._tree
        decoding = backend.decode(prompts, [2, 2], [4, 4])
        pairs = list(zip(decoding.first, map(self._last, prompts), strict=True))
        for step, rows in enumerate(([0, 1, 2, 3], [0, 2, 3], [2, 3])):
            places = [len(prompts[row // 2]) + step for row in rows]
            found = decoding.step(rows, [grown[row][place] for row, place in zip(rows, places, strict=True)])
            pairs += [
                (output, self.logits(grown[row])[place]) for output, row, place in zip(found, rows, places, strict=True)
            ]
        decoding.close()
        return pairs

    def _last(self, text: Sequence[int]) -> Tensor:
        """The outputs after a text."""
        logits = self.logits(text)
        return logits[-1] if self.generates else logits

    def _log_probabilities(self, text: Sequence[int], start: int) -> Tensor:
        import torch

        logs = self.logits(text)[start - 1 : -1].float().log_softmax(-1)
        return logs.gather(1, torch.tensor(text[start:], device=logs.device)[:, None])[:, 0].cpu()

    def _check_direction(self) -> None:
        """Logits must not change when a text goes on."""
        longer = self._tree.later[1]
        shorter = longer[: len(longer) // 2 + 1]
        pairs = [(self.logits(longer)[len(shorter) - 1], own_logits(self._parts.model, shorter)[-1])]
        limit = TOLERANCE if is_exact(self._parts) else COARSEST
        if _spread_difference(pairs, rms=not is_exact(self._parts)) > limit and not self._by_length():
            raise DataError(
                f"{name_of(self._parts.model)} reads text in both directions, so it does not predict the next token",
                "A policy needs a causal model; encoders such as BERT have is_decoder in their config.json.",
            )

    def _by_length(self) -> bool:
        positions = length_positions(self._parts.model.config.get_text_config())
        return positions is not None and positions.original < max(map(len, self._tree.grown))

    def _head_is_own(self) -> bool:
        text = self._tree.early[1]
        try:
            found = head_pairs(self._parts, text, self.logits(text))
        except Exception as error:  # as above
            raise_if_memory(error)
            return False
        return _spread_difference([found], rms=not is_exact(self._parts)) <= self.tolerance()

    def _rounding(self) -> float:
        """How far the model's own outputs of texts in a padded batch are from those of each text alone."""
        import torch

        model, texts = self._parts.model, self._tree.early
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[text[-1]] * (longest - len(text))] for text in texts], device=model.device)
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts], device=model.device)
        if not self.generates:
            return 0.0
        try:
            with torch.inference_mode():
                found = model(input_ids=ids, attention_mask=mask).logits
        except Exception as error:  # as above
            raise_if_memory(error)
            return 0.0
        pairs = [(row[: len(text)], self.logits(text)) for row, text in zip(found, texts, strict=True)]
        return _spread_difference(pairs, rms=True)


def own_logits(model: Any, text: Sequence[int]) -> Tensor:
    """The logits that a model gives a text by itself, in its own way.

    A token before it lets rotary positions that grow with the longest text so far begin anew.

    Raises:
        DataError: The library cannot run the model on plain text, or it gives no numbers.
    """
    import torch

    with torch.inference_mode(), reading(model):
        forget_length(model)
        logits: Tensor = model(input_ids=torch.tensor([list(text)], device=model.device)).logits[0]
    if bool(torch.isnan(logits).any()):
        raise DataError(
            f"{name_of(model)} gives outputs that are no numbers: its weights are damaged, or too large for their type",
            "Download or export it again.",
        )
    return logits


@contextmanager
def layers_alone() -> Iterator[None]:
    """Say what fails where a model's layers are called apart from it: foreign ones may fail in any way.

    Raises:
        UnsupportedAttentionError: They cannot be called so.
    """
    try:
        yield
    except UnsupportedAttentionError:
        raise
    except Exception as error:
        raise_if_memory(error)
        kind = type(error).__name__
        raise UnsupportedAttentionError(f"its layers cannot be called apart from it ({kind})") from error


@contextmanager
def reading(model: Any) -> Iterator[None]:
    """Say in one line what a foreign model's own forward pass raises.

    Raises:
        DataError: The library cannot run the model on plain text.
    """
    try:
        yield
    except Exception as error:  # foreign models fail in any way
        raise_if_memory(error)
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(". ")
        raise DataError(
            f"{name_of(model)} gives no outputs for plain text: {line}", "Take a model that reads text alone."
        ) from error


def forget_length(model: Any) -> None:
    """Let `dynamic` rotary positions forget the longest text so far, as the library does at a short one."""
    import torch

    positions = length_positions(model.config.get_text_config())
    if positions is not None and positions.kind == "dynamic":
        model(input_ids=torch.tensor([[1]], device=model.device))


def head_pairs(parts: Architecture, text: Sequence[int], logits: Tensor, hidden: Tensor | None = None) -> Pair:
    """What the head makes of a text's hidden states, and the logits that the model gives itself.

    Args:
        hidden: These states (tokens, width), where they were computed otherwise.
    """
    import torch

    assert parts.head is not None
    with torch.inference_mode():
        if hidden is None:
            ids = torch.tensor([list(text)], device=parts.model.device)
            hidden = parts.backbone(input_ids=ids, use_cache=False).last_hidden_state[0]
        return parts.head(hidden if logits.ndim == 2 else hidden[-1]), logits


def is_exact(parts: Architecture) -> bool:
    """Whether the model computes in 32 or 64 bits."""
    import torch

    return parts.model.dtype in (torch.float32, torch.float64)


def name_of(model: Any) -> str:
    """What messages call a model."""
    return type(model).__name__


def random_text(parts: Architecture, draw: random.Random, length: int) -> list[int]:
    """Ids without padding, before which a classifier would look for the end."""
    config = parts.model.config.get_text_config()
    pad, count = getattr(config, "pad_token_id", None), int(getattr(config, "vocab_size", None) or _BYTES)
    return draw.choices([token for token in range(count) if token != pad], k=length)


_BYTES = 256
"""Ids of models without a vocabulary, which read characters."""


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative where something larger than 1 is expected."""
    left, right = found.double(), expected.double()
    return float((left - right).abs().max() / max(1.0, float(right.abs().max())))


def raise_if_memory(error: BaseException) -> None:
    """Raise an error again that says that memory ran out."""
    from agentrm_models.trie.memory import is_memory

    if is_memory(error):
        raise error


def _random_tree(parts: Architecture) -> _Tree:
    """Texts of up to 25 tokens, and two beyond the longest length that the configuration names and a text may cost."""
    draw = random.Random(7)

    def text(length: int) -> list[int]:
        return random_text(parts, draw, length)

    lengths = [named.tokens for named in named_lengths(parts) if affordable(parts, named.tokens)]
    reach = max([0, *lengths])
    stem = text(9)
    left, right = stem + text(7), stem + text(4)
    continued = [*right, *text(3)]
    later = [left, [*left, *text(5)], [*left[:12], *text(6)], continued, text(11)]
    if reach > 16:
        trunk = text(reach + 8)
        later += [trunk, [*trunk[: reach - 3], *text(9)]]
        prompts = [left, trunk]
    else:
        prompts = [left, continued]
    window = parts.context_length or 1 << 30
    later = [ids[:window] for ids in later]
    prompts = [ids[: window - 4] for ids in prompts]
    grown = [prompt + text(3) for prompt in prompts for _ in range(2)]
    return _Tree([left[:window], right[:window]], later, prompts, grown)


def _spread_difference(pairs: Sequence[Pair], rms: bool) -> float:
    """The difference of pairs in units of how far the expected outputs lie apart; places masked in both do not count.

    Outputs that hardly differ from each other are measured by their size, since their own rounding depends on that.
    """
    import torch

    found = torch.cat([pair[0].double().flatten().cpu() for pair in pairs])
    expected = torch.cat([pair[1].double().flatten().cpu() for pair in pairs])
    counted = ~((found == expected) & (expected.abs() > _MASKED))
    found, expected = found[counted], expected[counted]
    spread = float(expected.std(correction=0))
    unit = max(spread, 1e-2 * float(expected.abs().max()), 1e-9)
    apart = (found - expected).abs()
    return float(apart.square().mean().sqrt() if rms else apart.max()) / unit


_MASKED = 1e30
"""Logits of at least this size mean that a token is never given."""
