"""Reasoning and replies that a limit cut off: kept in the run file, counted, and never given to a model again."""

from __future__ import annotations

from pathlib import Path

from fake_world import FakeEnvironment, FakePolicy, FakeReward, fake_plan

from agentrm_models.policies.base import Candidate, ProposeRequest
from agentrm_tui.headless.display import PlainDisplay
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


def test_plain_output_says_what_was_cut_off_by_which_limit_and_what_would_do() -> None:
    lines: list[str] = []
    shown = PlainDisplay(lines.append)
    plan = fake_plan("beam", beam=(1, 4), max_steps=1, reasoning_tokens=30, max_tokens=20)
    run_plan(plan, policy=Reasoner(), reward=FakeReward(), emit=shown.show, environments=lambda _: FakeEnvironment())
    text = "\n".join(lines)
    assert "propose 'a' (reasoned 6 tokens), (no action, cut off in its reply: 'Thought: it') ×3" in text
    assert "2 of 4 replies were cut off inside their reasoning by --reasoning-tokens 30 and --max-tokens 20" in text
    assert "1 of 4 replies were cut off before they were complete by --max-tokens 20" in text
    assert lines[-2].endswith("Give a larger --reasoning-tokens, or a larger --max-tokens.")
    assert lines[-1].startswith("1 reply was cut off") and lines[-1].endswith("Give a larger --max-tokens.")


def test_a_run_without_cut_replies_says_nothing_of_them() -> None:
    lines: list[str] = []
    shown = PlainDisplay(lines.append)
    run_plan(
        fake_plan("greedy"),
        policy=FakePolicy(),
        reward=FakeReward(),
        emit=shown.show,
        environments=lambda _: FakeEnvironment(),
    )
    assert lines and not any("cut off" in line or "reasoned" in line for line in lines)


def test_the_transcript_folds_reasoning() -> None:
    from agentrm_tui.ui.views import view_episode
    from agentrm_tui.ui.widgets.transcript import Transcript

    state = run_plan(
        fake_plan("beam", beam=(1, 1), max_steps=1),
        policy=Reasoner(),
        reward=FakeReward(),
        emit=lambda event: None,
        environments=lambda _: FakeEnvironment(),
    )
    pane = Transcript()
    pane.view = view_episode(state.episodes["0"], None)
    folded = ["".join(text for text, _ in line) for line in pane.draw(80, 40)]
    assert any(line.startswith("▸ reasoned 6 tokens") for line in folded)
    assert not any("explode" in line for line in folded)
    pane.fold()
    unfolded = ["".join(text for text, _ in line) for line in pane.draw(80, 40)]
    assert any("Action: explode" in line for line in unfolded) and not any("\x1b" in line for line in unfolded)
