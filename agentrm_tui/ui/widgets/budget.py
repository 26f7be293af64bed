"""The budget: what is in flight and for how long, and what the run has cost so far."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content

from agentrm_models.terminal_text import one_line
from agentrm_tui.runs.events import Ledger
from agentrm_tui.terminal_text import bar, clip, count, duration, number
from agentrm_tui.ui.event_words import event_words
from agentrm_tui.ui.feed import Snapshot
from agentrm_tui.ui.session import Session
from agentrm_tui.ui.widgets.bars import Bar

PHASES: dict[str, tuple[str, str, str]] = {
    "starting": ("◌", "starting", "$warning"),
    "loading": ("◌", "loading", "$warning"),
    "running": ("▶", "running", "$success"),
    "paused": ("‖", "paused", "$warning"),
    "waiting": ("✎", "your turn", "$accent"),
    "finished": ("■", "finished", "$primary"),
    "ended": ("■", "episode ended", "$success"),
    "failed": ("✗", "engine stopped", "$error"),
    "playing": ("▶", "playing", "$success"),
    "replay": ("‖", "replay", "$primary"),
}


REQUESTS = {"prune": "cut", "backpropagate": "back up"}
"""Requests that people call otherwise."""


class Activity(NamedTuple):
    """What the first line says."""

    phase: str
    what: str
    done: int = 0
    total: int = 0
    seconds: float | None = None


class Budget(Bar):
    """Two lines: activity, and the ledger."""

    def show(self, activity: Activity, ledger: Ledger, elapsed: float, notice: str) -> None:
        """Draw both lines for the present width."""
        width = max(10, self.size.width)
        self.put(Content("\n").join([_activity_line(activity, notice, width), _ledger_line(ledger, elapsed, width)]))


def activity(session: Session, snapshot: Snapshot, driven: str = "") -> Activity:
    """Say what is going on: from the engine's status, or from the file where there is none.

    Args:
        driven: The episode that this is about, where another one is shown.
    """
    found = _activity(session, snapshot)
    return found._replace(what=f"{driven} · {found.what}") if driven else found


def _activity(session: Session, snapshot: Snapshot) -> Activity:
    phase: str = session.phase(snapshot.status)
    status = snapshot.status
    if session.replay:
        phase = "playing" if session.feed.playing else "replay"
        event = session.feed.last_event
        episode = snapshot.state.episodes.get(event.episode) if event is not None else None
        return Activity(phase, event_words(event, episode) if event is not None else "the start of the recording")
    if phase == "finished":
        finished = snapshot.state.finished
        if finished is None:
            return Activity(phase, "")
        mean = "" if finished.score_mean is None else f"mean score {number(finished.score_mean)}"
        return Activity(phase, " · ".join(filter(None, (mean, finished.share))))
    if phase == "ended":
        if snapshot.state.waiting():
            return Activity("ended", "space goes on with the one that waits · b goes back · e plays another move")
        return Activity("ended", "b goes back · e plays another move · space ends the run")
    if phase == "failed":
        return Activity(phase, "r starts it again · " + one_line(session.link.exit_notice() if session.link else ""))
    if status is None:
        return Activity(phase, "the engine" if phase == "starting" else "")
    if phase == "waiting":
        return Activity(phase, "e types or picks your move", seconds=snapshot.now - status.since)
    nodes = f" · {len(status.nodes)} nodes" if len(status.nodes) > 1 else ""
    what = one_line(status.what or status.request) or ""
    upcoming = (
        f"next: {REQUESTS.get(status.request, status.request)}{nodes}" if phase == "paused" and status.request else what
    )
    seconds = snapshot.now - status.since if status.since else None
    return Activity(phase, upcoming if phase == "paused" else what + nodes, status.done, status.total, seconds)


def _activity_line(activity: Activity, notice: str, width: int) -> Content:
    glyph, name, style = PHASES[activity.phase]
    line = Content.styled(f"{glyph} {name}", f"bold {style}")
    if activity.what:
        line += f"  {clip(activity.what, width - line.cell_length - 2)}"
    if activity.total and width - line.cell_length > 24:
        drawn = bar(activity.done / activity.total, 10)
        line += Content.assemble("  ", (drawn, "$accent on $foreground 12%"), f" {activity.done}/{activity.total}")
    if activity.seconds is not None and width - line.cell_length > 12:
        line += Content.styled(f" · {duration(activity.seconds)}", "$foreground 62%")
    room = width - line.cell_length - 3
    if notice and room >= 12:
        line += Content.styled(f"   {clip(notice, room)}", "$warning")
    return line


def _ledger_line(ledger: Ledger, elapsed: float, width: int) -> Content:
    """As many facts as fit, the most important first."""
    policy = _tokens("policy", ledger.policy_tokens_computed, ledger.policy_tokens_unique)
    reward = _tokens("reward", ledger.reward_tokens_computed, ledger.reward_tokens_unique)
    computed = ledger.policy_tokens_computed + ledger.reward_tokens_computed
    facts = [duration(elapsed), policy, reward]
    if computed and ledger.seconds > 0:
        facts.append(f"{count(computed / ledger.seconds)} tok/s")
    facts += [_counted(ledger.env_steps, "env step"), _counted(ledger.requests, "request")]
    if ledger.policy_tokens_generated:
        facts.append(f"{count(ledger.policy_tokens_generated)} tok sampled")
    if ledger.duplicates:
        facts.append(f"{_counted(ledger.duplicates, 'equal sample')} merged")
    if ledger.dropped_observations:
        facts.insert(3, f"{count(ledger.dropped_observations)} observations dropped")
    if cut := ledger.cut_reasoning + ledger.cut_replies:
        inside = " in their reasoning" if ledger.cut_reasoning else ""
        facts.insert(1, f"{count(cut)} replies cut off{inside}")
    line = facts[0]
    for fact in filter(None, facts[1:]):
        if len(line) + 3 + len(fact) <= width:
            line += f" · {fact}"
    return Content.styled(line, "$foreground 62%")


def _tokens(name: str, computed: int, unique: int) -> str:
    """Tokens computed, and how many times each unique token was: 1.00× is perfect reuse. Nothing without a model."""
    if not computed:
        return ""
    times = f" ({computed / unique:.2f}×)" if unique else ""
    return f"{name} {count(computed)} tok{times}"


def _counted(amount: int, what: str) -> str:
    return f"{count(amount)} {what}" + ("s" if amount != 1 else "")
