"""What an event says, in a few words: a recording tells what happens where one stands."""

from __future__ import annotations

from agentrm_models.terminal_text import one_line
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.state import EpisodeState
from agentrm_tui.terminal_text import duration, number
from agentrm_tui.ui.views import cut_words


def event_words(event: ev.AnyEvent, episode: EpisodeState | None) -> str:
    """One line about an event; the episode, as it stands after it, gives names to nodes."""
    match event:
        case ev.RunStarted(plan=plan):
            return f"a run of {one_line(plan.environment, 60)} starts"
        case ev.ModelLoading(what=what, name=name, milliseconds=milliseconds, notice=notice, head=head):
            words = f"{what} {one_line(name, 60)} loaded in {duration(milliseconds / 1000)}"
            if head:
                words += f", reward: {one_line(head)}"
            return f"{words}; {one_line(notice)}" if notice else words
        case ev.EpisodeStarted(task=task, parent=parent):
            return f"{one_line(task, 60)} " + ("is forked" if parent else "starts")
        case ev.Rewound():
            return "went back to an earlier event"
        case ev.Overridden(what=what):
            return "a person plays a move" if what == "proposal" else "a person keeps a cut candidate"
        case ev.Truncated(what=what, dropped=dropped):
            return f"{what}: context full, {_count(dropped, 'old observation')} left out"
        case ev.Drifted():
            return "a replayed observation differs from the recorded one"
        case ev.Noticed(what=what, notice=notice):
            return f"{what}: {one_line(notice)}"
        case ev.Fault(message=message):
            return one_line(message)
        case ev.RunFinished(score_mean=score, reason=reason, share=share):
            mean = "" if score is None else f"mean score {number(score)}"
            return ", ".join(filter(None, (f"the run {'ends' if reason == 'finished' else reason}", mean, share)))
        case _:
            return _search_words(event, episode)


def _search_words(event: ev.AnyEvent, episode: EpisodeState | None) -> str:
    match event:
        case ev.Proposed(nodes=nodes, asked=asked, phase=phase):
            rollout = "rollouts: " if phase == "rollout" else ""
            return f"{rollout}{_count(len(nodes), 'candidate')} proposed after {_count(len(asked), 'node')}"
        case ev.Scored(groups=groups):
            return f"{_count(sum(map(len, groups)), 'candidate')} judged"
        case ev.Pruned(nodes=nodes, why=why):
            return f"{_count(len(nodes), 'candidate')} cut: {cut_words(why)}"
        case ev.Acted(nodes=nodes):
            invalid = sum(not node.valid for node in nodes)
            return f"{_count(len(nodes), 'action')} taken" + (f", {invalid} invalid" if invalid else "")
        case ev.Chosen(node=node, final=final):
            return ("the answer is chosen: " if final else "chosen: ") + _action_of(node, episode)
        case ev.Backpropagated(path=path, values=values):
            value = f" {number(values[-1])}" if values else ""
            return f"return{value} backed up over {_count(len(path), 'node')}"
        case ev.EpisodeFinished(outcome=outcome, steps=steps):
            score = "" if outcome is None else f" with score {number(outcome)}"
            return f"the episode ends after {_count(steps, 'step')}{score}"
        case _:
            return ""


def _action_of(node: str, episode: EpisodeState | None) -> str:
    found = episode.tree.nodes.get(node) if episode is not None else None
    return one_line(found.action, 60) or "the start" if found is not None else "a node"


def _count(amount: int, what: str) -> str:
    return f"{amount:,} {what}" + ("s" if amount != 1 else "")
