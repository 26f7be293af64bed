"""Events on stdout: as readable lines, as JSON, or as a progress bar with the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

import msgspec

from agentrm_models.terminal_text import json_line, one_line
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.limits import cut_notices, cut_summary, missing_words, reasoning_words
from agentrm_tui.runs.state import EpisodeState, RunState, apply
from agentrm_tui.search.tree import Node, NodeId
from agentrm_tui.standard_streams import drawing_stream
from agentrm_tui.terminal_text import signed

DisplayName: TypeAlias = Literal["auto", "plain", "json", "none"]
Write: TypeAlias = Callable[[str], None]
"""Writes one line."""

_SHOWN = 8
_TREES_KEPT = 64
"""Ended episodes that a display can still name actions of."""
_WIDTH = 100
_NAME = 200
"""Characters of a name at most."""


class Display(Protocol):
    """Shows events as they come."""

    def show(self, event: ev.AnyEvent) -> None:
        """Show one event, in the order of the run."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class NoDisplay:
    """Shows nothing: the run file says it all."""

    def show(self, event: ev.AnyEvent) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class JsonDisplay:
    """Data only: one event a line, whole texts; numbers that JSON cannot write are null."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def show(self, event: ev.AnyEvent) -> None:
        """Write the event."""
        self._write(json_line(msgspec.json.encode(event).decode()))

    def close(self) -> None:
        """Nothing."""


class PlainDisplay:
    """Readable lines. With a state of its own the lines can name actions instead of node numbers."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._state = RunState(trees_kept=_TREES_KEPT)

    def show(self, event: ev.AnyEvent) -> None:
        """Write what the event means, in one or a few lines."""
        apply(self._state, event)
        for line in _lines(event, self._state):
            self._write(line)

    def close(self) -> None:
        """Nothing."""


class ProgressDisplay:
    """A bar on the terminal while the run goes on, notices above it; then how each episode ended, and the result."""

    def __init__(self, write: Write) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._write = write
        self._state = RunState(trees_kept=0)
        self._ends: list[str] = []
        self._result: list[str] = []
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
            console=Console(file=drawing_stream()),
            transient=True,
        )
        self._task = self._bar.add_task("episodes", total=None, now="")

    def show(self, event: ev.AnyEvent) -> None:
        """Move the bar; the run's first line and notices come above it, all others are kept until it is gone."""
        apply(self._state, event)
        match event:
            case ev.RunStarted():
                for line in run_lines(event):
                    self._write(line)
                self._bar.start()
            case ev.Noticed():
                self._write(*run_lines(event))
            case ev.ModelLoading() if event.notice or _head(event):
                for line in run_lines(event):
                    self._write(line)
            case ev.RunFinished():
                self._result = _lines(event, self._state)
            case ev.Fault() | ev.EpisodeFinished():
                self._ends += _lines(event, self._state)
            case _:
                pass
        done = sum(episode.status != "running" for episode in self._state.episodes.values())
        total = len(self._state.run.plan.tasks) if self._state.run else None
        tokens = self._state.ledger.policy_tokens_generated
        self._bar.update(self._task, completed=done, total=total, now=f"{tokens:,} tokens sampled")

    def close(self) -> None:
        """Take the bar away and say how it ended."""
        self._bar.stop()
        for line in (*self._ends, *self._result):
            self._write(line)


def make_display(name: DisplayName, write: Write, terminal: bool) -> Display:
    """The display of a name; `auto` is a progress bar on a terminal and readable lines elsewhere."""
    match name:
        case "json":
            return JsonDisplay(write)
        case "none":
            return NoDisplay()
        case "auto" if terminal:
            return ProgressDisplay(write)
        case _:
            return PlainDisplay(write)


def _lines(event: ev.AnyEvent, state: RunState) -> list[str]:
    episode = state.episodes.get(event.episode)
    if isinstance(event, ev.RunFinished):
        loud = (line for notice in state.noticed if notice.loud for line in run_lines(notice))
        return [*run_lines(event), *loud, *(cut_summary(event.ledger, state.run.plan) if state.run else ())]
    if episode is None:
        return run_lines(event)
    cuts = cut_notices(event, state.run.plan) if isinstance(event, ev.Proposed) and state.run else []
    return [*episode_lines(event, episode), *(f"[{one_line(event.episode, _NAME)}] {cut}" for cut in cuts)]


def _head(event: ev.ModelLoading) -> str:
    """Which number is the reward, where a model has more than one."""
    return f"reward: {event.head}" if event.head not in ("", "the only output") else ""


def run_lines(event: ev.AnyEvent) -> list[str]:
    """What an event of the run itself says."""
    match event:
        case ev.RunStarted():
            plan = event.plan
            reward = f", reward {one_line(plan.reward, _NAME)}" if plan.reward else ""
            models = f"policy {one_line(plan.policy, _NAME)}{reward}"
            count = f"{len(plan.tasks)} task{'s' * (len(plan.tasks) != 1)}" if plan.tasks else "as clients come"
            place = f"{one_line(plan.environment, _NAME)} ({one_line(event.origin, _NAME)})"
            return [f"{place}: {count}, {models}, {plan.search.words}, seed {plan.seed}"]
        case ev.ModelLoading():
            said = "".join(f"; {one_line(words)}" for words in (_head(event), event.notice) if words)
            return [f"loaded {event.what} {one_line(event.name, _NAME)} in {event.milliseconds / 1000:.1f} s{said}"]
        case ev.Noticed():
            return [f"{'warning' if event.loud else 'note'}: {one_line(event.notice)}"]
        case ev.Fault():
            return [f"fault: {one_line(event.message)}{'. ' + one_line(event.remedy) if event.remedy else ''}"]
        case ev.RunFinished():
            return _result(event)
        case _:
            return []


