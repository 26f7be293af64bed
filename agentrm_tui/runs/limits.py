"""Replies that a limit cut off, in words: which limit, how many, and what would do. Said the same everywhere."""

from __future__ import annotations

from agentrm_tui.runs.events import Ledger, Proposed
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.tree import Cut, Node

PLACES: dict[Cut, str] = {"reply": "in its reply", "reasoning": "inside its reasoning"}
_PLURAL: dict[Cut, str] = {"reply": "before they were complete", "reasoning": "inside their reasoning"}


def cut_notices(event: Proposed, plan: RunPlan) -> list[str]:
    """What to say of the samples of one proposal that a limit ended; a line for each place."""
    return _counted(event.cut_reasoning, event.cut_replies, sum(node.samples for node in event.nodes), plan)


def cut_summary(ledger: Ledger, plan: RunPlan) -> list[str]:
    """What to say at the end of a run of which some replies were cut off, remedies included."""
    lines = _counted(ledger.cut_reasoning, ledger.cut_replies, 0, plan)
    remedies = (ledger.cut_reasoning, reasoning_remedy(plan)), (ledger.cut_replies, "Give a larger --max-tokens.")
    return [
        f"{line}. {remedy}" for line, remedy in zip(lines, [words for count, words in remedies if count], strict=True)
    ]


def reasoning_remedy(plan: RunPlan) -> str:
    """What would let a policy come to the end of its reasoning."""
    more = "a larger" if plan.reasoning_tokens else "reasoning a budget of its own with"
    return f"Give {more} --reasoning-tokens, or a larger --max-tokens."


def limit_words(plan: RunPlan, place: Cut) -> str:
    """The limits within which a reply, or its reasoning, had to end."""
    budget = (
        f"--reasoning-tokens {plan.reasoning_tokens} and " if place == "reasoning" and plan.reasoning_tokens else ""
    )
    return f"{budget}--max-tokens {plan.max_tokens}"


def reasoning_words(node: Node) -> str:
    """How much a policy reasoned before a reply; empty where it did not."""
    if node.reasoning_tokens:
        return f"reasoned {node.reasoning_tokens:,} tokens"
    return f"reasoned {len(node.reasoning):,} characters" if node.reasoning else ""


def missing_words(cut: Cut, reasoned: bool) -> str:
    """What to show in the place of an action that a reply has not."""
    if cut:
        return f"no action, cut off {PLACES[cut]}"
    return "no action behind its reasoning" if reasoned else "no action"


def _counted(reasoning: int, replies: int, total: int, plan: RunPlan) -> list[str]:
    places: list[tuple[Cut, int]] = [("reasoning", reasoning), ("reply", replies)]
    of = f" of {total:,}" if total else ""
    return [
        f"{count:,}{of} {'reply was' if count == 1 and not of else 'replies were'} cut off {_PLURAL[place]}"
        f" by {limit_words(plan, place)}"
        for place, count in places
        if count
    ]
