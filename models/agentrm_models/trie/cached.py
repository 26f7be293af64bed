"""The prefix cache: each unique token goes through the layers once, whoever asks for it and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from agentrm_models.trie.branches import BranchBatch, BranchRow, Fed
from agentrm_models.trie.kv_pool import CacheFullError, KVPool, places
from agentrm_models.trie.layers import Layers
from agentrm_models.trie.likelihood import Reading, compute_again, logs_of, read, unread
from agentrm_models.trie.passes import forward_passes
from agentrm_models.trie.states import Architecture, Rows, Span, TokenLogs
from agentrm_models.trie.token_trie import Slots, TokenTrie, TrieNode
from agentrm_models.trie.tree_attention import ExtendPass

if TYPE_CHECKING:
    from torch import Tensor

RAGGED = 1.25
"""Prompts share a batch of branches while the longest is at most this many times the shortest."""

EVICTED_AT_ONCE = 16
"""One of so many cached tokens goes when there is no room."""


class CachedBackend:
    """Outputs for token sequences, with the states of everything read before kept in a trie.

    Args:
        parts: The model.
        layers: How rows go through its layers.
        limit_bytes: Size of the cache; 0 takes a share of the free memory and keeps what was used last (see `KVPool`).
            A single sequence that needs more gets it.
    """

    def __init__(self, parts: Architecture, layers: Layers, limit_bytes: int) -> None:
        self._head: Any = parts.head
        self._vocabulary = parts.vocabulary
        self._layers = layers
        self._model = parts.model
        self._device = parts.model.device
        self._pool = KVPool(layers.count, limit_bytes, self._device)
        self._trie = TokenTrie(self._take, self._pool.give_back)
        self._beyond_limit = False
        self.computed = 0

    def outputs(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Outputs after the last token of each sequence; common beginnings are computed once.

        Raises:
            CacheFullError: Several sequences need more than the limit allows; fewer at a time will do.
        """
        with self._hold(sequences) as nodes:
            return self.head_of(nodes)

    def logs(self, sequences: Sequence[Sequence[int]], spans: Sequence[Span]) -> list[TokenLogs]:
        """How likely the tokens of one span of each sequence are; outputs at their ends are there afterwards.

        Raises:
            CacheFullError: As above.
        """
        with self._hold(sequences, spans) as nodes:
            return [logs_of(node, span) for node, span in zip(nodes, spans, strict=True)]

    def decode(self, prompts: Sequence[Sequence[int]], counts: Rows, limits: Rows) -> CachedDecoding:
        """Start branches after prompts that are computed here as far as they are new."""
        holding = self._hold(prompts)
        return CachedDecoding(self, holding, holding.__enter__(), counts, limits)

    def head_of(self, nodes: list[TrieNode]) -> Tensor:
        """Outputs at the ends of nodes."""
        import torch

        hidden = [node.hidden for node in nodes if node.hidden is not None]
        assert len(hidden) == len(nodes)
        with torch.inference_mode():
            found: Tensor = self._head(torch.stack(hidden))
        return found

    def branch_batch(self, rows: list[BranchRow]) -> BranchBatch:
        """A batch of branches over this cache."""
        return BranchBatch(self._pool, self._layers.count, rows, self._device)

    def step(self, ids: list[int], positions: list[int], attention: BranchPass) -> Tensor:
        """Outputs after one more token of each branch."""
        import torch

        hidden = self._layers.forward(ids, positions, attention)
        self.computed += len(ids)
        with torch.inference_mode():
            found: Tensor = self._head(hidden)
        return found

    def keep(self, batch: BranchBatch, rows: list[int]) -> None:
        """Put the tokens fed to all branches of these rows into the trie, until the cache is full."""
        import numpy as np
        import torch

        ends: list[TrieNode] = []
        columns_fed: list[int] = []
        slots: list[Slots] = []
        try:
            for row in rows:
                home = batch.rows[row]
                for tokens, columns in zip(home.tokens, home.columns, strict=True):
                    end, made = self._trie.insert(tokens, home.prompt)
                    ends.append(end)
                    slots += [node.slots for node in made]
                    new = sum(len(node.ids) for node in made)
                    columns_fed += [batch.place_of(row, column) for column in columns[len(columns) - new :]]
        except CacheFullError:
            pass
        if columns_fed:
            to = places(np.concatenate(slots), self._device)
            source = torch.tensor(columns_fed, device=self._device)
            with torch.inference_mode():
                for layer in range(self._layers.count):
                    self._pool.write(layer, to, batch.fed_states(layer, source))
        for end in ends:
            for node in end.path():
                node.state = "ready"

    def clear(self) -> None:
        """Forget everything; used after the check on load."""
        self._trie.evict(self._pool.used)
        self._pool.buffers.clear()
        self.computed = 0

    def tokens_cached(self) -> int:
        """Tokens whose states are held now."""
        return self._pool.used

    @contextmanager
    def _hold(self, sequences: Sequence[Sequence[int]], spans: Sequence[Span] = ()) -> Iterator[list[TrieNode]]:
        """Compute sequences as far as they are new; their states stay for the length of the block.

        Args:
            spans: None, or for each sequence the tokens of which it is wanted how likely they are.
        """
        nodes: list[TrieNode] = []
        self._beyond_limit = len(sequences) == 1
        try:
            for sequence in sequences:
                node, _ = self._trie.insert(sequence)
                node.pins += 1
                nodes.append(node)
            asked = list(zip(nodes, spans, strict=True)) if spans else []
            for node, span in asked:
                compute_again(self._trie, node, span)
            self._compute(nodes, asked)
            self._beyond_limit = False
            yield nodes
        except BaseException:
            self._trie.drop_unfinished()
            raise
        finally:
            self._beyond_limit = False
            for node in nodes:
                node.pins -= 1

    def _take(self, count: int) -> Slots:
        missing = count - self._pool.room_to_keep
        if missing > 0:
            # To find what was used least recently the whole trie is looked through: so a good part goes at once.
            gone = self._trie.evict(max(missing, self._pool.used // EVICTED_AT_ONCE))
            if gone < missing:
                if count > self._pool.room and not self._beyond_limit:
                    raise CacheFullError
                self._pool.keep_more(self._pool.used + count)
        return self._pool.take(count)

    def _compute(self, nodes: list[TrieNode], asked: list[tuple[TrieNode, Span]]) -> None:
        """Compute what is unfinished on the way to these nodes, and the last hidden state of each."""
        for node in nodes:
            if node.hidden is None and node.state == "ready":
                if len(node.ids) > 1:
                    self._trie.split(node, len(node.ids) - 1)
                node.state = "again"
        found = {id(step): step for node in nodes for step in node.path() if step.state != "ready"}
        wanted = {id(node) for node in nodes}
        readings = [*{reading[:2]: reading for node, span in asked for reading in unread(node, span)}.values()]
        for groups in forward_passes(list(found.values())):
            order = [node for group in groups for node in group.nodes]
            ids = [token for node in order for token in node.ids]
            positions = [position for node in order for position in range(node.start, node.end)]
            hidden = self._layers.forward(ids, positions, ExtendPass(self._pool, groups, self._model))
            self.computed += len(ids)
            self._finish(order, hidden, wanted)
            self._read(order, hidden, readings)

    def _finish(self, order: list[TrieNode], hidden: Tensor, wanted: set[int]) -> None:
        import torch

        row, rows, ends = 0, [], []
        for node in order:
            row += len(node.ids)
            node.state = "ready"
            if id(node) in wanted:
                rows.append(row - 1)
                ends.append(node)
        if rows:
            kept = hidden.index_select(0, torch.tensor(rows, device=hidden.device))
            for node, state in zip(ends, kept.unbind(0), strict=True):
                node.hidden = state

    def _read(self, order: list[TrieNode], hidden: Tensor, readings: list[Reading]) -> None:
        if readings:
            assert self._vocabulary is not None
            read(order, hidden, readings, self._vocabulary)


class _Writing(NamedTuple):
    """What one place of a row is fed in a step, and for whom.

    Attributes:
        source: The place from which this one forks first; itself where it goes on.
        wanted: Where the outputs belong in the step's result.
    """

    place: int
    source: int
    token: int
    wanted: list[int]


class CachedDecoding:
    """Branches after prompts held by the trie; what they were fed goes into the trie when they end.

    Branches of a prompt that agree so far are written once, in one place of its row, and fork where they differ.

    Args:
        holding: The open block that keeps the prompts' states.
        prompts: The nodes at which the prompts end.
        counts, limits: Branches of each prompt, and the tokens of each of them at most.
    """

    def __init__(
        self,
        backend: CachedBackend,
        holding: AbstractContextManager[Any],
        prompts: list[TrieNode],
        counts: Rows,
        limits: Rows,
    ) -> None:
        self._backend = backend
        self._holding = holding
        self._whole = True
        rows = [BranchRow(*given) for given in zip(prompts, counts, limits, strict=True)]
        self._home = [(row, branch) for row, count in zip(rows, counts, strict=True) for branch in range(count)]
        self._place = [0] * len(self._home)
        self._batches = [backend.branch_batch(batch) for batch in _alike(rows)]
        self.first = backend.head_of(prompts)

    def step(self, rows: Rows, tokens: Rows) -> Tensor:
        """Feed one token to each of the branches."""
        import torch

        self._whole = False
        writings = self._writings(rows, tokens)
        self._leave_out_ended(writings)
        result_of = [0] * len(rows)
        ids: list[int] = []
        positions: list[int] = []
        parts: list[tuple[slice, BranchBatch]] = []
        for batch in self._batches:
            first = len(ids)
            fed: list[Fed] = []
            for number, row in enumerate(batch.rows):
                for place, source, token, wanted in writings.get(id(row), ()):
                    if source != place:
                        batch.fork(number, source, place)
                    for index in wanted:
                        result_of[index] = len(ids)
                    ids.append(token)
                    fed.append(Fed(number, place, token))
            positions += batch.feed(fed)
            parts.append((slice(first, len(ids)), batch))
        outputs = self._backend.step(ids, positions, BranchPass(parts))
        self._whole = True
        if result_of == list(range(len(ids))):
            return outputs
        return outputs.index_select(0, torch.tensor(result_of, device=outputs.device))

    def close(self) -> None:
        """Keep what was fed, as far as the cache has room, and let the prompts go."""
        try:
            if self._whole:
                for batch in self._batches:
                    self._backend.keep(batch, list(range(len(batch.rows))))
        finally:
            for batch in self._batches:
                batch.release()
            self._batches = []
            self._holding.__exit__(None, None, None)

    def _writings(self, rows: Rows, tokens: Rows) -> dict[int, list[_Writing]]:
        """What each row is fed: branches at one place that get the same token stay together.

        A place is named after the branch that keeps it, so a branch that leaves another's place finds its own free.
        """
        together: dict[tuple[int, int], dict[int, list[int]]] = {}
        for index, (branch, token) in enumerate(zip(rows, tokens, strict=True)):
            groups = together.setdefault((id(self._home[branch][0]), self._place[branch]), {})
            groups.setdefault(token, []).append(index)
        found: dict[int, list[_Writing]] = {}
        for (row, place), groups in together.items():
            numbers = {token: [self._home[rows[index]][1] for index in group] for token, group in groups.items()}
            staying = next((token for token, here in numbers.items() if place in here), next(iter(groups)))
            for token, group in groups.items():
                to = place if token == staying else min(numbers[token])
                for index in group:
                    self._place[rows[index]] = to
                found.setdefault(row, []).append(_Writing(to, place, token, group))
        for writings in found.values():
            writings.sort(key=lambda writing: writing.place)
        return found

    def _leave_out_ended(self, writings: dict[int, list[_Writing]]) -> None:
        """Drop rows all of whose branches have ended, once they are half of their batch."""
        batches = []
        for batch in self._batches:
            live = [k for k, row in enumerate(batch.rows) if id(row) in writings]
            if 2 * len(live) <= len(batch.rows):
                self._backend.keep(batch, [k for k, row in enumerate(batch.rows) if id(row) not in writings])
                if not live:
                    batch.release()
                    continue
                batch.keep(live)
            batches.append(batch)
        self._batches = batches


class BranchPass:
    """One token for each live branch; each batch attends by itself."""

    def __init__(self, parts: list[tuple[slice, BranchBatch]]) -> None:
        self._parts = parts

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """See `AttentionPass`."""
        import torch

        found = [batch.attend(layer, query[rows], key[rows], value[rows], scaling) for rows, batch in self._parts]
        return found[0] if len(found) == 1 else torch.cat(found)


def _alike(rows: list[BranchRow]) -> list[list[BranchRow]]:
    """Rows of similar length and width together, in an order that depends on the lengths only."""
    batches: list[list[BranchRow]] = []
    for row in sorted(rows, key=lambda row: (len(row.tokens), row.prompt.end)):
        first = batches[-1][0] if batches else None
        if first and row.prompt.end <= RAGGED * first.prompt.end + 32 and len(row.tokens) == len(first.tokens):
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
