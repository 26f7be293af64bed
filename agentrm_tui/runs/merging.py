"""Siblings with equal actions (or equal turns, where a reply is one) are one node that stands for several samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from agentrm_models.policies.base import Candidate
from agentrm_models.replies import parse_reply
from agentrm_tui.runs.events import ProposedNode
from agentrm_tui.runs.texts import kept_reasoning, kept_reply, printable
from agentrm_tui.search.tree import NodeId, Source


def merge_candidates(
    parent: NodeId,
    candidates: Sequence[Candidate],
    times: int,
    known: Mapping[str, NodeId],
    ordinal: int,
    by_hand: bool = False,
    *,
    whole_turns: bool = False,
) -> list[ProposedNode]:
    """Merge candidates by parsed action; the first reply and its log-probability are kept.

    Args:
        times: Samples that each candidate stands for.
        known: Existing children by action; sampled again, they get more samples.
        ordinal: Of the next new child.
        by_hand: A person proposed them.
        whole_turns: No action is looked for: a reply is kept whole and equal replies are merged.
    """
    merged: dict[str, ProposedNode] = {}
    for candidate in candidates:
        reply = printable(candidate.text) if whole_turns else kept_reply(candidate.text)
        action = reply if whole_turns else parse_reply(reply).action
        seen = merged.get(action)
        if seen is not None:
            merged[action] = msgspec.structs.replace(seen, samples=seen.samples + times)
        elif action in known:
            merged[action] = ProposedNode(known[action], parent, samples=times)
        else:
            known_likelihood = math.isfinite(candidate.log_probability)
            log_probability = round(candidate.log_probability, 6) if known_likelihood else None
            source: Source = "human" if by_hand else candidate.source
            merged[action] = ProposedNode(
                f"{parent}.{ordinal}",
                parent,
                reply,
                log_probability,
                candidate.tokens,
                times,
                source,
                kept_reasoning(candidate.reasoning),
                candidate.reasoning_tokens,
                candidate.cut,
            )
            ordinal += 1
    return list(merged.values())