def _result(event: ev.RunFinished) -> list[str]:
    ledger = event.ledger
    total = len(event.scores)
    over = f"over {event.ended} of {total} episodes"
    if event.ended < total and event.reason == "finished":
        over = f"over {total} episodes: {event.share}, {total - event.ended} failed and count 0"
    score = "no score" if event.score_mean is None else f"score {100 * event.score_mean:.1f} {over}"
    return [
        f"{score} ({event.reason})",
        f"cost: {ledger.policy_tokens_generated:,} tokens sampled, "
        f"{ledger.policy_tokens_computed:,} policy and {ledger.reward_tokens_computed:,} reward tokens computed, "
        f"{ledger.env_steps:,} environment steps, {ledger.requests:,} requests, {ledger.seconds:.1f} s",
    ]


def episode_lines(event: ev.AnyEvent, episode: EpisodeState) -> list[str]:
    """What an event of an episode says; `episode` already holds it."""
    lead = f"[{one_line(event.episode, _NAME)}] "
    tree = episode.tree

    def names(nodes: list[str]) -> str:
        more = f", and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
        return ", ".join(nodes[:_SHOWN]) + more

    def node(node_id: NodeId) -> Node:
        return tree.nodes.get(node_id) or episode.abandoned.get(node_id) or Node(node_id)

    match event:
        case ev.EpisodeStarted():
            fork = (
                f" (fork of {one_line(event.parent, _NAME)} after event {event.parent_event})" if event.parent else ""
            )
            shown = [f"{one_line(event.task, _NAME)}{fork}: {one_line(event.goal, _WIDTH)}"]
            shown += [one_line(event.observation, _WIDTH)] if event.observation else []
            return [f"{lead}{line}" for line in shown]
        case ev.Proposed():
            found = [_proposed(node(new.node), new.samples) for new in event.nodes]
            return [f"{lead}propose {names(found) or 'nothing'}"]
        case ev.Scored():
            pairs = zip(event.groups, event.values, strict=True)
            scored = [
                f"{_action(node(item))} {value:.3f}"
                for group, values in pairs
                for item, value in zip(group, values, strict=True)
            ]
            return [f"{lead}score   {names(scored)}"] if scored else []
        case ev.Pruned():
            margins = event.margins or (None,) * len(event.nodes)
            cut = [
                f"{_action(node(item))} {signed(margin, 3)}" for item, margin in zip(event.nodes, margins, strict=True)
            ]
            return [f"{lead}cut     {names(cut)}"] if cut else []
        case ev.Acted():
            return [
                f"{lead}act     {_action(node(acted.node))} -> {one_line(acted.observation, _WIDTH)}{_after(acted)}"
                for acted in event.nodes
            ]
        case ev.Overridden():
            return [f"{lead}by hand {event.what} at {one_line(event.node, _NAME)} {one_line(event.reply, _WIDTH)}"]
        case ev.Rewound():
            return [f"{lead}back to event {event.to}"]
        case ev.Drifted():
            return [f"{lead}drift   at {one_line(event.node, _NAME)}: the replay shows {one_line(event.seen, _WIDTH)}"]
        case ev.Truncated():
            return [f"{lead}{event.what} context full: {event.dropped} oldest observations left out"]
        case ev.Fault():
            return [f"{lead}{line}" for line in run_lines(event)]
        case ev.EpisodeFinished():
            end = "ended" if event.done else "stopped"
            score = "" if event.outcome is None else f", score {100 * event.outcome:.1f}"
            return [f"{lead}{end} after {event.steps} steps{score}"]
        case _:
            return []


def _after(acted: ev.ActedNode) -> str:
    """The score after an action where there is one, and whether the episode has ended."""
    score = "" if acted.outcome is None else f"{100 * acted.outcome:.0f}"
    facts = ", ".join(filter(None, (score, "done" if acted.done else "")))
    return f" [{facts}]" if facts else ""


def _proposed(node: Node, samples: int) -> str:
    """A reply: its action, or how it begins where it has none, and how much was reasoned before it."""
    reply = "" if node.action else one_line(node.reply, _WIDTH)
    what = f"({missing_words(node.cut, bool(node.reasoning))}{f': {reply!r}' if reply else ''})"
    reasoned = reasoning_words(node)
    times = f" ×{samples}" if samples > 1 else ""
    return f"{_action(node) if node.action else what}{times}{f' ({reasoned})' if reasoned else ''}"


def _action(node: Node) -> str:
    return f"'{one_line(node.action, _WIDTH)}'" if node.action else "(no action)"
