"""What the keys of the episode screen do: move the view, or send commands to the engine."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual.binding import BindingType

from agentrm_tui.engine.commands import Fork, Override, Pause, Resume, Rewind, Step, Stop, Unprune
from agentrm_tui.runs.events import Fault, Rewound
from agentrm_tui.search.tree import Node, NodeId
from agentrm_tui.ui.actions import bindings
from agentrm_tui.ui.keys.episode import EPISODE
from agentrm_tui.ui.screens.confirm import ConfirmScreen
from agentrm_tui.ui.screens.episode_panes import EpisodePanes
from agentrm_tui.ui.screens.help import HelpScreen
from agentrm_tui.ui.screens.move import MoveScreen
from agentrm_tui.ui.session import EngineWanted, Left
from agentrm_tui.ui.widgets.bars import PANES
from agentrm_tui.ui.widgets.transcript import Transcript


class _WayBack(NamedTuple):
    """A step back that was asked for and that the run file may not show yet.

    Attributes:
        since: Number of events read when it was asked for.
    """

    episode: str
    node: NodeId
    since: int


class EpisodeScreen(EpisodePanes):
    """The `action_…` methods that the registry names, on top of the panes.

    Messages tell the app what only it can do: leaving, and starting an engine.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("episode")
    _way_back: _WayBack | None = None

    def action_pause(self) -> None:
        """Pause, or go on: also when a step is still in flight, after which the run would pause by itself."""
        going = self.facts.paused or not self.session.going
        if going:
            self.episode = ""  # what goes on is shown, whichever episode it is
        self.session.send(Resume() if going else Pause())

    def action_step(self) -> None:
        """Go on to the next request, and show the episode that makes it."""
        self.episode = ""
        self.session.send(Step("request"))

    def action_step_environment(self) -> None:
        """Go on until the environment has acted, and show the episode in which it has."""
        self.episode = ""
        self.session.send(Step("environment"))

    def action_rewind(self) -> None:
        """Go back to the selected node, or one step, and go on from there if the run was going."""
        node = self._acted_node(back=self.selected is None)
        if node is None or self.view is None:
            return
        going = self.session.going and not self.facts.ended
        feed = self.session.feed
        if any(past.number > node.acted_at for past in feed.state.episodes[self.view.id].history[-1:]):
            self._way_back = _WayBack(self.view.id, node.id, len(feed.events))
        self.session.send(Rewind(node.acted_at, self.view.id))
        if going:
            self.session.send(Resume())
        self.selected = None
        self.notify(f"Back to step {node.depth}" + ("." if going else "; space goes on."), markup=False)

    def action_override(self) -> None:
        """Ask for an own move at the selected node (or where the search stands) and send it."""
        node = self._acted_node(back=False)
        view = self.view
        if node is None or view is None:
            return
        if node.done:
            self.notify("The episode has ended there: select an earlier node.", severity="warning")
            return
        valid = self.actions.get((view.id, node.id), ())
        proposed = tuple(dict.fromkeys(child.action for child in view.tree.children(node.id) if child.action))

        def answer(reply: str | None) -> None:
            if reply is not None:
                self.session.send(Override(node.id, reply, view.id))
                self.selected = None
                if first := self.waits_for(view.id):
                    self.notify(f"Your move waits until this episode goes on: {first} goes first.")
                elif not self.session.going:
                    self.notify("Your move comes with the next proposal: n steps there, space goes on.")

        self.app.push_screen(MoveScreen(node.depth, node.observation or "", valid, proposed), answer)

    def action_unprune(self) -> None:
        """Keep the selected node that was cut."""
        if self.selected is not None and self.view is not None:
            self.session.send(Unprune(self.selected, self.view.id))

    def action_fork(self) -> None:
        """Start an episode that shares what happened up to the selected node, or up to now."""
        if self.view is None or self.snapshot is None:
            return
        to = self.snapshot.position - 1
        if self.selected is not None:
            node = self.view.tree[self.selected]
            to = node.acted_at if node.acted else node.created
        self.session.send(Fork(to, self.view.id))
        self.episode = ""

    def action_restart(self) -> None:
        """Start the engine on this file again; it does not know what the last one was asked."""
        self._way_back = None
        self.post_message(EngineWanted())

    def action_play(self) -> None:
        """Play the recording, or stop."""
        self.session.feed.play()
        self.refresh_run()

    def action_back(self) -> None:
        """One event back."""
        self.session.feed.seek_event(-1)
        self.refresh_run()

    def action_forward(self) -> None:
        """One event on."""
        self.session.feed.seek_event(1)
        self.refresh_run()

    def action_back_step(self) -> None:
        """Back to the environment step before."""
        self.session.feed.seek_step(-1)
        self.refresh_run()

    def action_forward_step(self) -> None:
        """On to the next environment step."""
        self.session.feed.seek_step(1)
        self.refresh_run()

    def action_first(self) -> None:
        """To the start."""
        self._seek(0)

    def action_last(self) -> None:
        """To the end."""
        self._seek(len(self.session.feed.events))

    def action_slower(self) -> None:
        """Play slower."""
        self.session.feed.change_speed(-1)
        self.refresh_run()

    def action_faster(self) -> None:
        """Play faster."""
        self.session.feed.change_speed(1)
        self.refresh_run()

    def action_previous_episode(self) -> None:
        """Show the episode before."""
        self._change_episode(-1)

    def action_next_episode(self) -> None:
        """Show the next episode."""
        self._change_episode(1)

    def action_next_pane(self) -> None:
        """Go to the next pane."""
        self._cycle_pane(1)

    def action_previous_pane(self) -> None:
        """Go to the pane before."""
        self._cycle_pane(-1)

    def action_show_pane(self, pane: str) -> None:
        """Go to a pane."""
        self.show_only(pane)

    def action_other_view(self) -> None:
        """Show the search as a tree instead of a map, or the other way round."""
        self.show_only("map" if self.has_class("-tree-view") else "tree")

    def action_follow(self) -> None:
        """Follow the best path again."""
        self.select(None)

    def action_fold_reasoning(self) -> None:
        """Show reasoning in full in the transcript, or fold it again."""
        self.query_one(Transcript).fold()

    def action_copy(self) -> None:
        """Copy the whole text of the node whose path is shown, or the marked text if there is some."""
        marked = self.get_selected_text()
        if marked:
            self.app.copy_to_clipboard(marked)
            self.notify("Copied the marked text.")
        elif self.view is not None:
            node = self.view.tree[self.view.focus]
            self.app.copy_to_clipboard(_whole_text(node, self.view.start.goal))
            self.notify(f"Copied step {node.depth}.")

    def action_help(self) -> None:
        """Explain the focused pane and list the keys."""
        self.app.push_screen(HelpScreen(EPISODE, self.facts, self.current_pane, self.notices))

    def action_quit(self) -> None:
        """Leave; ask first while the run goes on."""
        if not self.facts.live or self.facts.finished or self.facts.over:
            self.post_message(Left())
            return

        def answer(end: bool | None) -> None:
            if end:
                self.session.send(Stop())
                self.post_message(Left())

        question = "The run is still going. End it? What was done stays in the file and can be gone on with."
        self.app.push_screen(ConfirmScreen(question, "End the run", "Keep watching"), answer)

    def _seek(self, position: int) -> None:
        self.session.feed.seek(position)
        self.refresh_run()

    def _change_episode(self, by: int) -> None:
        self.selected = None
        if self.session.replay:
            self.session.feed.seek_episode(by)
        elif self.view is not None:
            order = list(self.session.feed.state.episodes)
            self.episode = order[max(0, min(len(order) - 1, order.index(self.view.id) + by))]
        self.refresh_run()

    def _cycle_pane(self, by: int) -> None:
        hidden = "map" if self.has_class("-tree-view") else "tree"
        panes = [pane for pane in PANES if pane != hidden]
        self.show_only(panes[(panes.index(self.current_pane) + by) % len(panes)])

    def _acted_node(self, *, back: bool) -> Node | None:
        """The last acted node of the shown path; with `back`, the acted one before it.

        Where a step back is on its way and no node is selected, the path ends at the node that it leads to: the keys
        that follow mean the run as it will be, not the one that is still on the screen.
        """
        if self.view is None:
            return None
        path, awaited = list(self.view.path), self._awaited()
        if self.selected is None and awaited in path:
            path = path[: path.index(awaited) + 1]
        acted = [self.view.tree[node] for node in path if self.view.tree[node].acted]
        if not acted:
            return None
        return acted[-2] if back and len(acted) > 1 else acted[-1]

    def _awaited(self) -> NodeId | None:
        """The node that a step back leads to for which the run file has no answer yet."""
        back = self._way_back
        if back is None or self.view is None or back.episode != self.view.id:
            return None
        to = self.view.tree[back.node].acted_at if back.node in self.view.tree else None
        for event in self.session.feed.events[back.since :]:
            if event.episode == back.episode and (
                isinstance(event, Fault) or (isinstance(event, Rewound) and event.to == to)
            ):
                self._way_back = None
                return None
        return back.node


def _whole_text(node: Node, goal: str) -> str:
    """All text of a node as it was given, without any cut."""
    reply = node.reply or (f"Goal: {goal}" if node.parent is None else "")
    if node.reasoning:
        reply = f"Reasoning: {node.reasoning}\n{reply}"
    return f"{reply}\nObservation: {node.observation}" if node.observation is not None else reply
