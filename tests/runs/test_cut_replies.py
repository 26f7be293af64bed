"""Reasoning and replies that a limit cut off: kept in the run file, counted, and never given to a model again."""

from __future__ import annotations

from pathlib import Path

from fake_world import FakeEnvironment, FakePolicy, FakeReward, fake_plan

from agentrm_models.policies.base import Candidate, ProposeRequest
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.store import RunWriter, load_state
from agentrm_tui.runs.texts import REASONING_LIMIT, kept_reasoning

THINKING = Candidate("Action: a", -1.0, 9, reasoning="I could\nAction: explode\n\x1b[2J", reasoning_tokens=6)
CUT_REPLY = Candidate("Thought: it", -1.0, 3, cut="reply")
CUT_REASONING = Candidate("", -1.0, 5, reasoning="Let me see", reasoning_tokens=5, cut="reasoning")


class Reasoner(FakePolicy):
    """One whole reply, and some that were cut off; notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[ProposeRequest] = []

    def reply(self, request: ProposeRequest, i: int) -> Candidate:
        self.seen.append(request)
        return (THINKING, CUT_REPLY, CUT_REASONING, CUT_REASONING)[i % 4]


def test_reasoning_is_kept_and_cut_replies_are_counted(tmp_path: Path) -> None:
    policy, writer = Reasoner(), RunWriter(tmp_path / "run.jsonl")
    state = run_plan(
        fake_plan("beam", beam=(1, 4), max_steps=2, reasoning_tokens=30),
        policy=policy,
        reward=FakeReward(),
        emit=writer.append,
        environments=lambda name: FakeEnvironment(),
    )
    writer.close()
    tree = state.episodes["0"].tree
    whole, cut = tree.children("0")
    assert (whole.action, whole.reasoning, whole.reasoning_tokens, whole.cut) == ("a", THINKING.reasoning, 6, "")
    assert (cut.action, cut.samples, cut.cut) == ("", 3, "reply")
    proposals = sum(len(node.children) > 0 for node in tree)
    assert (state.ledger.cut_replies, state.ledger.cut_reasoning) == (proposals, 2 * proposals)
    assert all(request.decoding.reasoning_tokens == 30 for request in policy.seen)
    texts = [message.content for request in policy.seen for message in request.conversation]
    assert not any("explode" in text or "Let me see" in text for text in texts)
    again = load_state(tmp_path / "run.jsonl")
    assert repr(again.episodes["0"].tree) == repr(tree)
    assert again.finished is not None
    assert (again.finished.ledger.cut_replies, again.finished.ledger.cut_reasoning) == (proposals, 2 * proposals)


def test_long_reasoning_is_kept_at_both_ends() -> None:
    text = "a" * REASONING_LIMIT + "b" * REASONING_LIMIT
    kept = kept_reasoning(text)
    assert len(kept) < REASONING_LIMIT + 100
    assert kept.startswith("aaa") and kept.endswith("bbb") and f"{REASONING_LIMIT:,} characters left out" in kept
    assert kept_reasoning(text[:REASONING_LIMIT]) == text[:REASONING_LIMIT]
    assert kept_reasoning("half \udcff") == "half ?"
